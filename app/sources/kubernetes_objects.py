"""Pod and node objects of the Kubernetes API, parsed into facts."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import cast

from app.errors import GpuledgerError
from app.sources.node_labels import place_of
from app.units.window import to_ms
from app.usage.inventory import ContainerFacts, NodeFacts, PodFacts, Workload

# What JSON can say; an object of the API is a tree of these.
Json = Mapping[str, object]

_TERMINAL = frozenset({"Succeeded", "Failed"})
_NATIVE_PREFIXES = ("kubernetes.io/", "requests.kubernetes.io/")
# Holds the whole object once more and says nothing.
_USELESS_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_SUFFIXES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
}


class KubernetesError(GpuledgerError):
    """Any failure to learn something from the Kubernetes API."""


class KubernetesObjectBroken(KubernetesError):  # noqa: N818 - the failure is its name
    """An object of the API lacks what every object has, or holds a value that cannot be read."""


def requests_extended(pod: Json) -> bool:
    """Say whether any container of a pod requests an extended resource, a device or other."""
    spec = _object(pod, "spec")
    return any(
        _extended(container)
        for group in ("containers", "initContainers")
        for container in _objects(spec, group)
    )


def pod_facts(pod: Json) -> PodFacts:
    """Return what a pod object says; its workload is the direct controller."""
    metadata, spec, status = (_object(pod, name) for name in ("metadata", "spec", "status"))
    namespace, name = _text(metadata, "namespace"), _text(metadata, "name")
    uid = _text(metadata, "uid")
    if not uid or not name:
        message = f"The pod {namespace}/{name} of the Kubernetes API has no UID or name."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    phase = _text(status, "phase")
    conditions = {
        _text(condition, "type"): _instant(condition, "lastTransitionTime")
        for condition in _objects(status, "conditions")
        if _text(condition, "status") == "True"
    }
    deletion_ms = _instant(metadata, "deletionTimestamp")
    grace = metadata.get("deletionGracePeriodSeconds")
    return PodFacts(
        uid=uid,
        namespace=namespace,
        name=name,
        node_name=_text(spec, "nodeName"),
        phase=phase,
        labels=_pairs(metadata, "labels"),
        annotations=tuple(
            pair for pair in _pairs(metadata, "annotations") if pair[0] != _USELESS_ANNOTATION
        ),
        workload=direct_workload(pod),
        created_ms=_created(metadata, f"pod {namespace}/{name}"),
        scheduled_ms=conditions.get("PodScheduled"),
        ready_ms=conditions.get("Ready"),
        containers=tuple(
            _containers(spec, status, over=phase in _TERMINAL, deleted=deletion_ms is not None)
        ),
        resource_version=_text(metadata, "resourceVersion"),
        deletion_ms=deletion_ms,
        deletion_grace_seconds=grace if isinstance(grace, int) else None,
    )


def node_facts(node: Json) -> NodeFacts:
    """Return what a node object says."""
    metadata, spec, status = (_object(node, name) for name in ("metadata", "spec", "status"))
    name, uid = _text(metadata, "name"), _text(metadata, "uid")
    if not uid or not name:
        message = f"The node {name} of the Kubernetes API has no UID or name."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    labels = _pairs(metadata, "labels")
    place = place_of(dict(labels), _text(spec, "providerID"))
    return NodeFacts(
        uid=uid,
        name=name,
        provider=place.provider,
        region=place.region,
        zone=place.zone,
        instance_type=place.instance_type,
        capacity_type=place.capacity_type,
        labels=labels,
        created_ms=_created(metadata, f"node {name}"),
        capacity=_extended_amounts(_object(status, "capacity")),
        allocatable=_extended_amounts(_object(status, "allocatable")),
        resource_version=_text(metadata, "resourceVersion"),
    )


def direct_workload(item: Json) -> Workload:
    """Return an object's controller; without one, or under a node (static pods), itself."""
    metadata = _object(item, "metadata")
    namespace = _text(metadata, "namespace")
    for owner in _objects(metadata, "ownerReferences"):
        if owner.get("controller") is True and _text(owner, "kind") != "Node":
            return Workload(
                namespace=namespace,
                kind=_text(owner, "kind"),
                name=_text(owner, "name"),
                uid=_text(owner, "uid"),
            )
    return Workload(
        namespace=namespace,
        kind=_text(item, "kind") or "Pod",
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
    )


def resource_version_of(item: Json) -> str:
    """Return the version of an object or of a list."""
    return _text(_object(item, "metadata"), "resourceVersion")


def _containers(spec: Json, status: Json, *, over: bool, deleted: bool) -> Iterator[ContainerFacts]:
    """Yield init containers, then app containers, each group in the order of declaration."""
    policy = _text(spec, "restartPolicy") or "Always"
    statuses = {
        _text(one, "name"): one
        for group in ("initContainerStatuses", "containerStatuses")
        for one in _objects(status, group)
    }
    for group in ("initContainers", "containers"):
        for container in _objects(spec, group):
            name = _text(container, "name")
            kind = "app" if group == "containers" else "init"
            if kind == "init" and container.get("restartPolicy") == "Always":
                kind = "sidecar"
            terminated = _object(_object(statuses.get(name, {}), "state"), "terminated")
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
                finished_ms=_instant(terminated, "finishedAt") if stays else None,
            )


def _extended(container: Json) -> tuple[tuple[str, int], ...]:
    """Return the extended resources a container requests; a limit alone is a request, too."""
    resources = _object(container, "resources")
    if not resources:
        return ()
    return _extended_amounts({**_object(resources, "limits"), **_object(resources, "requests")})


def _extended_amounts(amounts: Json) -> tuple[tuple[str, int], ...]:
    return tuple(
        (name, _units(name, amount))
        for name, amount in sorted(amounts.items())
        if "/" in name and not name.startswith(_NATIVE_PREFIXES)
    )


def _units(resource: str, amount: object) -> int:
    """Return a quantity of an extended resource, which is a whole number."""
    text = str(amount)
    number = text.rstrip("kKMGi")
    try:
        return int(Decimal(number) * _SUFFIXES[text[len(number) :]])
    except (InvalidOperation, KeyError) as error:
        message = f"The amount {text!r} of {resource} in an object of Kubernetes is no quantity."
        raise KubernetesObjectBroken(message) from error


def _created(metadata: Json, what: str) -> int:
    created_ms = _instant(metadata, "creationTimestamp")
    if created_ms is None:
        message = f"The {what} of the Kubernetes API has no creation time."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    return created_ms


def _instant(item: Json, name: str) -> int | None:
    text = item.get(name)
    if not text:
        return None
    try:
        return to_ms(datetime.fromisoformat(str(text)))
    except ValueError as error:
        message = f"The {name} {text!r} of an object of Kubernetes is no instant."
        raise KubernetesObjectBroken(message) from error


def _object(item: Json, name: str) -> Json:
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def _objects(item: Json, name: str) -> list[Json]:
    value = item.get(name)
    if not isinstance(value, list):
        return []
    return cast("list[Json]", [one for one in value if isinstance(one, dict)])


def _text(item: Json, name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _pairs(item: Json, name: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in _object(item, name).items()))
