"""Pod and node objects parsed into facts."""

import pytest

from app.sources.kubernetes_objects import (
    Json,
    KubernetesObjectBroken,
    node_facts,
    pod_facts,
    requests_extended,
)
from app.sources.node_labels import place_of
from app.sources.ownership_labels import labelled_workload, without_template_hash
from app.usage.inventory import Workload
from app.usage.requests import effective_request

TEN = "2026-11-02T10:00:00Z"
TEN_MS = 1_793_613_600_000


def a_container(name: str, gpus: int = 0, **extra: object) -> dict[str, object]:
    amounts = {"cpu": "1", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {"name": name, "resources": {"requests": amounts, "limits": amounts}, **extra}


def a_terminated(name: str, finished: str | None, exit_code: int = 0) -> dict[str, object]:
    state = {"terminated": {"exitCode": exit_code, "finishedAt": finished}}
    return {"name": name, "state": state}


def a_pod(**changes: object) -> dict[str, object]:
    pod: dict[str, object] = {
        "kind": "Pod",
        "metadata": {
            "name": "web-1",
            "namespace": "search",
            "uid": "u-1",
            "creationTimestamp": TEN,
            "resourceVersion": "17",
            "labels": {"team": "search", "app": "web"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "gpu-fraction": "0.5",
            },
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-5d", "uid": "rs", "controller": True}
            ],
        },
        "spec": {"nodeName": "n1", "containers": [a_container("main", 2)]},
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": TEN},
                {"type": "Ready", "status": "False", "lastTransitionTime": TEN},
            ],
        },
    }
    for name, change in changes.items():
        part = pod[name]
        assert isinstance(part, dict)
        assert isinstance(change, dict)
        pod[name] = {**part, **change}
    return pod


def finished(pod: Json) -> list[int | None]:
    return [container.finished_ms for container in pod_facts(pod).containers]


def test_a_pod_has_its_facts() -> None:
    facts = pod_facts(a_pod())

    assert (facts.uid, facts.namespace, facts.name, facts.node_name) == (
        "u-1",
        "search",
        "web-1",
        "n1",
    )
    assert facts.labels == (("app", "web"), ("team", "search"))
    assert facts.annotations == (("gpu-fraction", "0.5"),)
    assert facts.created_ms == facts.scheduled_ms == TEN_MS
    assert facts.ready_ms is None
    assert facts.workload == Workload(
        namespace="search", kind="ReplicaSet", name="web-5d", uid="rs"
    )
    assert facts.containers[0].requests == (("nvidia.com/gpu", 2),)
    assert facts.resource_version == "17"


def test_only_pods_that_request_an_extended_resource_matter() -> None:
    declaring = a_pod(spec={"containers": [a_container("main")]})
    plain = {**declaring, "metadata": {**declaring["metadata"], "annotations": {}}}
    init = a_pod(
        spec={"containers": [a_container("main")], "initContainers": [a_container("warm", 1)]}
    )

    assert requests_extended(a_pod())
    assert requests_extended(init)
    assert requests_extended(declaring)
    assert not requests_extended(plain)


def test_a_limit_alone_is_a_request() -> None:
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": 1}}}

    facts = pod_facts(a_pod(spec={"containers": [container]}))

    assert facts.containers[0].requests == (("nvidia.com/gpu", 1),)


def test_init_containers_come_first_and_restartable_ones_are_sidecars() -> None:
    facts = pod_facts(
        a_pod(
            spec={
                "initContainers": [
                    a_container("proxy", 1, restartPolicy="Always"),
                    a_container("download", 4),
                ]
            }
        )
    )

    assert [(c.name, c.kind) for c in facts.containers] == [
        ("proxy", "sidecar"),
        ("download", "init"),
        ("main", "app"),
    ]
    assert effective_request(facts.containers) == (("nvidia.com/gpu", 5),)


def test_a_container_that_will_be_restarted_has_not_finished() -> None:
    status = {"containerStatuses": [a_terminated("main", TEN, exit_code=1)]}

    assert finished(a_pod(status=status)) == [None]
    assert finished(a_pod(status=status, spec={"restartPolicy": "OnFailure"})) == [None]


def test_a_container_that_stays_ended_has_finished() -> None:
    failed = {"containerStatuses": [a_terminated("main", TEN, exit_code=1)]}
    succeeded = {"containerStatuses": [a_terminated("main", TEN)]}

    assert finished(a_pod(status=failed, spec={"restartPolicy": "Never"})) == [TEN_MS]
    assert finished(a_pod(status=succeeded, spec={"restartPolicy": "OnFailure"})) == [TEN_MS]
    assert finished(a_pod(status={**failed, "phase": "Failed"})) == [TEN_MS]
    assert finished(a_pod(status=failed, metadata={"deletionTimestamp": TEN})) == [TEN_MS]


def test_an_init_container_that_succeeded_has_finished_and_one_that_failed_has_not() -> None:
    spec = {"initContainers": [a_container("first"), a_container("second")]}
    status = {
        "initContainerStatuses": [a_terminated("first", TEN), a_terminated("second", TEN, 1)],
    }

    assert finished(a_pod(spec=spec, status=status)) == [TEN_MS, None, None]


def test_a_lost_container_has_no_finish() -> None:
    status = {"phase": "Failed", "containerStatuses": [a_terminated("main", None, 137)]}

    assert finished(a_pod(status=status)) == [None]


def test_a_deletion_is_told_with_its_grace() -> None:
    facts = pod_facts(a_pod(metadata={"deletionTimestamp": TEN, "deletionGracePeriodSeconds": 30}))

    assert (facts.deletion_ms, facts.deletion_grace_seconds) == (TEN_MS, 30)


