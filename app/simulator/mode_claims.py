"""Pods that hold devices by claims: from templates, shared, partitioned, by capacity."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from app.simulator.claims import Allocation, Claim, Reservation, Result
from app.simulator.dice import dice, suffix, uid
from app.simulator.hardware import Node
from app.simulator.layouts import Layout
from app.simulator.mode_pods import Ask, Room, Seat, arrivals, limit_of, pod_of
from app.simulator.modes import MIG_PROFILES, WHOLE_GPU, Mode
from app.simulator.pods import Pod, PodClaim
from app.simulator.spec import OPEN_MS, SECOND_MS, FleetSpec

# What the slices say a device has, and how many partitions of a profile each lists.
CAPACITY_GIB = 80
PARTITIONS = {"1g.10gb": 7, "2g.20gb": 3, "3g.40gb": 2}
GPU_CLASS, MIG_CLASS = "gpu.nvidia.com", "mig.nvidia.com"
_SHARED_NAMESPACE = "ml-train"


def device_name(device: int) -> str:
    """Return what a slice calls a whole device."""
    return f"gpu-{device}"


def partition_name(device: int, profile: str, slot: int) -> str:
    """Return what a slice calls a partition; names of devices have no dots."""
    return f"gpu-{device}-mig-{profile.replace('.', '-')}-{slot}"


@dataclass(slots=True)
class _Shared:
    """A claim that pods join and leave: its users so far, and until when it is kept."""

    claim: Claim
    end_ms: int


def place_claims(spec: FleetSpec, node: Node, number: int) -> tuple[list[Pod], list[Claim]]:
    """Return the pods and claims of a node that knows claims alone."""
    pods, claims = [], []
    shared: list[_Shared] = []
    room = Room(node)
    for at_ms, stays_ms, key, draw in _with_admin(spec, node):
        room.free_at(at_ms)
        layout = node.layout_at(at_ms)
        if layout is None or layout.unschedulable:
            continue
        joined = _joined(shared, draw, at_ms) if node.mode is Mode.DRA else None
        results = joined.claim.results if joined else _results(spec, draw, room, layout, key)
        if not results:
            continue
        form = _form(draw, node.mode, key)
        name = joined.claim.name if joined else f"claim-{suffix(spec.seed, 'claim', key)}"
        ask = _ask(form if joined is None else "shared", results, name)
        pod = pod_of(spec, node, ask, at_ms=at_ms, stays_ms=stays_ms, key=key, number=number)
        if pod is None:
            continue
        number += 1
        if joined is not None or form == "shared":
            pod = replace(pod, namespace=_SHARED_NAMESPACE)
            if joined is None:
                joined = _Shared(_empty(spec, pod, name, results), 0)
                shared.append(joined)
            _join(spec, joined, pod)
            room.taken = [one for one in room.taken if one[0].resource != joined.claim.uid]
            room.taken += [(_seat(one, joined.claim.uid), joined.end_ms) for one in results]
        else:
            claims.append(_own_claim(spec, pod, name, form, results))
            room.taken += [(_seat(one, key), pod.finished_ms) for one in results if not one.admin]
        pods.append(pod)
    claims += [one.claim for one in shared]
    return _with_parts(pods, claims), claims


def _with_admin(spec: FleetSpec, node: Node) -> Iterator[tuple[int, int, str, np.random.Generator]]:
    """Yield what comes to a node: first a monitor that looks at every device and holds none."""
    if node.mode is Mode.DRA:
        key = f"mode/{node.name}/{node.uid[:8]}/admin"
        at_ms = max(node.advertised_ms + SECOND_MS, spec.opens_ms - 600 * SECOND_MS)
        if at_ms < spec.closes_ms:
            yield at_ms, OPEN_MS, key, dice(spec.seed, "mode-pod", key)
    yield from arrivals(spec, node)


def _form(draw: np.random.Generator, mode: Mode, key: str) -> str:
    if key.endswith("/admin"):
        return "admin"
    if mode is not Mode.DRA:
        return "template"
    return ("template", "shared", "extended")[int(draw.integers(0, 3))]


def _results(
    spec: FleetSpec, draw: np.random.Generator, room: Room, layout: Layout, key: str
) -> tuple[Result, ...]:
    """Return what a fresh claim is given, nothing if there is no room."""
    if key.endswith("/admin"):
        whole = (device for device in layout.devices)
        return tuple(replace(_whole(device), admin=True) for device in whole)
    if room.node.mode is Mode.DRA_PARTITIONS:
        return _partition(draw, room, layout)
    if room.node.mode is Mode.DRA_CAPACITY:
        gib = int(draw.choice([5, 10, 20, 40]))
        share = Fraction(gib, CAPACITY_GIB)
        fitting = [device for device in layout.devices if room.used(device) + share <= 1]
        if not fitting:
            return ()
        made = _whole(fitting[0])
        ids = uid(spec.seed, "share", key)
        return (replace(made, share=share, compute=share, share_id=ids, consumed_gib=gib),)
    free = [device for device in layout.devices if not room.used(device)]
    wanted = int(draw.choice([1, 1, 2]))
    return tuple(
        replace(_whole(device), request="gpu" if not order else f"gpu-{order}")
        for order, device in enumerate(free[:wanted])
    )


def _whole(device: int) -> Result:
    one = Fraction(1)
    return Result(request="gpu", name=device_name(device), device=device, share=one, compute=one)


def _partition(draw: np.random.Generator, room: Room, layout: Layout) -> tuple[Result, ...]:
    """Cut an instance out of the first device that has room for it, by slices of either kind."""
    profile = sorted(PARTITIONS)[int(draw.integers(0, len(PARTITIONS)))]
    slices = MIG_PROFILES[profile]
    for device in layout.devices:
        there = [seat for seat, _ in room.taken if seat.device == device]
        memory = sum(MIG_PROFILES[seat.profile].memory for seat in there) + slices.memory
        if memory > 8 or room.used(device) + slices.share > 1:  # noqa: PLR2004 - memory slices of a device
            continue
        taken = {seat.slot for seat in there if seat.profile == profile}
        slot = min(set(range(PARTITIONS[profile])) - taken, default=None)
        if slot is None:
            continue
        return (
            Result(
                request="gpu",
                name=partition_name(device, profile, slot),
                device=device,
                share=slices.share,
                compute=Fraction(slices.compute, 7),
                profile=profile,
            ),
        )
    return ()


def _seat(result: Result, key: str) -> Seat:
    slot = int(result.name.rsplit("-", 1)[1]) if result.profile else 0
    return Seat(result.device, slot, key, result.share, result.profile)


def _ask(form: str, results: tuple[Result, ...], name: str) -> Ask:
    seats = tuple(Seat(one.device, 0, name, one.share) for one in results)
    if form == "extended":
        claim = PodClaim(name="extended", claim=name, extended=WHOLE_GPU)
        return Ask(seats=seats, resource=WHOLE_GPU, units=len(results), claims=(claim,))
    template = "" if form == "shared" else f"{form}-gpus"
    return Ask(seats=seats, claims=(PodClaim(name="gpus", claim=name, template=template),))


def _own_claim(
    spec: FleetSpec, pod: Pod, name: str, form: str, results: tuple[Result, ...]
) -> Claim:
    """Return the claim that was made for one pod and goes with it."""
    assert pod.node is not None
    extended = form == "extended"
    if extended:
        results = tuple(replace(one, request="container-0-request-0") for one in results)
    span = {"start_ms": pod.scheduled_ms, "end_ms": pod.finished_ms}
    return Claim(
        uid=uid(spec.seed, "claim", pod.namespace, name),
        namespace=pod.namespace,
        name=name,
        node=pod.node,
        device_class=MIG_CLASS if results[0].profile else GPU_CLASS,
        results=results,
        created_ms=pod.scheduled_ms if extended else pod.created_ms,
        deleted_ms=pod.finished_ms,
        allocations=(Allocation(**span),),
        reservations=(Reservation(pod_uid=pod.uid, pod=pod.name, **span),),
        owner=pod.name,
        owner_uid=pod.uid,
        claim_name="" if extended else "gpus",
        extended=WHOLE_GPU if extended else "",
    )


def _empty(spec: FleetSpec, pod: Pod, name: str, results: tuple[Result, ...]) -> Claim:
    """Return a claim that somebody wrote by hand, before anybody uses it."""
    assert pod.node is not None
    return Claim(
        uid=uid(spec.seed, "claim", pod.namespace, name),
        namespace=pod.namespace,
        name=name,
        node=pod.node,
        device_class=GPU_CLASS,
        results=results,
        created_ms=pod.created_ms,
        deleted_ms=OPEN_MS,
        allocations=(),
        reservations=(),
    )


def _joined(shared: list[_Shared], draw: np.random.Generator, at_ms: int) -> _Shared | None:
    """Return a claim that is still allocated and that the next pod joins, if it joins one."""
    open_ones = [one for one in shared if one.end_ms > at_ms + 3 * SECOND_MS]
    if not open_ones or draw.random() < 0.4:  # noqa: PLR2004 - some bring a claim of their own
        return None
    return open_ones[int(draw.integers(0, len(open_ones)))]


def _join(spec: FleetSpec, shared: _Shared, pod: Pod) -> None:
    """Let a pod use the claim; its devices stay allocated for a while after the last has gone."""
    assert pod.node is not None
    user = Reservation(
        pod_uid=pod.uid, pod=pod.name, start_ms=pod.scheduled_ms, end_ms=pod.finished_ms
    )
    users = (*shared.claim.reservations, user)
    start = min(one.start_ms for one in users)
    last = max(one.end_ms for one in users)
    if last < OPEN_MS:
        draw = dice(spec.seed, "outlives", shared.claim.uid)
        devices = [one.device for one in shared.claim.results]
        kept = last + int(draw.integers(5, 90)) * SECOND_MS
        last = max(last, min(kept, limit_of(pod.node, devices, start)))
    shared.end_ms = last
    shared.claim = replace(
        shared.claim,
        reservations=users,
        allocations=(Allocation(start_ms=start, end_ms=last),),
    )


def _with_parts(pods: list[Pod], claims: list[Claim]) -> list[Pod]:
    """Return the pods with what they held by all of their claims."""
    return [
        replace(pod, parts=tuple(part for claim in claims for part in claim.parts(pod.uid)))
        for pod in pods
    ]
