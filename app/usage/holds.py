"""From pod and node objects to holds and device counts."""

from dataclasses import dataclass

from app.units.window import OPEN_MS
from app.usage.inventory import NodeFacts, PodFacts, PodHold, PoolCount
from app.usage.notes import Note
from app.usage.products import UNKNOWN_MODEL
from app.usage.requests import effective_request
from app.usage.shares import (
    DEVICE_RESOURCES,
    QUOTAS,
    Share,
    UnsupportedShare,
    devices_behind,
    share_of,
    sharing_of,
)

TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})

# KAI and Run:ai keep a whole GPU for their fraction pods by a pod of their own in these namespaces.
_RESERVATION_NAMESPACES = frozenset({"kai-resource-reservation", "runai-reservation"})


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
    nothing. Without its node a hold has an unknown model and no node UID, and takes no capacity.
    """
    edges = _edges(pod, seen_ms=seen_ms, gone_ms=gone_ms)
    request = effective_request(pod.containers)
    if edges is None or not request:
        return (), ()
    quotas = sorted(QUOTAS & {resource for resource, _ in request})
    holds: list[PodHold] = []
    notes: list[Note] = []
    for resource, units in request:
        share = _share_on(node, resource)
        if resource in DEVICE_RESOURCES and quotas:
            share = UnsupportedShare(f"The pod shares its GPU by the quota {quotas[0]}.")
        match share:
            case UnsupportedShare(reason=reason):
                notes.append(Note("unsupported_sharing", _subject(pod), units, reason))
            case Share():
                holds.append(_hold(pod, node, edges, resource=resource, units=units, share=share))
            case None:
                continue
    if holds:
        notes += _notes_on_hold(pod, node, edges, units=sum(hold.units for hold in holds))
    return tuple(holds), tuple(notes)


def pool_counts_of(node: NodeFacts) -> tuple[tuple[PoolCount, ...], tuple[Note, ...]]:
    """Return a node's devices by model, and notes on devices that it divides in unknown ways.

    Devices are physical: the larger of what the capacity and the count label say, or the label
    alone where units of the resource are not devices. Devices whose sharing cannot be priced are
    part of the capacity but not allocatable, so their time is stranded and named. A unit of a
    resource that is not registered becomes no device.
    """
    sharing = sharing_of(node.labels)
    allocatable = dict(node.allocatable)
    counts: list[PoolCount] = []
    notes: list[Note] = []
    for resource, units in sorted(node.capacity):
        if units <= 0:
            continue
        share = _share_on(node, resource)
        match share:
            case UnsupportedShare(reason=reason):
                notes.append(Note("unsupported_sharing", node.name, units, reason))
                counts.append(
                    PoolCount(
                        gpu_model=sharing.gpu_model,
                        devices=devices_behind(resource, sharing),
                        allocatable=0,
                    )
                )
            case Share():
                counts.append(
                    PoolCount(
                        gpu_model=sharing.gpu_model,
                        devices=max(units, sharing.physical_devices or 0),
                        allocatable=min(units, allocatable.get(resource, 0)),
                    )
                )
            case None:
                continue
    if not counts and sharing.physical_devices and sharing.product:
        # The labels outlive the device plugin: its devices are there, but nobody can hold them.
        counts.append(
            PoolCount(gpu_model=sharing.gpu_model, devices=sharing.physical_devices, allocatable=0)
        )
    return _one_count_a_model(counts), tuple(notes)


def _share_on(node: NodeFacts | None, resource: str) -> Share | UnsupportedShare | None:
    """Return the share of one unit on a node, which may advertise more units than devices."""
    sharing = sharing_of(node.labels if node else ())
    units = dict(node.capacity).get(resource, 0) if node else 0
    physical = sharing.physical_devices
    share = share_of(resource, sharing)
    if isinstance(share, Share) and share.exclusive and physical and units > physical:
        return UnsupportedShare(
            f"The node advertises {units} units of {resource} on {physical} devices."
        )
    return share


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    """A hold's span, as wide as it may be; the true edges lie up to the unsure parts inside."""

    start_ms: int
    end_ms: int
    start_unsure_ms: int
    end_unsure_ms: int


