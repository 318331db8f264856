"""Explain lines of money only: unused commitments, credits, true-up."""

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.attribution.bill_pieces import Piece, Place, pieces_of
from app.attribution.charges import LineStep
from app.attribution.commitment_explanation import UnusedFacts, explain_unused
from app.attribution.contract import Contract
from app.attribution.explanation import (
    Explanation,
    ExplanationStep,
    money_text,
    versions_step,
)
from app.attribution.money_explanation import (
    BilledRow,
    CreditFacts,
    TrueUpFacts,
    explain_credit,
    explain_true_up,
)
from app.attribution.node_matching import NodeIndex
from app.attribution.redistribution import BillingDay, billing_days
from app.attribution.true_up import (
    DayState,
    NodeDay,
    PoolCost,
    node_days,
    spans_of,
    true_up_lines,
)
from app.store.commitments import CommitmentStore
from app.store.explained_lines import committed_hour, credit_of
from app.store.explanations import ChargeRecord
from app.store.periods import PeriodStore
from app.store.provider_bills import ProviderBillStore, StoredBill
from app.store.true_up import TrueUpStore
from app.units.identity import id_text
from app.units.window import from_ms
from app.workflows.explaining_booked import with_moves
from app.workflows.rating import terms_at
from app.workflows.true_up import days_in, payer_of

# How many rows of a bill are named.
_SHOWN = 5


def money_explanation(
    connection: Connection, record: ChargeRecord, currency: str, zone: ZoneInfo
) -> Explanation:
    """Return why a line that carries no holder's time is what it is."""
    match record.step:
        case LineStep.COMMITMENT:
            unused = explain_unused(
                UnusedFacts(
                    charge_id=record.charge_id,
                    commitment=CommitmentStore(connection).by_price_id(record.price_id),
                    price_id=record.price_id,
                    window_ms=record.window_start_ms,
                    start_ms=record.start_ms,
                    end_ms=record.end_ms,
                    cluster=record.cluster,
                    team=record.team,
                    nanos=record.cost_nanos or 0,
                    currency=currency,
                    hour=committed_hour(connection, record.window_start_ms, record.price_id),
                    versions=record.versions,
                )
            )
            return with_moves(connection, record, unused, currency)
        case LineStep.CREDIT:
            version = record.versions.price_version
            return explain_credit(
                CreditFacts(
                    charge_id=record.charge_id,
                    credit=credit_of(connection, record.price_id, version),
                    day=_day(record, zone),
                    team=record.team,
                    nanos=record.cost_nanos or 0,
                    currency=currency,
                    versions=record.versions,
                )
            )
        case LineStep.TRUE_UP:
            return explain_true_up(_true_up(connection, record, currency, zone))
        case _:
            return _bare(record, currency)


def _bare(record: ChargeRecord, currency: str) -> Explanation:
    """Return what is known of a line whose making is not stored."""
    charged = ("charged", money_text(record.cost_nanos or 0, currency))
    return Explanation(
        record.charge_id,
        (
            ExplanationStep(
                "Charge",
                f"a {record.kind.name.lower()} line of step {int(record.step)}:"
                f" {money_text(record.cost_nanos or 0, currency)}",
                (("charge", id_text(record.charge_id)), ("kind", record.kind.name.lower())),
            ),
            ExplanationStep("Team", record.team or "nobody"),
            ExplanationStep("Money", "what it rests on is not stored", (charged,)),
            versions_step(record.versions),
        ),
    )


def _day(record: ChargeRecord, zone: ZoneInfo) -> BillingDay:
    """Return the billing day that a line of the day ends with."""
    return billing_days(zone, record.end_ms - 1, record.end_ms)[0]


def _true_up(
    connection: Connection, record: ChargeRecord, currency: str, zone: ZoneInfo
) -> TrueUpFacts:
    versions = record.versions
    contract = terms_at(connection, versions.price_version, versions.contract_version).contract
    day = _day(record, zone)
    bills = _bills(connection, record, zone)
    pieces = _pieces(connection, bills, day, record, zone)
    store, own = TrueUpStore(connection, zone), (record.cluster_id, record.node_id)
    spans = spans_of(day, [one.bill for one in bills])
    pool: tuple[PoolCost, ...] = store.first_hand(day, spans, {record.node_id})
    if not versions.period:
        pool = (*pool, *store.adjusted(day, spans, {record.node_id}))
    pool = tuple(one for one in pool if one.node == own)
    days = [
        one
        for one in node_days([one.bill for one in bills], pieces, pool, {day.start_ms: spans})
        if one.node == own
    ]
    lines = true_up_lines(days, pool, payer_of(connection, contract))
    weights = _weights(record, pool, connection, contract, day)
    return TrueUpFacts(
        charge_id=record.charge_id,
        day=day,
        cluster=record.cluster,
        node=record.pool.node,
        namespace=record.namespace,
        gpu_model=record.pool.gpu_model,
        team=record.team,
        nanos=record.cost_nanos or 0,
        currency=currency,
        policy=contract.policies_at(day.start_ms, record.cluster).true_up.value,
        provider_nanos=sum(one.provider_nanos for one in days),
        pool_nanos=sum(one.pool_nanos for one in days),
        state=_state(days),
        weight=weights[0],
        weight_sum=weights[1],
        rows=_rows(connection, bills, pieces),
        row_count=len({(one.bill_id, one.number) for one in pieces}),
        agrees=any(
            (one.charge_id, one.nanos) == (record.charge_id, record.cost_nanos) for one in lines
        ),
        versions=versions,
    )


