"""The ledger by brute force: every device of every node is looked at in every millisecond.

For small fleets only (some nodes, some minutes). It imports nothing of the product, so that a
mistake there cannot hide here. All spans are half-open ``[start_ms, end_ms)``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt

from app.errors import GpuledgerError

HELD, UNOBSERVED, STRANDED, UNALLOCATED = "held", "unobserved", "stranded", "unallocated"
UNOWNED = "unowned"
HOUR_MS = 3_600_000

Ints = npt.NDArray[np.int64]


class OracleError(GpuledgerError):
    """Inputs that contradict themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many devices of a node may be held during a span; outside all spans none may.

    What no instance of a divided device covers may not be held: then it is a fraction.
    """

    start_ms: int
    end_ms: int
    allocatable: int | Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a device of a node costs per hour during a span; outside all spans it has no price."""

    start_ms: int
    end_ms: int
    per_device_hour: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleNode:
    """A node with devices of one model; ``end_ms`` may lie far in the future."""

    name: str
    devices: int
    start_ms: int
    end_ms: int
    counts: tuple[Count, ...]
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleHold:
    """A span in which somebody held so many devices, or such a part of one.

    Several may have one key: a hold whose share changes is as many of them. Where ``slots`` are
    given, presence counts: of the devices in use its part is that of its slots among all of them.
    ``collected`` is what it was collected with where another policy rates it: a node that was full
    then had no room for anybody whom nobody saw.
    """

    key: str
    node: str
    namespace: str
    devices: int | Fraction
    start_ms: int
    end_ms: int
    slots: int = 0
    collected: int | Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    namespace: str
    team: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class LineKey:
    """``hold`` is empty for what nobody held; ``team`` is then the platform's name."""

    node: str
    state: str
    hold: str
    team: str


@dataclass(frozen=True, slots=True)
class Amount:
    """``device_ms`` includes ``unpriced_ms``; the cost is that of the rest, exactly."""

    device_ms: Fraction
    unpriced_ms: Fraction
    cost: Fraction

    def plus(self, other: "Amount") -> "Amount":
        return Amount(
            self.device_ms + other.device_ms,
            self.unpriced_ms + other.unpriced_ms,
            self.cost + other.cost,
        )


Ledger = dict[LineKey, Amount]


def walk(
    *,
    start_ms: int,
    end_ms: int,
    nodes: Sequence[OracleNode],
    holds: Sequence[OracleHold],
    observed: Sequence[Span],
    owners: Sequence[Owner] = (),
    platform: str = "platform",
) -> Ledger:
    """Return device-milliseconds and exact cost of every line of the span."""
    ledger: Ledger = {}
    for node in nodes:
        mine = [hold for hold in holds if hold.node == node.name]
        for key, amount in _walk_node(start_ms, end_ms, node, mine, observed, owners, platform):
            before = ledger.get(key, Amount(Fraction(0), Fraction(0), Fraction(0)))
            ledger[key] = before.plus(amount)
    return ledger


def _walk_node(
    start_ms: int,
    end_ms: int,
    node: OracleNode,
    holds: Sequence[OracleHold],
    observed: Sequence[Span],
    owners: Sequence[Owner],
    platform: str,
) -> Iterable[tuple[LineKey, Amount]]:
    at = np.arange(start_ms, end_ms, dtype=np.int64)
    # Everything is counted in parts of a device of which all shares are whole numbers.
    shares = [one.devices for one in holds] + [one.allocatable for one in node.counts]
    shares += [one.collected for one in holds if one.collected is not None]
    parts = lcm(*(Fraction(share).denominator for share in shares))
    whole = node.devices * parts
    exists = _inside(at, [Span(start_ms=node.start_ms, end_ms=node.end_ms)])
    taken = _claims(at, holds, parts)
    if np.any((taken.all > 0) & ~exists):
        message = f"Something is held on {node.name} while the node does not exist."
        raise OracleError(message)
    seen = _inside(at, observed) | (taken.collected >= whole)
    allocatable = _step(at, node.counts, parts)
    in_use = _in_use(taken, np.where(seen, allocatable, whole), whole, parts)
    claimed = taken.all - taken.sliced + in_use
    held = np.minimum(claimed, whole)
    free = whole * exists - held
    stranded = np.minimum(whole - allocatable, free) * seen
    states = {
        UNOBSERVED: free * ~seen,
        STRANDED: stranded,
        UNALLOCATED: free * seen - stranded,
    }
    price = _price_index(at, node.prices)
    every = np.full(len(at), node.devices, dtype=np.int64)
    for state, devices in states.items():
        amount = _amount(node, price, devices, every, every * parts)
        yield LineKey(node.name, state, "", platform), amount
    crowd = np.maximum(claimed, whole)
    for hold in holds:
        holding = _inside(at, [Span(start_ms=hold.start_ms, end_ms=hold.end_ms)])
        for team, owning in _teams(at, hold.namespace, owners):
            key = LineKey(node.name, HELD, hold.key, team)
            if hold.slots:
                slots = hold.slots * (holding & owning)
                yield key, _amount(node, price, slots, in_use * whole, taken.slots * parts * crowd)
            else:
                devices = int(hold.devices * parts) * (holding & owning)
                yield key, _amount(node, price, devices, every, crowd)


