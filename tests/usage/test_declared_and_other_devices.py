"""What pods hold by declaration, and devices of other vendors, by hand."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import ContainerFacts, NodeFacts, PoolCount
from app.usage.kinds import Sharing
from tests.usage.builders import a_node, a_pod
from tests.usage.shared_nodes import count_of, holding_of, node_of, share

A100 = "NVIDIA-A100-SXM4-40GB"
T4 = "Tesla-T4"
PRODUCT, COUNT = "nvidia.com/gpu.product", "nvidia.com/gpu.count"


# -- declared parts ------------------------------------------------------------------------------

REGISTERED = json.dumps(
    [
        {"id": "GPU-a", "count": 10, "devmem": 16000, "devcore": 100, "type": T4, "health": True},
        {"id": "GPU-b", "count": 10, "devmem": 16000, "devcore": 100, "type": T4, "health": True},
    ]
)


def hami_node(register: str = REGISTERED) -> NodeFacts:
    annotations = (("hami.io/node-nvidia-register", register),)
    return node_of({}, {"nvidia.com/gpu": 20}, annotations=annotations)


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"nvidia.com/gpumem": 4000}, Fraction(1, 4)),
        ({"nvidia.com/gpumem": 4000, "nvidia.com/gpucores": 50}, Fraction(1, 2)),
        ({"nvidia.com/gpumem-percentage": 30}, Fraction(3, 10)),
        ({"nvidia.com/gpucores": 50}, Fraction(1)),
        ({}, Fraction(1)),
    ],
)
def test_under_hami_a_share_is_the_larger_of_memory_and_cores(
    quotas: dict[str, int], expected: Fraction
) -> None:
    hold = holding_of(hami_node(), {"nvidia.com/gpu": 1, **quotas})

    assert (share(hold), hold.sharing, hold.gpu_model) == (expected, Sharing.FRACTION, T4)


def test_under_hami_devices_are_those_that_the_node_registers() -> None:
    assert count_of(hami_node()) == PoolCount(gpu_model=T4, devices=2, allocatable_num=2)
    ill = REGISTERED.replace("true", "false", 1)
    assert count_of(hami_node(ill)).allocatable == 1
    old = "GPU-a,10,16000,100,NVIDIA-T4,0,true:GPU-b,10,16000,100,NVIDIA-T4,0,true:"
    assert count_of(hami_node(old)).devices == 2


def test_under_hami_what_was_given_names_the_device() -> None:
    given = {"hami.io/vgpu-devices-allocated": "GPU-b,NVIDIA,8000,30:;"}
    hold = holding_of(hami_node(), {"nvidia.com/gpu": 1, "nvidia.com/gpumem": 8000}, given)

    assert (share(hold), hold.devices) == (Fraction(1, 2), ("GPU-b",))


def test_a_quota_of_unknown_memory_is_no_share() -> None:
    container = ContainerFacts(
        name="main",
        kind="app",
        requests=(("nvidia.com/gpu", 1), ("nvidia.com/gpumem", 4000)),
        finished_ms=None,
    )
    holds, notes = holds_of(a_pod(containers=(container,)), a_node())

    assert holds == ()
    assert [note.kind for note in notes] == ["unknown_share"]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"gpu-fraction": "0.5"}, Fraction(1, 2)),
        ({"gpu-fraction": "0.25", "gpu-fraction-num-devices": "2"}, Fraction(1, 2)),
        ({"gpu-memory": "4000"}, Fraction(1, 4)),
        # As programs write thirds; three of them are the whole device.
        ({"gpu-fraction": "0.3333333333333333"}, Fraction(1, 3)),
        ({"gpu-fraction": "0.33333333333333333333333333"}, Fraction(1, 3)),
    ],
)
def test_a_declared_fraction_is_held_without_a_request(
    annotations: dict[str, str], expected: Fraction
) -> None:
    node = node_of(
        {PRODUCT: T4, COUNT: "2", "nvidia.com/gpu.memory": "16000"}, {"nvidia.com/gpu": 2}
    )
    hold = holding_of(node, {}, annotations)

    assert (share(hold), hold.sharing, hold.gpu_model) == (expected, Sharing.FRACTION, T4)


@pytest.mark.parametrize(
    "text",
    [
        "1.5",
        "-0.5",
        "0",
        "half",
        "nan",
        " ",
        "1/0",
        "1e-999999999",
        "0.000000000000000001",
        "0" * 5000,
    ],
)
def test_a_declared_fraction_that_is_none_is_named(text: str) -> None:
    pod = replace(a_pod(containers=()), annotations=(("gpu-fraction", text),))
    holds, notes = holds_of(pod, a_node())

    assert holds == ()
    assert [note.kind for note in notes] == ["unknown_share"]


@pytest.mark.parametrize(
    "annotations",
    [
        {"gpu-fraction": "0.5", "gpu-fraction-num-devices": "999999999999"},
        {"gpu-memory": "9" * 5000},
    ],
)
def test_amounts_that_nothing_has_are_named(annotations: dict[str, str]) -> None:
    node = node_of({PRODUCT: T4, "nvidia.com/gpu.memory": "16000"}, {"nvidia.com/gpu": 1})
    pod = replace(a_pod(containers=()), annotations=tuple(annotations.items()))

    holds, notes = holds_of(pod, node)

    assert holds == ()
    assert [note.kind for note in notes] == ["unknown_share"]


def test_a_pod_that_reserves_a_gpu_for_fractions_holds_nothing() -> None:
    for namespace in ("kai-resource-reservation", "runai-reservation"):
        assert holds_of(a_pod(namespace=namespace), a_node()) == ((), ())


def test_an_instance_that_was_made_on_demand_is_held() -> None:
    node = node_of({PRODUCT: A100, COUNT: "1"}, {"nvidia.com/mig-1g.5gb": 3})
    device = json.dumps({"name": "nvidia.com/mig-1g.5gb", "gpuamount": 1, "gpuindex": 0})

    assert share(holding_of(node, {}, {"runai-mig-device": device})) == Fraction(1, 7)


def test_a_virtual_gpu_of_aws_is_its_part_of_the_devices() -> None:
    vgpu = "k8s.amazonaws.com/vgpu"
    counted = node_of({PRODUCT: T4, COUNT: "4"}, {vgpu: 20})
    plain = node_of({}, {vgpu: 40}, instance_devices=4)

    assert share(holding_of(counted, {vgpu: 1})) == Fraction(1, 5)
    assert share(holding_of(plain, {vgpu: 1})) == Fraction(1, 10)
    assert count_of(plain).devices == 4


# -- other vendors -------------------------------------------------------------------------------

MI300X = {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}


@pytest.mark.parametrize(
    ("labels", "capacity", "resource", "expected", "devices"),
    [
        (MI300X, {"amd.com/gpu": 8}, "amd.com/gpu", Fraction(1), 8),
        (
            {**MI300X, "amd.com/compute-memory-partition": "cpx_nps4"},
            {"amd.com/gpu": 64},
            "amd.com/gpu",
            Fraction(1, 8),
            8,
        ),
        (
            MI300X,
            {"amd.com/cpx_nps1": 8, "amd.com/spx_nps1": 7},
            "amd.com/cpx_nps1",
            Fraction(1, 8),
            8,
        ),
        (MI300X, {"amd.com/dpx_nps1": 16}, "amd.com/dpx_nps1", Fraction(1, 2), 8),
        ({}, {"gpu.intel.com/i915": 4}, "gpu.intel.com/i915", Fraction(1), 4),
        (
            {"gpu.intel.com/device.count": "2"},
            {"gpu.intel.com/xe": 10},
            "gpu.intel.com/xe",
            Fraction(1, 5),
            2,
        ),
        ({}, {"habana.ai/gaudi": 8}, "habana.ai/gaudi", Fraction(1), 8),
        ({}, {"google.com/tpu": 4}, "google.com/tpu", Fraction(1), 4),
        (
            {},
            {
                "aws.amazon.com/neuron": 16,
                "aws.amazon.com/neurondevice": 16,
                "aws.amazon.com/neuroncore": 32,
            },
            "aws.amazon.com/neuroncore",
            Fraction(1, 2),
            16,
        ),
    ],
)
def test_devices_of_other_vendors(
    labels: dict[str, str],
    capacity: dict[str, int],
    resource: str,
    expected: Fraction,
    devices: int,
) -> None:
    node = node_of(labels, capacity)

    assert share(holding_of(node, {resource: 1})) == expected
    assert (count_of(node).devices, count_of(node).allocatable) == (devices, devices)


def test_models_of_other_vendors_come_from_their_own_labels() -> None:
    def model(labels: dict[str, str], resource: str, instance_type: str = "") -> str:
        return count_of(node_of(labels, {resource: 1}, instance_type=instance_type)).gpu_model

    assert model(MI300X, "amd.com/gpu") == "AMD-Instinct-MI300X-OAM"
    assert model({"gpu.intel.com/product": "Max_1550"}, "gpu.intel.com/xe") == "Intel-Max-1550"
    tpu = {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice"}
    assert model(tpu, "google.com/tpu") == "tpu-v5-lite-podslice"
    assert model({}, "aws.amazon.com/neuron", "trn1.32xlarge") == "AWS-Trainium"
    assert model({}, "habana.ai/gaudi") == "Intel-Gaudi"


def test_a_pod_that_asks_for_devices_and_their_cores_holds_them_once() -> None:
    node = node_of({}, {"aws.amazon.com/neuron": 1, "aws.amazon.com/neuroncore": 2})
    hold = holding_of(node, {"aws.amazon.com/neuron": 1, "aws.amazon.com/neuroncore": 2})

    assert share(hold) == 1


def test_two_vendors_on_one_node_are_two_pools() -> None:
    node = node_of({PRODUCT: T4, COUNT: "1"}, {"nvidia.com/gpu": 1, "gpu.intel.com/i915": 2})
    counts, _ = pool_counts_of(node)

    assert [(one.gpu_model, one.devices) for one in counts] == [("Intel-GPU", 2), (T4, 1)]
