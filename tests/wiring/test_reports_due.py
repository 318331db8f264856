"""Reports go out when they are due, and again until they have reached their destination."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import Settings
from app.store.usage import UsageStore
from app.units.window import Window
from app.wiring import Ledger
from tests.house import ROOT
from tests.store.builders import CLUSTER, an_hour, facts
from tests.workflows.stored import collect, span

# The week of the hours that `collect` stores, and the Monday after it.
WEEK = "2026-W48"
MONDAY_AT_SIX = datetime(2026, 11, 30, 6, tzinfo=UTC)


@pytest.fixture
def ledger(database: Engine, database_url: URL, tmp_path: Path) -> Ledger:
    collect(database, hours=2)
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    shutil.copy(ROOT / "reports" / "weekly_chargeback.toml", definitions)
    settings = Settings(reports_dir=definitions, report_out=tmp_path / "out")
    ledger = Ledger(settings, database_url, database, lambda: MONDAY_AT_SIX)
    ledger.rate(CLUSTER, span(2))
    return ledger


def written(ledger: Ledger) -> list[str]:
    return sorted(path.name for path in ledger.settings.report_out.glob("*"))


def test_a_week_is_reported_on_monday_at_six_and_not_again(ledger: Ledger) -> None:
    assert ledger.publish_due(MONDAY_AT_SIX - timedelta(minutes=1)) == ()

    (published,) = ledger.publish_due(MONDAY_AT_SIX)

    assert (published.made.number, published.made.provisional) == (1, True)
    assert ledger.publish_due(MONDAY_AT_SIX + timedelta(minutes=10)) == ()
    assert written(ledger) == [f"weekly_chargeback-{WEEK}-1.csv"]


def test_a_provisional_week_is_sent_again_with_the_next_number_when_it_is_complete(
    ledger: Ledger, database: Engine
) -> None:
    ledger.publish_due(MONDAY_AT_SIX)
    with database.begin() as connection:
        store = UsageStore(connection, CLUSTER)
        for hour in range(7 * 24):
            window = an_hour(hour - 12)
            if window not in set(span(2).hours()):
                store.replace(window, facts(window))
    assert ledger.publish_due(MONDAY_AT_SIX + timedelta(hours=1)) == ()
    for day in range(7):
        start = an_hour(-12).start + timedelta(days=day)
        ledger.rate(CLUSTER, Window(start, start + timedelta(days=1)))

    (again,) = ledger.publish_due(MONDAY_AT_SIX + timedelta(hours=2))

    assert (again.made.number, again.made.provisional) == (2, False)
    assert written(ledger) == [f"weekly_chargeback-{WEEK}-{number}.csv" for number in (1, 2)]
    assert ledger.publish_due(MONDAY_AT_SIX + timedelta(hours=3)) == ()


def test_a_report_that_could_not_be_written_stays_due_under_its_number(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.settings.report_out.write_text("a file stands in the way", encoding="utf-8")
    assert ledger.publish_due(MONDAY_AT_SIX) == ()
    assert "weekly_chargeback of 2026-W48 was not made" in caplog.text

    ledger.settings.report_out.unlink()
    (published,) = ledger.publish_due(MONDAY_AT_SIX + timedelta(minutes=10))

    assert published.made.number == 1
    assert written(ledger) == [f"weekly_chargeback-{WEEK}-1.csv"]
