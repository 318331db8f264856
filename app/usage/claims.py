"""Who holds the devices of ResourceClaims: their pods in equal parts, else the claims themselves.

A claim holds from allocation to deallocation. Each of its k bound pods holds 1/k of its devices
(or of what it consumes of them), the claim itself while k is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from app.units.window import OPEN_MS
from app.usage.claims_allocated import ClaimedDevice
from app.usage.claims_facts import ClaimFacts
from app.usage.edges import Edges
from app.usage.inventory import NodeFacts, PodFacts, PodHold, Workload
from app.usage.kinds import Sharing
from app.usage.products import UNKNOWN_MODEL

# Begins the resource of what a claim gives; the claim's name and the request's follow.
CLAIM_PREFIX = "resource.k8s.io/"

# Amounts are columns of 64 bits; `app.usage.sweep` computes on denominators up to this one.
_MAX_DENOMINATOR = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A bound pod that uses a claim, from when to when, and its node if it is known."""

    pod: PodFacts
    node: NodeFacts | None
    edges: Edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """One allocation of a claim, and the pods that used it.

    ``since_ms`` is when it is taken up: what happened before is settled, and ``settled`` are the
    holds that lasted then, which go on if nothing changed.
    """

    claim: ClaimFacts
    devices: tuple[ClaimedDevice, ...]
    start_ms: int
    start_unsure_ms: int = 0
    end_ms: int = OPEN_MS
    end_unsure_ms: int = 0
    members: tuple[Member, ...] = ()
    since_ms: int = 0
    settled: tuple[PodHold, ...] = ()