def test_a_pod_without_a_controller_is_its_own_workload() -> None:
    alone = pod_facts(a_pod(metadata={"ownerReferences": []}))
    static = pod_facts(
        a_pod(metadata={"ownerReferences": [{"kind": "Node", "name": "n1", "controller": True}]})
    )

    assert alone.workload == Workload(namespace="search", kind="Pod", name="web-1", uid="u-1")
    assert static.workload == alone.workload


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": {"name": "x"}},
        a_pod(metadata={"creationTimestamp": "yesterday"}),
        a_pod(metadata={"creationTimestamp": None}),
        a_pod(spec={"containers": [{"resources": {"limits": {"nvidia.com/gpu": "many"}}}]}),
    ],
)
def test_a_pod_that_cannot_be_read_is_named(broken: Json) -> None:
    with pytest.raises(KubernetesObjectBroken):
        pod_facts(broken)


def a_node(**labels: str) -> dict[str, object]:
    return {
        "metadata": {
            "name": "n1",
            "uid": "node-1",
            "creationTimestamp": TEN,
            "labels": {name.replace("__", "/"): value for name, value in labels.items()},
        },
        "spec": {"providerID": "gce://project/europe-west4-a/n1"},
        "status": {
            "capacity": {"cpu": "96", "nvidia.com/gpu": "8", "hugepages-1Gi": "0"},
            "allocatable": {"cpu": "95", "nvidia.com/gpu": "7"},
        },
    }


def test_a_node_has_its_devices_and_place() -> None:
    node = a_node()
    metadata = node["metadata"]
    assert isinstance(metadata, dict)
    metadata["labels"] = {
        "node.kubernetes.io/instance-type": "a3-highgpu-8g",
        "topology.kubernetes.io/region": "europe-west4",
        "cloud.google.com/gke-spot": "true",
    }

    facts = node_facts(node)

    assert facts.capacity == (("nvidia.com/gpu", 8),)
    assert facts.allocatable == (("nvidia.com/gpu", 7),)
    assert (facts.provider, facts.region, facts.instance_type, facts.capacity_type) == (
        "gcp",
        "europe-west4",
        "a3-highgpu-8g",
        "spot",
    )
    assert facts.created_ms == TEN_MS


@pytest.mark.parametrize(
    ("labels", "capacity_type"),
    [
        ({"karpenter.sh/capacity-type": "on-demand"}, "on_demand"),
        ({"karpenter.sh/capacity-type": "reserved"}, "reserved"),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, "spot"),
        ({"eks.amazonaws.com/capacityType": "CAPACITY_BLOCK"}, "capacity_block"),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, "spot"),
        ({"kubernetes.azure.com/agentpool": "gpu"}, "on_demand"),
        ({"cloud.google.com/gke-preemptible": "true"}, "spot"),
        ({"cloud.google.com/gke-nodepool": "gpu"}, "on_demand"),
        ({"karpenter.sh/capacity-type": "of-another-world"}, ""),
        ({}, ""),
    ],
)
def test_words_for_capacity_are_one_vocabulary(labels: dict[str, str], capacity_type: str) -> None:
    assert place_of(labels, "").capacity_type == capacity_type


@pytest.mark.parametrize(
    ("provider_id", "labels", "provider"),
    [
        ("aws:///eu-west-1a/i-0abc", {}, "aws"),
        ("gce://project/zone/node", {}, "gcp"),
        ("azure:///subscriptions/x", {}, "azure"),
        ("ocid1.instance.oc1.iad.x", {}, "oci"),
        ("", {"compute.coreweave.com/node-pool": "h100"}, "coreweave"),
        ("", {}, ""),
    ],
)
def test_the_provider_is_known_by_its_id_or_its_labels(
    provider_id: str, labels: dict[str, str], provider: str
) -> None:
    assert place_of(labels, provider_id).provider == provider


@pytest.mark.parametrize(
    ("labels", "kind", "name", "uid"),
    [
        ({"leaderworkerset.sigs.k8s.io/name": "big"}, "LeaderWorkerSet", "big", ""),
        (
            {"jobset.sigs.k8s.io/jobset-name": "j", "jobset.sigs.k8s.io/jobset-uid": "ju"},
            "JobSet",
            "j",
            "ju",
        ),
        ({"serving.kserve.io/inferenceservice": "chat"}, "InferenceService", "chat", ""),
        ({"ray.io/cluster": "rc"}, "RayCluster", "rc", ""),
        (
            {
                "ray.io/cluster": "rc-x",
                "ray.io/originated-from-cr-name": "serve",
                "ray.io/originated-from-crd": "RayService",
            },
            "RayService",
            "serve",
            "",
        ),
    ],
)
def test_workloads_that_stand_above_controllers_are_named_by_labels(
    labels: dict[str, str], kind: str, name: str, uid: str
) -> None:
    expected = Workload(namespace="ns", kind=kind, name=name, uid=uid)

    assert labelled_workload("ns", labels) == expected


def test_a_deployment_is_told_from_its_replica_set_by_the_template_hash() -> None:
    owner = Workload(namespace="ns", kind="ReplicaSet", name="web-5d9f", uid="rs")

    assert without_template_hash(owner, {"pod-template-hash": "5d9f"}) == Workload(
        namespace="ns", kind="Deployment", name="web", uid=""
    )
    assert without_template_hash(owner, {"pod-template-hash": "other"}) is None
    assert without_template_hash(owner, {}) is None
