"""What pods hold and nodes have of MIG instances and slots, by hand."""

from dataclasses import replace
from fractions import Fraction

import pytest

from app.usage.holds import pool_counts_of, remembered
from app.usage.inventory import PoolCount
from app.usage.kinds import Sharing
from tests.usage.shared_nodes import compute, count_of, holding_of, node_of, share

A100 = "NVIDIA-A100-SXM4-40GB"
T4 = "Tesla-T4"
PRODUCT, COUNT = "nvidia.com/gpu.product", "nvidia.com/gpu.count"
REPLICAS, STRATEGY = "nvidia.com/gpu.replicas", "nvidia.com/gpu.sharing-strategy"


# -- What nodes of clouds and operators show -----------------------------------------------------

SHARED, MIG = "nvidia.com/gpu.shared", "nvidia.com/mig-1g.5gb"
SLICED = {COUNT: "8", REPLICAS: "4", STRATEGY: "time-slicing"}


@pytest.mark.parametrize(
    ("capacity", "shares", "devices"),
    [
        # Four devices are divided into instances, four into slots.
        ({"nvidia.com/gpu": 16, MIG: 28}, {"nvidia.com/gpu": (1, 4), MIG: (1, 7)}, 8),
        ({SHARED: 16, MIG: 28}, {SHARED: (1, 4), MIG: (1, 7)}, 8),
        # Where slots have a name of their own, what keeps its name is whole.
        ({"nvidia.com/gpu": 4, SHARED: 16}, {"nvidia.com/gpu": (1, 1), SHARED: (1, 4)}, 8),
    ],
)
def test_devices_of_one_node_are_divided_in_several_ways(
    capacity: dict[str, int], shares: dict[str, tuple[int, int]], devices: int
) -> None:
    node = node_of({PRODUCT: A100, **SLICED}, capacity)

    assert {name: share(holding_of(node, {name: 1})) for name in capacity} == {
        name: Fraction(*told) for name, told in shares.items()
    }
    assert (count_of(node).devices, count_of(node).allocatable) == (devices, devices)


@pytest.mark.parametrize(
    ("labels", "gone", "live", "units"),
    [
        ({COUNT: "8", "nvidia.com/mig-1g.5gb.count": "56"}, "nvidia.com/gpu", MIG, 56),
        ({COUNT: "8"}, MIG, "nvidia.com/gpu", 8),
        (SLICED, "nvidia.com/gpu", SHARED, 32),
    ],
)
def test_what_the_kubelet_shows_of_an_earlier_name_is_not_counted_again(
    labels: dict[str, str], gone: str, live: str, units: int
) -> None:
    node = node_of({PRODUCT: A100, **labels}, {gone: 56 if gone == MIG else 8, live: units})
    node = replace(node, allocatable=((gone, 0), (live, units)))

    assert (count_of(node).devices, count_of(node).allocatable) == (8, 8)


def test_unhealthy_devices_beside_instances_stay_devices() -> None:
    node = node_of({PRODUCT: A100, COUNT: "8"}, {"nvidia.com/gpu": 4, MIG: 28})
    node = replace(node, allocatable=(("nvidia.com/gpu", 0), (MIG, 28)))

    assert (count_of(node).devices, count_of(node).allocatable) == (8, 4)


@pytest.mark.parametrize(
    ("labels", "instance_devices"),
    [({}, 1), ({"karpenter.k8s.aws/instance-gpu-count": "1"}, 0)],
)
def test_a_machine_of_one_device_shows_ten_slots_and_no_other_label(
    labels: dict[str, str], instance_devices: int
) -> None:
    node = node_of(labels, {"nvidia.com/gpu": 10}, instance_devices=instance_devices)

    assert (count_of(node).devices, count_of(node).allocatable) == (1, 1)
    assert share(holding_of(node, {"nvidia.com/gpu": 1})) == Fraction(1, 10)


def test_devices_of_a_machine_that_shows_none_can_be_held_by_nobody() -> None:
    node = node_of({}, {"vpc.amazonaws.com/efa": 32}, instance_devices=8)

    assert count_of(node) == PoolCount(gpu_model="unknown", devices=8, allocatable_num=0)


