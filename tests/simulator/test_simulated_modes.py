from collections import defaultdict
from fractions import Fraction
from itertools import pairwise

import pytest

from app.simulator.fleet import Fleet
from app.simulator.modes import MIG_PROFILES, SHARED_MODES, Mode
from app.simulator.spec import OPEN_MS, SECOND_MS, FleetSpec
from tests.oracle.fleet_inputs import node_keys, oracle_holds, oracle_nodes
from tests.oracle.ledger_oracle import HELD, Span, walk
from tests.simulator.mixed import mixed_fleet, mixed_spec
from tests.simulator.small import MONDAY_MS

SEEDS = range(6)


@pytest.fixture(scope="module")
def fleets() -> list[Fleet]:
    return [mixed_fleet(seed=seed) for seed in SEEDS]


def test_the_same_spec_gives_the_same_mixed_fleet() -> None:
    once, again = mixed_fleet(), mixed_fleet()

    assert (once.nodes, once.pods, once.claims) == (again.nodes, again.pods, again.claims)
    assert once.pods != mixed_fleet(seed=4).pods


def test_nodes_of_whole_devices_are_the_same_beside_shared_ones() -> None:
    mixed, plain = mixed_fleet(), Fleet.build(mixed_spec(modes=()))
    whole = [node for node in mixed.nodes if node.mode is Mode.WHOLE]

    assert tuple(whole) == plain.nodes
    held = [hold for hold in mixed.truth.holds if hold.mode is Mode.WHOLE]
    assert {h.pod_uid: h.parts for h in held} == {h.pod_uid: h.parts for h in plain.truth.holds}


def test_every_mode_has_holders(fleets: list[Fleet]) -> None:
    for fleet in fleets:
        assert {hold.mode for hold in fleet.truth.holds} == {Mode.WHOLE, *SHARED_MODES}


def test_only_slots_of_fewer_replicas_are_more_than_their_device(fleets: list[Fleet]) -> None:
    crowded = 0
    for fleet in fleets:
        parts = defaultdict(list)
        for hold in fleet.truth.holds:
            for part in hold.parts:
                parts[hold.node_uid, part.device, hold.mode].append(part)
        for (_, _, mode), of_device in parts.items():
            for at_ms in sorted({part.start_ms for part in of_device}):
                there = (p.share for p in of_device if p.start_ms <= at_ms < p.end_ms)
                share = sum(there, Fraction(0))
                assert share <= 1 or mode.slotted
                crowded += share > 1
    assert crowded


def test_holders_stay_inside_their_node_and_their_device_is_there(fleets: list[Fleet]) -> None:
    for fleet in fleets:
        nodes = {node.uid: node for node in fleet.nodes}
        for hold in fleet.truth.holds:
            node = nodes[hold.node_uid]
            assert node.advertised_ms <= hold.start_ms < hold.end_ms <= node.deleted_ms
            for part in hold.parts:
                for layout in node.layouts:
                    if layout.start_ms < part.end_ms and part.start_ms < layout.end_ms:
                        assert part.device in layout.devices


def test_every_kind_of_change_happens_to_some_machine(fleets: list[Fleet]) -> None:
    seen = set()
    for fleet in fleets:
        names = [node.name for node in fleet.nodes]
        seen |= {"replaced" for name in names if names.count(name) > 1}
        for node in fleet.nodes:
            for before, after in pairwise(node.layouts):
                seen |= _changes(before, after)
        for claim in fleet.claims:
            last = max(one.end_ms for one in claim.reservations)
            seen |= {"outlived"} if claim.allocations[-1].end_ms > last else set()
            seen |= {"joined"} if len(claim.reservations) > 1 else set()
    assert seen == {
        *("replaced", "cordoned", "lost", "unhealthy", "down", "remade", "replicas"),
        *("outlived", "joined"),
    }


def _changes(before: object, after: object) -> set[str]:
    found = set()
    if after.unschedulable and not before.unschedulable:
        found.add("cordoned")
    if len(after.devices) < len(before.devices):
        found.add("lost")
    if before.units and not after.units and not before.drains:
        found.add("down")
    if after.units and len({u.device for u in after.units}) < len(after.devices):
        found.add("unhealthy")
    if before.drains:
        found.add("remade")
    replicas = [dict(one.labels).get("nvidia.com/gpu.replicas") for one in (before, after)]
    if replicas[0] != replicas[1]:
        found.add("replicas")
    return found


