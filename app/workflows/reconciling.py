"""Reconcile a period: what providers charged, against pools, commitments and the true-up."""

from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.attribution.bill_pieces import Piece, Place, pieces_of
from app.attribution.node_matching import NodeIndex
from app.attribution.provider_bills import Bill, BillRow
from app.attribution.redistribution import BillingDay, billing_days
from app.attribution.true_up import NodeDay
from app.chargeback.periods import Period, parse_period
from app.chargeback.reconciliation import (
    Books,
    OtherCharges,
    Reconciliation,
    RowWords,
    reconcile,
)
from app.chargeback.reconciliation_tables import node_table, summary_table, unmatched_table
from app.chargeback.tables import Table
from app.store.periods import closed_before_ms
from app.store.prices import PriceStore
from app.store.provider_bills import ProviderBillStore, StoredBill
from app.store.true_up import TrueUpStore
from app.workflows.true_up import compared_day, days_in
from app.workflows.true_up_adjusting import booked_true_up


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledPeriod:
    """A period's reconciliation, and the versions of the bills that it is of."""

    reconciliation: Reconciliation
    bills: tuple[StoredBill, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationTables:
    """A period's reconciliation as tables (`app.chargeback.reconciliation_tables`)."""

    summary: Table
    unmatched: Table
    nodes: Table


def reconciliation_of(connection: Connection, period: Period, zone: ZoneInfo) -> ReconciledPeriod:
    """Compare the last versions of the period's bills with the ledger as it is.

    A bill is the period's in which its middle lies: providers' months begin in UTC, ours in the
    billing zone.
    """
    store = ProviderBillStore(connection)
    every = store.current()
    mine = tuple(one for one in every if _is_of(one.bill, period))
    lives = store.node_lives()
    index = NodeIndex(lives)
    words: dict[tuple[int, int], RowWords] = {}
    known: dict[tuple[str, str], RowWords] = {}
    pieces: list[Piece] = []
    days_of = days_in(zone)
    for row in store.rows([one.bill.bill_id for one in mine]):
        pieces += pieces_of([row], index, days_of)
        name = (row.resource_id or row.resource_name, row.service)
        words[row.bill_id, row.number] = known.setdefault(
            name, RowWords(resource=name[0], service=name[1])
        )
    days = _days(pieces, zone)
    ids = {one.bill.bill_id for one in mine}
    around = _around(store, [one.bill.bill_id for one in every], ids, days)
    every_piece = [*pieces, *pieces_of(around, index, days_of)]
    bills = tuple(one.bill for one in every)
    compared = _compared(connection, bills, every_piece, days, zone)
    touched = {(one.node, one.day_ms) for one in compared if one.bill_id in ids}
    books = Books(
        bills=tuple(one.bill for one in mine),
        totals={one.bill.bill_id: one.effective_nanos for one in mine},
        row_counts={one.bill.bill_id: one.row_count for one in mine},
        pieces=tuple(pieces),
        days=tuple(one for one in compared if (one.node, one.day_ms) in touched),
        others=_others(store, mine),
        posted=_booked(connection, days, zone),
        unused_nanos=_unused(connection, [one.bill for one in mine], zone),
        words=words,
        node_names={(one.cluster_id, one.node_id): (one.cluster, one.name) for one in lives},
    )
    return ReconciledPeriod(reconciliation=reconcile(books), bills=mine)


def _is_of(bill: Bill, period: Period) -> bool:
    start_ms, end_ms = period.span_ms
    return start_ms <= (bill.start_ms + bill.end_ms) // 2 < end_ms


def _around(
    store: ProviderBillStore, every: list[int], mine: set[int], days: list[BillingDay]
) -> Iterator[BillRow]:
    """Return the rows of the other bills that meet the days: bills of neighboring periods."""
    others = [one for one in every if one not in mine]
    return store.rows(others, (days[0].start_ms, days[-1].end_ms)) if days else iter(())


def _compared(
    connection: Connection,
    bills: tuple[Bill, ...],
    pieces: list[Piece],
    days: list[BillingDay],
    zone: ZoneInfo,
) -> list[NodeDay]:
    by_day: dict[int, list[Piece]] = {}
    for piece in pieces:
        if piece.place is Place.IN_CLUSTER:
            by_day.setdefault(piece.day_ms, []).append(piece)
    return [
        one
        for day in days
        for one in compared_day(connection, day, bills, by_day[day.start_ms], zone).node_days
    ]


def _days(pieces: list[Piece], zone: ZoneInfo) -> list[BillingDay]:
    """Return the billing days that the pieces inside clusters lie on."""
    starts = sorted({piece.day_ms for piece in pieces if piece.place is Place.IN_CLUSTER})
    return [billing_days(zone, start_ms, start_ms + 1)[0] for start_ms in starts]


def _booked(
    connection: Connection, days: list[BillingDay], zone: ZoneInfo
) -> dict[tuple[tuple[int, int], int], int]:
    """Return the true-up lines by node and day, with what was posted to those of closed days."""
    booked = TrueUpStore(connection, zone).posted(days)
    closed_ms = closed_before_ms(connection)
    for day in (one for one in days if one.start_ms < closed_ms):
        for node, nanos in booked_true_up(connection, day, zone).items():
            booked[node, day.start_ms] = nanos
    return booked


def _others(store: ProviderBillStore, bills: tuple[StoredBill, ...]) -> tuple[OtherCharges, ...]:
    return tuple(
        OtherCharges(
            bill_id=one.bill_id,
            service=one.service,
            category=one.category.name.lower(),
            rows=one.row_count,
            nanos=one.nanos,
        )
        for one in store.sums([bill.bill.bill_id for bill in bills])
    )


def _unused(connection: Connection, bills: list[Bill], zone: ZoneInfo) -> dict[int, int]:
    """Return the ledger's commitment_unused lines by the bill that they stand against.

    A commitment is its billing account's; one without an account is the only bill's of that time.
    """
    accounts = {
        one.price_id: one.billing_account for one in PriceStore(connection).inputs().commitments
    }
    store = TrueUpStore(connection, zone)
    found: dict[int, int] = {}
    for bill in bills:
        alone = sum(one.start_ms < bill.end_ms and bill.start_ms < one.end_ms for one in bills) == 1
        for price_id, nanos in store.commitment_unused(bill.start_ms, bill.end_ms).items():
            account = accounts.get(price_id, "")
            if account == bill.billing_account or (not account and alone):
                found[bill.bill_id] = found.get(bill.bill_id, 0) + nanos
    return found


def reconciliation_tables(
    connection: Connection, period: str, zone: ZoneInfo, currency: str
) -> ReconciliationTables:
    """Return the reconciliation of a period by its name; raises `PeriodError` for any other."""
    found = reconciliation_of(connection, parse_period(period, zone), zone).reconciliation
    return ReconciliationTables(
        summary=summary_table(found, period=period, currency=currency),
        unmatched=unmatched_table(found.unmatched, currency),
        nodes=node_table(found.nodes, currency),
    )
