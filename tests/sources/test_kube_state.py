"""The inventory from kube-state-metrics against a fleet whose truth is known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec, Outage
from app.sources.catalogue import load_catalogue
from app.sources.kube_state import Inventory, kube_state_inventory
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import OPEN_MS, Window, to_ms
from app.usage.kinds import HoldSource

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
START_MS = to_ms(START)
MINUTE_MS = 60_000
SCRAPE_MS = 30_000
# In the second hour, kube-state-metrics is silent for six minutes.
GAP = Outage(
    start_ms=START_MS + 75 * MINUTE_MS,
    end_ms=START_MS + 81 * MINUTE_MS,
    target="kube-state-metrics",
)
HOURS = [Window(START + timedelta(hours=n), START + timedelta(hours=n + 1)) for n in range(2)]


@dataclass(frozen=True, slots=True)
class Observed:
    fleet: Fleet
    by_hour: dict[Window, Inventory]
    known: Inventory


@pytest.fixture(scope="module", params=[1, 2], ids=["one Prometheus", "two copies"])
def observed(request: pytest.FixtureRequest) -> Observed:
    spec = FleetSpec(
        start_ms=START_MS,
        hours=2,
        nodes=5,
        services=2,
        jobs_per_gpu_hour=0.6,
        outages=(GAP,),
        prometheus_replicas=request.param,
    )
    fleet = Fleet.build(spec)
    catalogue = load_catalogue()
    uids = {(node.name, node.created_ms): node.uid for node in fleet.nodes}
    with SimulatedPrometheus(fleet, lambda: spec.closes_ms) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        by_hour = {
            hour: kube_state_inventory(source, catalogue, hour, scrape_ms=SCRAPE_MS)
            for hour in HOURS
        }
        known = kube_state_inventory(
            source, catalogue, HOURS[0], scrape_ms=SCRAPE_MS, known_nodes=uids
        )
    return Observed(fleet, by_hour, known)


def test_every_hold_lies_within_its_stated_edges(observed: Observed) -> None:
    truth = {hold.pod_uid: hold for hold in observed.fleet.truth.holds}
    for hour, inventory in observed.by_hour.items():
        assert len(inventory.holds) > 10
        for hold in inventory.holds:
            true = truth[hold.pod_uid]
            assert hold.start_ms <= true.start_ms <= hold.start_ms + hold.start_unsure_ms
            if hold.end_ms == OPEN_MS:
                assert true.end_ms > hour.end_ms
            else:
                assert hold.end_ms - hold.end_unsure_ms <= true.end_ms <= hold.end_ms
            assert hold.share_num == len(observed.fleet.truth.pod(hold.pod_uid).devices)
            assert hold.source is HoldSource.KUBE_STATE_METRICS
            assert not hold.end_lost


def test_only_holds_that_no_scrape_could_see_are_missing(observed: Observed) -> None:
    for hour, inventory in observed.by_hour.items():
        found = {hold.pod_uid for hold in inventory.holds}
        for true in observed.fleet.truth.holds:
            overlaps = true.start_ms < hour.end_ms and true.end_ms > hour.start_ms
            pod = observed.fleet.truth.pod(true.pod_uid)
            seen_ms = min(pod.removed_ms, OPEN_MS) - pod.scheduled_ms
            in_gap = pod.scheduled_ms < GAP.end_ms and pod.removed_ms > GAP.start_ms
            if overlaps and seen_ms > 2 * SCRAPE_MS and not in_gap:
                assert true.pod_uid in found


def test_an_end_is_unsure_by_one_scrape_and_by_the_gap_where_there_was_one(
    observed: Observed,
) -> None:
    for inventory in observed.by_hour.values():
        for hold in inventory.holds:
            across = hold.end_ms > GAP.start_ms and hold.start_ms < GAP.end_ms
            limit = SCRAPE_MS + 1_000 + (GAP.end_ms - GAP.start_ms if across else 0)
            assert hold.end_unsure_ms <= limit


def test_scrapes_speak_for_the_time_before_them(observed: Observed) -> None:
    quiet, gap = (observed.by_hour[hour] for hour in HOURS)

    assert quiet.observed.length() == HOURS[0].length_ms
    missing = gap.observed.gaps(HOURS[1].start_ms, HOURS[1].end_ms)
    assert len(missing.start) == 1
    assert GAP.start_ms - SCRAPE_MS <= missing.start[0] <= GAP.start_ms
    # The first scrape after it speaks for two scrapes, no more.
    assert missing.end[0] <= GAP.end_ms
    assert missing.end[0] >= GAP.end_ms - 2 * SCRAPE_MS


def test_nodes_have_their_devices_and_places(observed: Observed) -> None:
    inventory = observed.by_hour[HOURS[0]]
    real = {node.name: node for node in observed.fleet.nodes}
    for span in inventory.nodes:
        node = real[span.node.name]
        assert span.node.created_ms == node.created_ms
        assert span.node.instance_type == node.shape.instance_type
        assert span.node.region == node.shape.region
        assert span.node.provider in {"aws", "gcp"}
        assert span.node.capacity in {(), (("nvidia.com/gpu", node.devices),)}
    assert {span.node.name for span in inventory.nodes} == {
        node.name
        for node in observed.fleet.nodes
        if node.created_ms < HOURS[0].end_ms and node.deleted_ms > HOURS[0].start_ms
    }


def test_spans_of_a_node_follow_each_other_and_show_lost_devices(observed: Observed) -> None:
    allocatable = set()
    for inventory in observed.by_hour.values():
        names = {span.node.name for span in inventory.nodes}
        for name in names:
            spans = [span for span in inventory.nodes if span.node.name == name]
            for before, after in pairwise(spans):
                assert before.end_ms == after.start_ms
        allocatable |= {units for span in inventory.nodes for _, units in span.node.allocatable}
    assert allocatable == {7, 8}


def test_uids_of_nodes_are_taken_from_whoever_knows_them(observed: Observed) -> None:
    made_up = {span.node.uid for span in observed.by_hour[HOURS[0]].nodes}
    real = {node.uid for node in observed.fleet.nodes}

    assert all(uid.startswith("ksm:") for uid in made_up)
    assert {span.node.uid for span in observed.known.nodes} <= real
    assert {hold.node_uid for hold in observed.known.holds} <= real


def test_workloads_are_the_owners_of_the_owners(observed: Observed) -> None:
    kinds = {
        hold.workload.kind for inventory in observed.by_hour.values() for hold in inventory.holds
    }

    assert {"Deployment", "Job"} <= kinds
    assert "ReplicaSet" not in kinds


def test_a_pod_that_comes_back_was_first_ready_when_it_first_was(observed: Observed) -> None:
    for inventory in observed.by_hour.values():
        for hold in inventory.holds:
            runs = observed.fleet.truth.pod(hold.pod_uid).runs
            if hold.ready_ms is not None and hold.start_ms >= START_MS:
                assert hold.ready_ms == runs[0].serving_ms // 1000 * 1000


def test_the_window_is_whole_and_says_what_it_saw(observed: Observed) -> None:
    quiet, gap = (observed.by_hour[hour] for hour in HOURS)

    assert not quiet.partial
    seen = dict(zip(quiet.evidence["family"], quiet.evidence["seen"], strict=True))
    assert seen["pod_requests"] == seen["node_created"] == 120
    assert gap.evidence["seen"].max() < 120
    assert set(quiet.notes["kind"]) == {"alias", "query"}