def test_a_product_without_any_instance_is_one_device_at_least() -> None:
    node = node_of({PRODUCT: f"{A100}-MIG-INVALID", COUNT: "0"}, {"nvidia.com/gpu": 0})

    assert count_of(node) == PoolCount(gpu_model=A100, devices=1, allocatable_num=0)


def test_a_device_has_one_instance_with_media_engines() -> None:
    node = node_of({PRODUCT: f"{A100}-MIG-1g.5gb.me", COUNT: "8"}, {"nvidia.com/gpu": 8})

    assert (count_of(node).devices, count_of(node).allocatable) == (8, Fraction(8, 7))


@pytest.mark.parametrize(
    "resource", ["nvidia.com/GA102GL_A10", "nvidia.com/NVIDIA_A10-12Q", "huawei.com/Ascend910"]
)
def test_devices_for_virtual_machines_and_of_unknown_vendors_are_named(resource: str) -> None:
    _, notes = pool_counts_of(node_of({}, {resource: 4}))

    assert [(note.kind, note.quantity) for note in notes] == [("unknown_share", 4)]


@pytest.mark.parametrize("other", ["rdma/hca", "vpc.amazonaws.com/efa", "nvidia.com/hostdev"])
def test_a_node_whose_plugin_is_down_may_show_other_things(other: str) -> None:
    before = node_of({}, {"gpu.intel.com/i915": 10, other: 4})
    down = node_of({}, {"gpu.intel.com/i915": 0, other: 4})

    assert remembered(down, before) == before
    assert remembered(before, down) == before


def test_a_node_whose_labels_went_away_is_divided_as_before() -> None:
    before = node_of({PRODUCT: f"{T4}-SHARED", COUNT: "2", REPLICAS: "4"}, {"nvidia.com/gpu": 8})
    bare, changed = replace(before, labels=()), node_of({}, {"nvidia.com/gpu": 2})

    assert share(holding_of(remembered(bare, before), {"nvidia.com/gpu": 1})) == Fraction(1, 4)
    assert remembered(changed, before) == changed


# -- MIG -----------------------------------------------------------------------------------------


def test_in_the_single_strategy_a_gpu_is_an_instance() -> None:
    node = node_of(
        {PRODUCT: f"{A100}-MIG-1g.5gb", COUNT: "56", "nvidia.com/mig.strategy": "single"},
        {"nvidia.com/gpu": 56},
    )
    hold = holding_of(node, {"nvidia.com/gpu": 2})

    assert (share(hold), hold.units, hold.sharing) == (Fraction(2, 7), 2, Sharing.MIG)
    assert hold.exclusive
    assert hold.gpu_model == A100
    assert (count_of(node).devices, count_of(node).allocatable) == (8, 8)


def test_in_the_single_strategy_the_label_may_count_devices_instead() -> None:
    node = node_of(
        {PRODUCT: f"{A100}-MIG-1g.5gb", COUNT: "8", "nvidia.com/mig.strategy": "single"},
        {"nvidia.com/gpu": 56},
    )

    assert count_of(node).devices == 8


@pytest.mark.parametrize(
    ("profile", "instances", "devices"),
    [("1g.5gb", 14, 2), ("1g.5gb", 15, 3), ("2g.10gb", 24, 8), ("3g.20gb", 16, 8)],
)
def test_instances_stand_on_as_few_devices_as_can_hold_them(
    profile: str, instances: int, devices: int
) -> None:
    node = node_of(
        {PRODUCT: f"{A100}-MIG-{profile}", COUNT: str(instances)}, {"nvidia.com/gpu": instances}
    )

    assert count_of(node).devices == devices


def test_what_no_instance_covers_may_not_be_held() -> None:
    """3 × 1g and one 2g are 3/7 + 2/7 of the device: 2/7 of it are stranded."""
    node = node_of(
        {PRODUCT: A100, COUNT: "1", "nvidia.com/mig.strategy": "mixed", REPLICAS: "0"},
        {"nvidia.com/gpu": 0, "nvidia.com/mig-1g.5gb": 3, "nvidia.com/mig-2g.10gb": 1},
    )

    assert count_of(node) == PoolCount(
        gpu_model=A100, devices=1, allocatable_num=5, allocatable_den=7
    )
    assert share(holding_of(node, {"nvidia.com/mig-2g.10gb": 1})) == Fraction(2, 7)