@dataclass(frozen=True, slots=True)
class _Claims:
    """What is claimed of a node's devices, in parts: by all, by slots; and how many slots.

    ``collected`` is what all claimed by the policies of the collection.
    """

    all: Ints
    sliced: Ints
    slots: Ints
    collected: Ints


def _claims(at: Ints, holds: Sequence[OracleHold], parts: int) -> _Claims:
    claimed, sliced, slots, before = (np.zeros(len(at), dtype=np.int64) for _ in range(4))
    for hold in holds:
        holding = _inside(at, [Span(start_ms=hold.start_ms, end_ms=hold.end_ms)])
        claimed += int(hold.devices * parts) * holding
        collected = hold.devices if hold.collected is None else hold.collected
        before += int(collected * parts) * holding
        if hold.slots:
            sliced += int(hold.devices * parts) * holding
            slots += hold.slots * holding
    return _Claims(claimed, sliced, slots, before)


def _in_use(taken: _Claims, allocatable: Ints, whole: int, parts: int) -> Ints:
    """Return the devices that slots use, in parts: as many as slots, while there are devices.

    Those are whole ones that may be held and that nobody else holds; they are never fewer than the
    shares of the slots come to, rounded up where there is room.
    """
    others = taken.all - taken.sliced
    room = np.maximum(whole - others, 0)
    may = np.maximum(allocatable, np.minimum(taken.all, whole)) - others
    left = np.minimum(np.maximum(may, 0) // parts * parts, room)
    needed = np.maximum(np.minimum(-(-taken.sliced // parts) * parts, room), taken.sliced)
    return np.minimum(np.maximum(left, needed), taken.slots * parts)


def _amount(node: OracleNode, price: Ints, raw: Ints, of: Ints, crowd: Ints) -> Amount:
    """Add up one line's milliseconds, one group of equal price and crowding after another.

    The line has ``raw`` of every ``crowd`` that is claimed, and those have ``of`` devices: where
    more is claimed than there is, everyone's part shrinks in proportion.
    """
    total = unpriced = cost = Fraction(0)
    some = raw > 0
    groups = set(zip(price[some].tolist(), of[some].tolist(), crowd[some].tolist(), strict=True))
    for index, devices, pressed in groups:
        mine = (price == index) & (of == devices) & (crowd == pressed)
        part = Fraction(int(raw[mine].sum()) * devices, pressed)
        total += part
        if index < 0:
            unpriced += part
        else:
            cost += part * node.prices[index].per_device_hour / HOUR_MS
    return Amount(total, unpriced, cost)


def _teams(
    at: Ints, namespace: str, owners: Sequence[Owner]
) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
    rest = np.ones(len(at), dtype=bool)
    mine = [owner for owner in owners if owner.namespace == namespace]
    for team in sorted({owner.team for owner in mine}):
        spans = [
            Span(start_ms=owner.start_ms, end_ms=owner.end_ms)
            for owner in mine
            if owner.team == team
        ]
        owning = _inside(at, spans)
        if np.any(owning & ~rest):
            message = f"The namespace {namespace} has two owners at one instant."
            raise OracleError(message)
        rest &= ~owning
        if owning.any():
            yield team, owning
    if rest.any():
        yield UNOWNED, rest


def _inside(at: Ints, spans: Iterable[Span]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(at), dtype=bool)
    for span in spans:
        inside |= (at >= span.start_ms) & (at < span.end_ms)
    return inside


def _step(at: Ints, counts: Iterable[Count], parts: int) -> Ints:
    allocatable = np.zeros(len(at), dtype=np.int64)
    for count in counts:
        inside = (at >= count.start_ms) & (at < count.end_ms)
        allocatable[inside] = int(count.allocatable * parts)
    return allocatable


def _price_index(at: Ints, prices: Sequence[Price]) -> Ints:
    index = np.full(len(at), -1, dtype=np.int64)
    for number, price in enumerate(prices):
        inside = (at >= price.start_ms) & (at < price.end_ms)
        if np.any(index[inside] >= 0):
            message = f"Two prices hold at once from {price.start_ms} on."
            raise OracleError(message)
        index[inside] = number
    return index


@dataclass(frozen=True, slots=True)
class Measured:
    """What a device's samples say about a hold: active + idle = measured, exactly."""

    active_ms: Fraction
    measured_ms: int


def measured(
    samples: Sequence[tuple[int, Fraction]], *, start_ms: int, end_ms: int, scrape_ms: int
) -> Measured:
    """Let each sample of one device speak for the time since the one before, 2 scrapes at most.

    ``samples`` are (instant, activity 0–1) in ascending order; ``[start_ms, end_ms)`` is the part
    of the hold inside the window. A sample at ``t`` speaks for the milliseconds of
    ``[t_before, t)``; the first one for 2 scrapes.
    """
    active, spoken = Fraction(0), 0
    before: int | None = None
    for at_ms, value in samples:
        low = at_ms - 2 * scrape_ms
        if before is not None:
            low = max(low, before)
        milliseconds = len(range(max(low, start_ms), min(at_ms, end_ms)))
        active += value * milliseconds
        spoken += milliseconds
        before = at_ms
    return Measured(active, spoken)
