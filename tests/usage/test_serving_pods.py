"""What is read from a hold's labels: names of models, role, engine, the earliest birth."""

from dataclasses import replace

import pytest

from app.units.window import OPEN_MS
from app.usage.identity import workload_id
from app.usage.inventory import PodHold
from app.usage.models import ModelEntry
from app.usage.serving_pods import (
    CONTAINERS_STARTED,
    ENGINE,
    LORA_ADAPTERS,
    SERVED_MODELS,
    entries_of,
    serving_pods,
)
from tests.usage.builders import MINUTE, SECOND, T0, WORKLOAD


def a_pod_hold(**labels: str) -> PodHold:
    return PodHold(
        pod_uid="uid-1",
        namespace="search",
        pod="ranker-0",
        node_uid="n",
        node_name="node-1",
        gpu_model="H100",
        resource="nvidia.com/gpu",
        units=1,
        share_num=1,
        share_den=1,
        exclusive=True,
        workload=WORKLOAD,
        labels=tuple(labels.items()),
        start_ms=T0,
        scheduled_ms=T0,
    )


def test_a_pod_is_one_however_many_holds_it_has() -> None:
    hold = a_pod_hold()
    mig = replace(hold, resource="nvidia.com/mig-1g.10gb", start_ms=T0 + SECOND, end_ms=T0 + MINUTE)

    (pod,) = serving_pods("prod", [mig, hold])
    assert (pod.namespace, pod.pod, pod.start_ms, pod.end_ms) == ("search", "ranker-0", T0, OPEN_MS)
    assert pod.workload_id == workload_id("prod", WORKLOAD)
    assert (pod.models, pod.role, pod.engine) == ((), "", "")


def test_the_label_of_a_platform_team_names_the_model_before_all_others() -> None:
    hold = a_pod_hold(
        **{
            SERVED_MODELS: "b\nc",
            LORA_ADAPTERS: "sql",
            ENGINE: "vllm",
            "gpuledger.io/model": "a",
            "model.aibrix.ai/name": "d",
        }
    )

    (pod,) = serving_pods("prod", [hold])
    assert (pod.models, pod.adapters, pod.engine) == (("a", "b", "c", "d"), ("sql",), "vllm")
    assert entries_of([pod, pod]) == (
        ModelEntry(name="a", aliases=("b", "c", "d"), adapters=("sql",)),
    )


@pytest.mark.parametrize(
    ("label", "value", "role"),
    [
        ("gpuledger.io/role", "prefill", "prefill"),
        ("llm-d.ai/role", "prefill", "prefill"),
        ("llm_d_ai_role", "decode", "decode"),
        ("nvidia.com/dynamo-component-type", "decode", "decode"),
        ("nvidia.com/dynamo-sub-component-type", "prefill", "prefill"),
        ("llm-d.ai/role", "both", ""),
        ("role-name", "worker", ""),
    ],
)
def test_the_role_is_told_by_labels(label: str, value: str, role: str) -> None:
    (pod,) = serving_pods("prod", [a_pod_hold(**{label: value})])

    assert pod.role == role


def test_an_older_component_type_does_not_hide_the_sub_component() -> None:
    labels = {
        "nvidia.com/dynamo-component-type": "worker",
        "nvidia.com/dynamo-sub-component-type": "decode",
    }

    (pod,) = serving_pods("prod", [a_pod_hold(**labels)])
    assert pod.role == "decode"


def test_a_pod_is_born_with_its_first_container_else_when_it_is_bound() -> None:
    hold = a_pod_hold()
    started = replace(hold, labels=((CONTAINERS_STARTED, str(T0 + MINUTE)),))

    assert [pod.born_ms for pod in serving_pods("prod", [hold])] == [T0]
    assert [pod.born_ms for pod in serving_pods("prod", [started])] == [T0 + MINUTE]
    later = replace(started, start_ms=T0 + SECOND, labels=((CONTAINERS_STARTED, str(T0 + SECOND)),))
    assert [pod.born_ms for pod in serving_pods("prod", [started, later])] == [T0 + SECOND]


def test_a_beginning_that_is_not_known_exactly_is_no_birth() -> None:
    unsure = replace(a_pod_hold(), start_unsure_ms=SECOND)
    untold = replace(a_pod_hold(), scheduled_ms=None)

    assert [pod.born_ms for pod in serving_pods("prod", [unsure])] == [None]
    assert [pod.born_ms for pod in serving_pods("prod", [untold])] == [None]


def test_labels_that_unite_a_service_are_told_as_prometheus_writes_them() -> None:
    (pod,) = serving_pods("prod", [a_pod_hold(**{"ray.io/cluster": "llm", "app": "x"})])

    assert pod.united_by == (("ray_io_cluster", "llm"),)
