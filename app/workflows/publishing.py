"""Make a period's report, number it, and write it to its destination whole or not at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from app.chargeback.due import due_at, periods_before
from app.chargeback.periods import Grain, Period, parse_period
from app.chargeback.report_tables import (
    NOT_ISSUED,
    ReportBody,
    ReportDocument,
    ReportIssue,
    ReportStatus,
    report_document,
)
from app.chargeback.reports import ReportDefinition, ReportFormat
from app.chargeback.tables import Cell, Table
from app.delivery.destinations import Destination, deliver
from app.delivery.rendering import rendered
from app.errors import InputError
from app.store.costs import CostStore, IncompleteHours
from app.store.dimensions import Filters
from app.store.periods import PeriodStore
from app.store.reports import MadeReport, ReportRun, ReportStore
from app.units.window import to_ms
from app.usage.identity import cluster_id
from app.workflows.report_sources import ReportQuestion, ReportTerms, body_of

# Periods that are made up for after an outage.
_PERIODS_BACK = 4


class NothingToReportError(InputError):
    """The period has no collected hour."""


class WrongGrainError(InputError):
    """A period of another length than the report's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """One file of an issue: where it was written, and its bytes."""

    form: ReportFormat
    address: str
    content: bytes

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A report's issue: its table, its number, and the files that were written."""

    table: Table
    made: MadeReport
    files: tuple[ReportFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTarget:
    """Where a run writes: ``file_name`` is for one format only, else the issue's name is taken."""

    destination: Destination
    formats: tuple[ReportFormat, ...]
    file_name: str = ""


def publish(
    definition: ReportDefinition,
    period_name: str,
    *,
    engine: Engine,
    terms: ReportTerms,
    target: ReportTarget,
    at_ms: int,
) -> Published:
    """Make the report of a period and write it to ``target``, in each of its formats.

    The report is provisional while an hour of the period is missing, partial or waits for a rating,
    and that of a month until its billing period is closed. An issue that says the same as the last
    one keeps its number, so running twice changes nothing.
    """
    period = period_of(definition, period_name, terms.zone)
    with engine.begin() as connection:
        document, made = _issued(connection, definition, period, terms, at_ms)
    # Every format is made before anything is sent: one that cannot be leaves nothing.
    contents = [(form, rendered(document, form)) for form in target.formats]
    files: list[ReportFile] = []
    for form, content in contents:
        name = target.file_name or document.issue.file_name(definition.name, form.value)
        address = deliver(target.destination, name, content)
        files.append(ReportFile(form=form, address=address, content=content))
        with engine.begin() as connection:
            ReportStore(connection).add_run(_run(definition, made, files[-1], at_ms))
    with engine.begin() as connection:
        ReportStore(connection).sent(made, at_ms=at_ms)
    return Published(table=document.table, made=made, files=tuple(files))


def read_report(
    connection: Connection,
    definition: ReportDefinition,
    period_name: str,
    *,
    terms: ReportTerms,
    team: str = "",
) -> ReportDocument:
    """Return a period's report as it would be made, without numbering it.

    It has the number of the last issue if it says the same. With a ``team`` it has that team's
    lines only, and is no issue.
    """
    period = period_of(definition, period_name, terms.zone)
    made = _Made(connection, definition, period, terms, team)
    last = None if team else ReportStore(connection).latest(definition.name, period.name)
    if last is not None:
        document = made.document(last.number)
        if _is_issue(last, document):
            return document
    return made.document(NOT_ISSUED)


def period_of(definition: ReportDefinition, name: str, zone: ZoneInfo) -> Period:
    """Return the period called ``name``; refuse one of another grain than the report's."""
    period = parse_period(name, zone)
    if period.grain is not definition.grain:
        message = (
            f"{name} is a {period.grain.value}, but the report {definition.name} is of"
            f" {definition.grain.value}s."
        )
        example = "2026-W46" if definition.grain is Grain.WEEK else "2026-10"
        raise WrongGrainError(message, hint=f"Give a {definition.grain.value} such as {example}.")
    return period


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
    was missed is still due; one that was provisional is due again once it is no longer.
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
    hours = _hours(connection, definition, period, zone)
    if last is None or last.sent_ms is None:
        # One that was numbered and never reached its destination is made again.
        return hours.collected > 0
    if not last.provisional:
        return False
    return _status(connection, period, hours, zone) is not ReportStatus.PROVISIONAL


class _Made:
    """A report over one reading of the ledger, under whatever number it gets."""

    def __init__(
        self,
        connection: Connection,
        definition: ReportDefinition,
        period: Period,
        terms: ReportTerms,
        team: str = "",
    ) -> None:
        zone = terms.zone
        self._definition = definition
        self._period = period
        self._currency = terms.currency
        hours = _hours(connection, definition, period, zone)
        if not hours.collected:
            message = f"No hour of {period.name} has been collected."
            raise NothingToReportError(message, hint="Collect the period first, or choose another.")
        self.status = _status(connection, period, hours, zone)
        body = body_of(
            ReportQuestion(
                connection=connection,
                definition=definition,
                period=period,
                filters=_within_team(definition, team),
                terms=terms,
            )
        )
        facts = (*_hours_facts(hours), *_version_facts(connection, period, zone))
        self._body = ReportBody(
            keys=body.keys,
            figures=body.figures,
            complete=body.complete,
            total=body.total,
            facts=(*body.facts, *facts, *((("team", team),) if team else ())),
        )

    def document(self, number: int) -> ReportDocument:
        """Return the report as the issue of that number."""
        issue = ReportIssue(period=self._period, number=number, status=self.status)
        return report_document(self._definition, issue, self._body, currency=self._currency)


def _issued(
    connection: Connection,
    definition: ReportDefinition,
    period: Period,
    terms: ReportTerms,
    at_ms: int,
) -> tuple[ReportDocument, MadeReport]:
    """Return the report under the number of its issue, a new one if it says something else."""
    store = ReportStore(connection)
    store.lock(definition.name, period.name)
    made = _Made(connection, definition, period, terms)
    last = store.latest(definition.name, period.name)
    if last is not None:
        document = made.document(last.number)
        if _is_issue(last, document):
            return document, last
    document = made.document(1 if last is None else last.number + 1)
    stored = store.add(
        definition.name,
        period.name,
        sha256=document.sha256,
        provisional=made.status is ReportStatus.PROVISIONAL,
        made_ms=at_ms,
        destination=definition.destination,
    )
    return document, stored


def _is_issue(last: MadeReport, document: ReportDocument) -> bool:
    provisional = document.issue.status is ReportStatus.PROVISIONAL
    return (last.sha256, last.provisional) == (document.sha256, provisional)


def _status(
    connection: Connection, period: Period, hours: IncompleteHours, zone: ZoneInfo
) -> ReportStatus:
    closed = to_ms(period.end) <= PeriodStore(connection, zone).closed_before_ms()
    if period.grain is Grain.MONTH:
        return ReportStatus.CLOSED if closed else ReportStatus.PROVISIONAL
    # Whatever a week lacks in closed periods, it will lack for ever.
    if not closed and (hours.missing or hours.partial or hours.pending):
        return ReportStatus.PROVISIONAL
    return ReportStatus.FINAL


def _hours(
    connection: Connection, definition: ReportDefinition, period: Period, zone: ZoneInfo
) -> IncompleteHours:
    """Count what is lacking in the clusters that the report is about."""
    clusters = [cluster_id(name) for name in dict(definition.filters).get("cluster", ())]
    return CostStore(connection, zone).incomplete_hours(period.window(), clusters)


def _hours_facts(hours: IncompleteHours) -> Sequence[tuple[str, Cell]]:
    return (
        ("hours_collected", hours.collected),
        ("hours_missing", hours.missing),
        ("hours_partial", hours.partial),
        ("hours_pending_rerating", hours.pending),
    )


def _version_facts(
    connection: Connection, period: Period, zone: ZoneInfo
) -> Sequence[tuple[str, Cell]]:
    """Return which version of a closed month it is, and by which inputs its hours are rated."""
    periods = PeriodStore(connection, zone)
    start_ms, end_ms = period.span_ms
    prices, contract = ReportStore(connection).rated_versions(start_ms, end_ms)
    closed = period.grain is Grain.MONTH and end_ms <= periods.closed_before_ms()
    spanned = (periods.period_at(start_ms), periods.period_at(end_ms - 1)) if closed else ()
    return (
        *((f"version_of_{one.name}", one.version) for one in dict.fromkeys(spanned)),
        ("price_version", prices),
        ("contract_version", contract),
    )


def _within_team(definition: ReportDefinition, team: str) -> Filters:
    """Return the definition's filters, narrowed to a team: one that it leaves out sees nothing."""
    if not team:
        return definition.filters
    return tuple(sorted((dict(definition.filters) | {"team": (team,)}).items()))


def _run(definition: ReportDefinition, made: MadeReport, file: ReportFile, at_ms: int) -> ReportRun:
    return ReportRun(
        run_id=uuid4(),
        name=made.name,
        period=made.period,
        number=made.number,
        form=file.form.value,
        definition_sha256=definition.sha256,
        address=file.address,
        sha256=file.sha256,
        size_bytes=len(file.content),
        written_ms=at_ms,
    )
