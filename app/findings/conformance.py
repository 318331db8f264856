"""Indications on the requirements of Kubernetes AI Conformance, by what a ledger can see.

The requirements are those of cncf/k8s-ai-conformance for v1.36, and DRA, which that list left to
the conformance of Kubernetes itself. Nothing here certifies: an indication says what was read, and
where what decides is out of sight it is `cannot tell`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from app.usage.holds import pool_counts_of
from app.usage.inventory import NodeFacts


class Indication(StrEnum):
    """What the evidence points to."""

    PASS = "pass"  # noqa: S105 - no secret
    FAIL = "fail"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What was read of one cluster; None where it could not be, for the reason in ``untold``.

    ``groups`` are the API groups that are served, with their versions; ``nodes`` all nodes;
    ``metrics`` the names of all metrics of the last minutes. ``devices`` is how many devices nodes
    advertise, ``fresh`` how many of them have a fresh sample, by what is measured. ``scaled_on``
    are the metrics that autoscalers of pods look at.
    """

    groups: Mapping[str, tuple[str, ...]] | None = None
    nodes: tuple[NodeFacts, ...] | None = None
    devices: int = 0
    slices: int | None = None
    metrics: frozenset[str] | None = None
    engines: tuple[str, ...] = ()
    fresh: Mapping[str, int] | None = None
    scaled_on: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement: its area, id, level, and number of its enhancement proposal ('' if none)."""

    area: str
    id: str
    level: str
    kar: str


@dataclass(frozen=True, slots=True)
class Indicated:
    """A requirement, what the evidence points to, and the evidence."""

    requirement: Requirement
    indication: Indication
    evidence: str


_Judged = tuple[Indication, str]
_PASS, _FAIL, _UNKNOWN = Indication.PASS, Indication.FAIL, Indication.CANNOT_TELL
_NO_API = "The API groups could not be read."
_NO_NODES = "The nodes could not be read."
_NO_SAMPLES = "The devices with samples could not be counted."
_NO_METRICS = "The names of metrics could not be read."
_UNREAD = frozenset({_NO_API, _NO_NODES, _NO_METRICS, _NO_SAMPLES})


def indications(facts: ClusterFacts) -> tuple[Indicated, ...]:
    """Return an indication on every requirement, in the order of the list."""
    found = []
    for requirement, rule in RULES:
        indication, evidence = rule(facts)
        unread = facts.untold and evidence in _UNREAD
        why = f" {' '.join(facts.untold)}" if unread else ""
        found.append(Indicated(requirement, indication, f"{evidence}{why}"))
    return tuple(found)


def _driver(facts: ClusterFacts) -> _Judged:
    if facts.nodes is None:
        return _UNKNOWN, _NO_NODES
    nodes = _accelerated(facts)
    if not nodes:
        return _UNKNOWN, "No node that advertises accelerators was read."
    labelled = [node for node in nodes if _labels(node, _DRIVER_LABELS)]
    group = "nvidia.com" if facts.groups and "nvidia.com" in facts.groups else ""
    said = f"{len(labelled)} of {len(nodes)} nodes with accelerators have a driver's label"
    names = sorted({name for node in labelled for name in _labels(node, _DRIVER_LABELS)})
    seen = ", ".join([*names, *([f"API group {group}"] if group else [])])
    if len(labelled) == len(nodes):
        return _PASS, f"{said}: {seen}."
    return _UNKNOWN, f"{said}{f': {seen}' if seen else ''}; others may have drivers all the same."


def _sharing(facts: ClusterFacts) -> _Judged:
    if facts.nodes is None:
        return _UNKNOWN, _NO_NODES
    names = sorted({name for node in facts.nodes for name in _resources(node, _SHARED)})
    replicas = sorted(
        f"{name}={value}"
        for name, value in {pair for node in facts.nodes for pair in node.labels}
        if name == "nvidia.com/gpu.replicas" and value.isdigit() and int(value) > 1
    )
    if names or replicas:
        return _PASS, f"Advertised: {', '.join([*names, *replicas])}."
    return _UNKNOWN, "No node shares accelerators: whether it could, nodes do not say."


def _virtual(facts: ClusterFacts) -> _Judged:
    if facts.nodes is None:
        return _UNKNOWN, _NO_NODES
    names = {name for node in facts.nodes for name in _labels(node, ("nvidia.com/vgpu.*",))}
    names |= {name for node in facts.nodes for name in _resources(node, ("*/vgpu*",))}
    if names:
        return _PASS, f"Nodes say {', '.join(sorted(names))}."
    return _UNKNOWN, "No node says that its accelerators are virtual."


def _inference(facts: ClusterFacts) -> _Judged:
    group = "gateway.networking.k8s.io"
    if facts.groups is None:
        return _UNKNOWN, _NO_API
    if group not in facts.groups:
        return _FAIL, f"The API group {group} is not served."
    served = _served(facts, (group,))
    return _UNKNOWN, f"{served}; whether a GatewayClass is accepted was not looked at."


def _inference_ingress(facts: ClusterFacts) -> _Judged:
    return _by_groups(facts, ("inference.networking.k8s.io", "inference.networking.x-k8s.io"))


def _network(facts: ClusterFacts) -> _Judged:
    if facts.nodes is None:
        return _UNKNOWN, _NO_NODES
    names = {name for node in facts.nodes for name in _resources(node, _FAST_NETWORKS)}
    multus = _served(facts, ("k8s.cni.cncf.io",))
    if names:
        return _PASS, f"Nodes advertise {', '.join(sorted(names))}."
    return _UNKNOWN, f"No node advertises RDMA or EFA.{f' {multus}.' if multus else ''}"


def _disaggregated(facts: ClusterFacts) -> _Judged:
    return _by_groups(facts, ("leaderworkerset.x-k8s.io",))


def _gang(facts: ClusterFacts) -> _Judged:
    groups = (
        "kueue.x-k8s.io",
        "scheduling.volcano.sh",
        "scheduling.x-k8s.io",
        "scheduling.run.ai",
    )
    return _with_controller(facts, groups, ("kueue_*", "volcano_*", "kai_*"))


def _cluster_scaling(facts: ClusterFacts) -> _Judged:
    metrics = _metrics(facts, ("karpenter_*", "cluster_autoscaler_*"))
    served = _served(facts, ("karpenter.sh",))
    if metrics:
        return _PASS, f"{_some(metrics)}{f'; {served}' if served else ''}."
    if facts.groups is None and facts.metrics is None:
        return _UNKNOWN, _NO_API
    seen = f"{served}, but its" if served else "Nothing of Karpenter is served, and no autoscaler's"
    return _UNKNOWN, f"{seen} metrics are seen; a cloud's own autoscaler shows neither."


def _pod_scaling(facts: ClusterFacts) -> _Judged:
    groups = ("custom.metrics.k8s.io", "external.metrics.k8s.io")
    if facts.groups is None:
        return _UNKNOWN, _NO_API
    served = _served(facts, groups)
    if not served:
        return _FAIL, f"Neither {' nor '.join(groups)} is served."
    on = [name for name in facts.scaled_on if any(fnmatchcase(name, of) for of in _AI_METRICS)]
    if on:
        return _PASS, f"{served}; autoscalers look at {_some(on)}."
    return _UNKNOWN, f"{served}; no autoscaler on a metric of accelerators or engines was seen."


def _accelerator_metrics(facts: ClusterFacts) -> _Judged:
    if facts.metrics is None:
        return _UNKNOWN, _NO_METRICS
    if facts.nodes is None:
        return _UNKNOWN, _NO_NODES
    if facts.fresh is None:
        return _UNKNOWN, _NO_SAMPLES
    fresh = facts.fresh
    seen = ", ".join(f"{name} {count}" for name, count in fresh.items())
    said = f"Of {facts.devices} advertised devices a fresh sample has: {seen or 'none'}"
    if not facts.devices:
        return _UNKNOWN, f"{said}."
    enough = all(fresh.get(name, 0) >= facts.devices for name in ("utilization", "memory"))
    return (_PASS if enough else _FAIL), f"{said}; utilization and memory are needed of each."


def _service_metrics(facts: ClusterFacts) -> _Judged:
    if facts.metrics is None:
        return _UNKNOWN, _NO_METRICS
    served = _served(facts, ("monitoring.coreos.com",))
    more = f" {served}." if served else ""
    if facts.engines:
        return _PASS, f"Series of {', '.join(facts.engines)} are collected.{more}"
    return _UNKNOWN, f"No series of a known engine is collected: none may be running.{more}"


def _secure_access(facts: ClusterFacts) -> _Judged:
    del facts
    return _UNKNOWN, "It takes a pod that tries to use another's device; gpuledger starts none."


def _operator(facts: ClusterFacts) -> _Judged:
    groups = ("ray.io", "kubeflow.org", "trainer.kubeflow.org", "serving.kserve.io")
    if facts.groups is None:
        return _UNKNOWN, _NO_API
    served = _served(facts, groups)
    if not served:
        return _UNKNOWN, f"None of the known operators is served: {', '.join(groups)}."
    return _UNKNOWN, f"{served}; whether its webhook and controller work was not tried."


def _dra(facts: ClusterFacts) -> _Judged:
    group = "resource.k8s.io"
    if facts.groups is None:
        return _UNKNOWN, _NO_API
    versions = facts.groups.get(group, ())
    listed = "" if facts.slices is None else f"; {facts.slices} ResourceSlices are listed"
    said = f"{group} is served as {', '.join(versions) or 'nothing'}{listed}."
    return (_PASS if "v1" in versions else _FAIL), said


_DRIVER_LABELS = (
    "nvidia.com/gpu.present",
    "nvidia.com/cuda.driver*",
    "amd.com/gpu.driver-version",
    "intel.feature.node.kubernetes.io/gpu",
)
_SHARED = ("nvidia.com/mig-*", "nvidia.com/*.shared", "amd.com/*_nps*")
_FAST_NETWORKS = ("rdma/*", "vpc.amazonaws.com/efa", "*/rdma*", "*/mlnx*", "*/hostdev*")
_AI_METRICS = ("*gpu*", "*GPU*", "DCGM_*", "vllm*", "sglang*", "tgi_*", "nv_*", "*inference*")


def _by_groups(facts: ClusterFacts, groups: Collection[str]) -> _Judged:
    """Pass where one of the groups is served: the requirement is to offer the API."""
    if facts.groups is None:
        return _UNKNOWN, _NO_API
    served = _served(facts, groups)
    if served:
        return _PASS, f"{served}; whether its controller works was not looked at."
    return _UNKNOWN, f"None of the known APIs is served: {', '.join(groups)}."


def _with_controller(
    facts: ClusterFacts, groups: Collection[str], patterns: Collection[str]
) -> _Judged:
    """Pass where a group is served and its controller's metrics are seen."""
    if facts.groups is None:
        return _UNKNOWN, _NO_API
    served = _served(facts, groups)
    if not served:
        return _FAIL, f"None of the known APIs is served: {', '.join(groups)}."
    metrics = _metrics(facts, patterns)
    if metrics:
        return _PASS, f"{served}; its controller publishes {_some(metrics)}."
    return _UNKNOWN, f"{served}; no metric says whether its controller works."


