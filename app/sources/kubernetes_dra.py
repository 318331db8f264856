"""Objects of resource.k8s.io as facts, in the shapes of v1, v1beta2 and v1beta1."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from app.sources.kubernetes_json import (
    Json,
    KubernetesObjectBroken,
    created_of,
    instant_of,
    object_of,
    objects_of,
    pairs_of,
    text_of,
)
from app.usage.claims_facts import (
    AllocatedDevice,
    Amount,
    ClaimFacts,
    ClassFacts,
    CounterUse,
    DeviceKey,
    ReservedPod,
    SliceDevice,
    SliceFacts,
)

# The versions that are understood, the best first. v1beta1 wraps what a device is in `basic`, and
# asks for devices without `exactly`; what was allocated looks the same in all of them.
VERSIONS = ("v1", "v1beta2", "v1beta1")

_EXTENDED_CLAIM = "resource.kubernetes.io/extended-resource-claim"
# Every DeviceClass can be asked for by an extended resource of this domain.
_IMPLICIT = "deviceclass.resource.kubernetes.io/"
_NO_MORE_CLAIMS = frozenset({"NoSchedule", "NoExecute"})

# Suffixes of quantities: k8s.io/apimachinery resource/quantity.go.
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


def claim_facts(claim: Json) -> ClaimFacts:
    """Return what a ResourceClaim says."""
    metadata, status = object_of(claim, "metadata"), object_of(claim, "status")
    namespace, name = text_of(metadata, "namespace"), text_of(metadata, "name")
    uid = text_of(metadata, "uid")
    if not uid or not name:
        message = f"The claim {namespace}/{name} of the Kubernetes API has no UID or name."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    allocation = status.get("allocation")
    given = allocation if isinstance(allocation, dict) else None
    requests = objects_of(object_of(object_of(claim, "spec"), "devices"), "requests")
    return ClaimFacts(
        uid=uid,
        namespace=namespace,
        name=name,
        created_ms=created_of(metadata, f"claim {namespace}/{name}"),
        allocated=None if given is None else tuple(_results(given)),
        allocation_ms=None if given is None else instant_of(given, "allocationTimestamp"),
        reserved_for=tuple(
            ReservedPod(uid=text_of(user, "uid"), name=text_of(user, "name"))
            for user in objects_of(status, "reservedFor")
            if text_of(user, "resource") == "pods"
        ),
        owner_pod=_owner_pod(metadata),
        extended_resource=dict(pairs_of(metadata, "annotations")).get(_EXTENDED_CLAIM) == "true",
        classes=tuple(sorted({name for one in requests for name in _classes(one)})),
        node_name="" if given is None else _only_node(object_of(given, "nodeSelector")),
        labels=pairs_of(metadata, "labels"),
    )


def slice_facts(item: Json) -> SliceFacts:
    """Return what a ResourceSlice says."""
    spec = object_of(item, "spec")
    pool = object_of(spec, "pool")
    generation = pool.get("generation")
    driver = text_of(spec, "driver")
    node_name = text_of(spec, "nodeName") or _only_node(object_of(spec, "nodeSelector"))
    return SliceFacts(
        name=text_of(object_of(item, "metadata"), "name"),
        driver=driver,
        pool=text_of(pool, "name"),
        generation=generation if isinstance(generation, int) else 0,
        node_name=node_name,
        devices=tuple(_device(device, driver) for device in objects_of(spec, "devices")),
        shared_counters=tuple(
            CounterUse(counter_set=text_of(one, "name"), counters=_amounts(one, "counters"))
            for one in objects_of(spec, "sharedCounters")
        ),
    )


def class_facts(item: Json) -> ClassFacts:
    """Return what a DeviceClass says."""
    name = text_of(object_of(item, "metadata"), "name")
    told = text_of(object_of(item, "spec"), "extendedResourceName")
    return ClassFacts(name=name, extended_resources=(f"{_IMPLICIT}{name}", *filter(None, [told])))


def uses_claims(pod: Json) -> bool:
    """Say whether a pod gets devices by claims, its own or those made for extended resources."""
    return bool(_claims_of(pod)) or bool(_extended_status(pod))


def pod_claims(pod: Json) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return the claims of a pod, that for its extended resources, and those resources.

    A claim that is still to be made from a template has no name.
    """
    extended = _extended_status(pod)
    claim = text_of(extended, "resourceClaimName")
    resources = sorted(
        {text_of(one, "resourceName") for one in objects_of(extended, "requestMappings")} - {""}
    )
    names = [*_claims_of(pod), *([claim] if claim else [])]
    return tuple(dict.fromkeys(names)), claim, tuple(resources)


