"""From pod and node objects to holds and device counts."""

from dataclasses import dataclass, replace
from fractions import Fraction

from app.usage.accelerators import accelerators_of, is_device, model_of, slot_of
from app.usage.declared import (
    RESERVATION_NAMESPACES,
    declared_instance,
    declared_part,
)
from app.usage.edges import TERMINAL_PHASES, Edges, edges_of
from app.usage.hami import DeclaredPart, hami_part
from app.usage.inventory import NodeFacts, PodFacts, PodHold, PoolCount
from app.usage.kinds import Sharing
from app.usage.notes import Note
from app.usage.nvidia import GPU, nvidia_model
from app.usage.other_vendors import vendor_of
from app.usage.products import UNKNOWN_MODEL
from app.usage.requests import effective_request
from app.usage.shares import Slot, UnknownShare, storable

__all__ = ["TERMINAL_PHASES", "advertises_devices", "holds_of", "pool_counts_of", "remembered"]

# What a part of a GPU is called that a pod declares in annotations and requests nowhere.
DECLARED = "gpu-fraction"


def holds_of(
    pod: PodFacts,
    node: NodeFacts | None,
    *,
    seen_ms: int | None = None,
    gone_ms: int | None = None,
) -> tuple[tuple[PodHold, ...], tuple[Note, ...]]:
    """Return what a pod holds, one hold a device resource, and notes on what cannot be placed.

    ``seen_ms`` is an instant at which the pod was seen in this state; it bounds edges that the
    object itself does not tell. ``gone_ms`` is the instant at which the pod was seen to be deleted:
    a hold whose containers had not all finished ends there. A pod that is bound to no node holds
    nothing, and neither does one that only reserves a GPU for pods that declare parts of it.
    Without its node a hold has an unknown model and no node UID, and takes no capacity.
    """
    edges = edges_of(pod, seen_ms=seen_ms, gone_ms=gone_ms)
    if edges is None or pod.namespace in RESERVATION_NAMESPACES:
        return (), ()
    holds: list[PodHold] = []
    notes: list[Note] = []
    for resource, units, what in _held(pod, node):
        match what:
            case UnknownShare(reason=reason):
                notes.append(Note("unknown_share", _subject(pod), units, reason))
            case Slot():
                holds.append(_hold(pod, node, edges, _of_slots(node, resource, units, what)))
            case DeclaredPart():
                holds.append(_hold(pod, node, edges, _of_declaration(node, resource, what)))
    if holds:
        notes += _notes_on_hold(pod, node, edges, units=sum(hold.units for hold in holds))
    return tuple(holds), tuple(notes)


def pool_counts_of(node: NodeFacts) -> tuple[tuple[PoolCount, ...], tuple[Note, ...]]:
    """Return a node's devices by model, and notes on devices that it divides in unknown ways.

    Devices are physical. Those whose sharing is not known are part of the capacity but may not be
    held, so their time is stranded and named. A unit of a resource that is not known becomes no
    device, unless it is NVIDIA's.
    """
    counts: list[PoolCount] = []
    notes: list[Note] = []
    known: set[str] = set()
    for found in accelerators_of(node):
        known |= set(found.slots)
        for resource, slot in found.slots.items():
            if isinstance(slot, UnknownShare):
                units = dict(node.capacity).get(resource, 0)
                notes.append(Note("unknown_share", node.name, units, slot.reason))
        counts.append(
            PoolCount(
                gpu_model=found.gpu_model,
                devices=found.devices,
                allocatable_num=found.allocatable.numerator,
                allocatable_den=found.allocatable.denominator,
                compute_num=found.compute_allocatable.numerator,
                compute_den=found.compute_allocatable.denominator,
            )
        )
    for resource, units in sorted(node.capacity):
        if units <= 0 or resource in known:
            continue
        what = slot_of(node, resource)
        if isinstance(what, UnknownShare):
            notes.append(Note("unknown_share", node.name, units, what.reason))
            if resource.startswith("nvidia.com/") and not counts:
                # At least one GPU is there where any part of one is advertised.
                devices = max(1, node.instance_devices)
                model = nvidia_model(node)
                counts.append(PoolCount(gpu_model=model, devices=devices, allocatable_num=0))
    if node.instance_devices and not counts:
        # The machine has them, and nothing of the node says which: they can be held by nobody.
        devices = node.instance_devices
        counts.append(PoolCount(gpu_model=UNKNOWN_MODEL, devices=devices, allocatable_num=0))
    return _one_count_a_model(counts), tuple(notes)


def advertises_devices(node: NodeFacts) -> bool:
    """Say whether a node shows any devices or parts of them, whatever else it shows."""
    return any(units > 0 and is_device(resource) for resource, units in node.capacity)


def remembered(node: NodeFacts, before: NodeFacts | None) -> NodeFacts:
    """Return a node with what its resources were while it advertised them.

    A device plugin that is down for minutes takes the capacity away under pods that go on; what
    their share is of a device is then told by what the node showed before. Feature discovery that
    is down takes its labels away under the same capacity, which is then divided as before.
    """
    if before is None or before.uid != node.uid:
        return node
    if not advertises_devices(node):
        return before
    unnamed = nvidia_model(node) == UNKNOWN_MODEL != nvidia_model(before)
    divided_alike = unnamed and node.capacity == before.capacity
    return replace(node, labels=before.labels) if divided_alike else node