def test_two_halves_by_memory_leave_a_seventh_of_the_compute() -> None:
    node = node_of({PRODUCT: A100, COUNT: "1"}, {"nvidia.com/mig-3g.20gb": 2})
    hold = holding_of(node, {"nvidia.com/mig-3g.20gb": 1})

    assert (share(hold), compute(hold)) == (Fraction(1, 2), Fraction(3, 7))
    assert count_of(node).allocatable == 1
    assert count_of(node).compute_allocatable == Fraction(6, 7)


def test_instances_that_add_up_to_more_than_the_device_are_normalized_together() -> None:
    """4g is 4/7 by compute, 3g is 1/2 by memory: together 15/14 of the device."""
    node = node_of(
        {PRODUCT: A100, COUNT: "1"}, {"nvidia.com/mig-4g.20gb": 1, "nvidia.com/mig-3g.20gb": 1}
    )
    four, three = (holding_of(node, {f"nvidia.com/mig-{p}.20gb": 1}) for p in ("4g", "3g"))

    assert (share(four), share(three)) == (Fraction(8, 15), Fraction(7, 15))
    assert (compute(four), compute(three)) == (Fraction(4, 7), Fraction(3, 7))
    assert count_of(node).allocatable == 1


def test_whole_gpus_of_a_mixed_node_stand_beside_its_instances() -> None:
    node = node_of(
        {PRODUCT: A100, COUNT: "8", "nvidia.com/mig.strategy": "mixed"},
        {"nvidia.com/gpu": 6, "nvidia.com/mig-1g.5gb": 14},
    )

    assert count_of(node) == PoolCount(gpu_model=A100, devices=8, allocatable_num=8)
    assert share(holding_of(node, {"nvidia.com/gpu": 1})) == 1


def test_a_geometry_that_is_gone_but_still_shown_divides_nothing() -> None:
    node = node_of(
        {
            PRODUCT: A100,
            COUNT: "1",
            "nvidia.com/mig-1g.5gb.count": "3",
            "nvidia.com/mig-2g.10gb.count": "1",
        },
        {"nvidia.com/mig-1g.5gb": 3, "nvidia.com/mig-2g.10gb": 1, "nvidia.com/mig-3g.20gb": 1},
    )
    node = replace(node, allocatable=(("nvidia.com/mig-1g.5gb", 3), ("nvidia.com/mig-2g.10gb", 1)))

    assert share(holding_of(node, {"nvidia.com/mig-1g.5gb": 1})) == Fraction(1, 7)
    assert count_of(node).allocatable == Fraction(5, 7)


def test_a_profile_nobody_knows_strands_its_device_and_leaves_the_others() -> None:
    node = node_of(
        {PRODUCT: A100, COUNT: "2"}, {"nvidia.com/mig-1g.5gb": 7, "nvidia.com/mig-5g.25gb": 1}
    )
    (count,), notes = pool_counts_of(node)

    assert count == PoolCount(gpu_model=A100, devices=2, allocatable_num=1)
    assert [(note.kind, note.quantity) for note in notes] == [("unknown_share", 1)]
    assert "5g.25gb" in notes[0].detail


def test_instances_may_be_shared_by_slots() -> None:
    node = node_of(
        {PRODUCT: A100, COUNT: "1", "nvidia.com/mig-1g.5gb.replicas": "2"},
        {"nvidia.com/mig-1g.5gb.shared": 14},
    )
    hold = holding_of(node, {"nvidia.com/mig-1g.5gb.shared": 1})

    assert (share(hold), hold.sharing, hold.exclusive) == (
        Fraction(1, 14),
        Sharing.SLICED_INSTANCE,
        False,
    )
    assert (count_of(node).devices, count_of(node).allocatable) == (1, 1)


