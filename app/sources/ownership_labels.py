"""Workloads that say so by labels on their pods, above or beside the chain of controllers."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.usage.inventory import Workload


@dataclass(frozen=True, slots=True)
class _Rule:
    """A label that holds a workload's name, and perhaps others with its UID and kind."""

    kind: str
    name_label: str
    uid_label: str = ""
    kind_label: str = ""


# The first that fits wins: what a user made stands above what it was made of.
_RULES = (
    _Rule("InferenceService", "serving.kserve.io/inferenceservice"),
    _Rule("RayCluster", "ray.io/originated-from-cr-name", kind_label="ray.io/originated-from-crd"),
    _Rule("RayCluster", "ray.io/cluster"),
    _Rule("LeaderWorkerSet", "leaderworkerset.sigs.k8s.io/name"),
    _Rule("JobSet", "jobset.sigs.k8s.io/jobset-name", uid_label="jobset.sigs.k8s.io/jobset-uid"),
)
OWNERSHIP_LABELS = tuple(
    label
    for rule in _RULES
    for label in (rule.name_label, rule.uid_label, rule.kind_label)
    if label
)


def labelled_workload(namespace: str, labels: Mapping[str, str]) -> Workload | None:
    """Return the workload that a pod's labels name, None if they name none."""
    for rule in _RULES:
        name = labels.get(rule.name_label)
        if name:
            return Workload(
                namespace=namespace,
                kind=labels.get(rule.kind_label) or rule.kind,
                name=name,
                uid=labels.get(rule.uid_label, ""),
            )
    return None


def without_template_hash(replica_set: Workload, labels: Mapping[str, str]) -> Workload | None:
    """Return the Deployment whose name a ReplicaSet's begins with, None if it cannot be told."""
    suffix = "-" + labels.get("pod-template-hash", "")
    if suffix == "-" or not replica_set.name.endswith(suffix):
        return None
    return Workload(
        namespace=replica_set.namespace,
        kind="Deployment",
        name=replica_set.name.removesuffix(suffix),
        uid="",
    )
