"""The difference between what a provider charged for a node's day and what its pool cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from app.attribution.bill_pieces import Piece, Place
from app.attribution.provider_bills import Bill
from app.attribution.redistribution import BillingDay
from app.units.identity import hash64
from app.units.money import split


class DayState(StrEnum):
    """Whether a node's day has its true-up, or for what it waits."""

    DUE = "due"
    UNPRICED = "unpriced"
    UNCOVERED = "uncovered"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PoolCost:
    """First-hand nanos of a node by payer, in a span of one billing day.

    ``span_ms`` is the beginning of the span: the day's, or a bill's border inside the day.
    ``priced`` is false where a line of them has no price.
    """

    day_ms: int
    span_ms: int
    cluster_id: int
    node_id: int
    team_id: int
    namespace_id: int
    gpu_model_id: int
    nanos: int
    priced: bool = True

    @property
    def node(self) -> tuple[int, int]:
        """Which node it is."""
        return self.cluster_id, self.node_id


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDay:
    """What a bill says of a node's day, and what of the pool's cost stands against it."""

    bill_id: int
    node: tuple[int, int]
    day_ms: int
    provider_nanos: int
    pool_nanos: int
    state: DayState

    @property
    def true_up_nanos(self) -> int:
        """What is added to the pool's cost so that it is what the provider charged."""
        return self.provider_nanos - self.pool_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUpLine:
    """A line of step TRUE_UP: of a node's day, on one payer."""

    charge_id: int
    day_ms: int
    cluster_id: int
    node_id: int
    team_id: int
    namespace_id: int
    gpu_model_id: int
    nanos: int


def node_days(
    bills: Iterable[Bill],
    pieces: Iterable[Piece],
    pool: Iterable[PoolCost],
    spans: Mapping[int, Sequence[tuple[int, int]]],
) -> tuple[NodeDay, ...]:
    """Compare bills with pools, by node and billing day; what no pool has lines of is left out.

    ``spans`` are, by the day's beginning, the spans between the bills' borders inside it. The pool
    cost of a span stands against the bill of that period that charged most for the node that day
    (if that account's bill has no row of it, against the day's other bill); what lies in no bill's
    period stands against none. A day is due if all of it that has pool cost is covered by the bills
    of accounts that charged the node, and all of it is priced.
    """
    by_id = {bill.bill_id: bill for bill in bills}
    charged: dict[tuple[tuple[int, int], int], dict[int, int]] = {}
    for piece in pieces:
        if piece.place is Place.IN_CLUSTER:
            of_bills = charged.setdefault((piece.node, piece.day_ms), {})
            of_bills[piece.bill_id] = of_bills.get(piece.bill_id, 0) + piece.nanos
    costs: dict[tuple[tuple[int, int], int], list[PoolCost]] = {}
    for cost in pool:
        costs.setdefault((cost.node, cost.day_ms), []).append(cost)
    theirs = {
        day_ms: [
            (span, [bill for bill in by_id.values() if bill.start_ms <= span[0] < bill.end_ms])
            for span in of_day
        ]
        for day_ms, of_day in spans.items()
    }
    made: list[NodeDay] = []
    for key, of_bills in sorted(charged.items()):
        if key in costs:
            own = {by_id[one]: nanos for one, nanos in of_bills.items()}
            made += _compared(*key, own, costs[key], theirs[key[1]])
    return tuple(made)