# -- time-slicing and MPS ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "resource"), [(f"{T4}-SHARED", "nvidia.com/gpu"), (T4, "nvidia.com/gpu.shared")]
)
@pytest.mark.parametrize(
    ("strategy", "sharing"),
    [("", Sharing.TIME_SLICING), ("time-slicing", Sharing.TIME_SLICING), ("mps", Sharing.MPS)],
)
def test_a_slot_is_one_of_the_replicas(
    product: str, resource: str, strategy: str, sharing: Sharing
) -> None:
    node = node_of(
        {PRODUCT: product, COUNT: "4", REPLICAS: "4", STRATEGY: strategy}, {resource: 16}
    )
    hold = holding_of(node, {resource: 2})

    assert (share(hold), hold.units, hold.sharing) == (Fraction(1, 2), 2, sharing)
    assert not hold.exclusive
    assert count_of(node) == PoolCount(gpu_model=T4, devices=4, allocatable_num=4)


def test_what_the_node_advertises_wins_over_a_stale_label() -> None:
    node = node_of({PRODUCT: f"{T4}-SHARED", COUNT: "2", REPLICAS: "4"}, {"nvidia.com/gpu": 20})

    assert share(holding_of(node, {"nvidia.com/gpu": 1})) == Fraction(1, 10)


def test_a_replicas_label_without_sharing_divides_nothing() -> None:
    node = node_of(
        {PRODUCT: T4, COUNT: "4", REPLICAS: "4", STRATEGY: "none"}, {"nvidia.com/gpu": 4}
    )

    assert share(holding_of(node, {"nvidia.com/gpu": 1})) == 1
    assert count_of(node).allocatable == 4


def test_more_units_than_devices_are_slots_even_if_no_label_says_so() -> None:
    node = node_of({PRODUCT: T4, COUNT: "2"}, {"nvidia.com/gpu": 8})

    assert share(holding_of(node, {"nvidia.com/gpu": 1})) == Fraction(1, 4)


def test_a_device_that_failed_takes_its_slots_along() -> None:
    node = node_of({PRODUCT: f"{T4}-SHARED", COUNT: "4", REPLICAS: "4"}, {"nvidia.com/gpu": 16})

    assert count_of(replace(node, allocatable=(("nvidia.com/gpu", 12),))).allocatable == 3


def test_gke_tells_sharing_by_labels_of_its_own() -> None:
    shared = node_of(
        {
            "cloud.google.com/gke-accelerator": "nvidia-tesla-t4",
            "cloud.google.com/gke-accelerator-count": "2",
            "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
            "cloud.google.com/gke-max-shared-clients-per-gpu": "5",
        },
        {"nvidia.com/gpu": 10},
    )
    divided = node_of(
        {
            "cloud.google.com/gke-accelerator": "nvidia-tesla-a100",
            "cloud.google.com/gke-accelerator-count": "2",
            "cloud.google.com/gke-gpu-partition-size": "2g.10gb",
        },
        {"nvidia.com/gpu": 6},
    )

    assert share(holding_of(shared, {"nvidia.com/gpu": 1})) == Fraction(1, 5)
    assert share(holding_of(divided, {"nvidia.com/gpu": 1})) == Fraction(2, 7)
    assert count_of(divided).allocatable == Fraction(12, 7)


# -- change --------------------------------------------------------------------------------------


def test_a_node_whose_plugin_is_down_is_remembered_as_it_was() -> None:
    up = node_of({PRODUCT: A100, COUNT: "1"}, {"nvidia.com/mig-3g.20gb": 2})
    down = replace(up, capacity=(("nvidia.com/mig-3g.20gb", 0),))
    other = replace(down, uid="another")

    assert remembered(down, up) is up
    assert remembered(up, down) is up
    assert remembered(other, up) is other
    assert remembered(down, None) is down


def test_a_type_of_machine_tells_its_devices_where_nothing_else_does() -> None:
    node = node_of({PRODUCT: T4, COUNT: "3"}, {"nvidia.com/gpu": 3}, instance_devices=4)

    assert (count_of(node).devices, count_of(node).allocatable) == (4, 3)
