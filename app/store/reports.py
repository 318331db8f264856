"""Reports that were made: numbered by period, with the hash of what was sent."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from app.store.locking import lock
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


class ReportStore:
    """The journal of reports."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
        lock(self._connection, "report", name, period)
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
