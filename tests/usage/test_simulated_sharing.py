"""What the rules read from simulated nodes and pods is what is true of them, in every mode."""

from fractions import Fraction

import pytest

from app.simulator.fleet import Fleet
from app.simulator.hardware import Node
from app.simulator.kubernetes_objects import node_object, pod_object
from app.simulator.modes import Mode
from app.simulator.truth import TrueHold
from app.sources.kubernetes_objects import node_facts, pod_facts
from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import PodHold
from tests.simulator.mixed import BY_NODES, mixed_fleet

SEEDS = range(4)


def counted(node: Node, at_ms: int) -> tuple[int, Fraction, Fraction]:
    """Return the devices that the node shows at an instant, and how many may be held."""
    (count,), notes = pool_counts_of(node_facts(node_object(node, at_ms, 1)))
    assert notes == ()
    return count.devices, count.allocatable, count.compute_allocatable


def read(fleet: Fleet, hold: TrueHold, at_ms: int) -> PodHold:
    """Return what the rules make of a pod and its node as of an instant."""
    node = next(node for node in fleet.nodes if node.uid == hold.node_uid)
    pod = pod_facts(pod_object(fleet.truth.pod(hold.pod_uid), at_ms, 1))
    holds, notes = holds_of(pod, node_facts(node_object(node, at_ms, 1)), seen_ms=at_ms)
    assert notes == ()
    (found,) = holds
    return found


@pytest.mark.parametrize("mode", BY_NODES, ids=lambda mode: mode.value)
def test_what_may_be_held_of_a_node_is_what_its_units_are(mode: Mode) -> None:
    seen = 0
    for seed in SEEDS:
        for node in mixed_fleet(seed=seed, modes=(mode,)).nodes:
            for layout in node.layouts:
                devices, allocatable, compute = counted(node, layout.start_ms)
                assert (allocatable, compute) == (layout.holdable, layout.holdable_compute)
                assert len(layout.devices) <= devices <= node.devices
                seen += 1
    assert seen > 2 * len(SEEDS)


@pytest.mark.parametrize("mode", BY_NODES, ids=lambda mode: mode.value)
def test_what_a_pod_holds_is_what_its_seats_are(mode: Mode) -> None:
    seen = 0
    for seed in SEEDS:
        fleet = mixed_fleet(seed=seed, modes=(mode,))
        for hold in fleet.truth.holds:
            if hold.mode is not mode:
                continue
            for piece in hold.pieces():
                found = read(fleet, hold, piece.start_ms)
                assert Fraction(found.share_num, found.share_den) == piece.share
                assert Fraction(*found.compute_share) == piece.compute
                seen += 1
    assert seen > 2 * len(SEEDS)


def test_a_pod_that_reserves_or_only_looks_holds_nothing() -> None:
    kept = 0
    for seed in SEEDS:
        fleet = mixed_fleet(seed=seed, modes=(Mode.KAI, Mode.INTEL))
        for pod in fleet.pods:
            nobody = pod.placed() and pod.node is not None and pod.node.layouts and not pod.parts
            if not nobody or pod.node is None:
                continue
            node = node_facts(node_object(pod.node, pod.scheduled_ms, 1))
            found = holds_of(pod_facts(pod_object(pod, pod.scheduled_ms, 1)), node)
            assert found == ((), ())
            kept += any(container.requests() for container in pod.containers)
    assert kept > len(SEEDS)
