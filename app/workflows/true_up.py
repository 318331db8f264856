"""Post what providers charged beyond the pools' cost, day by day, and let days wait for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import Connection, Engine

from app.attribution.bill_pieces import Piece, Place, pieces_of
from app.attribution.contract import Contract, TrueUpPolicy
from app.attribution.days import day_starts
from app.attribution.node_matching import NodeIndex
from app.attribution.provider_bills import Bill
from app.attribution.redistribution import BillingDay, billing_days
from app.attribution.true_up import (
    NodeDay,
    PoolCost,
    TrueUpLine,
    node_days,
    spans_of,
    true_up_lines,
)
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.provider_bills import ProviderBillStore
from app.store.true_up import TrueUpStore, WaitingDay
from app.usage.identity import team_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TruedUp:
    """How many days were made again, how many lines they have, and how many are closed."""

    days: int
    lines: int
    closed_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledDay:
    """The pool cost of a billing day that bills charge, and the comparison, as yet not stored."""

    pool: tuple[PoolCost, ...]
    node_days: tuple[NodeDay, ...]


def true_up_days(contract: Contract, *, engine: Engine, billing_zone: tzinfo) -> TruedUp:
    """Make the lines of every open day that waits for them, each day in one transaction.

    The same bills, nodes and first-hand lines give the same lines. What changes while a day is made
    leaves it waiting; a closed day keeps the lines that it has, and waits.
    """
    with engine.begin() as connection:
        store = TrueUpStore(connection, billing_zone)
        closed_ms = closed_before_ms(connection)
        store.forget_other_zones(closed_ms)
        waiting = store.waiting()
    open_days = [one for one in waiting if one.day.start_ms >= closed_ms]
    lines = 0
    for one in open_days:
        with engine.begin() as connection:
            lines += true_up_day(connection, one, contract, billing_zone)
    return TruedUp(days=len(open_days), lines=lines, closed_days=len(waiting) - len(open_days))


def true_up_day(
    connection: Connection, waiting: WaitingDay, contract: Contract, billing_zone: tzinfo
) -> int:
    """Make one day's lines in the caller's transaction; return how many they are."""
    store = TrueUpStore(connection, billing_zone)
    store.lock(waiting.day)
    # The marks are read before what they count: whatever comes in later is one mark more.
    fresh = next((one for one in store.waiting() if one.day == waiting.day), None)
    if fresh is None:
        return 0
    lines = lines_of_day(connection, fresh.day, contract, billing_zone)
    platform = contract.platform_at(fresh.day.start_ms)
    NameStore(connection).ensure_team_names([platform.team] if platform else [])
    store.replace(fresh.day, lines)
    store.settle(fresh)
    return len(lines)


def lines_of_day(
    connection: Connection, day: BillingDay, contract: Contract, billing_zone: tzinfo
) -> tuple[TrueUpLine, ...]:
    """Return the true-up of a day by the stored bills, nodes and first-hand lines."""
    bills = tuple(one.bill for one in ProviderBillStore(connection).current())
    index = NodeIndex(ProviderBillStore(connection).node_lives())
    found = billed_day(connection, day, bills, index, billing_zone)
    return true_up_lines(found.node_days, found.pool, payer_of(connection, contract))


def billed_day(
    connection: Connection,
    day: BillingDay,
    bills: Sequence[Bill],
    index: NodeIndex,
    billing_zone: tzinfo,
) -> BilledDay:
    """Return what the bills say of one day, node by node."""
    rows = ProviderBillStore(connection).rows(
        [bill.bill_id for bill in bills], (day.start_ms, day.end_ms)
    )
    pieces = [
        piece
        for piece in pieces_of(rows, index, days_in(billing_zone))
        if piece.place is Place.IN_CLUSTER and piece.day_ms == day.start_ms
    ]
    return compared_day(connection, day, bills, pieces, billing_zone)


def compared_day(
    connection: Connection,
    day: BillingDay,
    bills: Sequence[Bill],
    pieces: Sequence[Piece],
    billing_zone: tzinfo,
) -> BilledDay:
    """Return what stands against the pieces of one day inside clusters, those of all bills."""
    spans = spans_of(day, bills)
    nodes = {node for _, node in (piece.node for piece in pieces)}
    store = TrueUpStore(connection, billing_zone)
    # What was posted to the lines of a closed day is part of its pools' cost.
    pool = (*store.first_hand(day, spans, nodes), *store.adjusted(day, spans, nodes))
    return BilledDay(pool=pool, node_days=node_days(bills, pieces, pool, {day.start_ms: spans}))


def payer_of(connection: Connection, contract: Contract) -> Callable[[int, int], int | None]:
    """Return who pays a difference by day and cluster: a team, or None where it is spread."""
    clusters = NameStore(connection).clusters()

    def payer(day_ms: int, cluster: int) -> int | None:
        policies = contract.policies_at(day_ms, clusters.get(cluster, ""))
        if policies.true_up is TrueUpPolicy.SPREAD:
            return None
        platform = contract.platform_at(day_ms)
        return team_id(platform.team) if platform else 0

    return payer


def days_in(billing_zone: tzinfo) -> Callable[[int, int], Sequence[int]]:
    """Return what gives the beginnings of the billing days that meet a span."""
    known: dict[tuple[int, int], tuple[int, ...]] = {}

    def days(start_ms: int, end_ms: int) -> Sequence[int]:
        if (start_ms, end_ms) not in known:
            known[start_ms, end_ms] = day_starts(billing_zone, start_ms, end_ms)
        return known[start_ms, end_ms]

    return days


def days_of_bills(
    connection: Connection, bill_ids: Sequence[int], billing_zone: tzinfo
) -> tuple[BillingDay, ...]:
    """Return every billing day that the bills' kept rows meet."""
    spans = ProviderBillStore(connection).spans(bill_ids)
    days = {
        day for start_ms, end_ms in spans for day in billing_days(billing_zone, start_ms, end_ms)
    }
    return tuple(sorted(days, key=lambda one: one.start_ms))