def claim_holds(
    one: Allocation, together: Sequence[Allocation], nodes: Mapping[str, NodeFacts]
) -> tuple[PodHold, ...]:
    """Return who held what of an allocation, in parts of constant share, from `since_ms` on.

    ``together`` are all allocations, this one too, that take parts of the same physical devices:
    parts of a device that together exceed it are scaled to it. Each hold names its start in
    `part_ms`.
    """
    holds: list[PodHold] = []
    runs = _runs(one, _scales(one, together))
    for (holder, resource), parts in runs.items():
        member = next((m for m in one.members if m.pod.uid == holder), None)
        went_on = _settled(one, holder, resource)
        holds += _holds_of_runs(one, member, parts, nodes, went_on)
    for hold in one.settled:
        parts = runs.get((hold.pod_uid, hold.resource), [])
        if not parts or parts[0].start_ms > one.since_ms:
            end_ms = max(hold.start_ms, one.since_ms)
            holds.append(replace(hold, end_ms=end_ms, end_unsure_ms=0, end_lost=True))
    return tuple(holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Devices of a claim that are held alike: one pool, one way of sharing."""

    resource: str
    devices: tuple[ClaimedDevice, ...]


@dataclass(slots=True, kw_only=True)
class _Run:
    """A span in which a holder's share of a group stays the same."""

    group: _Group
    start_ms: int
    end_ms: int
    share: Fraction
    compute: Fraction
    sharing: Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From ``start_ms`` on: by what parts of each physical device are multiplied."""

    start_ms: int
    share: Mapping[str, Fraction]
    compute: Mapping[str, Fraction]


def _groups(one: Allocation) -> list[_Group]:
    """Return the devices of each request that are alike; a request of one kind keeps its name."""
    requests: dict[str, dict[tuple[str, str, Sharing], list[ClaimedDevice]]] = {}
    for device in sorted(one.devices, key=lambda device: (device.request, str(device.key))):
        kind = (device.node_name, device.model, device.sharing)
        requests.setdefault(device.request, {}).setdefault(kind, []).append(device)
    groups = []
    for request, kinds in requests.items():
        name = f"{CLAIM_PREFIX}{one.claim.name}/{request}"
        for alike in kinds.values():
            which = f"/{alike[0].key.pool}/{alike[0].key.device}" if len(kinds) > 1 else ""
            groups.append(_as_settled(one, _Group(resource=name + which, devices=tuple(alike))))
    return groups


def _as_settled(one: Allocation, group: _Group) -> _Group:
    """Return devices as what was settled of them, where no slice lists them any more."""
    told = [hold for hold in one.settled if hold.resource == group.resource]
    told = [hold for hold in told if hold.gpu_model != UNKNOWN_MODEL]
    if not told or any(device.model != UNKNOWN_MODEL for device in group.devices):
        return group
    units = len(group.devices)
    share = sum((Fraction(hold.share_num, hold.share_den) for hold in told), Fraction(0))
    compute = sum((Fraction(*hold.compute_share) for hold in told), Fraction(0))
    sharing = told[0].sharing
    if sharing is Sharing.SHARED_CLAIM:
        sharing = Sharing.EXCLUSIVE if share == units else Sharing.FRACTION
    devices = tuple(
        replace(
            device,
            model=told[0].gpu_model,
            share=share / units,
            compute=compute / units,
            sharing=sharing,
        )
        for device in group.devices
    )
    return replace(group, devices=devices)


def _scales(one: Allocation, allocations: Sequence[Allocation]) -> list[_Scale]:
    """Return by what the parts of devices are multiplied over the life of an allocation."""
    borders = {
        one.start_ms,
        *(at for other in allocations for at in (other.start_ms, other.end_ms)),
    }
    scales = []
    for at_ms in sorted(at for at in borders if one.start_ms <= at < one.end_ms):
        share: dict[str, Fraction] = {}
        compute: dict[str, Fraction] = {}
        for other in allocations:
            if other.start_ms <= at_ms < other.end_ms:
                for device in filter(lambda device: device.physical, other.devices):
                    place = device.physical
                    share[place] = share.get(place, Fraction(0)) + device.share
                    compute[place] = compute.get(place, Fraction(0)) + device.compute
        scales.append(_Scale(start_ms=at_ms, share=_above_one(share), compute=_above_one(compute)))
    return scales


def _above_one(taken: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {place: 1 / amount for place, amount in taken.items() if amount > 1}


def _runs(one: Allocation, scales: Sequence[_Scale]) -> dict[tuple[str, str], list[_Run]]:
    """Return the spans of constant share of each holder and resource, from `since_ms` on."""
    first = max(one.start_ms, one.since_ms)
    borders = {first, one.end_ms, *(scale.start_ms for scale in scales)}
    for member in one.members:
        borders |= {member.edges.start_ms, member.edges.end_ms}
    inside = sorted(at for at in borders if first <= at <= one.end_ms)
    runs: dict[tuple[str, str], list[_Run]] = {}
    groups = _groups(one)
    for start_ms, end_ms in pairwise(inside):
        scale = next(scale for scale in reversed(scales) if scale.start_ms <= start_ms)
        present = [
            member.pod.uid
            for member in one.members
            if member.edges.start_ms <= start_ms and end_ms <= member.edges.end_ms
        ]
        for group in groups:
            fresh = _run(group, start_ms, end_ms, holders=len(present), scale=scale)
            for holder in present or [one.claim.uid]:
                _append(runs.setdefault((holder, group.resource), []), fresh)
    return runs


def _run(group: _Group, start_ms: int, end_ms: int, *, holders: int, scale: _Scale) -> _Run:
    share = sum(
        (one.share * scale.share.get(one.physical, Fraction(1)) for one in group.devices),
        Fraction(0),
    )
    compute = sum(
        (one.compute * scale.compute.get(one.physical, Fraction(1)) for one in group.devices),
        Fraction(0),
    )
    split = max(holders, 1)
    sharing = Sharing.SHARED_CLAIM if split > 1 else group.devices[0].sharing
    return _Run(
        group=group,
        start_ms=start_ms,
        end_ms=end_ms,
        share=_storable(share / split),
        compute=_storable(compute / split),
        sharing=sharing,
    )


def _append(runs: list[_Run], fresh: _Run) -> None:
    """Append a run, or extend the last one if it goes on the same."""
    last = runs[-1] if runs else None
    if last is not None and last.end_ms == fresh.start_ms and _same(last, fresh):
        runs[-1] = replace(last, end_ms=fresh.end_ms)
    else:
        runs.append(fresh)


def _same(one: _Run, other: _Run) -> bool:
    return (one.share, one.compute, one.sharing) == (other.share, other.compute, other.sharing)


def _settled(one: Allocation, holder: str, resource: str) -> PodHold | None:
    """Return the holder's part that lasted when the allocation was taken up."""
    return next(
        (hold for hold in one.settled if (hold.pod_uid, hold.resource) == (holder, resource)), None
    )


def _holds_of_runs(
    one: Allocation,
    member: Member | None,
    runs: Sequence[_Run],
    nodes: Mapping[str, NodeFacts],
    went_on: PodHold | None,
) -> list[PodHold]:
    holds = [_hold(one, member, run, nodes) for run in runs]
    first = holds[0]
    if went_on is None or first.start_ms > one.since_ms:
        return holds
    if _alike(went_on, first):
        unknown = first.gpu_model == UNKNOWN_MODEL
        holds[0] = replace(
            first,
            # What its slice said stays known when the slice is gone.
            gpu_model=went_on.gpu_model if unknown else first.gpu_model,
            devices=first.devices or went_on.devices,
            start_ms=went_on.start_ms,
            start_unsure_ms=went_on.start_unsure_ms,
            part_ms=went_on.part_ms,
            scheduled_ms=went_on.scheduled_ms,
            ready_ms=member.pod.ready_ms if member and went_on.scheduled_ms else None,
        )
        return holds
    ended = replace(went_on, end_ms=max(one.since_ms, went_on.start_ms), end_unsure_ms=0)
    return [ended, *holds]


def _alike(one: PodHold, other: PodHold) -> bool:
    """Say whether two parts have the same share of the same node."""
    return (
        Fraction(one.share_num, one.share_den) == Fraction(other.share_num, other.share_den)
        and Fraction(*one.compute_share) == Fraction(*other.compute_share)
        and one.sharing == other.sharing
        and (not one.node_uid or not other.node_uid or one.node_uid == other.node_uid)
    )


def _hold(
    one: Allocation, member: Member | None, run: _Run, nodes: Mapping[str, NodeFacts]
) -> PodHold:
    devices = run.group.devices
    claim = one.claim
    node_name = devices[0].node_name or (member.pod.node_name if member else claim.node_name)
    node = nodes.get(node_name)
    if member is not None and node_name == member.pod.node_name:
        node = member.node
    elif node is not None and node.created_ms > one.start_ms:
        # Another node took the name; it does not have these devices.
        node = None
    start_unsure, end_unsure = _unsure(one, member, run)
    first = member is not None and run.start_ms == max(one.start_ms, member.edges.start_ms)
    # The cold start of a pod is told once, by the first of what it holds.
    first = first and run.group.resource == _groups(one)[0].resource
    itself = Workload(
        namespace=claim.namespace, kind="ResourceClaim", name=claim.name, uid=claim.uid
    )
    return PodHold(
        pod_uid=member.pod.uid if member else claim.uid,
        namespace=claim.namespace,
        pod=member.pod.name if member else claim.name,
        node_uid=node.uid if node else "",
        node_name=node_name,
        gpu_model=devices[0].model,
        resource=run.group.resource,
        units=len(devices),
        share_num=run.share.numerator,
        share_den=run.share.denominator,
        compute_num=0 if run.compute == run.share else run.compute.numerator,
        compute_den=0 if run.compute == run.share else run.compute.denominator,
        exclusive=run.sharing is Sharing.EXCLUSIVE,
        sharing=run.sharing,
        devices=tuple(sorted({device.uuid for device in devices} - {""})),
        workload=member.pod.workload if member else itself,
        labels=member.pod.labels if member else claim.labels,
        start_ms=run.start_ms,
        end_ms=run.end_ms,
        start_unsure_ms=start_unsure,
        end_unsure_ms=end_unsure,
        part_ms=run.start_ms,
        scheduled_ms=member.pod.scheduled_ms if member and first else None,
        ready_ms=member.pod.ready_ms if member and first else None,
    )


def _unsure(one: Allocation, member: Member | None, run: _Run) -> tuple[int, int]:
    """Return how unsure the edges of a run are; those at which only shares change are sure."""
    starts = {one.start_ms: one.start_unsure_ms}
    ends = {one.end_ms: one.end_unsure_ms}
    if member is not None:
        starts[member.edges.start_ms] = member.edges.start_unsure_ms
        ends[member.edges.end_ms] = member.edges.end_unsure_ms
    length = run.end_ms - run.start_ms
    return min(starts.get(run.start_ms, 0), length), min(ends.get(run.end_ms, 0), length)


def _storable(share: Fraction) -> Fraction:
    """Return a share, rounded down where its denominator is beyond what is computed with."""
    if share.denominator <= _MAX_DENOMINATOR:
        return share
    return max(
        Fraction(share.numerator * _MAX_DENOMINATOR // share.denominator, _MAX_DENOMINATOR),
        Fraction(1, _MAX_DENOMINATOR),
    )
