"""A watch of the hand-written API in a thread, and what it stored."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.sources.kubernetes import KubernetesSource
from app.sources.kubernetes_access import KubernetesSettings
from app.store.inventory import InventoryStore
from app.units.intervals import Spans
from app.usage.inventory import PodHold
from app.workflows.watch import WatchCounts, watch
from tests.real.ports import wait_until
from tests.usage.builders import WINDOW
from tests.workflows.api_server import ApiServer

CLUSTER = "watched"


def a_source(server: ApiServer) -> KubernetesSource:
    return KubernetesSource(KubernetesSettings(mode="url", url=server.url, timeout_seconds=5.0))


class Watching:
    """A running watch: wait for what it did, read what it stored."""

    def __init__(
        self,
        server: ApiServer,
        clock: VirtualClock,
        engine: Engine,
        every_turn: Callable[[int], None] = lambda _until_ms: None,
    ) -> None:
        self.counts = WatchCounts()
        self._every_turn = every_turn
        self.failures: list[Exception] = []
        self._server = server
        self._clock = clock
        self._engine = engine
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def _run(self) -> None:
        try:
            watch(
                CLUSTER,
                source=a_source(self._server),
                engine=self._engine,
                clock=self._clock,
                stop=self._stop,
            )
        except Exception as error:  # noqa: BLE001 told by the thread that waits
            self.failures.append(error)

    def _stop(self, counts: WatchCounts) -> bool:
        self.counts = replace(counts)
        if counts.until_ms:
            self._every_turn(counts.until_ms)
        return self._ended.is_set()

    def start(self) -> None:
        self._thread.start()
        self.wait_for(lambda: self.counts.until_ms > 0, "the first list")

    def end(self) -> None:
        self._ended.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        wait_until(lambda: bool(self.failures) or done(), timeout_seconds=10, what=what)
        assert self.failures == []

    def apply(self, events: int) -> None:
        """Wait until so many changes are stored."""
        self.wait_for(lambda: self.counts.events >= events, f"{events} changes stored")
        assert self.counts.events == events

    def reach(self, at_ms: int) -> None:
        """Move the clock by 15 s or more, and wait until the watch has stored all up to it.

        At the first bookmark the watch asks how far it should be, a later one shows that it is.
        """
        self._clock.move_to(at_ms)

        def reached() -> bool:
            self._server.bookmark()
            return self.counts.until_ms >= at_ms

        self.wait_for(reached, f"the watch reaching {at_ms}")

    def holds(self) -> dict[str, PodHold]:
        with self._engine.connect() as connection:
            store = InventoryStore(connection, CLUSTER)
            return {hold.pod: hold for hold in store.holds.within(WINDOW)}

    def spans(self) -> list[tuple[int, int]]:
        """The watched spans in the window, from its start."""
        with self._engine.connect() as connection:
            watched: Spans = InventoryStore(connection, CLUSTER).watched(WINDOW)
        start = WINDOW.start_ms
        return [
            (low - start, high - start)
            for low, high in zip(watched.start.tolist(), watched.end.tolist(), strict=True)
        ]


@contextmanager
def watching(server: ApiServer, clock: VirtualClock, engine: Engine) -> Iterator[Watching]:
    """Watch until the block ends."""
    running = Watching(server, clock, engine)
    running.start()
    try:
        yield running
    finally:
        running.end()