def _state(days: Sequence[NodeDay]) -> DayState:
    waiting = [one.state for one in days if one.state is not DayState.DUE]
    return waiting[0] if waiting else DayState.DUE


def _bills(connection: Connection, record: ChargeRecord, zone: ZoneInfo) -> list[StoredBill]:
    """Return the bills that count: of a closed period's day those that its closing knew."""
    store = ProviderBillStore(connection)
    if not record.versions.period:
        return [*store.current()]
    closed_ms = PeriodStore(connection, zone).by_name(record.versions.period).closed_ms
    last: dict[tuple[str, str, int], StoredBill] = {}
    for one in store.all():
        known = last.get(one.bill.key)
        if (closed_ms is None or one.imported_ms <= closed_ms) and (
            known is None or known.version < one.version
        ):
            last[one.bill.key] = replace(one, superseded=False)
    return sorted(last.values(), key=lambda one: one.bill.key)


def _pieces(
    connection: Connection,
    bills: Sequence[StoredBill],
    day: BillingDay,
    record: ChargeRecord,
    zone: ZoneInfo,
) -> list[Piece]:
    store = ProviderBillStore(connection)
    rows = store.rows([one.bill.bill_id for one in bills], (day.start_ms, day.end_ms))
    return [
        piece
        for piece in pieces_of(rows, NodeIndex(store.node_lives()), days_in(zone))
        if piece.place is Place.IN_CLUSTER
        and piece.day_ms == day.start_ms
        and piece.node == (record.cluster_id, record.node_id)
    ]


def _weights(
    record: ChargeRecord,
    pool: Sequence[PoolCost],
    connection: Connection,
    contract: Contract,
    day: BillingDay,
) -> tuple[int, int]:
    """Return the first-hand nanos by which a line's part is weighed, and those of all parts."""
    payer = payer_of(connection, contract)(day.start_ms, record.cluster_id)
    sums: dict[tuple[int, ...], int] = {}
    for one in pool:
        key: tuple[int, ...] = (one.gpu_model_id,)
        if payer is None:
            key = (one.team_id, one.namespace_id, one.gpu_model_id)
        sums[key] = sums.get(key, 0) + one.nanos
    own: tuple[int, ...] = (record.gpu_model_id,)
    if payer is None:
        own = (record.team_id, record.namespace_id, record.gpu_model_id)
    if own not in sums or len(sums) == 1:
        return 0, 0
    return max(sums[own], 0), sum(max(one, 0) for one in sums.values())


def _rows(
    connection: Connection, bills: Sequence[StoredBill], pieces: Sequence[Piece]
) -> tuple[BilledRow, ...]:
    by_id = {one.bill.bill_id: one for one in bills}
    largest = sorted(pieces, key=lambda one: (-abs(one.nanos), one.bill_id, one.number))[:_SHOWN]
    wanted = {(one.bill_id, one.number) for one in largest}
    span = (
        (min(one.start_ms for one in largest), max(one.end_ms for one in largest))
        if largest
        else (0, 0)
    )
    found = {
        (row.bill_id, row.number): row
        for row in ProviderBillStore(connection).rows([one.bill_id for one in largest], span)
        if (row.bill_id, row.number) in wanted
    }
    return tuple(
        BilledRow(
            bill=_bill_name(by_id[one.bill_id]),
            number=one.number,
            resource=found[one.bill_id, one.number].resource_id,
            service=found[one.bill_id, one.number].service,
            start_ms=one.start_ms,
            end_ms=one.end_ms,
            nanos=one.nanos,
        )
        for one in largest
    )


def _bill_name(one: StoredBill) -> str:
    month = f"{from_ms(one.bill.start_ms):%Y-%m}"
    return f"{one.bill.provider} {one.bill.billing_account} {month} version {one.version}"
