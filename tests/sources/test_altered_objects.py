"""Objects of Kubernetes with odd amounts and annotations: read as meant, or named, never zero."""

import json
from fractions import Fraction

import pytest

from app.sources.kubernetes_objects import node_facts, pod_facts
from app.usage.holds import holds_of
from app.usage.inventory import NodeFacts

CREATED = "2026-11-02T10:00:00Z"
GPU = "nvidia.com/gpu"


def a_node(capacity: dict[str, str]) -> NodeFacts:
    labels = {"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.memory": "15360"}
    return node_facts(
        {
            "metadata": {
                "name": "n1",
                "uid": "u-n1",
                "creationTimestamp": CREATED,
                "labels": {**labels, "nvidia.com/gpu.count": "2"},
            },
            "spec": {},
            "status": {"capacity": capacity, "allocatable": capacity},
        }
    )


def a_pod(annotations: dict[str, str]) -> dict[str, object]:
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED}
    return {
        "metadata": {
            "namespace": "search",
            "name": "part",
            "uid": "u-part",
            "creationTimestamp": CREATED,
            "annotations": annotations,
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "one"}]},
        "status": {"phase": "Running", "conditions": [bound]},
    }


@pytest.mark.parametrize(
    ("text", "units"),
    [("2", 2), ("2k", 2_000), ("1e3", 1_000), ("5T", 5 * 10**12), ("1Ti", 2**40), ("2000m", 2)],
)
def test_amounts_have_all_suffixes_of_kubernetes(text: str, units: int) -> None:
    node = a_node({GPU: "2", "gpu.intel.com/memory.max": text})

    assert dict(node.capacity) == {GPU: 2, "gpu.intel.com/memory.max": units}


@pytest.mark.parametrize("text", ["0", "2Gi", "-5", "much"])
def test_declared_memory_that_is_none_is_named_and_holds_nothing(text: str) -> None:
    holds, (note,) = holds_of(pod_facts(a_pod({"gpu-memory": text})), a_node({GPU: "2"}))

    assert holds == ()
    assert note.kind == "unknown_share"
    assert repr(text) in note.detail


@pytest.mark.parametrize(
    "text", ["{broken", "[]", json.dumps({"name": "mig-1g.5gb"}), json.dumps({"gpuamount": 1})]
)
def test_an_instance_that_is_not_named_is_no_silence(text: str) -> None:
    holds, (note,) = holds_of(pod_facts(a_pod({"runai-mig-device": text})), a_node({GPU: "2"}))

    assert holds == ()
    assert (note.kind, note.subject) == ("unknown_share", "search/part")


def test_a_fraction_counts_where_the_instance_is_not_named() -> None:
    said = {"runai-mig-device": "{}", "gpu-fraction": "0.25"}

    (hold,), notes = holds_of(pod_facts(a_pod(said)), a_node({GPU: "2"}))

    assert notes == ()
    assert Fraction(hold.share_num, hold.share_den) == Fraction(1, 4)
