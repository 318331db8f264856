"""Follows Dynamic Resource Allocation for the watch: claims and slices into holds and counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from app.sources.kubernetes import KubernetesForbidden
from app.sources.kubernetes_dra_api import DraSource
from app.store.inventory import InventoryStore
from app.units.window import OPEN_MS, from_ms, hour_of
from app.usage.claims import CLAIM_PREFIX
from app.usage.claims_book import ClaimBook
from app.usage.claims_devices import with_listed
from app.usage.claims_facts import ClaimFacts, SliceFacts
from app.usage.claims_lives import Sighting
from app.usage.edges import Edges
from app.usage.inventory import NodeFacts, PodFacts, PodHold, PoolCount
from app.usage.kinds import HoldSource
from app.usage.notes import Note

# How often what is long over is forgotten.
_SETTLE_EVERY_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedClaims:
    """What the lists of DRA said, with the versions to watch from."""

    claims: tuple[ClaimFacts, ...]
    claims_version: str
    slices: tuple[SliceFacts, ...]
    slices_version: str
    # The extended resources by which pods may ask for the devices of a class.
    resources_of_class: Mapping[str, tuple[str, ...]]


def list_claims(source: DraSource) -> ListedClaims:
    """Read claims, slices and classes; raises `KubernetesForbidden` where a right is missing.

    Classes only tell which requests a claim stands behind where the pod itself does not.
    """
    slices, slices_version = source.list_slices()
    try:
        classes = source.list_classes()
    except KubernetesForbidden:
        classes = ()
    claims, claims_version = source.list_claims()
    return ListedClaims(
        claims=claims,
        claims_version=claims_version,
        slices=slices,
        slices_version=slices_version,
        resources_of_class={one.name: one.extended_resources for one in classes},
    )


@dataclass(slots=True)
class ClaimFollower:
    """What is known of a cluster's claims; changes are stored at the end of each batch.

    ``stale_nodes`` are nodes of whose devices a slice told, and when; ``changed_pods`` pods of
    whose requests a claim is known to have taken the place.
    """

    listed: ListedClaims
    book: ClaimBook = field(default_factory=ClaimBook)
    stale_nodes: dict[str, int] = field(default_factory=dict)
    changed_pods: set[str] = field(default_factory=set)
    _extended: dict[str, set[str]] = field(default_factory=dict)
    _nodes_of_slice: dict[str, set[str]] = field(default_factory=dict)
    _replaced: dict[str, frozenset[str]] = field(default_factory=dict)
    _settled_ms: int = 0

    def begin(self, nodes: Iterable[NodeFacts], at_ms: int) -> None:
        """Take the lists as they were read at ``at_ms``."""
        self._settled_ms = at_ms
        for node in nodes:
            self.book.see_node(node)
        for one in self.listed.slices:
            self.see_slice(one, at_ms)
        for claim in self.listed.claims:
            self.see_claim(claim, Sighting(at_ms=at_ms, listed=True))
        self.stale_nodes.clear()
        self.changed_pods.clear()

    def see_slice(self, one: SliceFacts, at_ms: int) -> None:
        """Take a slice as it is."""
        self.book.see_slice(one)
        nodes = {one.node_name, *(device.node_name for device in one.devices)} - {""}
        before = self._nodes_of_slice.get(one.name, set())
        self.stale_nodes |= dict.fromkeys(nodes | before, at_ms)
        self._nodes_of_slice[one.name] = nodes

    def lose_slice(self, name: str, at_ms: int) -> None:
        """Take it that a slice was deleted."""
        self.book.lose_slice(name)
        self.stale_nodes |= dict.fromkeys(self._nodes_of_slice.pop(name, set()), at_ms)

    def see_claim(self, claim: ClaimFacts, seen: Sighting) -> None:
        """Take a claim as it is; one for extended resources takes the place of pods' requests."""
        self.book.see_claim(claim, seen)
        if not claim.extended_resource or claim.allocated is None:
            return
        owner = [] if claim.owner_pod is None else [claim.owner_pod]
        for pod in (*claim.reserved_for, *owner):
            resources = self._extended.setdefault(pod.uid, set())
            for name in claim.classes:
                resources |= set(self.listed.resources_of_class.get(name, ()))
            self.changed_pods.add(pod.uid)

    def see_pod(
        self, pod: PodFacts, node: NodeFacts | None, edges: Edges | None
    ) -> tuple[PodFacts, frozenset[str]]:
        """Take a pod as it is; return it without what claims give it, and these resources."""
        self.book.see_pod(pod, node, edges)
        taken: set[str] = set()
        if pod.extended_resources and self.book.serves(pod.namespace, pod.extended_claim):
            taken = set(pod.extended_resources)
        elif not pod.extended_resources:
            taken = self._extended.get(pod.uid, set())
        return without(pod, frozenset(taken))

    def forget_pod(self, uid: str) -> None:
        """Forget what a pod that is gone asked for."""
        self._extended.pop(uid, None)
        self._replaced.pop(uid, None)

    def counts_with(self, node: NodeFacts, counts: tuple[PoolCount, ...]) -> tuple[PoolCount, ...]:
        """Return a node's device counts together with what its slices list."""
        return with_listed(counts, self.book.devices.on(node.name))

    def take_up(self, store: InventoryStore, pods: Mapping[str, Edges | None], at_ms: int) -> None:
        """Go on with the holds of claims that lasted when the last watch ended.

        ``pods`` are those that are listed. Where the claim of one is gone, what it held by it ended
        with the pod, or else when it was last watched.
        """
        lasting, until_ms = _lasting(store, at_ms), store.watched_until_ms()
        left = self.book.take_up(lasting, until_ms)
        store.holds.put([_ended(hold, pods.get(hold.pod_uid), until_ms) for hold in left])

    def store(self, store: InventoryStore, at_ms: int) -> None:
        """Store what changed in who holds what by claims."""
        holds, notes = self.book.changes()
        store.holds.put(holds)
        store.put_notes([*notes, *self.book.devices.notes], at_ms=at_ms)
        if at_ms - self._settled_ms >= _SETTLE_EVERY_MS:
            self._settled_ms = at_ms
            self.book.settle(at_ms)

    def end_requests(self, store: InventoryStore, pod: PodFacts, taken: frozenset[str]) -> None:
        """End what a pod was thought to hold by requests that a claim has taken the place of.

        Claims of the pod have to be stored before.
        """
        if not taken or self._replaced.get(pod.uid) == taken:
            return
        self._replaced[pod.uid] = taken
        requested = {name for one in pod.containers for name, _ in one.requests} - taken
        keep = requested | self.book.resources_of(pod.uid)
        # At its start: it was never held by request.
        store.holds.end_others(pod.uid, keep, 0)


