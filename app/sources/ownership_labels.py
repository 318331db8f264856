"""Workloads that say so by labels on their pods, above or beside the chain of controllers."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.usage.inventory import Workload

# What a platform team puts on pods to make one service of several workloads: a prefill and a decode
# Deployment, an engine and its router.
SERVICE_LABEL = "gpuledger.io/service"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A label that holds a workload's name, and perhaps others with its UID and kind.

    Where ``only`` is set, the rule counts for pods whose labels have all of those values.
    """

    kind: str
    name_label: str
    uid_label: str = ""
    kind_label: str = ""
    only: tuple[tuple[str, str], ...] = ()


# The first that fits wins: what a user made stands above what it was made of.
_RULES = (
    _Rule("Service", SERVICE_LABEL),
    _Rule("InferenceService", "serving.kserve.io/inferenceservice"),
    # KServe: single node, multi node, prefill and decode all carry it (controller llmisvc).
    _Rule(
        "LLMInferenceService",
        "app.kubernetes.io/name",
        only=(("app.kubernetes.io/part-of", "llminferenceservice"),),
    ),
    # Dynamo's operator, which makes Deployments, LeaderWorkerSets or PodCliqueSets.
    _Rule("DynamoGraphDeployment", "nvidia.com/dynamo-graph-deployment-name"),
    _Rule("RayCluster", "ray.io/originated-from-cr-name", kind_label="ray.io/originated-from-crd"),
    _Rule("RayCluster", "ray.io/cluster"),
    # Grove says the set under a general label.
    _Rule(
        "PodCliqueSet",
        "app.kubernetes.io/part-of",
        only=(("app.kubernetes.io/managed-by", "grove-operator"),),
    ),
    _Rule("LeaderWorkerSet", "leaderworkerset.sigs.k8s.io/name"),
    _Rule("JobSet", "jobset.sigs.k8s.io/jobset-name", uid_label="jobset.sigs.k8s.io/jobset-uid"),
    _Rule("StormService", "storm-service-name"),  # AIBrix
    # llm-d's charts put one name on the Deployments of a model's prefill and decode pods.
    _Rule("ModelService", "llm-d.ai/model", only=(("llm-d.ai/inferenceServing", "true"),)),
    _Rule("ModelService", "llm-d.ai/model", only=(("llm-d.ai/inference-serving", "true"),)),
)
# Kueue admits pods together that name one group; only for plain pods does a person name it.
_POD_GROUP = "kueue.x-k8s.io/pod-group-name"
_NAMES = [
    name
    for rule in _RULES
    for name in (
        *(rule.name_label, rule.uid_label, rule.kind_label),
        *(name for name, _ in rule.only),
    )
]
OWNERSHIP_LABELS = tuple(dict.fromkeys(name for name in (*_NAMES, _POD_GROUP) if name))


def labelled_workload(namespace: str, labels: Mapping[str, str]) -> Workload | None:
    """Return the workload that a pod's labels name, None if they name none."""
    for rule in _RULES:
        name = labels.get(rule.name_label)
        if name and all(labels.get(label) == value for label, value in rule.only):
            return Workload(
                namespace=namespace,
                kind=labels.get(rule.kind_label) or rule.kind,
                name=name,
                uid=labels.get(rule.uid_label, ""),
            )
    return None


def pod_group(pod: Workload, labels: Mapping[str, str]) -> Workload | None:
    """Return the group of a pod that no controller owns, None if it names none."""
    name = labels.get(_POD_GROUP)
    if not name or pod.kind != "Pod":
        return None
    return Workload(namespace=pod.namespace, kind="PodGroup", name=name, uid="")


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
