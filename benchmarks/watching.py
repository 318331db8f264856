"""Fills the inventory as it is filled in earnest: the watch follows a simulated API server."""

import threading
import time

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.errors import GpuledgerError
from app.simulator.clock import VirtualClock
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.spec import FleetSpec
from app.sources.kubernetes import KubernetesSource
from app.sources.kubernetes_access import KubernetesSettings
from app.store.engine import engine_of
from app.workflows.watch import WatchCounts, watch
from benchmarks.measuring import BenchmarkError, Stopwatch
from benchmarks.scale import CLUSTER

# Virtual time between two looks of the watch; resource versions expire after 5 minutes of it.
_STEP_MS = 240_000
_LIMIT_SECONDS = 600.0
_PAUSE_SECONDS = 0.005


def watch_fleet(stopwatch: Stopwatch, url: URL, spec: FleetSpec) -> int:
    """Let the watch follow the fleet through its hour; return how many events it stored."""
    fleet = Fleet.build(spec)
    clock = VirtualClock(spec.opens_ms)
    with stopwatch, SimulatedKubernetes(fleet, clock) as kubernetes:
        return _Following(engine_of(url), kubernetes, clock, spec).events()


class _Following:
    """A watch in a thread of its own, whose clock moves on when it has seen all there is."""

    def __init__(
        self, engine: Engine, kubernetes: SimulatedKubernetes, clock: VirtualClock, spec: FleetSpec
    ) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._spec = spec
        self._counts = WatchCounts()
        self._failures: list[GpuledgerError] = []
        source = KubernetesSource(KubernetesSettings(mode="url", url=kubernetes.url))

        def stop(counts: WatchCounts) -> bool:
            self._counts = counts
            return counts.until_ms >= spec.end_ms

        def follow() -> None:
            try:
                watch(CLUSTER, source=source, engine=engine, clock=clock, stop=stop)
            except GpuledgerError as error:
                self._failures.append(error)

        self._thread = threading.Thread(target=follow, name="bench-watch", daemon=True)

    def events(self) -> int:
        """Follow to the end; return how many events were stored."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        self._thread.start()
        while self._thread.is_alive() and time.monotonic() < deadline:
            if self._has_caught_up():
                self._clock.move_to(min(self._clock() + _STEP_MS, self._spec.closes_ms))
            time.sleep(_PAUSE_SECONDS)
        if self._failures:
            raise self._failures[0]
        if self._counts.until_ms < self._spec.end_ms:
            message = "The watch did not reach the end of the hour."
            raise BenchmarkError(message, hint="Try again on a less busy machine.")
        return self._counts.events

    def _has_caught_up(self) -> bool:
        delivered = min(self._kubernetes.delivered_ms(name) for name in ("pods", "nodes"))
        return delivered >= self._clock() and self._counts.until_ms >= self._clock() - _STEP_MS
