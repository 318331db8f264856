"""Report definitions: the one that ships, and every way to write a bad one."""

from datetime import time
from pathlib import Path

import pytest

from app.chargeback.costs import Basis
from app.chargeback.periods import Grain
from app.chargeback.reports import (
    REPORT_COLUMNS,
    ReportDefinitionError,
    ReportFormat,
    Schedule,
    Weekday,
    parse_report,
)

REPORTS = Path(__file__).parents[2] / "reports"
GOOD = """
title = "Weekly"
grain = "week"
group_by = ["team"]
[table]
columns = ["total_cost"]
formats = ["csv"]
"""


def test_the_weekly_chargeback_shows_every_cost_and_is_due_on_monday() -> None:
    text = (REPORTS / "weekly_chargeback.toml").read_text(encoding="utf-8")

    report = parse_report("weekly_chargeback", text)

    assert report.grain is Grain.WEEK
    assert report.basis is Basis.POSTED
    assert report.columns == REPORT_COLUMNS
    assert report.totals
    assert report.formats == (ReportFormat.CSV,)
    assert report.schedule == Schedule(at=time(6), weekday=Weekday.MONDAY)


@pytest.mark.parametrize("path", sorted(REPORTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_report_that_ships_can_be_used(path: Path) -> None:
    assert parse_report(path.stem, path.read_text(encoding="utf-8")).name == path.stem


def test_what_is_left_out_is_posted_without_totals_filters_and_schedule() -> None:
    report = parse_report("weekly", GOOD)

    assert report.basis is Basis.POSTED
    assert not report.totals
    assert report.filters == ()
    assert report.schedule is None


def test_filters_and_a_day_of_the_month_are_taken() -> None:
    text = GOOD + '[filters]\nteam = ["search", "ml"]\n[schedule]\nday = 28\ntime = "23:59"\n'

    report = parse_report("monthly", text.replace('"week"', '"month"'))

    assert report.filters == (("team", ("search", "ml")),)
    assert report.schedule == Schedule(at=time(23, 59), day=28)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('title = "Weekly"', "title = 3", "title"),
        ('title = "Weekly"', "", "title"),
        ('grain = "week"', 'grain = "year"', "grain"),
        ('grain = "week"', 'grain = "week"\nbasis = "both"', "basis"),
        ('["team"]', '["cat"]', "group_by"),
        ('["team"]', '["team", "team"]', "group_by"),
        ('["team"]', "[]", "group_by"),
        ('["team"]', '"team"', "group_by"),
        ('["team"]', "[1]", "group_by"),
        ('["total_cost"]', '["total"]', "table.columns"),
        ('["csv"]', '["pdf"]', "table.formats"),
        ('["csv"]', '["csv"]\ntotals = "yes"', "table.totals"),
        ('["csv"]', '["csv"]\ncolor = "red"', "table.color"),
        ('title = "Weekly"', 'title = "Weekly"\ntable2 = 1', "table2"),
        ('title = "Weekly"', 'title = "Weekly"\nfilters = 1', "filters"),
        ('["csv"]', '["csv"]\n[filters]\nday = ["2026-11-01"]', "filters.day"),
        ('["csv"]', '["csv"]\n[schedule]\ntime = "06:00"', "schedule.weekday"),
        ('["csv"]', '["csv"]\n[schedule]\nday = 29\ntime = "06:00"', "schedule.weekday"),
        ('["csv"]', '["csv"]\n[schedule]\nday = 1\ntime = "06:00"', "schedule.weekday"),
        ('["csv"]', '["csv"]\n[schedule]\nday = true\ntime = "06:00"', "schedule.weekday"),
        ('["csv"]', '["csv"]\n[schedule]\nweekday = "monday"\ntime = "24:00"', "schedule.time"),
        ('["csv"]', '["csv"]\n[schedule]\nweekday = "moonday"\ntime = "06:00"', "schedule.weekday"),
    ],
)
def test_a_bad_definition_names_the_report_and_the_key(old: str, new: str, key: str) -> None:
    assert old in GOOD

    with pytest.raises(ReportDefinitionError) as caught:
        parse_report("weekly", GOOD.replace(old, new))

    assert "weekly" in caught.value.message
    assert f"key {key} " in caught.value.message
    assert "reports/weekly.toml" in caught.value.hint


def test_what_is_no_toml_is_refused() -> None:
    with pytest.raises(ReportDefinitionError, match="not valid TOML"):
        parse_report("weekly", "title = ")
