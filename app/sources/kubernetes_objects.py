"""Pod and node objects of the Kubernetes API, parsed into facts."""

from collections.abc import Iterator

from app.sources.instance_types import devices_of_type
from app.sources.kubernetes_dra import pod_claims, quantity_of
from app.sources.kubernetes_json import (
    Json,
    KubernetesError,
    KubernetesObjectBroken,
    created_of,
    instant_of,
    object_of,
    objects_of,
    pairs_of,
    text_of,
)
from app.sources.node_labels import place_of
from app.sources.serving_containers import serving_labels
from app.usage.declared import ANNOTATIONS as DECLARING
from app.usage.hami import NODE_ANNOTATIONS
from app.usage.inventory import ContainerFacts, NodeFacts, PodFacts, Workload
from app.usage.serving_pods import CONTAINERS_STARTED

__all__ = [
    "Json",
    "KubernetesError",
    "KubernetesObjectBroken",
    "direct_workload",
    "node_facts",
    "pod_facts",
    "requests_extended",
    "resource_version_of",
]

_TERMINAL = frozenset({"Succeeded", "Failed"})
_NATIVE_PREFIXES = ("kubernetes.io/", "requests.kubernetes.io/")
# Holds the whole object once more and says nothing.
_USELESS_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def requests_extended(pod: Json) -> bool:
    """Say whether a pod requests an extended resource, a device or other.

    A part of a device may be declared in annotations instead (`app.usage.declared`).
    """
    spec = object_of(pod, "spec")
    if not DECLARING.isdisjoint(object_of(object_of(pod, "metadata"), "annotations")):
        return True
    return any(
        _extended(container)
        for group in ("containers", "initContainers")
        for container in objects_of(spec, group)
    )


def pod_facts(pod: Json) -> PodFacts:
    """Return what a pod object says; its workload is the direct controller."""
    metadata, spec, status = (object_of(pod, name) for name in ("metadata", "spec", "status"))
    namespace, name = text_of(metadata, "namespace"), text_of(metadata, "name")
    uid = text_of(metadata, "uid")
    if not uid or not name:
        message = f"The pod {namespace}/{name} of the Kubernetes API has no UID or name."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    phase = text_of(status, "phase")
    conditions = {
        text_of(condition, "type"): instant_of(condition, "lastTransitionTime")
        for condition in objects_of(status, "conditions")
        if text_of(condition, "status") == "True"
    }
    deletion_ms = instant_of(metadata, "deletionTimestamp")
    grace = metadata.get("deletionGracePeriodSeconds")
    claims, extended_claim, extended_resources = pod_claims(pod)
    return PodFacts(
        uid=uid,
        namespace=namespace,
        name=name,
        node_name=text_of(spec, "nodeName"),
        phase=phase,
        labels=_with_containers(pairs_of(metadata, "labels"), spec, status),
        annotations=_annotations(metadata),
        workload=direct_workload(pod),
        created_ms=created_of(metadata, f"pod {namespace}/{name}"),
        scheduled_ms=conditions.get("PodScheduled"),
        ready_ms=conditions.get("Ready"),
        containers=tuple(
            _containers(spec, status, over=phase in _TERMINAL, deleted=deletion_ms is not None)
        ),
        resource_version=text_of(metadata, "resourceVersion"),
        deletion_ms=deletion_ms,
        deletion_grace_seconds=grace if isinstance(grace, int) else None,
        claims=claims,
        extended_claim=extended_claim,
        extended_resources=extended_resources,
    )


def node_facts(node: Json) -> NodeFacts:
    """Return what a node object says."""
    metadata, spec, status = (object_of(node, name) for name in ("metadata", "spec", "status"))
    name, uid = text_of(metadata, "name"), text_of(metadata, "uid")
    if not uid or not name:
        message = f"The node {name} of the Kubernetes API has no UID or name."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    labels = pairs_of(metadata, "labels")
    provider_id = text_of(spec, "providerID")
    place = place_of(dict(labels), provider_id)
    return NodeFacts(
        uid=uid,
        name=name,
        provider=place.provider,
        region=place.region,
        zone=place.zone,
        instance_type=place.instance_type,
        capacity_type=place.capacity_type,
        labels=labels,
        created_ms=created_of(metadata, f"node {name}"),
        capacity=_extended_amounts(object_of(status, "capacity")),
        allocatable=_extended_amounts(object_of(status, "allocatable")),
        resource_version=text_of(metadata, "resourceVersion"),
        annotations=tuple(
            pair for pair in pairs_of(metadata, "annotations") if pair[0] in NODE_ANNOTATIONS
        ),
        unschedulable=spec.get("unschedulable") is True,
        instance_devices=devices_of_type(place.provider, place.instance_type),
        provider_id=provider_id,
    )


