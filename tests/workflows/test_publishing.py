from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from app.chargeback.reports import ReportDefinition, parse_report
from app.chargeback.tables import Table
from app.store.usage import UsageStore
from app.units.window import to_ms
from app.workflows.publishing import NothingToReportError, Published, due_reports, publish
from app.workflows.rating import rate_window
from tests.store.builders import CLUSTER, an_hour, facts
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
        zone=zone,
        currency="USD",
        folder=folder,
        path=None,
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
    assert made.path == tmp_path / "weekly_chargeback-2026-W48-1.csv"
    assert made.path.read_bytes() == made.content
    assert b",provisional," in made.content


def test_the_same_report_again_is_the_same_issue_and_bytes(
    database: Engine, tmp_path: Path
) -> None:
    _rated(database, hours=2)

    first, second = _publish(database, tmp_path), _publish(database, tmp_path)

    assert first.content == second.content
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
    assert second.content != first.content
    assert first.path is not None
    assert first.path.read_bytes() == first.content


def test_a_period_without_an_hour_is_refused_and_writes_nothing(
    database: Engine, tmp_path: Path
) -> None:
    _rated(database, hours=1)

    with pytest.raises(NothingToReportError, match="2026-W40"):
        _publish(database, tmp_path, "2026-W40")

    assert list(tmp_path.iterdir()) == []


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
