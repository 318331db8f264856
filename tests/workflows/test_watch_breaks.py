"""The watch goes on where it broke off, and says for how long it could not look."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.sources.kubernetes import KubernetesRefused
from app.units.window import OPEN_MS
from app.workflows.watch import watch
from tests.real.ports import wait_until
from tests.usage.builders import MINUTE, SECOND, T0
from tests.workflows.api_objects import a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import CLUSTER, Watching, a_source, watching

NO_UID = {"metadata": {"name": "x"}, "spec": a_pod_object()["spec"]}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.put(a_node_object())
        yield server


@pytest.fixture
def watched(server: ApiServer, clock: VirtualClock, database: Engine) -> Iterator[Watching]:
    with watching(server, clock, database) as running:
        yield running


def wait_for_streams(server: ApiServer, streams: int) -> None:
    wait_until(lambda: len(server.opened) >= streams, timeout_seconds=10, what="open streams")


@pytest.mark.parametrize(
    "noise",
    [
        b'{"type":"MODIFIED","object":{"meta',
        b"<html>bad gateway</html>\n",
        b'{"type":"SURPRISE","object":{}}\n',
        b'{"type":"ADDED"}\n',
        json.dumps({"type": "ADDED", "object": NO_UID}).encode() + b"\n",
    ],
    ids=["cut", "html", "unknown", "no object", "no uid"],
)
@pytest.mark.parametrize("collection", ["nodes", "pods"])
def test_a_stream_that_breaks_or_talks_nonsense_is_opened_again_without_loss(
    server: ApiServer, watched: Watching, collection: str, noise: bytes
) -> None:
    server.put(a_pod_object("before"))
    server.put(a_node_object("gpu-2"))
    watched.apply(2)
    wait_for_streams(server, 2)

    server.say_once(collection, noise)
    server.put(a_pod_object("after"))
    server.put(a_node_object("gpu-3"))
    watched.apply(4)
    watched.reach(T0 + MINUTE)

    assert len(server.opened) == 3
    assert server.opened[2][0] == collection
    assert set(watched.holds()) == {"before", "after"}
    assert watched.spans() == [(0, MINUTE)]
    assert server.lists == 2


def test_what_happened_while_the_api_was_down_is_told_afterwards(
    server: ApiServer, clock: VirtualClock, watched: Watching
) -> None:
    server.put(a_pod_object("goes"))
    server.put(a_pod_object("silent"))
    watched.apply(2)
    watched.reach(T0 + MINUTE)

    server.go_down()
    server.remove(a_pod_object("goes", finished_ms=T0 + 2 * MINUTE))
    server.put(a_pod_object("comes", scheduled_ms=T0 + 2 * MINUTE + 5 * SECOND))
    server.remove(a_pod_object("silent"))
    clock.move_to(T0 + 4 * MINUTE)
    server.faults.down = False
    watched.apply(5)
    watched.reach(T0 + 5 * MINUTE)

    holds = watched.holds()
    assert (holds["goes"].end_ms, holds["goes"].end_unsure_ms) == (T0 + 2 * MINUTE, 0)
    assert (holds["comes"].start_ms, holds["comes"].end_ms) == (T0 + 125 * SECOND, OPEN_MS)
    # It went between the last instant at which all was known and the one at which it was told.
    silent = holds["silent"]
    assert (silent.end_ms, silent.end_unsure_ms) == (T0 + 4 * MINUTE, 3 * MINUTE)
    assert watched.spans() == [(0, 5 * MINUTE)]
    assert server.lists == 2


def test_a_forced_deletion_that_is_told_late_still_says_its_instant(
    server: ApiServer, clock: VirtualClock, watched: Watching
) -> None:
    server.put(a_pod_object())
    watched.apply(1)

    server.go_down()
    server.remove(a_pod_object(asked_ms=T0 + 90 * SECOND, grace_seconds=0))
    clock.move_to(T0 + 4 * MINUTE)
    server.faults.down = False
    watched.apply(2)

    hold = watched.holds()["ranker-0"]
    assert (hold.end_ms, hold.end_unsure_ms) == (T0 + 90 * SECOND, 0)


@pytest.mark.parametrize("as_event", [True, False], ids=["event", "status"])
def test_an_expired_version_lists_again_and_leaves_a_gap(
    server: ApiServer, clock: VirtualClock, watched: Watching, *, as_event: bool
) -> None:
    server.put(a_pod_object("stays"))
    server.put(a_pod_object("vanishes"))
    watched.apply(2)
    watched.reach(T0 + 2 * MINUTE)

    server.faults.gone_as_event = as_event
    server.go_down()
    server.remove(a_pod_object("vanishes"))
    server.put(a_pod_object("missed", scheduled_ms=T0 + 5 * MINUTE))
    server.remove(a_pod_object("missed", scheduled_ms=T0 + 5 * MINUTE))
    server.put(a_pod_object("new", scheduled_ms=T0 + 6 * MINUTE))
    server.faults.oldest = server.version + 1
    clock.move_to(T0 + 9 * MINUTE)
    server.faults.down = False
    watched.wait_for(lambda: watched.counts.lists == 2, "the second list")
    watched.reach(T0 + 10 * MINUTE)

    holds = watched.holds()
    assert watched.spans() == [(0, 2 * MINUTE), (9 * MINUTE, 10 * MINUTE)]
    assert set(holds) == {"stays", "vanishes", "new"}
    assert (holds["stays"].end_ms, holds["stays"].end_lost) == (OPEN_MS, False)
    assert (holds["vanishes"].end_ms, holds["vanishes"].end_lost) == (T0 + 2 * MINUTE, True)
    assert (holds["new"].start_ms, holds["new"].end_ms) == (T0 + 6 * MINUTE, OPEN_MS)


def test_a_hold_that_vanishes_lasted_at_least_until_it_was_seen(
    server: ApiServer, clock: VirtualClock, database: Engine
) -> None:
    """The pod was seen after the last instant until which everything is known."""
    with watching(server, clock, database) as watched:
        clock.move_to(T0 + 40 * SECOND)
        server.put(a_pod_object(scheduled_ms=T0 + 10 * SECOND))
        watched.apply(1)
        assert watched.counts.until_ms == T0
    server.remove(a_pod_object(scheduled_ms=T0 + 10 * SECOND))
    clock.move_to(T0 + 10 * MINUTE)

    with watching(server, clock, database) as again:
        hold = again.holds()["ranker-0"]

    assert (hold.end_ms, hold.end_lost) == (T0 + 40 * SECOND, True)


def test_a_watch_that_cannot_list_fails_and_leaves_what_was_stored(
    server: ApiServer, clock: VirtualClock, database: Engine
) -> None:
    with watching(server, clock, database) as watched:
        server.put(a_pod_object())
        watched.apply(1)
        server.go_down()

        with pytest.raises(KubernetesRefused, match="503"):
            watch(
                CLUSTER,
                source=a_source(server),
                engine=database,
                clock=clock,
                stop=lambda _counts: False,
            )

        assert watched.holds()["ranker-0"].end_ms == OPEN_MS
