"""The watch keeps every hold from its first second to its last, however a pod ends."""

from collections.abc import Iterator

import pytest

from app.simulator.clock import VirtualClock
from app.units.window import OPEN_MS
from tests.usage.builders import MINUTE, SECOND, T0
from tests.workflows.api_objects import a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import Watching


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.put(a_node_object())
        yield server


def span(watch: Watching, pod: str = "ranker-0") -> tuple[int, int, int]:
    """Start and end of a hold after the hour's start, and how unsure the end is."""
    hold = watch.holds()[pod]
    end = hold.end_ms if hold.end_ms == OPEN_MS else hold.end_ms - T0
    return hold.start_ms - T0, end, hold.end_unsure_ms


def test_a_hold_is_open_while_its_pod_runs(server: ApiServer, watch: Watching) -> None:
    server.put(a_pod_object(scheduled_ms=T0 + 5 * SECOND))
    watch.apply(1)

    assert span(watch) == (5 * SECOND, OPEN_MS, 0)
    assert watch.holds()["ranker-0"].node_uid == "uid-gpu-1"


def test_a_pod_of_20_seconds_between_two_scrapes_is_held_for_20_seconds(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    start, end = T0 + 2 * SECOND, T0 + 22 * SECOND
    clock.move_to(end + 700)
    server.put(a_pod_object(scheduled_ms=start))
    server.remove(a_pod_object(scheduled_ms=start, finished_ms=end))
    watch.apply(2)

    assert span(watch) == (2 * SECOND, 22 * SECOND, 0)


def test_a_pod_deleted_with_grace_ends_with_its_containers(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    asked, finished = T0 + 5 * MINUTE, T0 + 5 * MINUTE + 12 * SECOND
    server.put(a_pod_object())
    watch.apply(1)
    clock.move_to(asked)
    server.put(a_pod_object(asked_ms=asked))
    watch.apply(2)
    assert span(watch) == (0, OPEN_MS, 0)

    clock.move_to(finished + 3 * SECOND)
    # The kubelet's last request leaves no grace, and the API counts it from the first one.
    server.remove(a_pod_object(asked_ms=asked, grace_seconds=0, finished_ms=finished))
    watch.apply(3)

    assert span(watch) == (0, finished - T0, 0)


def test_a_pod_that_was_forced_away_ends_with_the_request(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    asked = T0 + 7 * MINUTE
    server.put(a_pod_object())
    watch.apply(1)

    clock.move_to(asked + 640)
    server.remove(a_pod_object(asked_ms=asked, grace_seconds=0))
    watch.apply(2)

    assert span(watch) == (0, 7 * MINUTE, 0)


def test_a_pod_forced_away_long_after_it_was_asked_to_go_ends_when_it_is_gone(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    """Its node is lost: the object, and with it the devices, stays until somebody forces it."""
    asked, forced = T0 + 5 * MINUTE, T0 + 45 * MINUTE
    server.put(a_pod_object())
    clock.move_to(asked)
    server.put(a_pod_object(asked_ms=asked))
    watch.apply(2)

    clock.move_to(forced)
    server.remove(a_pod_object(asked_ms=asked, grace_seconds=0))
    watch.apply(3)

    assert span(watch) == (0, 45 * MINUTE, 0)


def test_a_pod_deleted_without_a_word_ends_when_the_watch_is_told(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    server.put(a_pod_object())
    watch.apply(1)

    clock.move_to(T0 + 9 * MINUTE + 250)
    server.remove(a_pod_object())
    watch.apply(2)

    assert span(watch) == (0, 9 * MINUTE + 250, 0)


def test_a_pod_that_waits_for_a_node_holds_nothing(server: ApiServer, watch: Watching) -> None:
    server.put(a_pod_object(scheduled_ms=None))
    server.put(a_pod_object("other"))
    watch.apply(2)

    assert set(watch.holds()) == {"other"}
