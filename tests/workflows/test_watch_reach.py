"""The watch never says that it has seen more than is stored."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.sources.kubernetes import KubernetesUnreachable, WatchEvent
from app.store.inventory import InventoryStore
from app.usage.inventory import NodeFacts, PodFacts
from app.workflows.streams import Seen, Stream, Streams
from app.workflows.watch import WatchCounts, watch
from tests.real.ports import wait_until
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, WINDOW, a_pod
from tests.workflows.api_objects import a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import CLUSTER, Watching, watching


@dataclass
class ScriptedSource:
    """An API that says what a test wrote down; ``version`` is its present one."""

    pods: Callable[[str], Iterator[WatchEvent]] = lambda _version: iter(())
    version: Callable[[], str] = lambda: "50"
    listing: Callable[[], None] = lambda: None

    def list_nodes(self) -> tuple[tuple[NodeFacts, ...], str]:
        return (), "1"

    def list_pods(self) -> tuple[tuple[PodFacts, ...], str]:
        self.listing()
        return (), "1"

    def watch_nodes(self, resource_version: str) -> Iterator[WatchEvent]:
        del resource_version
        return iter(())

    def watch_pods(self, resource_version: str) -> Iterator[WatchEvent]:
        return self.pods(resource_version)

    def version_of_nodes(self) -> str:
        return self.version()

    def version_of_pods(self) -> str:
        return self.version()

    def dra(self) -> None:
        """This API serves no claims."""


def a_bookmark(version: str) -> WatchEvent:
    return WatchEvent(type="BOOKMARK", resource_version=version)


def a_change(version: str, kind: str = "ADDED") -> WatchEvent:
    return WatchEvent(type=kind, resource_version=version, pod=a_pod(f"pod-{version}"))


def said(
    source: ScriptedSource, clock: VirtualClock, count: int, *, crowded: bool = False
) -> list[Seen]:
    """Return the first things that the stream of pods said; crowded, nobody reads them soon."""
    streams = Streams(source, clock, {Stream.PODS: "1"})
    seen: list[Seen] = []
    if crowded:
        wait_until(streams._queue.full, timeout_seconds=10, what="a full queue")

    def enough() -> bool:
        seen.extend(streams.take(at_most=500, wait_seconds=0.01))
        return len(seen) >= count

    try:
        wait_until(enough, timeout_seconds=10, what=f"{count} events")
    finally:
        streams.close()
    return seen[:count]


def test_a_change_is_no_proof_that_all_before_it_was_said(clock: VirtualClock) -> None:
    events = [a_change("10"), a_change("20"), a_bookmark("60")]

    seen = said(ScriptedSource(pods=lambda _: iter(events)), clock, 3)

    assert [one.known_ms for one in seen] == [0, 0, T0]


def test_the_instant_that_is_known_is_the_one_at_which_the_api_was_asked(
    clock: VirtualClock,
) -> None:
    def pods(version: str) -> Iterator[WatchEvent]:
        if version == "1":
            yield a_change("10")
            clock.move_to(T0 + 14 * SECOND)
            yield a_bookmark("60")

    seen = said(ScriptedSource(pods=pods), clock, 2)

    assert [(one.at_ms - T0, one.known_ms) for one in seen] == [(0, 0), (14 * SECOND, T0)]


def test_an_api_that_does_not_tell_its_version_proves_nothing(clock: VirtualClock) -> None:
    def refuse() -> str:
        message = "nobody is there"
        raise KubernetesUnreachable(message)

    events = [a_change("10"), a_bookmark("60")]

    for version in (refuse, lambda: "", lambda: "not-a-number"):
        seen = said(ScriptedSource(pods=lambda _: iter(events), version=version), clock, 2)
        assert [(one.event, one.known_ms) for one in seen] == [(events[0], 0), (events[1], 0)]


def test_after_a_break_everything_is_late_until_the_stream_has_caught_up(
    clock: VirtualClock,
) -> None:
    def pods(version: str) -> Iterator[WatchEvent]:
        if version == "1":
            yield a_change("10")
            clock.move_to(T0 + MINUTE)
            message = "the line is cut"
            raise KubernetesUnreachable(message)
        if version == "10":
            yield a_change("20", "DELETED")
            yield a_change("50", "DELETED")
            yield a_change("60", "DELETED")

    seen = said(ScriptedSource(pods=pods), clock, 4)

    assert [one.late for one in seen] == [False, True, False, False]
    assert [one.known_ms for one in seen] == [0, 0, T0 + MINUTE, 0]


def test_what_waited_behind_a_full_queue_is_late(clock: VirtualClock) -> None:
    crowd = 10_000

    def pods(version: str) -> Iterator[WatchEvent]:
        if version == "1":
            yield from (a_bookmark("10") for _ in range(crowd + 1))
            yield a_change("20", "DELETED")
            yield a_bookmark("60")
            yield a_change("70", "DELETED")

    seen = said(ScriptedSource(pods=pods), clock, crowd + 4, crowded=True)

    assert [one.late for one in seen[crowd:]] == [False, True, False, False]


def test_what_nobody_foresaw_ends_the_watch_instead_of_stopping_it_silently(
    clock: VirtualClock, database: Engine
) -> None:
    def pods(_version: str) -> Iterator[WatchEvent]:
        yield a_change("10")
        message = "a bug"
        raise ZeroDivisionError(message)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        watch(
            CLUSTER,
            source=ScriptedSource(pods=pods),
            engine=database,
            clock=clock,
            stop=lambda _counts: False,
        )


def test_what_came_and_went_before_the_lists_were_read_is_not_said_to_be_seen(
    clock: VirtualClock, database: Engine
) -> None:
    reached: list[int] = []

    def stop(counts: WatchCounts) -> bool:
        reached.append(counts.until_ms)
        return counts.lists > 0

    source = ScriptedSource(listing=lambda: clock.advance(40 * SECOND))
    watch(CLUSTER, source=source, engine=database, clock=clock, stop=stop)

    assert reached[-1] == T0 + 40 * SECOND


def test_a_watch_killed_in_a_backlog_leaves_a_gap_where_the_backlog_was(
    clock: VirtualClock, database: Engine
) -> None:
    with ApiServer() as server:
        server.put(a_node_object())
        with watching(server, clock, database) as watched:
            watched.reach(T0 + MINUTE)
            server.go_down()
            server.put(a_pod_object("first"))
            server.faults.held_back = server.put(a_pod_object("second"))
            server.remove(a_pod_object("second", finished_ms=T0 + 2 * MINUTE))
            clock.move_to(T0 + 4 * MINUTE)
            server.faults.down = False
            watched.apply(1)
            assert watched.spans() == [(0, MINUTE)]
        clock.move_to(T0 + 6 * MINUTE)
        server.faults.held_back = 2**62

        with watching(server, clock, database) as again:
            again.reach(T0 + 7 * MINUTE)
            assert again.spans() == [(0, MINUTE), (6 * MINUTE, 7 * MINUTE)]


class Truth:
    """When each pod came, and whether the watch ever claimed an instant without having it."""

    def __init__(self, engine: Engine) -> None:
        self.came_ms: dict[str, int] = {}
        self.claims = 0
        self.lies: list[tuple[int, set[str]]] = []
        self._engine = engine

    def check(self, until_ms: int) -> None:
        due = {name for name, at_ms in [*self.came_ms.items()] if at_ms <= until_ms}
        with self._engine.connect() as connection:
            store = InventoryStore(connection, CLUSTER)
            stored = {hold.pod for hold in store.holds.within(WINDOW)}
            claimed = store.watched(WINDOW)
        self.claims += 1
        if due - stored or (claimed.end > until_ms).any():
            self.lies.append((until_ms, due - stored))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_the_api_holds_back_the_watch_claims_only_what_is_stored(
    clock: VirtualClock, database: Engine, seed: int
) -> None:
    dice = random.Random(seed)
    truth = Truth(database)
    with ApiServer() as server:
        server.put(a_node_object())
        watched = Watching(server, clock, database, every_turn=truth.check)
        watched.start()
        for number in range(120):
            clock.advance(dice.randrange(1, 20) * SECOND)
            name = f"pod-{number}"
            truth.came_ms[name] = clock()
            server.put(a_pod_object(name, scheduled_ms=clock()))
            match dice.randrange(8):
                case 0:
                    server.faults.held_back = server.version - dice.randrange(4)
                case 1 | 2 | 3:
                    server.faults.held_back = 2**62
                    server.bookmark()
                case 4:
                    server.faults.down = not server.faults.down
            time.sleep(0.01)
        server.faults.down, server.faults.held_back = False, 2**62
        watched.reach(T0 + HOUR)
        watched.end()

    assert truth.lies == []
    assert truth.claims > 10
    assert len(watched.holds()) == 120
