"""Follow a cluster's nodes, pods and claims; keep every hold from its first second to its last."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy import Engine

from app.sources.kubernetes import KubernetesForbidden, WatchEvent
from app.sources.kubernetes_dra_api import DraSource
from app.store.inventory import InventoryStore
from app.usage.claims_lives import Sighting
from app.usage.edges import Edges, edges_of
from app.usage.holds import advertises_devices, holds_of, pool_counts_of, remembered
from app.usage.inventory import NodeFacts, PodFacts
from app.usage.notes import Note
from app.usage.nvidia import nvidia_model
from app.usage.products import UNKNOWN_MODEL
from app.workflows.claims import (
    ClaimFollower,
    end_unreadable,
    forbidden,
    list_claims,
    without,
)
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
        """Return all pods that ask for devices."""
        ...

    def dra(self) -> DraSource | None:
        """Return the source of claims; None where the cluster serves none."""
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
        streams = Streams(source, clock, versions, follower.dra)
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

    ``known_ms`` is until when each stream has said everything, ``until_ms`` until when all have
    and it is stored. ``homes`` has the node that each pod was bound to, also after it is gone,
    ``held`` the resources that each pod was seen to hold. ``claims`` is None where none are served
    or may be read; ``hidden`` are pods whose claims were read by an earlier watch.
    """

    cluster: str
    engine: Engine
    clock: Callable[[], int]
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    pods: dict[str, PodFacts] = field(default_factory=dict)
    homes: dict[str, NodeFacts] = field(default_factory=dict)
    held: dict[str, frozenset[str]] = field(default_factory=dict)
    known_ms: dict[Stream, int] = field(default_factory=dict)
    until_ms: int = 0
    span: int = 0
    dra: DraSource | None = None
    claims: ClaimFollower | None = None
    hidden: frozenset[str] = frozenset()

    def begin(self, source: ListingSource) -> dict[Stream, str]:
        """List everything, end what vanished unseen, and open a span of watching.

        The span begins when the lists are read: what came and went before that, they do not show.
        """
        nodes, nodes_version = source.list_nodes()
        pods, pods_version = source.list_pods()
        versions = {Stream.NODES: nodes_version, Stream.PODS: pods_version}
        notes = self._list_claims(source)
        if self.claims is not None:
            versions[Stream.CLAIMS] = self.claims.listed.claims_version
            versions[Stream.SLICES] = self.claims.listed.slices_version
        at_ms = self.clock()
        self.nodes = {node.name: node for node in nodes}
        self.pods = {pod.uid: pod for pod in pods}
        self.known_ms = dict.fromkeys(versions, at_ms)
        self.until_ms = at_ms
        with self.engine.begin() as connection:
            store = InventoryStore(connection, self.cluster)
            self._begin_claims(store, at_ms)
            self.span = store.begin_watch(at_ms)
            store.put_notes(notes, at_ms=at_ms)
            for node in nodes:
                self._store_node(store, node, at_ms)
            self._store_listed(store, pods, at_ms)
            store.end_missing(
                at_ms,
                node_uids={node.uid for node in nodes},
                pod_uids={pod.uid for pod in pods}
                | (self.claims.book.allocated_uids() if self.claims else set()),
            )
        return versions

    def _list_claims(self, source: ListingSource) -> list[Note]:
        """Read what there is of claims; return a note where that is not allowed."""
        self.dra = source.dra()
        if self.dra is None:
            return []
        try:
            self.claims = ClaimFollower(list_claims(self.dra))
        except KubernetesForbidden as error:
            log.warning("The claims of %s may not be read: %s", self.cluster, error)
            return [forbidden(self.cluster, str(error))]
        return []

    def _begin_claims(self, store: InventoryStore, at_ms: int) -> None:
        if self.claims is not None:
            self.claims.begin(self.nodes.values(), at_ms)
            edges = {uid: edges_of(pod, seen_ms=at_ms) for uid, pod in self.pods.items()}
            for pod in self.pods.values():
                self._without_claims(pod, edges[pod.uid])
            self.claims.take_up(store, edges, at_ms)
        elif self.dra is not None:
            self.hidden = end_unreadable(store, at_ms)

    def _store_listed(self, store: InventoryStore, pods: tuple[PodFacts, ...], at_ms: int) -> None:
        """Store what all pods hold in one go; shares that changed unseen changed by now."""
        plain = [(pod, *self._without_claims(pod, edges_of(pod, seen_ms=at_ms))) for pod in pods]
        found = [holds_of(bare, self._home_of(pod), seen_ms=at_ms) for pod, bare, _ in plain]
        holds = [hold for of_pod, _ in found for hold in of_pod]
        untold = {pod.uid for pod in pods if self._is_untold(pod)}
        store.holds.put(holds, seen_ms=at_ms, changed_ms=at_ms, untold=untold)
        store.put_notes([note for _, notes in found for note in notes], at_ms=at_ms)
        for (pod, _, taken), (of_pod, _) in zip(plain, found, strict=True):
            self.held[pod.uid] = frozenset(hold.resource for hold in of_pod) | taken
        if self.claims is not None:
            self.claims.store(store, at_ms)
            for pod, _, taken in plain:
                self.claims.end_requests(store, pod, taken)

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
            self._store_claims(store, max(item.at_ms for item in seen))
            until_ms = min(self.known_ms.values())
            store.extend_watch(self.span, until_ms)
        self.until_ms = until_ms
        return changes

    def _store_claims(self, store: InventoryStore, at_ms: int) -> None:
        """Store what a batch changed in claims, their pods and the devices of nodes."""
        claims = self.claims
        if claims is None:
            return
        for name, told_ms in sorted(claims.stale_nodes.items()):
            if name in self.nodes:
                self._store_node(store, self.nodes[name], told_ms)
        claims.stale_nodes.clear()
        changed = [self.pods[uid] for uid in sorted(claims.changed_pods) if uid in self.pods]
        claims.changed_pods.clear()
        for pod in changed:
            self._store_pod(store, pod, seen_ms=at_ms)
        claims.store(store, at_ms)
        for pod in changed:
            _, taken = self._without_claims(pod, edges_of(pod, seen_ms=at_ms))
            claims.end_requests(store, pod, taken)

    def _change(self, store: InventoryStore, item: Seen, event: WatchEvent) -> None:
        if event.node is not None:
            self._change_node(store, event.node, item)
        if event.pod is not None:
            self._change_pod(store, event.pod, item)
        claims = self.claims
        if claims is not None and event.slice is not None:
            if event.is_deletion:
                claims.lose_slice(event.slice.name, item.at_ms)
            else:
                claims.see_slice(event.slice, item.at_ms)
        if claims is not None and event.claim is not None:
            seen = Sighting(at_ms=item.at_ms, unsure_ms=self._late_ms(item))
            if event.is_deletion:
                claims.book.lose_claim(event.claim.uid, seen)
            else:
                claims.see_claim(event.claim, seen)

    def _late_ms(self, item: Seen) -> int:
        """Return how much earlier something may have happened than it was seen."""
        return max(0, item.at_ms - self.known_ms[item.stream]) if item.late else 0

    def _change_node(self, store: InventoryStore, node: NodeFacts, item: Seen) -> None:
        before = self.nodes.get(node.name)
        if item.event is not None and item.event.is_deletion:
            if before is not None and before.uid == node.uid:
                del self.nodes[node.name]
            store.end_node(node.uid, item.at_ms)
            return
        self._store_node(store, node, item.at_ms)
        # What pods hold is told by what the node showed while it advertised it.
        node = remembered(node, before)
        self.nodes[node.name] = node
        if self.claims is not None:
            self.claims.book.see_node(node)
        if before is None or _shown(before) != _shown(node):
            # Holds carry their node's identity and model, and may have come before it.
            named = before is not None and _is_named_by(before, node)
            for pod in self.pods.values():
                if pod.node_name == node.name:
                    self._store_pod(store, pod, seen_ms=item.at_ms, corrects=named)

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
        else:
            unsure_ms = self._late_ms(item)
        self._store_pod(store, pod, seen_ms=item.at_ms, gone_ms=gone_ms, unsure_ms=unsure_ms)
        self.homes.pop(pod.uid, None)
        self.held.pop(pod.uid, None)
        if self.claims is not None:
            self.claims.forget_pod(pod.uid)

    def _store_node(self, store: InventoryStore, node: NodeFacts, at_ms: int) -> None:
        counts, notes = pool_counts_of(node)
        if self.claims is not None:
            counts = self.claims.counts_with(node, counts)
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
        corrects: bool = False,
    ) -> None:
        """Store what a pod holds; what came late was seen then and alive at an unknown instant.

        With ``corrects`` another share than the stored one is what the pod has had all along.
        """
        edges = edges_of(pod, seen_ms=seen_ms, gone_ms=gone_ms)
        if edges is not None and edges.end_ms == gone_ms and not edges.end_unsure_ms:
            late = min(unsure_ms, edges.end_ms - edges.start_ms)
            edges = replace(edges, end_unsure_ms=late)
        bare, taken = self._without_claims(pod, edges)
        holds, notes = holds_of(bare, self._home_of(pod), seen_ms=seen_ms, gone_ms=gone_ms)
        if edges is not None:
            unsure = edges.end_unsure_ms
            holds = tuple(replace(hold, end_unsure_ms=unsure) for hold in holds)
        untold = {pod.uid} if self._is_untold(pod) else ()
        changed_ms = None if corrects else seen_ms
        store.holds.put(holds, seen_ms=alive_ms, changed_ms=changed_ms, untold=untold)
        store.put_notes(notes, at_ms=seen_ms)
        resources = frozenset(hold.resource for hold in holds)
        if self.held.get(pod.uid, frozenset()) - resources - taken:
            # Resized in place: what it gave back ends.
            kept = self.claims.book.resources_of(pod.uid) if self.claims is not None else set()
            store.holds.end_others(pod.uid, resources | kept, seen_ms)
        self.held[pod.uid] = resources | taken

    def _without_claims(
        self, pod: PodFacts, edges: Edges | None
    ) -> tuple[PodFacts, frozenset[str]]:
        """Tell the claims of a pod; return it without the requests that they take the place of."""
        if self.claims is None:
            taken = pod.extended_resources if pod.uid in self.hidden else ()
            return without(pod, frozenset(taken))
        return self.claims.see_pod(pod, self._home_of(pod), edges)

    def _is_untold(self, pod: PodFacts) -> bool:
        """Say whether a pod's node shows no devices, and did not since it is watched."""
        node = self._home_of(pod)
        return node is not None and not advertises_devices(node)

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


def _is_named_by(before: NodeFacts, node: NodeFacts) -> bool:
    """Say whether something came that tells what a node's devices are, which it showed already."""
    same = (before.uid, before.capacity) == (node.uid, node.capacity)
    labeled = nvidia_model(before) == UNKNOWN_MODEL != nvidia_model(node)
    return same and (labeled or (not before.annotations and bool(node.annotations)))


def _shown(node: NodeFacts) -> tuple[object, ...]:
    """Return what holds take from their node."""
    return (node.uid, node.labels, node.annotations, node.capacity)
