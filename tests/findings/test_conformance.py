"""Indications of conformance: what was seen decides, what is out of sight never does."""

from dataclasses import replace

import pytest

from app.findings.conformance import RULES, ClusterFacts, Indicated, Indication, indications
from app.usage.inventory import NodeFacts

PASS, FAIL, UNKNOWN = Indication.PASS, Indication.FAIL, Indication.CANNOT_TELL


def a_node(
    labels: dict[str, str] | None = None, resources: dict[str, int] | None = None
) -> NodeFacts:
    held = tuple(({"nvidia.com/gpu": 8} if resources is None else resources).items())
    return NodeFacts(
        uid="u",
        name="gpu-1",
        provider="",
        region="",
        zone="",
        instance_type="",
        capacity_type="",
        labels=tuple((labels or {}).items()),
        created_ms=0,
        capacity=held,
        allocatable=held,
        resource_version="1",
    )


SEEN = ClusterFacts(
    groups={}, nodes=(a_node(),), devices=8, slices=0, metrics=frozenset(), fresh={}
)


def on(requirement: str, facts: ClusterFacts) -> Indicated:
    return {found.requirement.id: found for found in indications(facts)}[requirement]


def groups(*names: str) -> ClusterFacts:
    return replace(SEEN, groups=dict.fromkeys(names, ("v1",)))


def test_where_nothing_could_be_read_nothing_is_indicated() -> None:
    found = indications(ClusterFacts(untold=("Kubernetes is switched off.",)))

    assert len(found) == len(RULES) == 15
    assert {one.indication for one in found} == {UNKNOWN}
    told = {one.requirement.id for one in found if "Kubernetes is switched off." in one.evidence}
    assert {"gang_scheduling", "gpu_sharing", "accelerator_metrics", "dra_support"} <= told
    assert "secure_accelerator_access" not in told


@pytest.mark.parametrize(
    ("requirement", "facts", "indication", "evidence"),
    [
        (
            "driver_runtime_management",
            replace(SEEN, nodes=(a_node({"nvidia.com/gpu.present": "true"}),)),
            PASS,
            "nvidia.com/gpu.present",
        ),
        ("driver_runtime_management", SEEN, UNKNOWN, "0 of 1 nodes"),
        (
            "driver_runtime_management",
            replace(SEEN, nodes=(a_node(resources={"rdma/hca": 4}),)),
            UNKNOWN,
            "No node that advertises accelerators",
        ),
        (
            "gpu_sharing",
            replace(SEEN, nodes=(a_node(resources={"nvidia.com/mig-1g.10gb": 7}),)),
            PASS,
            "nvidia.com/mig-1g.10gb",
        ),
        (
            "gpu_sharing",
            replace(SEEN, nodes=(a_node({"nvidia.com/gpu.replicas": "4"}),)),
            PASS,
            "nvidia.com/gpu.replicas=4",
        ),
        (
            "gpu_sharing",
            replace(SEEN, nodes=(a_node({"nvidia.com/gpu.replicas": "1"}),)),
            UNKNOWN,
            "No node shares",
        ),
        (
            "virtualized_accelerator",
            replace(SEEN, nodes=(a_node({"nvidia.com/vgpu.present": "true"}),)),
            PASS,
            "vgpu.present",
        ),
        ("virtualized_accelerator", SEEN, UNKNOWN, "No node"),
        ("ai_inference", SEEN, FAIL, "not served"),
        ("ai_inference", groups("gateway.networking.k8s.io"), UNKNOWN, "GatewayClass"),
        ("advanced_inference_ingress", groups("inference.networking.k8s.io"), PASS, "Served"),
        ("advanced_inference_ingress", SEEN, UNKNOWN, "None of the known"),
        (
            "high_performance_networking",
            replace(SEEN, nodes=(a_node(resources={"vpc.amazonaws.com/efa": 4}),)),
            PASS,
            "efa",
        ),
        (
            "high_performance_networking",
            replace(SEEN, nodes=(a_node(resources={"vpc.amazonaws.com/efa": 0}),)),
            UNKNOWN,
            "No node",
        ),
        ("disaggregated_inference", groups("leaderworkerset.x-k8s.io"), PASS, "Served"),
        ("gang_scheduling", SEEN, FAIL, "kueue.x-k8s.io"),
        ("gang_scheduling", groups("kueue.x-k8s.io"), UNKNOWN, "no metric"),
        (
            "gang_scheduling",
            replace(
                groups("kueue.x-k8s.io"), metrics=frozenset({"kueue_admitted_workloads_total"})
            ),
            PASS,
            "kueue_admitted_workloads_total",
        ),
        (
            "cluster_autoscaling",
            replace(SEEN, metrics=frozenset({"karpenter_nodes_created_total"})),
            PASS,
            "karpenter_nodes_created_total",
        ),
        ("cluster_autoscaling", SEEN, UNKNOWN, "a cloud's own"),
        ("pod_autoscaling", SEEN, FAIL, "custom.metrics.k8s.io"),
        ("pod_autoscaling", groups("external.metrics.k8s.io"), UNKNOWN, "no autoscaler"),
        (
            "pod_autoscaling",
            replace(groups("custom.metrics.k8s.io"), scaled_on=("cpu", "vllm:num_requests")),
            PASS,
            "vllm:num_requests",
        ),
        (
            "accelerator_metrics",
            replace(SEEN, fresh={"utilization": 8, "memory": 8, "power": 3}),
            PASS,
            "utilization 8, memory 8, power 3",
        ),
        ("accelerator_metrics", replace(SEEN, fresh={"utilization": 8}), FAIL, "needed of each"),
        (
            "accelerator_metrics",
            replace(SEEN, fresh={"utilization": 7, "memory": 8}),
            FAIL,
            "Of 8 advertised devices",
        ),
        ("accelerator_metrics", replace(SEEN, devices=0), UNKNOWN, "Of 0 advertised"),
        ("accelerator_metrics", SEEN, FAIL, "none"),
        ("accelerator_metrics", replace(SEEN, fresh=None), UNKNOWN, "could not be counted"),
        ("ai_service_metrics", replace(SEEN, engines=("vllm",)), PASS, "Series of vllm"),
        ("ai_service_metrics", SEEN, UNKNOWN, "none may be running"),
        ("secure_accelerator_access", SEEN, UNKNOWN, "starts none"),
        ("robust_controller", groups("ray.io"), UNKNOWN, "was not tried"),
        ("dra_support", replace(SEEN, groups={"resource.k8s.io": ("v1",)}), PASS, "as v1; 0"),
        ("dra_support", replace(SEEN, groups={"resource.k8s.io": ("v1beta1",)}), FAIL, "v1beta1"),
        ("dra_support", SEEN, FAIL, "nothing"),
    ],
)
def test_the_evidence_decides(
    requirement: str, facts: ClusterFacts, indication: Indication, evidence: str
) -> None:
    found = on(requirement, facts)

    assert (found.indication, evidence in found.evidence) == (indication, True), found.evidence
