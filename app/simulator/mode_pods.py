"""Pods on the nodes of the shared modes: what each asks for, and what it really holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from app.simulator.dice import dice, suffix, uid
from app.simulator.hardware import Node
from app.simulator.layouts import Amounts, Layout, Part, Texts
from app.simulator.lifetimes import ending_of, runs_of
from app.simulator.modes import WHOLE_GPU
from app.simulator.pods import Container, Owner, Pod, PodClaim, Profile
from app.simulator.population import Wish
from app.simulator.spec import MINUTE_MS, OPEN_MS, SECOND_MS, FleetSpec

_TEAMS = (("ml-train", "ml"), ("ads-batch", "ads"), ("research-lab", "research"), ("sandbox", ""))
_LEAST_LIFE_MS = 2 * SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a pod asks for on its node, and the seats that it gets for that."""

    seats: tuple["Seat", ...]
    resource: str = ""
    units: int = 0
    more: Amounts = ()
    annotations: Texts = ()
    labels: Texts = ()
    claims: tuple[PodClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class Seat:
    """A part of one device: a unit of a resource, or a declared ``share`` where that is given."""

    device: int
    slot: int
    resource: str
    share: Fraction | None = None
    profile: str = ""


@dataclass(slots=True)
class Room:
    """What is taken on a node; arrivals come in the order of time."""

    node: Node
    taken: list[tuple[Seat, int]] = field(default_factory=list)

    def free_at(self, at_ms: int) -> None:
        """Forget what has been given back."""
        self.taken = [(seat, end_ms) for seat, end_ms in self.taken if end_ms > at_ms]

    def used(self, device: int) -> Fraction:
        """Return which declared share of a device is taken."""
        shares = (seat.share for seat, _ in self.taken if seat.device == device)
        return sum((share for share in shares if share is not None), Fraction(0))

    def open_seats(self, layout: Layout) -> list[Seat]:
        """Return the units that may be taken: no more than are advertised beyond those in use."""
        busy = {(seat.device, seat.slot) for seat, _ in self.taken}
        seats = [
            Seat(unit.device, unit.slot, unit.resource, profile=unit.profile)
            for unit in layout.units
            if (unit.device, unit.slot) not in busy
        ]
        left: dict[str, int] = {}
        for unit in layout.units:
            left[unit.resource] = left.get(unit.resource, 0) + 1
        for seat, _ in self.taken:
            left[seat.resource] = left.get(seat.resource, 0) - 1
        return [
            seat
            for number, seat in enumerate(seats)
            if sum(one.resource == seat.resource for one in seats[:number]) < left[seat.resource]
        ]


def arrivals(spec: FleetSpec, node: Node) -> Iterator[tuple[int, int, str, np.random.Generator]]:
    """Yield (instant, how long it wants to stay, key, dice) of the pods that come to a node."""
    draw = dice(spec.seed, "mode-arrivals", node.uid)
    mean_ms = spec.mode_pod_minutes * MINUTE_MS
    opens = max(node.advertised_ms + MINUTE_MS, spec.opens_ms)
    closes = min(node.deleted_ms, spec.closes_ms)
    if opens >= closes:
        return
    residents = int(draw.poisson(spec.mode_pods_per_node)) if opens == spec.opens_ms else 0
    come = [opens - int(draw.integers(1, 1_800)) * SECOND_MS for _ in range(residents)]
    expected = spec.mode_pods_per_node * (closes - opens) / mean_ms
    later = draw.integers(0, max(1, (closes - opens) // SECOND_MS), int(draw.poisson(expected)))
    come = [max(at, node.advertised_ms + SECOND_MS) for at in come]
    come += [opens + int(at) * SECOND_MS for at in later]
    for number, at_ms in enumerate(sorted(come)):
        own = dice(spec.seed, "mode-pod", node.uid, str(number))
        stays = int(own.exponential(mean_ms)) // SECOND_MS * SECOND_MS + 3 * SECOND_MS
        if at_ms < opens:
            stays += opens - at_ms
        yield at_ms, stays, f"mode/{node.name}/{node.uid[:8]}/{number}", own


def limit_of(node: Node, devices: Sequence[int], at_ms: int) -> int:
    """Return until when pods may stay on some devices: drained, lost, or gone with the node."""
    limit = node.deleted_ms
    for layout in node.layouts:
        if layout.end_ms <= at_ms:
            continue
        if layout.start_ms > at_ms and not set(devices) <= set(layout.devices):
            return min(limit, layout.start_ms)
        if layout.drains:
            return min(limit, layout.end_ms)
    return limit


def parts_of(node: Node, seats: Sequence[Seat], start_ms: int, end_ms: int) -> tuple[Part, ...]:
    """Return what seats are of their devices, layout by layout; an instance is a part alone."""
    together: dict[tuple[int, int], list[Seat]] = {}
    for seat in sorted(seats, key=lambda one: (one.device, one.slot)):
        together.setdefault((seat.device, seat.slot if seat.profile else -1), []).append(seat)
    parts = []
    for layout in node.layouts:
        low, high = max(start_ms, layout.start_ms), min(end_ms, layout.end_ms)
        for (device, slot), mine in together.items() if low < high else ():
            each = [
                (seat.share, seat.share) if seat.share is not None else layout.shares[seat.resource]
                for seat in mine
            ]
            parts.append(
                Part(
                    start_ms=low,
                    end_ms=high,
                    device=device,
                    share=sum((share for share, _ in each), Fraction(0)),
                    compute=sum((compute for _, compute in each), Fraction(0)),
                    slots=len(mine) if node.mode.slotted else 0,
                    instance=slot + 1 if slot >= 0 else -1,
                    profile=mine[0].profile,
                )
            )
    return tuple(parts)


def pod_of(
    spec: FleetSpec, node: Node, ask: Ask, *, at_ms: int, stays_ms: int, key: str, number: int
) -> Pod | None:
    """Return the pod that gets its seats, None where it could not stay for a moment."""
    draw = dice(spec.seed, "mode-life", key)
    devices = tuple(sorted({seat.device for seat in ask.seats}))
    scheduled = at_ms + int(draw.integers(0, 3)) * SECOND_MS
    layout = node.layout_at(scheduled)
    limit = limit_of(node, devices, scheduled)
    changes = layout != node.layout_at(at_ms) or scheduled >= spec.closes_ms
    if changes or limit - scheduled < _LEAST_LIFE_MS:
        return None
    stays = min(stays_ms, limit - scheduled)
    if limit >= OPEN_MS and scheduled + stays >= spec.closes_ms:
        stays = OPEN_MS
    wish = _wish(spec, draw, ask, key, at_ms, stays)
    ending = ending_of(draw, wish, scheduled, node)
    pod_uid = uid(spec.seed, "pod", key)
    pod = Pod(
        uid=pod_uid,
        namespace=wish.namespace,
        name=wish.name,
        labels=tuple(sorted((*ask.labels, *((("team", wish.team),) if wish.team else ())))),
        owner=wish.owner,
        containers=(_container(ask),),
        profile=wish.profile,
        node=node,
        devices=devices,
        created_ms=at_ms,
        scheduled_ms=scheduled,
        started_ms=ending.started_ms,
        runs=runs_of(spec, wish, pod_uid, ending),
        delete_requested_ms=ending.delete_requested_ms,
        grace_seconds=30,
        finished_ms=ending.finished_ms,
        removed_ms=ending.removed_ms,
        outcome=ending.outcome,
        address=f"10.{200 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}",
        annotations=ask.annotations,
        claims=ask.claims,
    )
    return replace(pod, parts=parts_of(node, ask.seats, scheduled, ending.finished_ms))


def _wish(
    spec: FleetSpec, draw: np.random.Generator, ask: Ask, key: str, at_ms: int, stays_ms: int
) -> Wish:
    namespace, team = _TEAMS[int(draw.integers(0, len(_TEAMS)))]
    kind = ("part", "probe", "sweep")[int(draw.integers(0, 3))]
    name = f"{kind}-{suffix(spec.seed, 'mode', key, length=8)}"
    owner = None
    if namespace != "sandbox":
        owner = Owner(
            kind="Job",
            name=name,
            uid=uid(spec.seed, "job", namespace, name),
            created_ms=at_ms,
        )
    return Wish(
        at_ms=at_ms,
        key=key,
        namespace=namespace,
        name=f"{name}-{suffix(spec.seed, key)}",
        team=team,
        owner=owner,
        profile=Profile.NOTEBOOK if draw.random() < 0.2 else Profile.TRAINING,  # noqa: PLR2004 - one pod in five
        gpus=ask.units,
        pools=(),
        holds_ms=stays_ms,
    )


def _container(ask: Ask) -> Container:
    gpus = ask.units if ask.resource == WHOLE_GPU else 0
    asks = () if gpus or not ask.resource else ((ask.resource, ask.units),)
    return Container(
        name="main",
        kind="app",
        image="trainer:2",
        gpus=gpus,
        asks=(*asks, *ask.more),
        claims=tuple(claim.name for claim in ask.claims if not claim.extended),
    )
