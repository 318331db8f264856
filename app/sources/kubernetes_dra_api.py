"""Claims and slices of a cluster in the version of resource.k8s.io that it serves."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from kubernetes.client import (
    ApiClient,
    ResourceApi,
    ResourceV1Api,
    ResourceV1beta1Api,
    ResourceV1beta2Api,
)

from app.sources.kubernetes_access import KubernetesAbsent, KubernetesAccess, KubernetesForbidden
from app.sources.kubernetes_dra import VERSIONS, claim_facts, class_facts, slice_facts
from app.sources.kubernetes_json import Json, objects_of, text_of
from app.sources.kubernetes_lists import WatchEvent, list_all, version_of
from app.sources.kubernetes_objects import resource_version_of
from app.usage.claims_facts import ClaimFacts, ClassFacts, SliceFacts


class _ResourceApi(Protocol):
    """What the versions of the client's API have in common."""

    def list_resource_claim_for_all_namespaces(self) -> object: ...

    def list_resource_slice(self) -> object: ...

    def list_device_class(self) -> object: ...


_APIS: Mapping[str, Callable[[ApiClient], _ResourceApi]] = {
    "v1": ResourceV1Api,
    "v1beta2": ResourceV1beta2Api,
    "v1beta1": ResourceV1beta1Api,
}


class DraSource:
    """Reads ResourceClaims, ResourceSlices and DeviceClasses in one version of the API."""

    def __init__(self, access: KubernetesAccess, version: str) -> None:
        self._access = access
        api = _APIS[version](access.client)
        self.version = version
        self._claims = api.list_resource_claim_for_all_namespaces
        self._slices = api.list_resource_slice
        self._classes = api.list_device_class

    def list_claims(self) -> tuple[tuple[ClaimFacts, ...], str]:
        """Return all claims, and the version to watch from."""
        return list_all(self._access, self._claims, claim_facts)

    def list_slices(self) -> tuple[tuple[SliceFacts, ...], str]:
        """Return all slices, and the version to watch from."""
        return list_all(self._access, self._slices, slice_facts)

    def list_classes(self) -> tuple[ClassFacts, ...]:
        """Return all device classes."""
        return list_all(self._access, self._classes, class_facts)[0]

    def watch_claims(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of claims until the server ends the stream; raises `WatchExpired`."""
        for kind, item in self._access.events(self._claims, resource_version):
            claim = None if kind == "BOOKMARK" else claim_facts(item)
            yield WatchEvent(type=kind, resource_version=resource_version_of(item), claim=claim)

    def watch_slices(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of slices until the server ends the stream; raises `WatchExpired`."""
        for kind, item in self._access.events(self._slices, resource_version):
            one = None if kind == "BOOKMARK" else slice_facts(item)
            yield WatchEvent(type=kind, resource_version=resource_version_of(item), slice=one)

    def version_of_claims(self) -> str:
        """Return the version that a list of claims would have at this moment."""
        return version_of(self._access, self._claims)

    def version_of_slices(self) -> str:
        """Return the version that a list of slices would have at this moment."""
        return version_of(self._access, self._slices)


def served_dra(access: KubernetesAccess) -> DraSource | None:
    """Return the source in the best version that is served; None where there is none.

    The discovery of a group is open to everybody who may talk to the API. Where it says nothing,
    the versions are tried; what is forbidden then is not known to be there.
    """
    try:
        group = access.read(ResourceApi(access.client).get_api_group)
    except (KubernetesAbsent, KubernetesForbidden):
        return _tried(access)
    served = _versions_of(group)
    best = next((version for version in VERSIONS if version in served), None)
    return None if best is None else DraSource(access, best)


def _versions_of(group: Json) -> set[str]:
    return {text_of(one, "version") for one in objects_of(group, "versions")}


def _tried(access: KubernetesAccess) -> DraSource | None:
    for version in VERSIONS:
        source = DraSource(access, version)
        try:
            source.version_of_claims()
        except (KubernetesAbsent, KubernetesForbidden):
            continue
        return source
    return None
