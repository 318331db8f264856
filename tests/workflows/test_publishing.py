from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from threading import Barrier
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from app.chargeback.closing import AcceptLine
from app.chargeback.reports import ReportDefinition, ReportFormat, Schedule, parse_report
from app.chargeback.tables import Table
from app.delivery.destinations import Destination
from app.store.usage import UsageStore
from app.units.window import to_ms
from app.workflows.closing import close_period, preview
from app.workflows.publishing import (
    NothingToReportError,
    Published,
    ReportTarget,
    WrongGrainError,
    due_reports,
    publish,
    read_report,
)
from app.workflows.rating import rate_window
from app.workflows.report_sources import ReportTerms
from tests.store.builders import CLUSTER, an_hour, facts
from tests.workflows.closing_world import TERMS, an_order, put_hour, put_november
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span

DEFINITION = parse_report(
    "weekly_chargeback", Path("reports/weekly_chargeback.toml").read_text(encoding="utf-8")
)
# Noon of the builders is Monday 2026-11-23, in week 48; its report is due a week later at 06:00.
WEEK = "2026-W48"
DUE = datetime(2026, 11, 30, 6, tzinfo=UTC)


def _publish(
    engine: Engine, folder: Path, period: str = WEEK, zone: ZoneInfo = UTC_ZONE
) -> Published:
    return publish(
        DEFINITION,
        period,
        engine=engine,
        terms=ReportTerms(zone=zone, currency="USD"),
        target=ReportTarget(destination=Destination(url=str(folder)), formats=(ReportFormat.CSV,)),
        at_ms=to_ms(DUE),
    )


def _due(engine: Engine, at: datetime, zone: ZoneInfo = UTC_ZONE) -> list[tuple[str, str]]:
    due: list[tuple[ReportDefinition, str]] = [
        (definition, period.name)
        for definition, period in due_reports(
            [DEFINITION], at, engine=engine, zone=zone, settle=timedelta(hours=3)
        )
    ]
    return [(definition.name, name) for definition, name in due]


def _total(table: Table) -> str:
    """The total cost of the totals row, which is the last."""
    return str(table.records()[-1]["total_cost"])


def _rated(engine: Engine, hours: int) -> None:
    collect(engine, hours=hours)
    prices(engine)
    contract(engine)
    rate_window(CLUSTER, span(hours), engine=engine, billing_zone=UTC_ZONE)


def test_a_report_of_a_part_of_the_week_is_provisional(database: Engine, tmp_path: Path) -> None:
    _rated(database, hours=2)

    made = _publish(database, tmp_path)

    assert made.made.provisional
    (file,) = made.files
    assert file.address == f"{tmp_path}/weekly_chargeback-2026-W48-1.csv"
    assert Path(file.address).read_bytes() == file.content
    assert b",provisional," in file.content