def without(pod: PodFacts, taken: frozenset[str]) -> tuple[PodFacts, frozenset[str]]:
    """Return a pod without requests of these resources, and the resources."""
    if not taken:
        return pod, taken
    containers = tuple(
        replace(one, requests=tuple(pair for pair in one.requests if pair[0] not in taken))
        for one in pod.containers
    )
    return replace(pod, containers=containers), taken


def end_unreadable(store: InventoryStore, at_ms: int) -> frozenset[str]:
    """End what was held by claims that may not be read any more; return the UIDs of the holders.

    It ends where it was last watched: nobody would see its true end.
    """
    lasting, until_ms = _lasting(store, at_ms), store.watched_until_ms()
    store.holds.put([_ended(hold, None, until_ms) for hold in lasting])
    return frozenset(hold.pod_uid for hold in lasting)


def _lasting(store: InventoryStore, at_ms: int) -> list[PodHold]:
    """Return the open holds by claims."""
    hour = hour_of(from_ms(at_ms))
    return [
        hold
        for hold in store.holds.within(hour, source=HoldSource.WATCH)
        if hold.resource.startswith(CLAIM_PREFIX) and hold.end_ms == OPEN_MS
    ]


def forbidden(cluster: str, reason: str) -> Note:
    """Return the note on a cluster whose claims may not be read."""
    detail = (
        "The API serves claims, but may not be asked for them; what pods hold by claims is not "
        "known. Grant list and watch on resourceclaims and resourceslices and list on "
        f"deviceclasses of resource.k8s.io (deploy/kubernetes/rbac.yaml). {reason}"
    )
    return Note("dra_forbidden", cluster, 1, detail)


def _ended(hold: PodHold, edges: Edges | None, until_ms: int) -> PodHold:
    """Return a hold whose claim was gone when everything was listed again."""
    if edges is not None and edges.end_ms != OPEN_MS:
        end_ms = max(hold.start_ms, edges.end_ms)
        unsure_ms = min(edges.end_unsure_ms, end_ms - hold.start_ms)
        return replace(hold, end_ms=end_ms, end_unsure_ms=unsure_ms)
    return replace(hold, end_ms=max(hold.start_ms, until_ms), end_lost=True)
