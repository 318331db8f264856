"""Follow a cluster's nodes and pods, and keep every hold from the second it began to its last."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy import Engine

from app.sources.kubernetes import WatchEvent
from app.store.inventory import InventoryStore
from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import NodeFacts, PodFacts
from app.workflows.streams import Seen, Stream, Streams, WatchSource

log = logging.getLogger(__name__)

# Events applied in one transaction: enough for a burst, small enough to lose little to a crash.
_BATCH = 500
# How long the loop waits for an event before it looks whether it should stop.
_WAIT_SECONDS = 0.2
# Before everything is listed again: a server that lets versions expire at once is not hammered.
_LIST_PAUSE_SECONDS = 0.2


class ListingSource(WatchSource, Protocol):
    """What a watch needs of the Kubernetes API; the lists come with their resource version."""

    def list_nodes(self) -> tuple[tuple[NodeFacts, ...], str]:
        """Return all nodes."""
        ...

    def list_pods(self) -> tuple[tuple[PodFacts, ...], str]:
        """Return all pods that request an extended resource."""
        ...


@dataclass(slots=True)
class WatchCounts:
    """What a watch did."""

    lists: int = 0
    events: int = 0
    until_ms: int = 0


def watch(
    cluster: str,
    *,
    source: ListingSource,
    engine: Engine,
    clock: Callable[[], int],
    stop: Callable[[WatchCounts], bool],
) -> WatchCounts:
    """Follow ``cluster`` until ``stop`` says so; holds are stored as they change.

    ``clock`` gives the instant in milliseconds since the epoch. What could not be watched, between
    the last sign of life and the next list, is a gap that the collector fills from
    kube-state-metrics.
    """
    counts = WatchCounts()
    while not stop(counts):
        follower = _Follower(cluster, engine, clock)
        versions = follower.begin(source)
        counts.lists += 1
        counts.until_ms = follower.until_ms
        streams = Streams(source, clock, versions)
        try:
            while not stop(counts):
                seen = streams.take(at_most=_BATCH, wait_seconds=_WAIT_SECONDS)
                if not seen:
                    continue
                counts.events += follower.apply(seen)
                counts.until_ms = follower.until_ms
                if any(item.expired for item in seen):
                    log.warning("The watch of %s expired; everything is listed again.", cluster)
                    threading.Event().wait(_LIST_PAUSE_SECONDS)
                    break
        finally:
            streams.close()
    return counts


@dataclass(slots=True)
class _Follower:
    """One span of watching: what is known of nodes and pods, and until when.

    ``known_ms`` is until when each stream has said everything, ``until_ms`` until when both have
    and it is stored. ``homes`` has the node that each pod was bound to, also after it is gone.
    """

    cluster: str
    engine: Engine
    clock: Callable[[], int]
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    pods: dict[str, PodFacts] = field(default_factory=dict)
    homes: dict[str, NodeFacts] = field(default_factory=dict)
    known_ms: dict[Stream, int] = field(default_factory=dict)
    until_ms: int = 0
    span: int = 0

    def begin(self, source: ListingSource) -> dict[Stream, str]:
        """List everything, end what vanished unseen, and open a span of watching.

        The span begins when the lists are read: what came and went before that, they do not show.
        """
        nodes, nodes_version = source.list_nodes()
        pods, pods_version = source.list_pods()
        at_ms = self.clock()
        self.nodes = {node.name: node for node in nodes}
        self.pods = {pod.uid: pod for pod in pods}
        self.known_ms = dict.fromkeys(Stream, at_ms)
        self.until_ms = at_ms
        with self.engine.begin() as connection:
            store = InventoryStore(connection, self.cluster)
            self.span = store.begin_watch(at_ms)
            for node in nodes:
                self._store_node(store, node, at_ms)
            found = [holds_of(pod, self._home_of(pod), seen_ms=at_ms) for pod in pods]
            store.holds.put([hold for holds, _ in found for hold in holds], seen_ms=at_ms)
            store.put_notes([note for _, notes in found for note in notes], at_ms=at_ms)
            store.end_missing(
                at_ms,
                node_uids={node.uid for node in nodes},
                pod_uids={pod.uid for pod in pods},
            )
        return {Stream.NODES: nodes_version, Stream.PODS: pods_version}

    def apply(self, seen: list[Seen]) -> int:
        """Store what was seen, and how far the watch reaches, in one transaction."""
        changes = 0
        with self.engine.begin() as connection:
            store = InventoryStore(connection, self.cluster)
            for item in seen:
                if item.event is not None and not item.event.is_bookmark:
                    self._change(store, item, item.event)
                    changes += 1
                self.known_ms[item.stream] = max(self.known_ms[item.stream], item.known_ms)
            until_ms = min(self.known_ms.values())
            store.extend_watch(self.span, until_ms)
        self.until_ms = until_ms
        return changes

    def _change(self, store: InventoryStore, item: Seen, event: WatchEvent) -> None:
        if event.node is not None:
            self._change_node(store, event.node, item)
        if event.pod is not None:
            self._change_pod(store, event.pod, item)

    def _change_node(self, store: InventoryStore, node: NodeFacts, item: Seen) -> None:
        before = self.nodes.get(node.name)
        if item.event is not None and item.event.is_deletion:
            if before is not None and before.uid == node.uid:
                del self.nodes[node.name]
            store.end_node(node.uid, item.at_ms)
            return
        self.nodes[node.name] = node
        self._store_node(store, node, item.at_ms)
        if before is None or _shown(before) != _shown(node):
            # Holds carry their node's identity and model, and may have come before it.
            for pod in self.pods.values():
                if pod.node_name == node.name:
                    self._store_pod(store, pod, seen_ms=item.at_ms)

    def _change_pod(self, store: InventoryStore, pod: PodFacts, item: Seen) -> None:
        if item.event is None or not item.event.is_deletion:
            self.pods[pod.uid] = pod
            alive_ms = None if item.late else item.at_ms
            self._store_pod(store, pod, seen_ms=item.at_ms, alive_ms=alive_ms)
            return
        before = self.pods.pop(pod.uid, None)
        gone_ms, unsure_ms = item.at_ms, 0
        asked_before = before is not None and before.deletion_ms is not None
        if pod.deletion_grace_seconds == 0 and pod.deletion_ms is not None and not asked_before:
            # Without grace the object goes at the instant of the request. Where an earlier request
            # had left it some, the last one counts the instant from the first.
            gone_ms = min(gone_ms, pod.deletion_ms)
        elif item.late:
            unsure_ms = max(0, gone_ms - self.known_ms[item.stream])
        self._store_pod(store, pod, seen_ms=item.at_ms, gone_ms=gone_ms, unsure_ms=unsure_ms)
        self.homes.pop(pod.uid, None)

    def _store_node(self, store: InventoryStore, node: NodeFacts, at_ms: int) -> None:
        counts, notes = pool_counts_of(node)
        store.put_node(node, counts, at_ms=at_ms)
        store.put_notes(notes, at_ms=at_ms)

    def _store_pod(
        self,
        store: InventoryStore,
        pod: PodFacts,
        *,
        seen_ms: int,
        alive_ms: int | None = None,
        gone_ms: int | None = None,
        unsure_ms: int = 0,
    ) -> None:
        """Store what a pod holds; what came late was seen then and alive at an unknown instant."""
        holds, notes = holds_of(pod, self._home_of(pod), seen_ms=seen_ms, gone_ms=gone_ms)
        for hold in holds:
            late = unsure_ms if hold.end_ms == gone_ms and not hold.end_unsure_ms else 0
            late = min(late, hold.end_ms - hold.start_ms)
            store.put_hold(replace(hold, end_unsure_ms=hold.end_unsure_ms + late), seen_ms=alive_ms)
        store.put_notes(notes, at_ms=seen_ms)

    def _home_of(self, pod: PodFacts) -> NodeFacts | None:
        """Return the node that a pod was bound to, None if it is not known.

        A pod outlives its node for a while, and another node may take the name: that one is the
        pod's only if it was there when the pod was bound.
        """
        node = self.nodes.get(pod.node_name)
        bound_ms = pod.created_ms if pod.scheduled_ms is None else pod.scheduled_ms
        if node is not None and node.created_ms <= bound_ms:
            self.homes[pod.uid] = node
        return self.homes.get(pod.uid)


def _shown(node: NodeFacts) -> tuple[object, ...]:
    """Return what holds take from their node."""
    return (node.uid, node.labels, node.capacity)
