"""Lets a watch follow a simulated fleet's life at high speed, without missing an instant of it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Engine

from app.errors import GpuledgerError
from app.simulator.clock import VirtualClock
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.kubernetes_events import Event, Resource
from app.simulator.pods import Pod
from app.sources.kubernetes import KubernetesSource, WatchEvent
from app.sources.kubernetes_access import KubernetesSettings
from app.sources.kubernetes_dra_api import DraSource
from app.usage.claims_facts import ClassFacts
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
    watch takes the instant at which it learns of it, and so with claims and slices. So the clock
    stops at every change of them until the watch has it, as if every change were told at once.
    Pods tell their own instants, but have to be known before their node changes: the clock stops a
    moment before that, too.
    """
    source = _FollowedSource(kubernetes.url)
    followed = [one for one in kubernetes.history.events if _is_followed(one)]
    changes = [one for one in followed if one.resource is not Resource.PODS]
    following = _Following(cluster, source, engine, clock, until_ms)
    following.wait(lambda: following.until_ms >= clock())

    streams = ["nodes", "pods"]
    if kubernetes.dra_versions:
        streams += ["resourceclaims", "resourceslices"]

    def sent() -> bool:
        return min(map(kubernetes.delivered_ms, streams)) >= clock()

    def taken(resources: Iterable[Resource]) -> bool:
        told = (one for one in followed if one.at_ms <= clock() and one.resource in resources)
        return all(source.versions[one.resource] >= one.version for one in told)

    while clock() < until_ms:
        # Nobody is left behind: a stream that is opened too late finds its version expired.
        following.wait(sent)
        following.wait(lambda: taken(Resource))
        later = (at for one in changes for at in (one.at_ms - 1, one.at_ms) if at > clock())
        clock.move_to(min(clock() + STEP_MS, until_ms, *later))
        following.wait(lambda: taken(source.versions))
        # What comes together is stored with the instant of the last of it.
        following.wait(lambda: following.changes >= source.told)
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
        self.changes = 0
        self._failures: list[GpuledgerError] = []
        self._counts: list[WatchCounts] = []

        def stop(counts: WatchCounts) -> bool:
            self.until_ms, self.changes = counts.until_ms, counts.events
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


def _is_followed(event: Event) -> bool:
    """Say whether the watch has to have taken an event before time goes on."""
    subject = event.subject
    if isinstance(subject, Pod):
        asks = any(one.requests() for one in subject.containers)
        return bool(asks or subject.claims or subject.annotations)
    return event.resource is not Resource.DEVICE_CLASSES


class _FollowedSource:
    """A Kubernetes source that tells up to which versions its user has taken what it said."""

    def __init__(self, url: str) -> None:
        self._source = KubernetesSource(KubernetesSettings(mode="url", url=url))
        self.versions: dict[Resource, int] = dict.fromkeys(Resource, 0)
        self.told = 0
        self._lock = threading.Lock()

    def list_nodes(self) -> tuple[tuple[NodeFacts, ...], str]:
        return self.listed(Resource.NODES, self._source.list_nodes())

    def list_pods(self) -> tuple[tuple[PodFacts, ...], str]:
        return self.listed(Resource.PODS, self._source.list_pods())

    def watch_nodes(self, resource_version: str) -> Iterator[WatchEvent]:
        return self.followed(Resource.NODES, self._source.watch_nodes(resource_version))

    def watch_pods(self, resource_version: str) -> Iterator[WatchEvent]:
        return self.followed(Resource.PODS, self._source.watch_pods(resource_version))

    def version_of_nodes(self) -> str:
        return self._source.version_of_nodes()

    def version_of_pods(self) -> str:
        return self._source.version_of_pods()

    def dra(self) -> "_FollowedClaims | None":
        source = self._source.dra()
        return None if source is None else _FollowedClaims(self, source)

    def listed(self, resource: Resource, answer: tuple[Any, str]) -> tuple[Any, str]:
        self.versions[resource] = int(answer[1])
        return answer

    def followed(self, resource: Resource, events: Iterator[WatchEvent]) -> Iterator[WatchEvent]:
        for event in events:
            yield event
            # Whoever asks for the next event has noted when this one came.
            self.versions[resource] = int(event.resource_version)
            with self._lock:
                self.told += not event.is_bookmark


class _FollowedClaims:
    """The same of claims and slices."""

    def __init__(self, owner: _FollowedSource, source: DraSource) -> None:
        self._owner = owner
        self._source = source

    def list_claims(self) -> tuple[Any, str]:
        return self._owner.listed(Resource.RESOURCE_CLAIMS, self._source.list_claims())

    def list_slices(self) -> tuple[Any, str]:
        return self._owner.listed(Resource.RESOURCE_SLICES, self._source.list_slices())

    def list_classes(self) -> tuple[ClassFacts, ...]:
        return self._source.list_classes()

    def watch_claims(self, resource_version: str) -> Iterator[WatchEvent]:
        events = self._source.watch_claims(resource_version)
        return self._owner.followed(Resource.RESOURCE_CLAIMS, events)

    def watch_slices(self, resource_version: str) -> Iterator[WatchEvent]:
        events = self._source.watch_slices(resource_version)
        return self._owner.followed(Resource.RESOURCE_SLICES, events)

    def version_of_claims(self) -> str:
        return self._source.version_of_claims()

    def version_of_slices(self) -> str:
        return self._source.version_of_slices()