def _served(facts: ClusterFacts, groups: Collection[str]) -> str:
    found = [name for name in groups if name in (facts.groups or {})]
    return f"Served: {', '.join(found)}" if found else ""


def _metrics(facts: ClusterFacts, patterns: Collection[str]) -> list[str]:
    names = facts.metrics or frozenset()
    return sorted(name for name in names if any(fnmatchcase(name, one) for one in patterns))


def _some(names: Collection[str]) -> str:
    most = 3
    rest = len(names) - most
    return f"{', '.join([*names][:most])}{f' and {rest} more' if rest > 0 else ''}"


def _accelerated(facts: ClusterFacts) -> list[NodeFacts]:
    return [node for node in facts.nodes or () if pool_counts_of(node)[0]]


def _labels(node: NodeFacts, patterns: Collection[str]) -> list[str]:
    return [name for name, _ in node.labels if any(fnmatchcase(name, one) for one in patterns)]


def _resources(node: NodeFacts, patterns: Collection[str]) -> list[str]:
    return [
        name
        for name, count in node.allocatable
        if count and any(fnmatchcase(name, one) for one in patterns)
    ]


_Rule = Callable[[ClusterFacts], _Judged]

RULES: tuple[tuple[Requirement, _Rule], ...] = (
    (Requirement("accelerators", "driver_runtime_management", "SHOULD", "1"), _driver),
    (Requirement("accelerators", "gpu_sharing", "SHOULD", "3"), _sharing),
    (Requirement("accelerators", "virtualized_accelerator", "SHOULD", "4"), _virtual),
    (Requirement("networking", "ai_inference", "MUST", ""), _inference),
    (Requirement("networking", "advanced_inference_ingress", "SHOULD", "11"), _inference_ingress),
    (Requirement("networking", "high_performance_networking", "SHOULD", "10"), _network),
    (Requirement("networking", "disaggregated_inference", "SHOULD", "41"), _disaggregated),
    (Requirement("scheduling", "gang_scheduling", "MUST", "53"), _gang),
    (Requirement("scheduling", "cluster_autoscaling", "MUST", "55"), _cluster_scaling),
    (Requirement("scheduling", "pod_autoscaling", "MUST", "57"), _pod_scaling),
    (Requirement("observability", "accelerator_metrics", "MUST", "59"), _accelerator_metrics),
    (Requirement("observability", "ai_service_metrics", "MUST", "61"), _service_metrics),
    (Requirement("security", "secure_accelerator_access", "MUST", "49"), _secure_access),
    (Requirement("operator", "robust_controller", "MUST", "63"), _operator),
    (Requirement("accelerators", "dra_support", "MUST in v1.34 and v1.35", "51"), _dra),
)