def _held(
    pod: PodFacts, node: NodeFacts | None
) -> list[tuple[str, int, Slot | DeclaredPart | UnknownShare]]:
    """Return the resources that a pod holds devices by: units, and what they are of a device."""
    by_quota = hami_part(pod, node)
    held: list[tuple[str, int, Slot | DeclaredPart | UnknownShare]] = []
    for resource, units in effective_request(pod.containers):
        if resource == GPU and by_quota is not None:
            held.append((resource, units, by_quota))
            continue
        slot = slot_of(node, resource)
        if slot is not None:
            held.append((resource, units, slot))
    if all(vendor_of(resource) is not None for resource, _, _ in held):
        instance, part = declared_instance(pod), declared_part(pod, node)
        if isinstance(instance, tuple):
            slot = slot_of(node, instance[0])
            held += [(*instance, slot)] if slot is not None else []
        elif part is not None:
            held.append((DECLARED, part.units if isinstance(part, DeclaredPart) else 1, part))
        elif instance is not None:
            held.append((DECLARED, 1, instance))
    return _once_a_vendor(held)


def _once_a_vendor(
    held: list[tuple[str, int, Slot | DeclaredPart | UnknownShare]],
) -> list[tuple[str, int, Slot | DeclaredPart | UnknownShare]]:
    """Leave out what counts hardware again that another resource of the same vendor counts."""
    chosen = []
    for resource, units, what in held:
        vendor = vendor_of(resource)
        same = [
            (other, one.share * n)
            for other, n, one in held
            if isinstance(one, Slot) and vendor is not None and vendor_of(other) is vendor
        ]
        if (
            vendor is not None
            and vendor.same_hardware
            and same
            and max(same, key=lambda pair: pair[1])[0] != resource
        ):
            continue
        chosen.append((resource, units, what))
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """What is held of which devices; ``compute`` is the share under ``mig_share: compute``."""

    gpu_model: str
    resource: str
    units: int
    share: Fraction
    compute: Fraction
    sharing: Sharing
    devices: tuple[str, ...] = ()


def _of_slots(node: NodeFacts | None, resource: str, units: int, slot: Slot) -> _Holding:
    return _Holding(
        gpu_model=model_of(node, resource) if node is not None else UNKNOWN_MODEL,
        resource=resource,
        units=units,
        share=slot.share * units,
        compute=slot.compute * units,
        sharing=slot.sharing,
    )


def _of_declaration(node: NodeFacts | None, resource: str, part: DeclaredPart) -> _Holding:
    models = accelerators_of(node) if node is not None else ()
    return _Holding(
        gpu_model=next((one.gpu_model for one in models if GPU in one.slots), UNKNOWN_MODEL),
        resource=resource,
        units=part.units,
        share=storable(part.share),
        compute=storable(part.share),
        sharing=Sharing.FRACTION,
        devices=part.devices,
    )


def _hold(pod: PodFacts, node: NodeFacts | None, edges: Edges, held: _Holding) -> PodHold:
    by_policy = held.compute != held.share
    return PodHold(
        pod_uid=pod.uid,
        namespace=pod.namespace,
        pod=pod.name,
        node_uid=node.uid if node else "",
        node_name=pod.node_name,
        gpu_model=held.gpu_model,
        resource=held.resource,
        units=held.units,
        share_num=held.share.numerator,
        share_den=held.share.denominator,
        exclusive=held.sharing in (Sharing.EXCLUSIVE, Sharing.MIG),
        workload=pod.workload,
        labels=pod.labels,
        start_ms=edges.start_ms,
        end_ms=edges.end_ms,
        start_unsure_ms=edges.start_unsure_ms,
        end_unsure_ms=edges.end_unsure_ms,
        scheduled_ms=pod.scheduled_ms,
        ready_ms=pod.ready_ms,
        sharing=held.sharing,
        compute_num=held.compute.numerator if by_policy else 0,
        compute_den=held.compute.denominator if by_policy else 0,
        devices=held.devices,
    )


def _notes_on_hold(
    pod: PodFacts, node: NodeFacts | None, edges: Edges, *, units: int
) -> list[Note]:
    notes = []
    subject = _subject(pod)
    if node is None:
        detail = f"The node {pod.node_name} of the pod is not known; its time is on no pool."
        notes.append(Note("hold_without_node", subject, units, detail))
    if pod.phase in TERMINAL_PHASES and all(c.finished_ms is None for c in pod.containers):
        detail = f"The pod ended ({pod.phase}) without saying when its containers did."
        notes.append(Note("hold_end_unsure", subject, edges.end_unsure_ms, detail))
    return notes


def _subject(pod: PodFacts) -> str:
    return f"{pod.namespace}/{pod.name}"


def _one_count_a_model(counts: list[PoolCount]) -> tuple[PoolCount, ...]:
    """Unite counts of one model, which several vendors' plugins may advertise."""
    models = sorted({count.gpu_model for count in counts if count.devices > 0})
    united = []
    for model in models:
        same = [count for count in counts if count.gpu_model == model]
        allocatable = sum((one.allocatable for one in same), Fraction(0))
        compute = sum((one.compute_allocatable for one in same), Fraction(0))
        united.append(
            PoolCount(
                gpu_model=model,
                devices=max(count.devices for count in same),
                allocatable_num=allocatable.numerator,
                allocatable_den=allocatable.denominator,
                compute_num=None if compute == allocatable else compute.numerator,
                compute_den=1 if compute == allocatable else compute.denominator,
            )
        )
    return tuple(united)
