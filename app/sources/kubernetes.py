"""Pods and nodes of a cluster: lists, watches, and the workload on top of each pod."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from kubernetes.client import AppsV1Api, BatchV1Api, CoreV1Api

from app.sources.kubernetes_access import (
    ApiCall,
    KubernetesAccess,
    KubernetesAnswerBroken,
    KubernetesConfigError,
    KubernetesRefused,
    KubernetesSettings,
    KubernetesUnreachable,
    WatchExpired,
)
from app.sources.kubernetes_objects import (
    Json,
    KubernetesError,
    KubernetesObjectBroken,
    direct_workload,
    node_facts,
    pod_facts,
    requests_extended,
    resource_version_of,
)
from app.sources.ownership_labels import labelled_workload, without_template_hash
from app.usage.inventory import NodeFacts, PodFacts, Workload

__all__ = [
    "KubernetesAnswerBroken",
    "KubernetesConfigError",
    "KubernetesError",
    "KubernetesObjectBroken",
    "KubernetesRefused",
    "KubernetesSettings",
    "KubernetesSource",
    "KubernetesUnreachable",
    "WatchEvent",
    "WatchExpired",
]

T = TypeVar("T")

# A list that expires while its pages are read is begun again so often.
_LIST_ATTEMPTS = 5
# Owners that are remembered; a busy cluster makes thousands of jobs a day.
_MOST_OWNERS = 50_000
_OWNED_BY_OTHERS = frozenset({"ReplicaSet", "Job"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """A change of a pod or node; a bookmark has neither and only moves the resource version."""

    type: str
    resource_version: str
    pod: PodFacts | None = None
    node: NodeFacts | None = None

    @property
    def is_bookmark(self) -> bool:
        """Whether nothing changed."""
        return self.type == "BOOKMARK"

    @property
    def is_deletion(self) -> bool:
        """Whether the object is gone."""
        return self.type == "DELETED"


class KubernetesSource:
    """Reads pods and nodes; bodies are decoded raw, five times as fast as the model classes do."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._access = KubernetesAccess(settings)
        self._core = CoreV1Api(self._access.client)
        self._apps = AppsV1Api(self._access.client)
        self._batch = BatchV1Api(self._access.client)
        self._owners: dict[Workload, Workload] = {}

    @property
    def answered_ms(self) -> int | None:
        """The server's clock at its last answer, to the second; None before any."""
        return self._access.answered_ms

    def list_pods(self) -> tuple[tuple[PodFacts, ...], str]:
        """Return the pods that request an extended resource, and the version to watch from."""
        return self._list(self._core.list_pod_for_all_namespaces, self._pod)

    def list_nodes(self) -> tuple[tuple[NodeFacts, ...], str]:
        """Return all nodes, and the version to watch from."""
        return self._list(self._core.list_node, node_facts)

    def version_of_pods(self) -> str:
        """Return the version that a list of pods would have at this moment."""
        return self._version(self._core.list_pod_for_all_namespaces)

    def version_of_nodes(self) -> str:
        """Return the version that a list of nodes would have at this moment."""
        return self._version(self._core.list_node)

    def watch_pods(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of such pods until the server ends the stream; raises `WatchExpired`."""
        call = self._core.list_pod_for_all_namespaces
        for kind, item in self._access.events(call, resource_version):
            version = resource_version_of(item)
            if kind == "BOOKMARK":
                yield WatchEvent(type=kind, resource_version=version)
            elif (pod := self._pod(item)) is not None:
                yield WatchEvent(type=kind, resource_version=version, pod=pod)

    def watch_nodes(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of nodes until the server ends the stream; raises `WatchExpired`."""
        for kind, item in self._access.events(self._core.list_node, resource_version):
            node = None if kind == "BOOKMARK" else node_facts(item)
            yield WatchEvent(type=kind, resource_version=resource_version_of(item), node=node)

    def _list(self, call: ApiCall, parse: Callable[[Json], T | None]) -> tuple[tuple[T, ...], str]:
        """Read all pages; begin again where the list expired meanwhile."""
        for _ in range(_LIST_ATTEMPTS):
            try:
                return self._pages(call, parse)
            except WatchExpired:
                continue
        message = f"{self._access.place} let a list expire {_LIST_ATTEMPTS} times as it was read."
        raise KubernetesRefused(message, hint="The API server is overloaded or far away.")

    def _pages(self, call: ApiCall, parse: Callable[[Json], T | None]) -> tuple[tuple[T, ...], str]:
        found: list[T] = []
        token: str | None = None
        while True:
            page_size = self._access.settings.page_size
            page = self._access.read(call, limit=page_size, _continue=token)
            items = page.get("items") or []
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                message = f"A list of {self._access.place} has items that are no list of objects."
                raise KubernetesAnswerBroken(message, hint="Check that no proxy changes bodies.")
            found += [fact for item in items if (fact := parse(item)) is not None]
            metadata = page.get("metadata")
            token = str(metadata.get("continue") or "") if isinstance(metadata, Mapping) else ""
            if not token:
                return tuple(found), resource_version_of(page)

    def _version(self, call: ApiCall) -> str:
        """Read the shortest list there is; without a version of its own it is the latest."""
        return resource_version_of(self._access.read(call, limit=1))

    def _pod(self, item: Json) -> PodFacts | None:
        """Parse a pod that requests an extended resource; None for any other."""
        if not requests_extended(item):
            return None
        pod = pod_facts({"kind": "Pod", **item})
        return replace(pod, workload=self._top_owner(pod))

    def _top_owner(self, pod: PodFacts) -> Workload:
        """Return the workload at the top of a pod's chain of controllers, or as labels name it."""
        labels = dict(pod.labels)
        named = labelled_workload(pod.namespace, labels)
        if named is not None:
            return named
        owner = pod.workload
        if owner.kind not in _OWNED_BY_OTHERS:
            return owner
        known = self._owners.get(owner)
        if known is None:
            known = self._owner_above(owner)
            if known is None:
                # Not remembered: the right to ask may be granted later.
                return without_template_hash(owner, labels) or owner
            if len(self._owners) >= _MOST_OWNERS:
                self._owners.clear()
            self._owners[owner] = known
        return known

    def _owner_above(self, owner: Workload) -> Workload | None:
        """Ask for an owner's own controller; None if the API does not say."""
        call: ApiCall = (
            self._apps.read_namespaced_replica_set
            if owner.kind == "ReplicaSet"
            else self._batch.read_namespaced_job
        )
        try:
            item = self._access.read(call, name=owner.name, namespace=owner.namespace)
        except KubernetesRefused:
            return None
        return direct_workload({"kind": owner.kind, **item})
