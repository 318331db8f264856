"""Real nodes and pods: what their devices are, and who holds how much of them."""

import re
from fractions import Fraction

import pytest

from app.sources.kubernetes_json import Json
from app.sources.kubernetes_objects import node_facts, pod_facts, requests_extended
from app.units.window import OPEN_MS
from app.usage.accelerators import slot_of
from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import NodeFacts, PodHold, PoolCount
from app.usage.kinds import Sharing
from app.usage.shares import Slot
from tests.samples.objects import (
    CREATED_MS,
    FOLDER,
    a_node_object,
    bound,
    labels_of,
    one_of,
    text_of,
)

A100 = "node_mig_mixed_a100_4_instances.yaml"
T4 = "node_t4_x2_gfd_labels.yaml"
MIXED = "node_labels_mig_mixed_h100_nvidia_docs.json"
SINGLE = "node_labels_mig_single_nvidia_docs.json"
SLICED = "node_labels_time_slicing_nvidia_docs.txt"
FRACTIONAL = "runai_fractional_pod_2.17.yaml"
RESERVATION = "runai_reservation_pod_2.17.yaml"
RUN_AI_MIG = "runai_mig_pod_1g5gb.yaml"
# Each with the share of a T4 that it declares, whose 15,360 MiB are what the node's label says.
KAI = {
    "kai_gpu_fraction.yaml": Fraction(1, 2),
    "kai_gpu_fraction_init_container.yaml": Fraction(1, 2),
    "kai_gpu_memory.yaml": Fraction(2_000, 15_360),
    "kai_mps.yaml": Fraction(1, 2),
}
HERE = {A100, T4, MIXED, SINGLE, SLICED, FRACTIONAL, RESERVATION, RUN_AI_MIG, *KAI}
H100 = "NVIDIA-H100-80GB-HBM3"


def test_every_object_has_an_expectation() -> None:
    from tests.samples.test_claims_and_slices import HERE as CLAIMS  # noqa: PLC0415 - one list each

    assert {path.name for path in FOLDER.iterdir()} == HERE | CLAIMS


def a_count(node: NodeFacts) -> PoolCount:
    (count,), notes = pool_counts_of(node)
    assert notes == ()
    return count


def a_slot(node: NodeFacts, resource: str) -> Slot:
    slot = slot_of(node, resource)
    assert isinstance(slot, Slot)
    return slot


def a_hold(pod: Json, node: NodeFacts) -> PodHold:
    (hold,), notes = holds_of(bound(pod, node.name), node)
    assert notes == ()
    return hold


def share(hold: PodHold) -> Fraction:
    return Fraction(hold.share_num, hold.share_den)


def test_an_instance_that_is_gone_takes_no_part_of_the_device() -> None:
    node = node_facts(one_of(A100, "Node"))

    count = a_count(node)

    # The kubelet still shows a 3g.20gb, none of them allocatable; three 1g.5gb and a 2g.10gb exist.
    assert dict(node.capacity)["nvidia.com/mig-3g.20gb"] == 1
    assert (count.gpu_model, count.devices) == ("NVIDIA-A100-SXM4-40GB", 1)
    assert count.allocatable == Fraction(5, 7)
    assert count.compute_allocatable == Fraction(5, 7)
    assert a_slot(node, "nvidia.com/mig-1g.5gb").share == Fraction(1, 7)
    assert a_slot(node, "nvidia.com/mig-2g.10gb").share == Fraction(2, 7)


def test_a_pod_of_run_ai_holds_the_instance_that_was_made_for_it() -> None:
    node = node_facts(one_of(A100, "Node"))
    pod = one_of(RUN_AI_MIG, "Pod")

    (hold,), notes = holds_of(pod_facts(pod), node)

    assert notes == ()
    assert requests_extended(pod)
    assert (hold.resource, hold.units) == ("nvidia.com/mig-1g.5gb", 1)
    assert (share(hold), hold.sharing, hold.exclusive) == (Fraction(1, 7), Sharing.MIG, True)
    # Bound 2023-01-19T07:56:49Z, and running still.
    assert (hold.start_ms, hold.start_unsure_ms, hold.end_ms) == (1_674_115_009_000, 0, OPEN_MS)
    assert (hold.workload.kind, hold.workload.name) == ("RunaiJob", "job-2")


def test_two_whole_devices_are_two() -> None:
    node = node_facts(one_of(T4, "Node"))

    count = a_count(node)

    assert (count.gpu_model, count.devices, count.allocatable) == ("Tesla-T4", 2, 2)
    assert a_slot(node, "nvidia.com/gpu").sharing is Sharing.EXCLUSIVE


