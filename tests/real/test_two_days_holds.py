"""Two days from a real Prometheus: who held what, with the watch and without, beside the truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from app.simulator.hardware import Node
from app.simulator.pods import GPU_RESOURCE, Pod
from app.simulator.truth import TrueHold
from app.units.window import HOUR_MS, Window
from app.usage.identity import hold_id, node_id
from app.usage.kinds import UsageFlag
from tests.real.two_days import (
    SCRAPE_MS,
    UNWATCHED,
    WATCHED,
    WINDOW,
    TwoDays,
    scrapes_of_kube_state,
    uid_of,
)

pytestmark = pytest.mark.xdist_group("two days")


@dataclass(frozen=True, slots=True)
class Held:
    """A hold inside an hour, with what is unsure of its edges."""

    start_ms: int
    end_ms: int
    held_ms: int
    start_unsure_ms: int = 0
    end_unsure_ms: int = 0
    flags: int = 0


def true_holds(two: TwoDays) -> Iterator[tuple[TrueHold, Window, Held]]:
    """Yield what each pod held in each hour."""
    for hold in two.fleet.truth.holds:
        for hour in WINDOW.hours():
            held_ms = hold.inside(hour.start_ms, hour.end_ms)
            if held_ms:
                low, high = max(hold.start_ms, hour.start_ms), min(hold.end_ms, hour.end_ms)
                yield hold, hour, Held(low, high, held_ms)


def stored_holds(two: TwoDays, cluster: str) -> dict[tuple[str, int], Held]:
    """Return the stored rows by pod UID and hour."""
    pods = {
        hold_id(cluster, one.pod_uid, GPU_RESOURCE): one.pod_uid for one in two.fleet.truth.holds
    }
    _, usage = two.usage(cluster)
    return {
        (pods[row.hold_id], row.window_start_ms): Held(
            row.start_ms,
            row.end_ms,
            row.held_ms,
            row.start_unsure_ms,
            row.end_unsure_ms,
            row.flags & (UsageFlag.OVERSUBSCRIBED | UsageFlag.EDGE_CUT | UsageFlag.END_LOST),
        )
        for row in usage.itertuples()
    }


def silences(two: TwoDays) -> list[tuple[int, int]]:
    """Return the scrapes of kube-state-metrics between which it was silent for too long."""
    return [
        (low, high)
        for low, high in pairwise(scrapes_of_kube_state(two.fleet).tolist())
        if high - low > 2 * SCRAPE_MS
    ]


def test_held_time_is_exact_to_the_second_with_the_watch(two: TwoDays) -> None:
    expected = {(hold.pod_uid, hour.start_ms): held for hold, hour, held in true_holds(two)}

    assert stored_holds(two, WATCHED) == expected
    brief = [
        hold
        for hold, _, held in true_holds(two)
        if hold.end_ms - hold.start_ms < SCRAPE_MS and held.held_ms
    ]
    assert len(brief) > 10


def test_held_time_is_within_the_stated_uncertainty_without_the_watch(two: TwoDays) -> None:
    truth = {hold.pod_uid: hold for hold in two.fleet.truth.holds}
    unsure, lost = 0, set[str]()
    for (pod_uid, hour_ms), held in stored_holds(two, UNWATCHED).items():
        hold = truth[pod_uid]
        low, high = (
            min(max(at, hour_ms), hour_ms + HOUR_MS) for at in (hold.start_ms, hold.end_ms)
        )
        if held.flags & UsageFlag.END_LOST:
            # Nobody looked when it ended: it is held up to the last evidence, then unobserved.
            assert held.end_ms <= high
            lost.add(pod_uid)
            high = held.end_ms
        assert held.start_ms <= low <= held.start_ms + held.start_unsure_ms, hold.pod
        assert held.end_ms - held.end_unsure_ms <= high <= held.end_ms, hold.pod
        slack_ms = held.start_unsure_ms + held.end_unsure_ms
        off_ms = held.held_ms - len(hold.devices) * (high - low)
        assert 0 <= off_ms <= len(hold.devices) * slack_ms, hold.pod
        # An edge is unknown by the time between two scrapes, of which one may be missing.
        assert slack_ms <= 2 * (SCRAPE_MS + 100)
        unsure += slack_ms > 0
    assert unsure > 5
    assert lost == {
        pod.uid
        for low_ms, high_ms in silences(two)
        for pod in two.fleet.pods
        if pod.devices and low_ms < pod.finished_ms <= pod.removed_ms < high_ms
    }
    assert lost


def test_only_pods_between_two_scrapes_escape_without_the_watch(two: TwoDays) -> None:
    stored = stored_holds(two, UNWATCHED)
    seen = {pod_uid for pod_uid, _ in stored}
    times = scrapes_of_kube_state(two.fleet)
    pods: dict[str, Pod] = {pod.uid: pod for pod in two.fleet.pods}

    missed = {hold.pod_uid for hold, _, _ in true_holds(two) if hold.pod_uid not in seen}

    assert missed
    for pod_uid in missed:
        pod = pods[pod_uid]
        assert not ((times >= pod.scheduled_ms) & (times < pod.removed_ms)).any(), pod.name
    for hold, hour, _ in true_holds(two):
        assert hold.pod_uid in missed or (hold.pod_uid, hour.start_ms) in stored


def seen_end_ms(two: TwoDays, node: Node) -> int:
    """Return when a node's deletion is seen: by the next scrape, else at its last evidence."""
    low, high = next(
        pair
        for pair in pairwise(scrapes_of_kube_state(two.fleet).tolist())
        if pair[0] < node.deleted_ms <= pair[1]
    )
    return low if (low, high) in silences(two) else high


@pytest.mark.parametrize("cluster", [WATCHED, UNWATCHED])
def test_capacity_is_that_of_the_machines_while_they_were_there(two: TwoDays, cluster: str) -> None:
    pools, _ = two.usage(cluster)
    nodes = {node_id(cluster, uid_of(cluster, node)): node for node in two.fleet.nodes}
    pools = pools.assign(ms=pools["devices"] * (pools["end_ms"] - pools["start_ms"]))
    found = pools.groupby(["node_id", "window_start_ms"])["ms"].sum().to_dict()

    for identity, node in nodes.items():
        for hour in WINDOW.hours():
            true_ms = two.fleet.truth.capacity_ms(hour.start_ms, hour.end_ms)[node.name]
            ms = found.pop((identity, hour.start_ms), 0)
            if cluster == UNWATCHED and hour.start_ms <= node.deleted_ms < hour.end_ms:
                true_ms = node.devices * (seen_end_ms(two, node) - hour.start_ms)
            assert ms == true_ms, (node.name, hour.start)
    assert not found
