"""Pods of one service by the labels of the controllers that made them."""

import pytest

from app.sources.ownership_labels import (
    OWNERSHIP_LABELS,
    SERVICE_LABEL,
    labelled_workload,
    pod_group,
)
from app.usage.inventory import Workload


@pytest.mark.parametrize(
    ("labels", "kind", "name"),
    [
        ({"leaderworkerset.sigs.k8s.io/name": "big"}, "LeaderWorkerSet", "big"),
        ({"ray.io/cluster": "llm-raycluster-x2x9z"}, "RayCluster", "llm-raycluster-x2x9z"),
        (
            {
                "ray.io/cluster": "llm-raycluster-x2x9z",
                "ray.io/originated-from-cr-name": "llm",
                "ray.io/originated-from-crd": "RayService",
            },
            "RayService",
            "llm",
        ),
        ({"serving.kserve.io/inferenceservice": "iris"}, "InferenceService", "iris"),
        (
            {
                "app.kubernetes.io/part-of": "llminferenceservice",
                "app.kubernetes.io/name": "qwen",
                "app.kubernetes.io/component": "llminferenceservice-workload-prefill",
                "leaderworkerset.sigs.k8s.io/name": "qwen-kserve-mn-prefill",
            },
            "LLMInferenceService",
            "qwen",
        ),
        (
            {
                "nvidia.com/dynamo-graph-deployment-name": "disagg",
                "app.kubernetes.io/part-of": "disagg",
                "app.kubernetes.io/managed-by": "grove-operator",
            },
            "DynamoGraphDeployment",
            "disagg",
        ),
        (
            {
                "app.kubernetes.io/part-of": "pcs",
                "app.kubernetes.io/managed-by": "grove-operator",
                "grove.io/podclique": "pcs-0-prefill",
            },
            "PodCliqueSet",
            "pcs",
        ),
        (
            {"llm-d.ai/model": "qwen", "llm-d.ai/inferenceServing": "true"},
            "ModelService",
            "qwen",
        ),
        ({"storm-service-name": "qwen", "role-name": "prefill"}, "StormService", "qwen"),
        ({SERVICE_LABEL: "chat", "ray.io/cluster": "c"}, "Service", "chat"),
    ],
)
def test_a_label_names_the_workload(labels: dict[str, str], kind: str, name: str) -> None:
    assert labelled_workload("ml", labels) == Workload(namespace="ml", kind=kind, name=name, uid="")
    assert set(labels) & set(OWNERSHIP_LABELS)


def test_general_labels_alone_name_nothing() -> None:
    assert labelled_workload("ml", {"app.kubernetes.io/part-of": "shop"}) is None
    assert labelled_workload("ml", {"app.kubernetes.io/name": "shop"}) is None


def test_the_uid_of_a_job_set_is_known() -> None:
    labels = {"jobset.sigs.k8s.io/jobset-name": "train", "jobset.sigs.k8s.io/jobset-uid": "u-1"}

    assert labelled_workload("ml", labels) == Workload(
        namespace="ml", kind="JobSet", name="train", uid="u-1"
    )


def test_a_group_unites_pods_that_nobody_controls() -> None:
    labels = {"kueue.x-k8s.io/pod-group-name": "gang"}
    pod = Workload(namespace="ml", kind="Pod", name="worker-0", uid="u")
    owned = Workload(namespace="ml", kind="StatefulSet", name="worker", uid="u")

    assert pod_group(pod, labels) == Workload(namespace="ml", kind="PodGroup", name="gang", uid="")
    assert pod_group(pod, {}) is None
    assert pod_group(owned, labels) is None