def _claims_of(pod: Json) -> list[str]:
    made = {
        text_of(one, "name"): text_of(one, "resourceClaimName")
        for one in objects_of(object_of(pod, "status"), "resourceClaimStatuses")
    }
    return [
        text_of(one, "resourceClaimName") or made.get(text_of(one, "name"), "")
        for one in objects_of(object_of(pod, "spec"), "resourceClaims")
    ]


def _extended_status(pod: Json) -> Json:
    return object_of(object_of(pod, "status"), "extendedResourceClaimStatus")


def _results(allocation: Json) -> Iterator[AllocatedDevice]:
    for result in objects_of(object_of(allocation, "devices"), "results"):
        yield AllocatedDevice(
            request=text_of(result, "request"),
            key=DeviceKey(
                driver=text_of(result, "driver"),
                pool=text_of(result, "pool"),
                device=text_of(result, "device"),
            ),
            share_id=text_of(result, "shareID"),
            admin_access=result.get("adminAccess") is True,
            consumed=_amounts(result, "consumedCapacity"),
        )


def _owner_pod(metadata: Json) -> ReservedPod | None:
    for owner in objects_of(metadata, "ownerReferences"):
        if text_of(owner, "kind") == "Pod":
            return ReservedPod(uid=text_of(owner, "uid"), name=text_of(owner, "name"))
    return None


def _classes(request: Json) -> Iterator[str]:
    """Yield the classes that a request names: at its top, under `exactly`, or by preference."""
    for one in (request, object_of(request, "exactly"), *objects_of(request, "firstAvailable")):
        if name := text_of(one, "deviceClassName"):
            yield name


def _device(item: Json, driver: str) -> SliceDevice:
    basic = object_of(item, "basic") or item
    attributes = object_of(basic, "attributes")
    return SliceDevice(
        name=text_of(item, "name"),
        attributes=tuple(
            sorted(
                (name.removeprefix(f"{driver}/"), _value(attributes, name)) for name in attributes
            )
        ),
        capacity=_amounts(basic, "capacity"),
        allow_multiple=basic.get("allowMultipleAllocations") is True,
        consumes=tuple(
            CounterUse(counter_set=text_of(one, "counterSet"), counters=_amounts(one, "counters"))
            for one in objects_of(basic, "consumesCounters")
        ),
        node_name=text_of(basic, "nodeName") or _only_node(object_of(basic, "nodeSelector")),
        tainted=any(
            text_of(taint, "effect") in _NO_MORE_CLAIMS for taint in objects_of(basic, "taints")
        ),
    )


def _value(attributes: Json, name: str) -> str:
    """Return an attribute as text: it is a string, version, int or bool."""
    value = next(iter(object_of(attributes, name).values()), "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _amounts(item: Json, name: str) -> tuple[Amount, ...]:
    """Return quantities, which stand alone or under `value`; one that is none is left out."""
    amounts = object_of(item, name)
    told = {one: object_of(amounts, one).get("value", amounts[one]) for one in sorted(amounts)}
    quantities = {one: quantity_of(str(value)) for one, value in told.items()}
    return tuple(Amount(one, value) for one, value in quantities.items() if value is not None)


def quantity_of(text: str) -> Fraction | None:
    """Return a quantity of Kubernetes as a number, None for what is none."""
    number = text.rstrip("numkKMGTPEi")
    try:
        return Fraction(Decimal(number)) * _SUFFIXES[text[len(number) :]]
    except (InvalidOperation, KeyError, ValueError, OverflowError):
        return None


def _only_node(selector: Json) -> str:
    """Return the one node that a selector names, "" where it is not one."""
    names: set[str] = set()
    for term in objects_of(selector, "nodeSelectorTerms"):
        named = [
            value
            for one in objects_of(term, "matchFields")
            if text_of(one, "key") == "metadata.name" and text_of(one, "operator") == "In"
            for value in _values(one)
        ]
        hosts = [
            value
            for one in objects_of(term, "matchExpressions")
            if text_of(one, "key") == "kubernetes.io/hostname"
            and text_of(one, "operator").lower() == "in"
            for value in _values(one)
        ]
        names.update(named or hosts or [""])
    return names.pop() if len(names) == 1 else ""


def _values(requirement: Json) -> list[str]:
    values = requirement.get("values")
    return [str(value) for value in values] if isinstance(values, list) else []
