"""Lets a watch follow a simulated fleet's life at high speed, without missing an instant of it."""

import threading
from collections.abc import Callable, Iterator

from sqlalchemy import Engine

from app.errors import GpuledgerError
from app.simulator.clock import VirtualClock
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.kubernetes_events import Resource
from app.sources.kubernetes import KubernetesSource, WatchEvent
from app.sources.kubernetes_access import KubernetesSettings
from app.usage.inventory import NodeFacts, PodFacts
from app.workflows.watch import WatchCounts, watch
from tests.real.ports import wait_until

# Virtual time between two looks; resource versions expire after 5 minutes of it.
STEP_MS = 240_000
_LIMIT_SECONDS = 60.0
# The watch knows that it saw everything until an instant one or two answers later.
_MOST_STEPS_BEYOND = 60
_TAKING_SECONDS = 0.2


def replay(
    cluster: str,
    *,
    kubernetes: SimulatedKubernetes,
    clock: VirtualClock,
    engine: Engine,
    until_ms: int,
) -> WatchCounts:
    """Watch from where the clock stands until ``until_ms``; return what the watch did.

    A node's object does not say since when it shows what it shows, nor when it was deleted: the
    watch takes the instant at which it learns of it. So the clock stops at every change of a node
    until the watch has it, as if every change were told at once. Pods tell their own instants.
    """
    source = _FollowedSource(kubernetes.url)
    changes = [one for one in kubernetes.history.events if one.resource is Resource.NODES]
    following = _Following(cluster, source, engine, clock, until_ms)
    following.wait(lambda: following.until_ms >= clock())

    def sent() -> bool:
        return min(map(kubernetes.delivered_ms, ("nodes", "pods"))) >= clock()

    while clock() < until_ms:
        # Nobody is left behind: a stream that is opened too late finds its version expired.
        following.wait(sent)
        later = (one.at_ms for one in changes if one.at_ms > clock())
        clock.move_to(min(clock() + STEP_MS, until_ms, *later))
        version = max((one.version for one in changes if one.at_ms <= clock()), default=0)
        following.wait(lambda version=version: source.node_version >= version)
        # The watch trails by a step: an answer in the next one proves that nothing is missing here.
        following.wait(lambda: following.until_ms >= clock() - 2 * STEP_MS)
    return following.result(clock, sent)


class _Following:
    """A watch in a thread of its own, until it has reached an instant."""

    def __init__(
        self,
        cluster: str,
        source: "_FollowedSource",
        engine: Engine,
        clock: VirtualClock,
        goal_ms: int,
    ) -> None:
        self.until_ms = 0
        self._failures: list[GpuledgerError] = []
        self._counts: list[WatchCounts] = []

        def stop(counts: WatchCounts) -> bool:
            self.until_ms = counts.until_ms
            return counts.until_ms >= goal_ms

        def follow() -> None:
            try:
                done = watch(cluster, source=source, engine=engine, clock=clock, stop=stop)
                self._counts.append(done)
            except GpuledgerError as error:
                self._failures.append(error)

        self._thread = threading.Thread(target=follow, name=f"watch-{cluster}", daemon=True)
        self._thread.start()

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until something is so; fail at once if the watch broke off."""
        wait_until(
            lambda: done() or not self._thread.is_alive(),
            timeout_seconds=_LIMIT_SECONDS,
            what="the watch following the clock",
        )
        if self._failures:
            raise self._failures[0]

    def result(self, clock: VirtualClock, sent: Callable[[], bool]) -> WatchCounts:
        """Let time pass until the watch knows that it has reached its goal; return what it did."""
        for _ in range(_MOST_STEPS_BEYOND):
            clock.advance(STEP_MS)
            self.wait(sent)
            # What was sent has still to be taken: mostly at once, else a step more does no harm.
            self._thread.join(_TAKING_SECONDS)
            if not self._thread.is_alive():
                self.wait(lambda: True)
                return self._counts[0]
        message = f"The watch did not come to its goal in {_MOST_STEPS_BEYOND} steps more."
        raise AssertionError(message)


class _FollowedSource:
    """A Kubernetes source that tells up to which version its user has taken the nodes."""

    def __init__(self, url: str) -> None:
        self._source = KubernetesSource(KubernetesSettings(mode="url", url=url))
        self.node_version = 0

    def list_nodes(self) -> tuple[tuple[NodeFacts, ...], str]:
        nodes, version = self._source.list_nodes()
        self.node_version = int(version)
        return nodes, version

    def list_pods(self) -> tuple[tuple[PodFacts, ...], str]:
        return self._source.list_pods()

    def watch_nodes(self, resource_version: str) -> Iterator[WatchEvent]:
        for event in self._source.watch_nodes(resource_version):
            yield event
            # Whoever asks for the next event has noted when this one came.
            self.node_version = int(event.resource_version)

    def watch_pods(self, resource_version: str) -> Iterator[WatchEvent]:
        return self._source.watch_pods(resource_version)

    def version_of_nodes(self) -> str:
        return self._source.version_of_nodes()

    def version_of_pods(self) -> str:
        return self._source.version_of_pods()