def _edges(pod: PodFacts, *, seen_ms: int | None, gone_ms: int | None) -> _Edges | None:
    """Return when the pod held its devices, None if it was never bound to a node."""
    if not pod.node_name:
        return None
    start = pod.created_ms if pod.scheduled_ms is None else pod.scheduled_ms
    end, end_unsure = _end(pod, start, seen_ms=seen_ms, gone_ms=gone_ms)
    start_unsure = 0
    if pod.scheduled_ms is None:
        finished = [c.finished_ms for c in pod.containers if c.finished_ms is not None]
        bounds = [at for at in (pod.ready_ms, seen_ms, gone_ms, *finished) if at is not None]
        start_unsure = max(0, min(bounds, default=start) - start)
    return _Edges(
        start_ms=start,
        end_ms=end,
        start_unsure_ms=min(start_unsure, end - start),
        end_unsure_ms=end_unsure,
    )


def _end(pod: PodFacts, start: int, *, seen_ms: int | None, gone_ms: int | None) -> tuple[int, int]:
    """Return the end of the hold and how much earlier it may have been.

    The last container's finish ends it, as the status tells; a deleted pod whose containers were
    not all seen to finish ends with its deletion. A pod that the kubelet refused or evicted may
    have failed without any container status: then its end is only known to be before it was seen.
    """
    finished = [c.finished_ms for c in pod.containers if c.finished_ms is not None]
    running = [c for c in pod.containers if c.kind != "init" and c.finished_ms is None]
    terminal = pod.phase in TERMINAL_PHASES
    if finished and (terminal or (pod.containers and not running)):
        return max(start, *finished), 0
    latest = gone_ms if gone_ms is not None else seen_ms
    if terminal:
        end = max(start, latest) if latest is not None else start
        return end, end - start
    return (max(start, gone_ms), 0) if gone_ms is not None else (OPEN_MS, 0)


def _hold(
    pod: PodFacts, node: NodeFacts | None, edges: _Edges, *, resource: str, units: int, share: Share
) -> PodHold:
    return PodHold(
        pod_uid=pod.uid,
        namespace=pod.namespace,
        pod=pod.name,
        node_uid=node.uid if node else "",
        node_name=pod.node_name,
        gpu_model=sharing_of(node.labels).gpu_model if node else UNKNOWN_MODEL,
        resource=resource,
        units=units,
        share_num=units * share.num,
        share_den=share.den,
        exclusive=share.exclusive,
        workload=pod.workload,
        labels=pod.labels,
        start_ms=edges.start_ms,
        end_ms=edges.end_ms,
        start_unsure_ms=edges.start_unsure_ms,
        end_unsure_ms=edges.end_unsure_ms,
        scheduled_ms=pod.scheduled_ms,
        ready_ms=pod.ready_ms,
    )


def _notes_on_hold(
    pod: PodFacts, node: NodeFacts | None, edges: _Edges, *, units: int
) -> list[Note]:
    notes = []
    subject = _subject(pod)
    if node is None:
        detail = f"The node {pod.node_name} of the pod is not known; its time is on no pool."
        notes.append(Note("hold_without_node", subject, units, detail))
    if pod.namespace in _RESERVATION_NAMESPACES:
        detail = "The pod holds a GPU for fraction pods; their shares of it are not known."
        notes.append(Note("unsupported_sharing", subject, units, detail))
    if pod.phase in TERMINAL_PHASES and all(c.finished_ms is None for c in pod.containers):
        detail = f"The pod ended ({pod.phase}) without saying when its containers did."
        notes.append(Note("hold_end_unsure", subject, edges.end_unsure_ms, detail))
    return notes


def _subject(pod: PodFacts) -> str:
    return f"{pod.namespace}/{pod.name}"


def _one_count_a_model(counts: list[PoolCount]) -> tuple[PoolCount, ...]:
    """Unite counts of one model: several resources may be advertised by the same devices."""
    models = sorted({count.gpu_model for count in counts if count.devices > 0})
    return tuple(
        PoolCount(
            gpu_model=model,
            devices=max(count.devices for count in counts if count.gpu_model == model),
            allocatable=sum(count.allocatable for count in counts if count.gpu_model == model),
        )
        for model in models
    )