def _compared(
    node: tuple[int, int],
    day_ms: int,
    charged: Mapping[Bill, int],
    costs: Sequence[PoolCost],
    spans: Sequence[tuple[tuple[int, int], Sequence[Bill]]],
) -> list[NodeDay]:
    """Compare a node's day; ``spans`` come with all bills whose period they lie in."""
    accounts = {bill.key[:2] for bill in charged}
    against = dict.fromkeys(charged, 0)
    covered = True
    for (start_ms, end_ms), there in spans:
        of_span = [cost for cost in costs if cost.span_ms == start_ms]
        theirs = [bill for bill in there if bill.key[:2] in accounts]
        if not of_span:
            continue
        covered &= any(bill.covers(start_ms, end_ms) for bill in theirs)
        if theirs:
            own = [bill for bill in theirs if bill in charged] or charged
            most = min(own, key=lambda bill: (-abs(charged[bill]), bill.key))
            against[most] += sum(cost.nanos for cost in of_span)
    state = DayState.DUE if covered else DayState.UNCOVERED
    if not all(cost.priced for cost in costs):
        state = DayState.UNPRICED
    return [
        NodeDay(
            bill_id=bill.bill_id,
            node=node,
            day_ms=day_ms,
            provider_nanos=charged[bill],
            pool_nanos=against[bill],
            state=state,
        )
        for bill in sorted(charged, key=lambda one: one.key)
    ]


def true_up_lines(
    days: Iterable[NodeDay],
    pool: Iterable[PoolCost],
    platform_of: Callable[[int, int], int | None],
) -> tuple[TrueUpLine, ...]:
    """Return the lines of all days that are due; those of a node's day sum to its difference.

    ``platform_of(day_ms, cluster_id)`` is the team that pays, None where the difference is spread:
    in proportion to the first-hand nanos of each of the node's lines that day, by team, namespace
    and GPU model. On the platform's lines it goes by GPU model alone. A node whose lines cost
    nothing is spread evenly. A difference of 0 has no line.
    """
    differences: dict[tuple[tuple[int, int], int], int] = {}
    for one in days:
        if one.state is DayState.DUE:
            key = (one.node, one.day_ms)
            differences[key] = differences.get(key, 0) + one.true_up_nanos
    costs: dict[tuple[tuple[int, int], int], list[PoolCost]] = {}
    for cost in pool:
        costs.setdefault((cost.node, cost.day_ms), []).append(cost)
    lines: list[TrueUpLine] = []
    for (node, day_ms), nanos in sorted(differences.items()):
        if nanos:
            payer = platform_of(day_ms, node[0])
            lines += _spread(node, day_ms, nanos, costs[node, day_ms], payer)
    return tuple(lines)


def _spread(
    node: tuple[int, int], day_ms: int, nanos: int, costs: Sequence[PoolCost], payer: int | None
) -> list[TrueUpLine]:
    weights: dict[tuple[int, int, int], int] = {}
    for cost in costs:
        team, namespace = (cost.team_id, cost.namespace_id) if payer is None else (payer, 0)
        key = (team, namespace, cost.gpu_model_id)
        weights[key] = weights.get(key, 0) + cost.nanos
    keys = sorted(weights)
    # A line below zero (a variance of a rate card) carries no part of a difference.
    shares = [max(weights[key], 0) for key in keys]
    parts = split(nanos, shares if any(shares) else [1] * len(keys), keys)
    if sum(parts) != nanos:
        message = f"The true-up lines of {node} do not sum to {nanos}."
        raise AssertionError(message)
    return [
        TrueUpLine(
            charge_id=hash64("true_up", *map(str, (day_ms, *node, *key))),
            day_ms=day_ms,
            cluster_id=node[0],
            node_id=node[1],
            team_id=key[0],
            namespace_id=key[1],
            gpu_model_id=key[2],
            nanos=part,
        )
        for key, part in zip(keys, parts, strict=True)
        if part
    ]


def spans_of(day: BillingDay, bills: Iterable[Bill]) -> tuple[tuple[int, int], ...]:
    """Return the spans of a billing day between the borders of bills' periods."""
    inside = range(day.start_ms + 1, day.end_ms)
    borders = {day.start_ms, day.end_ms}
    borders |= {at for bill in bills for at in (bill.start_ms, bill.end_ms) if at in inside}
    return tuple(pairwise(sorted(borders)))
