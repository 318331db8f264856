"""A report and its runs, as the web's tests read them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid5

from app.chargeback.periods import parse_period
from app.chargeback.report_tables import ReportDocument
from app.store.reports import ReportRun
from app.web.reading import ReportListing
from tests.chargeback.reporting import (
    UTC_ZONE,
    a_definition,
    a_document,
    a_week_of_two_teams,
)

_SPACE = UUID(int=1)


class FakeReports:
    """One definition, and three files that were written."""

    def report_listings(self) -> Sequence[ReportListing]:
        return [ReportListing(a_definition(), datetime(2026, 11, 30, 6, tzinfo=UTC))]

    def report(self, name: str, period: str, *, team: str) -> ReportDocument | None:
        if name != a_definition().name:
            return None
        parse_period(period, UTC_ZONE)
        rows = a_week_of_two_teams()
        return a_document(rows[rows["team"] == team] if team else rows)

    def report_runs(self, name: str, *, limit: int) -> Sequence[ReportRun]:
        found = [a_run("by_team"), a_run("by_team", number=2), a_run("waste")]
        return [one for one in found if name in ("", one.name)][:limit]


def a_run(name: str, *, number: int = 1) -> ReportRun:
    return ReportRun(
        run_id=uuid5(_SPACE, f"{name} {number}"),
        name=name,
        period="2026-W46",
        number=number,
        form="csv",
        definition_sha256="0" * 64,
        address=f"s3://reports/{name}-2026-W46-{number}.csv",
        sha256="1" * 64,
        size_bytes=100,
        written_ms=1_795_000_000_000 - number,
    )
