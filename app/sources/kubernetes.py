"""Pods and nodes of a cluster: lists, watches, and the workload on top of each pod."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kubernetes.client import AppsV1Api, BatchV1Api, CoreV1Api

from app.sources.instance_types import with_told_devices
from app.sources.kubernetes_access import (
    ApiCall,
    KubernetesAccess,
    KubernetesAnswerBroken,
    KubernetesConfigError,
    KubernetesForbidden,
    KubernetesRefused,
    KubernetesSettings,
    KubernetesUnreachable,
    WatchExpired,
)
from app.sources.kubernetes_discovery import served_groups
from app.sources.kubernetes_dra import uses_claims
from app.sources.kubernetes_dra_api import DraSource, served_dra
from app.sources.kubernetes_json import Json, KubernetesError, KubernetesObjectBroken
from app.sources.kubernetes_lists import WatchEvent, list_all, version_of
from app.sources.kubernetes_objects import (
    direct_workload,
    node_facts,
    pod_facts,
    requests_extended,
    resource_version_of,
)
from app.sources.ownership_labels import labelled_workload, pod_group, without_template_hash
from app.usage.inventory import NodeFacts, PodFacts, Workload

__all__ = [
    "KubernetesAnswerBroken",
    "KubernetesConfigError",
    "KubernetesError",
    "KubernetesForbidden",
    "KubernetesObjectBroken",
    "KubernetesRefused",
    "KubernetesSettings",
    "KubernetesSource",
    "KubernetesUnreachable",
    "WatchEvent",
    "WatchExpired",
]

# Owners that are remembered; a busy cluster makes thousands of jobs a day.
_MOST_OWNERS = 50_000
_OWNED_BY_OTHERS = frozenset({"ReplicaSet", "Job"})


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
        """Return the pods that ask for devices, and the version to watch from."""
        return list_all(self._access, self._core.list_pod_for_all_namespaces, self._pod)

    def list_nodes(self) -> tuple[tuple[NodeFacts, ...], str]:
        """Return all nodes, and the version to watch from."""
        return list_all(self._access, self._core.list_node, self._node)

    def dra(self) -> DraSource | None:
        """Return the source of claims and slices; None where the cluster serves none."""
        return served_dra(self._access)

    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Return the versions of every API group that the cluster serves, by its name."""
        return served_groups(self._access)

    def version_of_pods(self) -> str:
        """Return the version that a list of pods would have at this moment."""
        return version_of(self._access, self._core.list_pod_for_all_namespaces)

    def version_of_nodes(self) -> str:
        """Return the version that a list of nodes would have at this moment."""
        return version_of(self._access, self._core.list_node)

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
            node = None if kind == "BOOKMARK" else self._node(item)
            yield WatchEvent(type=kind, resource_version=resource_version_of(item), node=node)

    def _node(self, item: Json) -> NodeFacts:
        return with_told_devices(node_facts(item), self._access.settings.devices)

    def _pod(self, item: Json) -> PodFacts | None:
        """Parse a pod that requests an extended resource or uses claims; None for any other."""
        if not requests_extended(item) and not uses_claims(item):
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
            return pod_group(owner, labels) or owner
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
