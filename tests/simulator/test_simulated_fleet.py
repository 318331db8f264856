import itertools
from collections import defaultdict

import pytest

from app.simulator.fleet import Fleet
from app.simulator.hardware import QUIET_POOL
from app.simulator.pods import Outcome, Profile
from app.simulator.population import services_of
from app.simulator.spec import OPEN_MS, SECOND_MS, FleetSpec, SpecError, benchmark_spec
from tests.simulator.small import MONDAY_MS, day_fleet, small_fleet, small_spec


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return day_fleet()


def test_the_same_spec_gives_the_same_fleet() -> None:
    assert Fleet.build(small_spec()).pods == Fleet.build(small_spec()).pods


def test_another_seed_gives_another_fleet() -> None:
    assert small_fleet(seed=3).pods != small_fleet(seed=4).pods


@pytest.mark.parametrize("seed", range(12))
def test_no_device_is_held_twice_at_an_instant(seed: int) -> None:
    held = defaultdict(list)
    for hold in small_fleet(seed=seed).truth.holds:
        for device in hold.device_uuids:
            held[device].append((hold.start_ms, hold.end_ms))

    for spans in held.values():
        spans.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert len(held) > 4


@pytest.mark.parametrize("seed", range(12))
def test_the_instants_of_a_pod_are_in_order_and_whole_seconds(seed: int) -> None:
    for pod in small_fleet(seed=seed).pods:
        order = [pod.created_ms, pod.scheduled_ms, pod.started_ms, pod.finished_ms, pod.removed_ms]
        assert order == sorted(order), pod
        assert all(at % SECOND_MS == 0 for at in order)
        if pod.delete_requested_ms < OPEN_MS:
            assert pod.scheduled_ms <= pod.delete_requested_ms <= pod.finished_ms
            assert pod.finished_ms <= pod.delete_requested_ms + pod.grace_seconds * SECOND_MS


@pytest.mark.parametrize("seed", range(12))
def test_a_hold_lies_inside_its_node_and_after_its_devices_were_advertised(seed: int) -> None:
    fleet = small_fleet(seed=seed)
    nodes = {node.uid: node for node in fleet.nodes}

    for hold in fleet.truth.holds:
        node = nodes[hold.node_uid]
        assert node.advertised_ms <= hold.start_ms
        assert hold.end_ms <= node.deleted_ms
        assert hold.start_ms < hold.end_ms


@pytest.mark.parametrize("seed", range(12))
def test_the_runs_of_a_pod_follow_one_another_and_end_with_it(seed: int) -> None:
    for pod in small_fleet(seed=seed).pods:
        for run in pod.runs:
            assert run.start_ms <= run.serving_ms <= run.end_ms
        for before, after in zip(pod.runs, pod.runs[1:], strict=False):
            assert before.serving_ms < before.end_ms < after.start_ms
        if pod.runs:
            assert pod.started_ms <= pod.runs[0].start_ms
            assert pod.runs[-1].end_ms == pod.finished_ms


def test_a_day_has_everything_that_hurts_a_ledger(fleet: Fleet) -> None:
    pods, holds = fleet.pods, fleet.truth.holds

    short = [h for h in holds if h.end_ms - h.start_ms < fleet.spec.scrape_ms]
    assert len(short) > 20
    assert {pod.outcome for pod in pods} == set(Outcome)
    assert {pod.profile for pod in pods} == set(Profile)
    assert {h.workload_kind for h in holds} >= {"Deployment", "Job", "CronJob", "StatefulSet"}
    assert any(hold.namespace == "sandbox" for hold in holds)
    assert any(node.created_ms > fleet.spec.start_ms for node in fleet.nodes)
    assert any(node.deleted_ms < fleet.spec.end_ms for node in fleet.nodes)
    assert {len(node.counts()) for node in fleet.nodes} == {1, 3}
    assert len({node.shape.product for node in fleet.nodes}) == 4
    assert len({node.shape.capacity_type for node in fleet.nodes}) == 3
    assert {outage.target == "" for outage in fleet.outages} == {True, False}
    assert len(fleet.truth.restarts()) > 10


def test_a_drained_pod_of_a_service_is_replaced_elsewhere() -> None:
    fleet = Fleet.build(FleetSpec(start_ms=MONDAY_MS, hours=24, nodes=3, services=3))
    moved = [
        pod
        for pod in fleet.pods
        if pod.node is not None
        and pod.delete_requested_ms == pod.node.drain_ms < OPEN_MS
        and pod.profile is not Profile.TRAINING
    ]

    assert moved
    for pod in moved:
        successors = [
            other
            for other in fleet.pods
            if other.namespace == pod.namespace
            and pod.delete_requested_ms < other.created_ms <= pod.delete_requested_ms + SECOND_MS
        ]
        assert [other.node != pod.node for other in successors] == [True]


def test_a_rollout_replaces_every_pod_of_a_service(fleet: Fleet) -> None:
    rolled = services_of(fleet.spec)[0]
    generations = defaultdict(list)
    for pod in fleet.pods:
        if pod.service == rolled and pod.owner is not None:
            generations[pod.owner.name].append(pod)

    assert sorted(map(len, generations.values())) == [rolled.replicas, rolled.replicas]


def test_the_quiet_pool_stays_mostly_unallocated(fleet: Fleet) -> None:
    start, end = fleet.spec.start_ms, fleet.spec.end_ms
    quiet = [node for node in fleet.nodes if node.shape.pool == QUIET_POOL]
    capacity = sum(fleet.truth.capacity_ms(start, end)[node.name] for node in quiet)
    held = sum(h.inside(start, end) for h in fleet.truth.holds if h.node in {n.name for n in quiet})

    assert 0 < held < capacity / 3


def test_the_notebook_holds_its_device_idle_but_for_bursts(fleet: Fleet) -> None:
    start, end = fleet.spec.start_ms, fleet.spec.end_ms
    notebooks = [pod for pod in fleet.pods if pod.profile is Profile.NOTEBOOK]
    active = sum(fleet.truth.active_ms(pod.uid, start, end) for pod in notebooks)
    held = sum(fleet.truth.held_ms(start, end)[pod.uid] for pod in notebooks)

    assert 0 < active < held / 50
    assert any(
        fleet.activity.steps(pod, 0).level.max() > 650  # thousandths
        for pod in notebooks
    )


def test_a_fleet_of_1250_nodes_is_built_with_10000_devices() -> None:
    fleet = Fleet.build(benchmark_spec(start_ms=MONDAY_MS))

    assert sum(node.devices for node in fleet.nodes) == 10_000
    assert sum(pod.service is not None for pod in fleet.pods) == 300
    assert 3_500 < len(fleet.truth.holds) < 4_500


def test_a_fleet_without_nodes_is_refused() -> None:
    with pytest.raises(SpecError, match="nodes of at least 1, not 0"):
        FleetSpec(start_ms=MONDAY_MS, nodes=0)


def test_a_start_inside_a_second_is_refused() -> None:
    with pytest.raises(SpecError, match="whole second"):
        FleetSpec(start_ms=MONDAY_MS + 1)


def test_one_node_with_one_device_is_a_fleet() -> None:
    fleet = Fleet.build(FleetSpec(start_ms=MONDAY_MS, hours=0, minutes=1, nodes=1, gpus_per_node=1))

    assert [node.devices for node in fleet.nodes] == [1]
