"""Make a period's report, number it, and write it to its destination whole or not at all."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from app.chargeback.due import due_at, periods_before
from app.chargeback.periods import Period, parse_period
from app.chargeback.report_tables import ReportIssue, ReportStatus, report_table
from app.chargeback.reports import ReportDefinition
from app.chargeback.tables import Table, csv_bytes
from app.delivery.files import write_whole
from app.errors import InputError
from app.store.costs import CostStore
from app.store.reports import MadeReport, ReportStore
from app.workflows.reading import cost_sums

# Periods that are made up for after an outage.
_PERIODS_BACK = 4


class NothingToReportError(InputError):
    """The period has no collected hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A report's issue: its table, its bytes, and where they were written ('' for nowhere)."""

    table: Table
    content: bytes
    made: MadeReport
    path: Path | None


def publish(
    definition: ReportDefinition,
    period_name: str,
    *,
    engine: Engine,
    zone: ZoneInfo,
    currency: str,
    folder: Path,
    path: Path | None,
    at_ms: int,
) -> Published:
    """Make the report of a period and write it to ``path``, else under its name into ``folder``.

    The report is provisional while an hour of the period is missing, partial or waits for a rating.
    An issue that equals the last one in bytes keeps its number, so running twice changes nothing.
    """
    period = parse_period(period_name, zone)
    with engine.begin() as connection:
        content, table, made = _issue(connection, definition, period, zone, currency, at_ms)
    issue = ReportIssue(period=period, number=made.number, status=_status(made.provisional))
    target = path or folder / issue.file_name(definition.name, "csv")
    write_whole(target, content)
    with engine.begin() as connection:
        ReportStore(connection).sent(made, at_ms=at_ms)
    return Published(table=table, content=content, made=made, path=target)


def due_reports(
    definitions: Iterable[ReportDefinition],
    at: datetime,
    *,
    engine: Engine,
    zone: ZoneInfo,
    settle: timedelta,
) -> tuple[tuple[ReportDefinition, Period], ...]:
    """Return the reports whose time has come at ``at``: never made, or complete by now.

    A period's report is due at its scheduled time, and not before its last hour has settled. What
    was missed is still due; one that was provisional is due again once its period is complete.
    """
    due: list[tuple[ReportDefinition, Period]] = []
    with engine.connect() as connection:
        for definition in definitions:
            schedule = definition.schedule
            if schedule is None:
                continue
            for period in periods_before(at, definition.grain, zone, count=_PERIODS_BACK):
                earliest = max(due_at(schedule, period, zone), period.end + settle)
                if at >= earliest and _wanted(connection, definition, period, zone):
                    due.append((definition, period))
    return tuple(due)


def _wanted(
    connection: Connection, definition: ReportDefinition, period: Period, zone: ZoneInfo
) -> bool:
    last = ReportStore(connection).latest(definition.name, period.name)
    hours = CostStore(connection, zone).incomplete_hours(period.window())
    if last is None or last.sent_ms is None:
        # One that was numbered and never reached its destination is made again.
        return hours.collected > 0
    return last.provisional and not (hours.missing or hours.partial or hours.pending)


def _issue(
    connection: Connection,
    definition: ReportDefinition,
    period: Period,
    zone: ZoneInfo,
    currency: str,
    at_ms: int,
) -> tuple[bytes, Table, MadeReport]:
    sums = cost_sums(
        connection,
        period.window(),
        definition.group_by,
        definition.filters,
        zone=zone,
        span_ms=period.span_ms,
    )
    hours = sums.hours
    if not hours.collected:
        message = f"No hour of {period.name} has been collected."
        raise NothingToReportError(message, hint="Collect the period first, or choose another.")
    provisional = bool(hours.missing or hours.partial or hours.pending)
    store = ReportStore(connection)
    last = store.latest(definition.name, period.name)

    def made(number: int) -> tuple[Table, bytes]:
        issue = ReportIssue(period=period, number=number, status=_status(provisional))
        table = report_table(definition, issue, sums.rows, currency=currency)
        return table, csv_bytes(table)

    if last is not None:
        table, content = made(last.number)
        if (last.sha256, last.provisional) == (_digest(content), provisional):
            return content, table, last
    table, content = made(1 if last is None else last.number + 1)
    stored = store.add(
        definition.name,
        period.name,
        sha256=_digest(content),
        provisional=provisional,
        made_ms=at_ms,
        destination="",
    )
    return content, table, stored


def _status(provisional: object) -> ReportStatus:
    return ReportStatus.PROVISIONAL if provisional else ReportStatus.FINAL


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