def test_instances_of_one_device_are_normalized_together() -> None:
    units = {"nvidia.com/mig-1g.10gb": 2, "nvidia.com/mig-2g.20gb": 1, "nvidia.com/mig-3g.40gb": 1}
    node = node_facts(a_node_object("s4124", labels_of(MIXED), {"nvidia.com/gpu": 0, **units}))

    slots = {resource: a_slot(node, resource) for resource in units}
    count = a_count(node)

    # By the larger of compute and memory: 2 × 1/7 + 2/7 + 4/8 = 15/14 of the device.
    assert [slot.share for slot in slots.values()] == [
        Fraction(1, 7) * Fraction(14, 15),
        Fraction(2, 7) * Fraction(14, 15),
        Fraction(4, 8) * Fraction(14, 15),
    ]
    assert [slot.compute for slot in slots.values()] == [
        Fraction(1, 7),
        Fraction(2, 7),
        Fraction(3, 7),
    ]
    assert (count.gpu_model, count.devices, count.allocatable) == (H100, 1, 1)
    assert count.compute_allocatable == 1


def test_a_strategy_alone_divides_nothing() -> None:
    # The single strategy, with MIG off: one whole device.
    node = node_facts(a_node_object("s4124", labels_of(SINGLE), {"nvidia.com/gpu": 1}))

    count = a_count(node)
    slot = a_slot(node, "nvidia.com/gpu")

    assert (count.gpu_model, count.devices, count.allocatable) == (H100, 1, 1)
    assert (slot.share, slot.sharing) == (1, Sharing.EXCLUSIVE)


def described(number: int) -> NodeFacts:
    """Return the node of one of the two descriptions."""
    description = text_of(SLICED).split("Labels:")[number].partition("Allocatable:")[0]
    labels, _, capacity = description.partition("Capacity:")
    return node_facts(
        a_node_object(
            "t4s",
            dict(re.findall(r"(nvidia\.com/\S+)=(\S+)", labels)),
            dict(re.findall(r"(nvidia\.com/\S+):\s+(\d+)", capacity)),
        )
    )


@pytest.mark.parametrize(
    ("number", "resource"), [(1, "nvidia.com/gpu"), (2, "nvidia.com/gpu.shared")]
)
def test_slots_of_time_slicing_are_parts_of_devices(number: int, resource: str) -> None:
    node = described(number)

    count = a_count(node)
    slot = a_slot(node, resource)

    assert dict(node.capacity)[resource] == 16
    assert (count.gpu_model, count.devices, count.allocatable) == ("Tesla-T4", 4, 4)
    assert (slot.share, slot.sharing) == (Fraction(1, 4), Sharing.TIME_SLICING)


@pytest.mark.parametrize("name", sorted(KAI))
def test_a_pod_of_the_kai_scheduler_holds_what_it_declares(name: str) -> None:
    node = node_facts(one_of(T4, "Node"))
    pod = one_of(name, "Pod")

    hold = a_hold(pod, node)

    assert requests_extended(pod)
    assert (share(hold), hold.sharing, hold.exclusive) == (KAI[name], Sharing.FRACTION, False)
    assert (hold.gpu_model, hold.node_uid) == ("Tesla-T4", node.uid)
    assert (hold.start_ms, hold.end_ms) == (CREATED_MS, OPEN_MS)


def test_memory_of_a_device_of_unknown_size_is_no_share() -> None:
    (holds, (note,)) = holds_of(bound(one_of("kai_gpu_memory.yaml", "Pod"), "lost"), None)

    assert holds == ()
    assert (note.kind, note.subject) == ("unknown_share", "default/gpu-sharing")


def test_a_fraction_of_run_ai_is_held_by_its_pod_and_not_by_the_reservation() -> None:
    node = node_facts(one_of(T4, "Node"))
    fraction, reservation = (pod_facts(one_of(name, "Pod")) for name in (FRACTIONAL, RESERVATION))

    (hold,), notes = holds_of(fraction, node)

    assert notes == ()
    assert fraction.node_name == reservation.node_name
    assert (share(hold), hold.sharing, hold.exclusive) == (Fraction(1, 2), Sharing.FRACTION, False)
    # Bound 2024-03-31T09:03:27Z.
    assert hold.start_ms == 1_711_875_807_000
    assert (hold.workload.kind, hold.workload.name) == ("RunaiJob", "frac-1")
    # It requests a whole device in a namespace that is the scheduler's own.
    assert reservation.containers[0].requests == (("nvidia.com/gpu", 1),)
    assert holds_of(reservation, node) == ((), ())