def test_a_spec_without_changes_has_none() -> None:
    fleet = mixed_fleet(mode_changes=False)

    assert {len(node.layouts) for node in fleet.nodes if node.layouts} == {1}
    assert len({node.name for node in fleet.nodes}) == len(fleet.nodes)


def test_instances_of_one_device_are_at_most_the_device() -> None:
    for seed in SEEDS:
        for node in mixed_fleet(seed=seed, modes=(Mode.MIG_SINGLE, Mode.MIG_MIXED)).nodes:
            for layout in node.layouts:
                for device in layout.devices:
                    units = [unit for unit in layout.made if unit.device == device]
                    slices = [MIG_PROFILES[unit.profile] for unit in units]
                    assert sum(one.memory for one in slices) <= 8
                    assert sum(one.compute for one in slices) <= 7
                    assert sum(unit.share for unit in units) <= 1


def test_a_four_and_a_three_share_a_device_between_them_by_their_larger_slices() -> None:
    units = {
        unit.profile: unit
        for seed in range(40)
        for node in mixed_fleet(seed=seed, modes=(Mode.MIG_MIXED,), minutes=2).nodes
        for layout in node.layouts
        if {unit.profile for unit in layout.units} == {"4g.40gb", "3g.40gb"}
        for unit in layout.units
    }

    # 4/7 of the compute and 4/8 of the memory are 15/14 together: each is 14/15 of that.
    assert units["4g.40gb"].share == Fraction(8, 15)
    assert units["3g.40gb"].share == Fraction(7, 15)
    assert units["3g.40gb"].compute == Fraction(3, 7)


@pytest.mark.parametrize("seed", [1, 2])
def test_truth_and_brute_force_agree_on_shared_devices(seed: int) -> None:
    fleet = mixed_fleet(seed=seed, minutes=2, mode_pods_per_node=2.0)
    start, end = fleet.spec.start_ms, fleet.spec.end_ms
    keys = node_keys(fleet.nodes)

    ledger = walk(
        start_ms=start,
        end_ms=end,
        nodes=oracle_nodes(fleet.truth),
        holds=oracle_holds(fleet.truth),
        observed=[Span(start_ms=start, end_ms=end)],
    )

    slotted = {keys[node.uid] for node in fleet.nodes if node.mode.slotted}
    held = defaultdict(Fraction)
    for key, amount in ledger.items():
        if key.state == HELD and key.node not in slotted:
            held[key.hold] += amount.device_ms
    true = fleet.truth.held_ms(start, end)
    on_slots = {hold.pod_uid for hold in fleet.truth.holds if hold.mode.slotted}
    assert {k: ms for k, ms in held.items() if ms} == {
        uid: ms for uid, ms in true.items() if uid not in on_slots
    }
    capacity = sum(
        node.devices * max(0, min(node.deleted_ms, end) - max(node.created_ms, start))
        for node in fleet.nodes
    )
    assert sum(amount.device_ms for amount in ledger.values()) == capacity


def test_active_time_is_that_of_the_share_of_a_busy_device() -> None:
    fleet = mixed_fleet(modes=(Mode.MPS, Mode.HAMI))
    start, end = fleet.spec.start_ms, fleet.spec.end_ms
    shared = [hold for hold in fleet.truth.holds if hold.mode is not Mode.WHOLE]

    active = {hold.pod_uid: fleet.truth.active_ms(hold.pod_uid, start, end) for hold in shared}
    assert any(active.values())
    for hold in shared:
        assert 0 <= active[hold.pod_uid] <= hold.inside(start, end)


def test_a_fleet_may_have_many_nodes_of_a_mode() -> None:
    modes = (Mode.TIME_SLICING,) * 3
    fleet = Fleet.build(FleetSpec(start_ms=MONDAY_MS, hours=1, nodes=1, modes=modes))

    slotted = {node.name for node in fleet.nodes if node.mode is Mode.TIME_SLICING}
    assert len(slotted) == 3
    ends = [hold.end_ms for hold in fleet.truth.holds if hold.mode is Mode.TIME_SLICING]
    assert OPEN_MS in ends
    assert all(end % SECOND_MS == 0 for end in ends)