def test_the_same_report_again_is_the_same_issue_and_bytes(
    database: Engine, tmp_path: Path
) -> None:
    _rated(database, hours=2)

    first, second = _publish(database, tmp_path), _publish(database, tmp_path)

    assert first.files == second.files
    assert (first.made.number, second.made.number) == (1, 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_more_hours_make_the_next_issue_and_leave_the_first(
    database: Engine, tmp_path: Path
) -> None:
    _rated(database, hours=2)
    first = _publish(database, tmp_path)
    _rated(database, hours=3)

    second = _publish(database, tmp_path)

    assert second.made.number == 2
    assert second.files[0].content != first.files[0].content
    assert Path(first.files[0].address).read_bytes() == first.files[0].content


def test_a_period_without_an_hour_is_refused_and_writes_nothing(
    database: Engine, tmp_path: Path
) -> None:
    _rated(database, hours=1)

    with pytest.raises(NothingToReportError, match="2026-W40"):
        _publish(database, tmp_path, "2026-W40")

    assert list(tmp_path.iterdir()) == []


def test_a_period_of_another_grain_is_refused(database: Engine, tmp_path: Path) -> None:
    with pytest.raises(WrongGrainError, match="2026-11 is a month"):
        _publish(database, tmp_path, "2026-11")


def test_a_report_is_due_on_monday_at_six_and_not_a_minute_before(database: Engine) -> None:
    _rated(database, hours=2)

    assert _due(database, DUE - timedelta(minutes=1)) == []
    assert _due(database, DUE) == [("weekly_chargeback", WEEK)]


def test_the_billing_zone_says_when_it_is_six(database: Engine) -> None:
    _rated(database, hours=2)
    kolkata = ZoneInfo("Asia/Kolkata")

    # Six in the morning in Kolkata is half past midnight in UTC.
    assert _due(database, datetime(2026, 11, 30, 0, 29, tzinfo=UTC), kolkata) == []
    assert _due(database, datetime(2026, 11, 30, 0, 30, tzinfo=UTC), kolkata) == [
        ("weekly_chargeback", WEEK)
    ]


def test_an_hour_in_which_the_week_changes_is_half_in_either(
    database: Engine, tmp_path: Path
) -> None:
    # Monday 00:00 in Kolkata is Sunday 18:30 UTC: 8 GPUs at 3.00 for half an hour on both sides.
    kolkata = ZoneInfo("Asia/Kolkata")
    hour = an_hour(6 * 24 + 6)
    collect(database, hours=1)
    with database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(hour, facts(hour))
    prices(database)
    rate_window(CLUSTER, hour, engine=database, billing_zone=kolkata)

    before, after = (
        _publish(database, tmp_path, week, kolkata).table for week in (WEEK, "2026-W49")
    )

    assert [_total(one) for one in (before, after)] == ["12.00", "12.00"]


def test_a_provisional_report_is_due_again_only_when_the_week_is_complete(
    database: Engine, tmp_path: Path
) -> None:
    _rated(database, hours=2)
    _publish(database, tmp_path)

    assert _due(database, DUE) == []
    assert _due(database, DUE + timedelta(days=1)) == []


def test_a_week_that_was_missed_is_made_up_for(database: Engine) -> None:
    _rated(database, hours=2)

    assert _due(database, DUE + timedelta(days=15)) == [("weekly_chargeback", WEEK)]


def test_a_month_is_provisional_until_it_is_closed_and_then_says_its_version(
    database: Engine, tmp_path: Path
) -> None:
    definition = replace(
        parse_report(
            "monthly_chargeback",
            Path("reports/monthly_chargeback.toml").read_text(encoding="utf-8"),
        ),
        schedule=Schedule(at=time(6), day=3),
    )
    after = datetime(2026, 12, 3, 6, tzinfo=UTC)
    put_november(database)

    def due() -> bool:
        found = due_reports(
            [definition], after, engine=database, zone=UTC_ZONE, settle=timedelta(hours=3)
        )
        return bool(found)

    def made() -> Published:
        target = ReportTarget(
            destination=Destination(url=str(tmp_path)), formats=(ReportFormat.CSV,)
        )
        terms = ReportTerms(zone=UTC_ZONE, currency="USD")
        return publish(
            definition, "2026-11", engine=database, terms=terms, target=target, at_ms=to_ms(after)
        )

    assert due()
    open_month = made()
    assert not due()
    close_period(an_order(), TERMS, engine=database)
    assert due()
    closed_month = made()

    assert (open_month.made.number, open_month.made.provisional) == (1, True)
    assert (closed_month.made.number, closed_month.made.provisional) == (2, False)
    assert {row["status"] for row in open_month.table.records()} == {"provisional"}
    assert {row["status"] for row in closed_month.table.records()} == {"closed"}
    assert not due()
    assert made().files == closed_month.files
    with database.connect() as connection:
        document = read_report(
            connection, definition, "2026-11", terms=ReportTerms(zone=UTC_ZONE, currency="USD")
        )
    assert dict(document.about)["version_of_2026-11"] == 1
    # Nine dollars and three of a cent, and three: as on the statements.
    assert _total(closed_month.table) == "12.00"


def test_two_runs_at_once_are_one_issue(database: Engine, tmp_path: Path) -> None:
    _rated(database, hours=2)
    together = Barrier(2)

    def run(_number: int) -> Published:
        together.wait(timeout=30)
        return _publish(database, tmp_path)

    with ThreadPoolExecutor(2) as runners:
        first, second = runners.map(run, range(2))

    assert (first.made.number, second.made.number) == (1, 1)
    assert first.files == second.files
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == first.files[0].content


def test_a_week_that_lacks_hours_is_final_once_its_periods_are_closed(
    database: Engine, tmp_path: Path
) -> None:
    # Week 48 ends with November 29; the rest of November is not collected either, and accepted.
    put_november(database)
    with database.begin() as connection:
        put_hour(connection, an_hour())
    open_week = _publish(database, tmp_path)
    obstacles = preview(an_order(), TERMS, engine=database).obstacles
    accepted = tuple(AcceptLine("here", one.cells(), "known") for one in obstacles)
    close_period(replace(an_order(), accept=accepted), TERMS, engine=database)

    closed_week = _publish(database, tmp_path)

    assert (open_week.made.number, open_week.made.provisional) == (1, True)
    assert (closed_week.made.number, closed_week.made.provisional) == (2, False)
    assert {row["status"] for row in closed_week.table.records()} == {"final"}
