"""The history of a simulated fleet's Kubernetes objects, with resource versions."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from app.simulator.claims import Claim
from app.simulator.dra_objects import (
    VERSIONS,
    DeviceClass,
    SliceOf,
    claim_object,
    class_object,
    slice_object,
    slices_of,
)
from app.simulator.fleet import Fleet
from app.simulator.hardware import Node
from app.simulator.kubernetes_objects import (
    JsonObject,
    node_changes,
    node_object,
    pod_changes,
    pod_object,
)
from app.simulator.mode_claims import GPU_CLASS, MIG_CLASS
from app.simulator.pods import Pod
from app.simulator.spec import OPEN_MS, SECOND_MS

_FIRST_VERSION = 1_000


class Resource(Enum):
    """The watched collections, by their name in a path."""

    PODS = "pods"
    NODES = "nodes"
    RESOURCE_CLAIMS = "resourceclaims"
    RESOURCE_SLICES = "resourceslices"
    DEVICE_CLASSES = "deviceclasses"

    @property
    def kind(self) -> str:
        """What an object of the collection calls itself."""
        return _KINDS[self]


_KINDS = {
    Resource.PODS: "Pod",
    Resource.NODES: "Node",
    Resource.RESOURCE_CLAIMS: "ResourceClaim",
    Resource.RESOURCE_SLICES: "ResourceSlice",
    Resource.DEVICE_CLASSES: "DeviceClass",
}
Subject = Pod | Node | Claim | SliceOf | DeviceClass


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one object: ``ADDED``, ``MODIFIED`` or ``DELETED``."""

    at_ms: int
    resource: Resource
    kind: str
    subject: Subject
    version: int = 0

    def object(self, api: str = VERSIONS[0]) -> JsonObject:
        """Return the object as the event carries it; ``api`` is the version of its group."""
        match self.subject:
            case Pod():
                return pod_object(self.subject, self.at_ms, self.version)
            case Node():
                return node_object(self.subject, self.at_ms, self.version)
            case Claim():
                return claim_object(self.subject, self.at_ms, self.version, api)
            case SliceOf():
                return slice_object(self.subject, self.at_ms, self.version, api)
            case DeviceClass():
                return class_object(self.subject, self.version, api)


class History:
    """All events in order.

    Versions rise with every event and, as leases renew themselves in a real cluster, with every
    second. Versions older than ``kept_ms`` are compacted away.
    """

    kept_ms = 300 * SECOND_MS

    def __init__(self, fleet: Fleet) -> None:
        changes = sorted(_changes(fleet), key=_order)
        self._origin_ms = changes[0].at_ms if changes else fleet.spec.opens_ms
        self.events = tuple(
            Event(
                event.at_ms,
                event.resource,
                event.kind,
                event.subject,
                self._version(event.at_ms, number),
            )
            for number, event in enumerate(changes)
        )
        self._instants = [event.at_ms for event in self.events]
        self._versions = [event.version for event in self.events]
        self._of_subject: dict[tuple[Resource, str], list[Event]] = {}
        for event in self.events:
            key = (event.resource, event.subject.uid)
            self._of_subject.setdefault(key, []).append(event)

    def version_at(self, at_ms: int) -> int:
        """Return the newest version at an instant."""
        return self._version(at_ms, bisect_right(self._instants, at_ms))

    def expired(self, version: int, now_ms: int) -> bool:
        """Say whether a watch from a version is no longer possible."""
        return version < self.version_at(now_ms - self.kept_ms)

    def after(self, version: int) -> int:
        """Return the number of the first event that is newer than a version."""
        return bisect_right(self._versions, version)

    def snapshot(self, resource: Resource, at_ms: int, api: str = VERSIONS[0]) -> list[JsonObject]:
        """Return the collection as of an instant, in the order of namespace and name."""
        objects = []
        for (kind, _), events in self._of_subject.items():
            if kind is not resource:
                continue
            number = bisect_right([event.at_ms for event in events], at_ms)
            if number and events[number - 1].kind != "DELETED":
                last = events[number - 1]
                objects.append((_name(last.subject), last.object(api)))
        return [body for _, body in sorted(objects, key=lambda pair: pair[0])]

    def _version(self, at_ms: int, number: int) -> int:
        return _FIRST_VERSION + max(0, at_ms - self._origin_ms) // SECOND_MS + number


def _name(subject: Subject) -> tuple[str, str]:
    return (subject.namespace if isinstance(subject, Pod | Claim) else "", subject.name)


def _order(event: Event) -> tuple[int, str, tuple[str, str]]:
    return (event.at_ms, event.resource.value, _name(event.subject))


def _changes(fleet: Fleet) -> Iterator[Event]:
    closes_ms = fleet.spec.closes_ms
    for pod in fleet.pods:
        instants = pod_changes(pod)
        yield from _events(Resource.PODS, pod, instants, pod.removed_ms, closes_ms)
    for node in fleet.nodes:
        instants = node_changes(node)
        yield from _events(Resource.NODES, node, instants, node.deleted_ms, closes_ms)
        for one in slices_of(node):
            changes = one.changes()
            yield from _events(Resource.RESOURCE_SLICES, one, changes, node.deleted_ms, closes_ms)
    for claim in fleet.claims:
        changes = claim.changes()
        yield from _events(Resource.RESOURCE_CLAIMS, claim, changes, claim.deleted_ms, closes_ms)
    if any(node.mode.by_claims for node in fleet.nodes):
        born = min(node.created_ms for node in fleet.nodes)
        for name in (GPU_CLASS, MIG_CLASS):
            kind = DeviceClass(name, born)
            yield from _events(Resource.DEVICE_CLASSES, kind, (born,), OPEN_MS, closes_ms)


def _events(
    resource: Resource,
    subject: Subject,
    instants: tuple[int, ...],
    ends_ms: int,
    closes_ms: int,
) -> Iterator[Event]:
    for number, at_ms in enumerate(instants):
        if at_ms < closes_ms:
            yield Event(at_ms, resource, "MODIFIED" if number else "ADDED", subject)
    if ends_ms < min(OPEN_MS, closes_ms):
        yield Event(ends_ms, resource, "DELETED", subject)
