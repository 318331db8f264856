"""What stands beside charges: their commitment's hour, where they went, and their statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from app.attribution.charges import HELD_KINDS, ChargeKind, LineStep
from app.attribution.commitment_explanation import CommittedHour
from app.pricing.credits import Credit
from app.store.explanations import ChargeRecord
from app.store.prices import PriceStore
from app.store.tables.commitments import ALLOTMENTS, COMMITMENT_HOURS
from app.store.tables.consumers import REASSIGNMENTS, REDISTRIBUTED_DAYS
from app.store.tables.ledger import CHARGES, PRICE_IMPORTS, PRICE_ROWS
from app.store.tables.redistribution import REDISTRIBUTION_WEIGHTS
from app.units.window import HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The debit by which a charge's cost left its team again; ``nanos`` are all that it took."""

    step: LineStep
    debit_id: int
    nanos: int
    receivers: int


def charge_row(connection: Connection, charge_id: int) -> Row[Any] | None:
    """Return a charge's columns, None if there is no such charge."""
    return connection.execute(select(CHARGES).where(CHARGES.c.charge_id == charge_id)).first()


def committed_hour(connection: Connection, window_ms: int, price_id: int) -> CommittedHour | None:
    """Return a commitment's hour as it was allotted, None if nothing is stored of it."""
    table = COMMITMENT_HOURS
    row = connection.execute(
        select(table).where(
            table.c.cluster_id == 0,
            table.c.window_start == window_ms,
            table.c.price_id == price_id,
        )
    ).first()
    if row is None:
        return None
    return CommittedHour(
        committed=row.committed,
        used=row.used,
        eligible_ms=row.eligible_ms,
        covered_ms=row.covered_ms,
        cost_nanos=row.cost_nanos,
        used_nanos=row.used_nanos,
    )


def imported_as(connection: Connection, price_id: int) -> str:
    """Say in which version a row of the price book came, and from which file; '' if it is none."""
    rows, imports = PRICE_ROWS.c, PRICE_IMPORTS.c
    row = connection.execute(
        select(imports.version, imports.file_name, imports.reason, imports.author)
        .join_from(PRICE_ROWS, PRICE_IMPORTS, rows.version == imports.version)
        .where(rows.price_id == price_id)
        .order_by(imports.version)
    ).first()
    if row is None:
        return ""
    why = f": {row.reason}, {row.author}" if row.reason else ""
    return f"version {row.version}, {row.file_name}{why}"


def covered_of_pool(connection: Connection, record: ChargeRecord) -> tuple[int, int]:
    """Return the milliseconds that the charge's commitment covers of its pool, and their nanos."""
    table = ALLOTMENTS
    row = connection.execute(
        select(
            func.coalesce(func.sum(table.c.covered_ms), 0),
            func.coalesce(func.sum(table.c.cost_nanos), 0),
        ).where(
            table.c.cluster_id == record.cluster_id,
            table.c.window_start == record.window_start_ms,
            table.c.node_id == record.node_id,
            table.c.gpu_model_id == record.gpu_model_id,
            table.c.price_id == record.price_id,
        )
    ).one()
    return int(row[0]), int(row[1])


def credit_of(connection: Connection, credit_id: int, version: int) -> Credit | None:
    """Return a credit as a version has it, else as the last one that ever had it."""
    store = PriceStore(connection)
    versions: Sequence[int] = [version, *(one.version for one in reversed(store.versions()))]
    for one in versions:
        if any(credit.credit_id == credit_id for credit in store.credits(one)):
            given = store.inputs(one).credits
            return next(credit for credit in given if credit.credit_id == credit_id)
    return None


def moved_by(connection: Connection, record: ChargeRecord) -> Moved | None:
    """Return the debit that took a first-hand charge's cost, None where it stays with its team."""
    days, table = REDISTRIBUTED_DAYS.c, CHARGES
    day = connection.execute(
        select(REDISTRIBUTED_DAYS)
        .where(days.started_at <= record.start_ms, days.until > record.start_ms)
        .order_by(days.started_at.desc())
    ).first()
    if day is None or not record.cost_nanos:
        return None
    told = REDISTRIBUTION_WEIGHTS.c
    row = connection.execute(
        select(table)
        .outerjoin(
            REDISTRIBUTION_WEIGHTS,
            (told.cluster_id == table.c.cluster_id)
            & (told.window_start == table.c.window_start)
            & (told.charge_id == table.c.charge_id),
        )
        .where(
            table.c.cluster_id == record.cluster_id,
            table.c.node_id == 0,
            table.c.window_start >= day.started_at - HOUR_MS,
            table.c.window_start < day.until,
            table.c.started_at >= day.started_at,
            table.c.started_at < day.until,
            table.c.kind == int(ChargeKind.REDISTRIBUTED),
            table.c.team_id == record.team_id,
            table.c.gpu_model_id == record.gpu_model_id,
            table.c.consumer_id == 0,
            table.c.cost_nanos < 0,
            _takes(record),
        )
        .order_by(table.c.step.desc())
    ).first()
    if row is None:
        return None
    return Moved(
        step=LineStep(row.step),
        debit_id=row.charge_id,
        nanos=-row.cost_nanos,
        receivers=_receivers(connection, row.charge_id, row.step),
    )


def _takes(record: ChargeRecord) -> ColumnElement[bool]:
    """Return what a debit of a charge of this kind says of itself."""
    table, told = CHARGES.c, REDISTRIBUTION_WEIGHTS.c
    if int(record.kind) not in HELD_KINDS:
        return (table.step == int(LineStep.NOBODY)) & (told.charge_kind == int(record.kind))
    of_service = (table.step == int(LineStep.CONSUMERS)) & (table.workload_id == record.workload_id)
    of_platform = table.step == int(LineStep.PLATFORM)
    return or_(of_service, of_platform) & (table.namespace_id == record.namespace_id)


def _receivers(connection: Connection, debit_id: int, step: int) -> int:
    told = REASSIGNMENTS.c if step == LineStep.CONSUMERS else REDISTRIBUTION_WEIGHTS.c
    found = connection.scalar(
        select(func.count()).where(told.debit_id == debit_id, told.charge_id != debit_id)
    )
    return found or 0
