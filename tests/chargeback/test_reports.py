"""Report definitions: the one that ships, and every way to write a bad one."""

from datetime import time
from pathlib import Path

import pytest

from app.chargeback.costs import Basis
from app.chargeback.definition_keys import ReportDefinitionError
from app.chargeback.periods import Grain
from app.chargeback.report_columns import (
    HEAD,
    REPORT_COLUMNS,
    SOURCES,
    TAIL,
    CellKind,
    ReportSource,
    kind_of,
)
from app.chargeback.reports import (
    NumberFormat,
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
        ('["csv"]', '["csv"]\n[table.titles]\nteam = "total_cost"', "table.titles.team"),
        ('["csv"]', '["csv"]\n[table.titles]\nteam = ""', "table.titles.team"),
        ('["csv"]', '["csv"]\n[table.titles]\nteam = "a\\nb"', "table.titles.team"),
        ('["csv"]', f'["csv"]\n[table.titles]\nteam = "{"x" * 101}"', "table.titles.team"),
        ('["csv"]', '["csv"]\n[table.titles]\npod = "Pod"', "table.titles.pod"),
        ('["csv"]', '["csv"]\n[table.number_formats]\nteam = "whole"', "table.number_formats.team"),
        (
            '["csv"]',
            '["csv"]\n[table.number_formats]\ntotal_cost = "0.0"',
            "table.number_formats.total_cost",
        ),
        ('title = "Weekly"', 'title = "Weekly"\nsource = "dreams"', "source"),
        ('title = "Weekly"', 'title = "W"\nsource = "findings"\nbasis = "posted"', "basis"),
        ('title = "Weekly"', 'title = "Weekly"\nsource = "budget"', "grain"),
        ('title = "Weekly"', 'title = "Weekly"\nsource = "findings"', "table.columns"),
        ('title = "Weekly"', 'title = "Weekly"\naudience = 3', "audience"),
        ('title = "Weekly"', 'title = "Weekly"\ndestination = ["s3"]', "destination"),
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


def test_a_report_has_a_source_an_audience_titles_and_a_destination() -> None:
    text = GOOD.replace('title = "Weekly"', 'title = "W"\naudience = "CFO"\ndestination = "erp"')
    text += '[table.titles]\nteam = "Cost unit"\n[table.number_formats]\ntotal_cost = "whole"\n'

    report = parse_report("weekly", text)

    assert (report.source, report.audience) == (ReportSource.COSTS, "CFO")
    assert report.destination == "erp"
    assert report.titles == (("team", "Cost unit"),)
    assert report.number_formats == (("total_cost", NumberFormat.WHOLE),)
    assert report.sha256 != parse_report("weekly", f"{text}#").sha256


def test_every_source_has_its_own_groups_and_columns() -> None:
    findings = parse_report(
        "waste",
        GOOD.replace('grain = "week"', 'grain = "week"\nsource = "findings"').replace(
            "total_cost", "wasted_cost"
        ),
    )

    assert findings.source is ReportSource.FINDINGS
    assert findings.basis is Basis.USAGE
    for source, known in SOURCES.items():
        assert not set(known.groups) & set(known.columns), source
        assert set(known.filters) <= set(known.groups)
        for column in (*known.groups, *known.columns, *HEAD, *TAIL):
            assert kind_of(source, column) in CellKind


@pytest.mark.parametrize("name", ["Weekly", "week ly", "../weekly", "", "x" * 65, "wöchentlich"])
def test_a_name_that_no_file_can_carry_is_refused(name: str) -> None:
    with pytest.raises(ReportDefinitionError, match="name"):
        parse_report(name, GOOD)


def test_what_is_no_toml_is_refused() -> None:
    with pytest.raises(ReportDefinitionError, match="not valid TOML"):
        parse_report("weekly", "title = ")


def test_the_definition_in_the_documents_can_be_used() -> None:
    page = (REPORTS.parent / "docs" / "reports.md").read_text(encoding="utf-8")
    example = page.split("```toml\n")[1].split("```")[0]

    report = parse_report("search_by_day", example)

    assert report.filters == (("team", ("search",)),)
    # Whatever a definition may hold is on the page.
    for word in (*ReportSource, *ReportFormat, *NumberFormat, *Grain, *Basis):
        assert f"`{word}`" in page
    for source, known in SOURCES.items():
        if source in {ReportSource.FINDINGS, ReportSource.BUDGET}:
            assert {
                name for name in (*known.groups, *known.columns) if f"`{name}`" not in page
            } == set()
