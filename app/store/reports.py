"""Reports that were made: issues numbered by period, and every file that was written of them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, update

from app.store.locking import lock
from app.store.tables.facts import WINDOW_STATE
from app.store.tables.report_runs import REPORT_RUNS
from app.store.tables.working import REPORTS


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeReport:
    """One issue of a report; a later one of the same period has the next number."""

    name: str
    period: str
    number: int
    sha256: str
    provisional: bool
    made_ms: int
    sent_ms: int | None
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRun:
    """One file of an issue that reached its destination: which bytes, from which definition."""

    run_id: UUID
    name: str
    period: str
    number: int
    form: str
    definition_sha256: str
    address: str
    sha256: str
    size_bytes: int
    written_ms: int


class ReportStore:
    """The journal of reports."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self, name: str, period: str) -> None:
        """Keep others from numbering issues of a period's report until the transaction ends."""
        lock(self._connection, "report", name, period)

    def latest(self, name: str, period: str) -> MadeReport | None:
        """Return the last issue of a period's report, None if there is none."""
        row = self._connection.execute(
            select(REPORTS)
            .where(REPORTS.c.name == name, REPORTS.c.period == period)
            .order_by(REPORTS.c.number.desc())
            .limit(1)
        ).one_or_none()
        return None if row is None else _value(row)

    def within(self, name: str = "", *, limit: int = 100) -> tuple[MadeReport, ...]:
        """Return the last issues, of one report or of all, the latest first."""
        statement = (
            select(REPORTS)
            .order_by(REPORTS.c.made_at.desc(), REPORTS.c.name, REPORTS.c.number.desc())
            .limit(limit)
        )
        if name:
            statement = statement.where(REPORTS.c.name == name)
        return tuple(_value(row) for row in self._connection.execute(statement))

    def add(
        self,
        name: str,
        period: str,
        *,
        sha256: str,
        provisional: bool,
        made_ms: int,
        destination: str,
    ) -> MadeReport:
        """Number and store an issue; one that equals the last in bytes and mark is that one."""
        self.lock(name, period)
        last = self.latest(name, period)
        if last is not None and (last.sha256, last.provisional) == (sha256, provisional):
            return last
        report = MadeReport(
            name=name,
            period=period,
            number=1 if last is None else last.number + 1,
            sha256=sha256,
            provisional=provisional,
            made_ms=made_ms,
            sent_ms=None,
            destination=destination,
        )
        self._connection.execute(
            insert(REPORTS).values(
                name=name,
                period=period,
                number=report.number,
                sha256=sha256,
                provisional=provisional,
                made_at=made_ms,
                sent_at=None,
                destination=destination,
            )
        )
        return report

    def sent(self, report: MadeReport, *, at_ms: int) -> None:
        """Store that the issue reached its destination."""
        self._connection.execute(
            update(REPORTS)
            .where(
                REPORTS.c.name == report.name,
                REPORTS.c.period == report.period,
                REPORTS.c.number == report.number,
            )
            .values(sent_at=at_ms)
        )

    def rated_versions(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Return the last versions of prices and contract that the span's hours are rated by."""
        table = WINDOW_STATE
        prices, contract = self._connection.execute(
            select(func.max(table.c.price_version), func.max(table.c.contract_version)).where(
                table.c.window_start >= start_ms, table.c.window_start < end_ms
            )
        ).one()
        return prices or 0, contract or 0

    def add_run(self, run: ReportRun) -> None:
        """Store that a file was written."""
        self._connection.execute(
            insert(REPORT_RUNS).values(
                run_id=run.run_id,
                name=run.name,
                period=run.period,
                number=run.number,
                form=run.form,
                definition_sha256=run.definition_sha256,
                address=run.address,
                sha256=run.sha256,
                size_bytes=run.size_bytes,
                written_at=run.written_ms,
            )
        )

    def runs(self, name: str = "", *, limit: int) -> tuple[ReportRun, ...]:
        """Return the last files written, of one report or of all, the latest first."""
        table = REPORT_RUNS
        statement = select(table).order_by(table.c.written_at.desc(), table.c.run_id).limit(limit)
        if name:
            statement = statement.where(table.c.name == name)
        return tuple(_run(row) for row in self._connection.execute(statement))


def _run(row: Row[Any]) -> ReportRun:
    return ReportRun(
        run_id=row.run_id,
        name=row.name,
        period=row.period,
        number=row.number,
        form=row.form,
        definition_sha256=row.definition_sha256,
        address=row.address,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        written_ms=row.written_at,
    )


def _value(row: Row[Any]) -> MadeReport:
    return MadeReport(
        name=row.name,
        period=row.period,
        number=row.number,
        sha256=row.sha256,
        provisional=row.provisional,
        made_ms=row.made_at,
        sent_ms=row.sent_at,
        destination=row.destination,
    )