def direct_workload(item: Json) -> Workload:
    """Return an object's controller; without one, or under a node (static pods), itself."""
    metadata = object_of(item, "metadata")
    namespace = text_of(metadata, "namespace")
    for owner in objects_of(metadata, "ownerReferences"):
        if owner.get("controller") is True and text_of(owner, "kind") != "Node":
            return Workload(
                namespace=namespace,
                kind=text_of(owner, "kind"),
                name=text_of(owner, "name"),
                uid=text_of(owner, "uid"),
            )
    return Workload(
        namespace=namespace,
        kind=text_of(item, "kind") or "Pod",
        name=text_of(metadata, "name"),
        uid=text_of(metadata, "uid"),
    )


def resource_version_of(item: Json) -> str:
    """Return the version of an object or of a list."""
    return text_of(object_of(item, "metadata"), "resourceVersion")


def _with_containers(
    labels: tuple[tuple[str, str], ...], spec: Json, status: Json
) -> tuple[tuple[str, str], ...]:
    """Add under reserved keys what the containers serve, and when the first of them began."""
    said = serving_labels(objects_of(spec, "containers"))
    if not said:
        return labels
    begun = [
        began
        for one in objects_of(status, "containerStatuses")
        for state in (object_of(one, "lastState"), object_of(one, "state"))
        for kind in ("terminated", "running")
        if (began := instant_of(object_of(state, kind), "startedAt")) is not None
    ]
    if begun:
        said[CONTAINERS_STARTED] = str(min(begun))
    return tuple(sorted({**dict(labels), **said}.items()))


def _containers(spec: Json, status: Json, *, over: bool, deleted: bool) -> Iterator[ContainerFacts]:
    """Yield init containers, then app containers, each group in the order of declaration."""
    policy = text_of(spec, "restartPolicy") or "Always"
    statuses = {
        text_of(one, "name"): one
        for group in ("initContainerStatuses", "containerStatuses")
        for one in objects_of(status, group)
    }
    for group in ("initContainers", "containers"):
        for container in objects_of(spec, group):
            name = text_of(container, "name")
            kind = "app" if group == "containers" else "init"
            if kind == "init" and container.get("restartPolicy") == "Always":
                kind = "sidecar"
            terminated = object_of(object_of(statuses.get(name, {}), "state"), "terminated")
            succeeded = terminated.get("exitCode") == 0
            # Nothing restarts a container of a pod that is over or being deleted.
            stays = over or deleted
            if kind == "init":
                stays = stays or succeeded
            elif kind == "app":
                stays = stays or policy == "Never" or (policy == "OnFailure" and succeeded)
            yield ContainerFacts(
                name=name,
                kind=kind,
                requests=_extended(container),
                finished_ms=instant_of(terminated, "finishedAt") if stays else None,
            )


def _annotations(metadata: Json) -> tuple[tuple[str, str], ...]:
    pairs = pairs_of(metadata, "annotations")
    return tuple(pair for pair in pairs if pair[0] != _USELESS_ANNOTATION)


def _extended(container: Json) -> tuple[tuple[str, int], ...]:
    """Return the extended resources a container requests; a limit alone is a request, too."""
    resources = object_of(container, "resources")
    if not resources:
        return ()
    return _extended_amounts({**object_of(resources, "limits"), **object_of(resources, "requests")})


def _extended_amounts(amounts: Json) -> tuple[tuple[str, int], ...]:
    return tuple(
        (name, _units(name, amount))
        for name, amount in sorted(amounts.items())
        if "/" in name and not name.startswith(_NATIVE_PREFIXES)
    )


def _units(resource: str, amount: object) -> int:
    """Return a quantity of an extended resource, which is a whole number."""
    quantity = quantity_of(str(amount))
    if quantity is None:
        message = (
            f"The amount {str(amount)!r} of {resource} in an object of Kubernetes is no quantity."
        )
        raise KubernetesObjectBroken(message)
    return int(quantity)
