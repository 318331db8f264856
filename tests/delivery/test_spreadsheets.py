"""The workbook as finance opens it."""

import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest

from app.chargeback.report_tables import ReportDocument
from app.chargeback.tables import Cell, Table
from app.delivery.spreadsheets import SpreadsheetError, xlsx_bytes
from tests.chargeback.reporting import a_document, a_week_of_two_teams
from tests.delivery.workbook import SheetCell, Workbook
from tests.house import ROOT

# What Excel counts 2026-11-09 as, from the last day of 1899.
DAY = "46335"


def with_cell(column: str, cell: Cell) -> ReportDocument:
    """A report whose first row has ``cell`` in ``column``."""
    document = a_document()
    place = document.table.columns.index(column)
    first, *others = document.table.rows
    changed = (*first[:place], cell, *first[place + 1 :])
    return replace(document, table=Table(document.table.columns, (changed, *others)))


def test_numbers_are_numbers_and_dates_are_dates() -> None:
    book = Workbook(xlsx_bytes(a_document()))
    first, second, total = book.records()

    assert first["Team"].text == "ml"
    assert second["Total cost"] == SheetCell("n", "6.00", second["Total cost"].style)
    assert book.number_format(second["Total cost"]) == "#,##0.00"
    assert second["gpu_hours_held"].text == "2.00"
    assert second["cost_per_gpu_hour_held"].text == "3.00"
    assert (second["day"].kind, second["day"].text) == ("n", DAY)
    assert book.number_format(second["day"]) == "yyyy-mm-dd"
    assert (second["period_start"].kind, second["period_start"].text) == ("n", DAY)
    assert (second["issue"].kind, second["issue"].text) == ("n", "1")
    assert (second["complete"].kind, second["complete"].text) == ("b", "1")
    assert (total["row"].text, total["Total cost"].text) == ("total", "9.00")


def test_a_share_is_shown_as_the_definition_says() -> None:
    book = Workbook(xlsx_bytes(a_document()))

    share = book.records()[1]["share_of_total_ratio"]

    assert share.text == "0.6667"
    assert book.number_format(share) == "0.00%"


@pytest.mark.parametrize(("currency", "shown"), [("JPY", "#,##0"), ("KWD", "#,##0.000")])
def test_money_has_the_decimals_of_its_currency(currency: str, shown: str) -> None:
    book = Workbook(xlsx_bytes(a_document(currency=currency)))

    assert book.number_format(book.records()[0]["Total cost"]) == shown


def test_the_header_stays_in_sight_and_the_filter_leaves_the_total_out() -> None:
    book = Workbook(xlsx_bytes(a_document()))

    assert book.attributes(1, "pane")["ySplit"] == "1"
    assert book.attributes(1, "pane")["state"] == "frozen"
    # Two rows of details below the header; the totals row is the fourth.
    assert book.attributes(1, "autoFilter")["ref"].endswith("3")


def test_figures_come_first_and_what_is_the_same_in_every_row_last() -> None:
    heading = list(Workbook(xlsx_bytes(a_document())).rows(1)[0].values())

    names = [cell.text for cell in heading]
    assert names[:4] == ["row", "Team", "day", "gpu_hours_held"]
    assert names[-2:] == ["status", "basis"]


@pytest.mark.parametrize(
    "team", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\tx", '=HYPERLINK("http://x")']
)
def test_a_name_like_a_formula_is_text_and_stays_text_when_it_is_edited(team: str) -> None:
    book = Workbook(xlsx_bytes(a_document(a_week_of_two_teams(team))))

    names = [row["Team"] for row in book.records()]
    (cell,) = (one for one in names if one.text == team)
    assert cell.kind == "s"
    assert book.formats[cell.style]["quotePrefix"] == "1"
    assert not book.has(1, "f")
    assert not book.has(1, "hyperlink")


def test_a_number_that_a_spreadsheet_would_round_is_text() -> None:
    book = Workbook(xlsx_bytes(with_cell("total_cost", Decimal("12345678901234.56"))))

    cell = book.records()[0]["Total cost"]
    assert (cell.kind, cell.text) == ("s", "12345678901234.56")


def test_the_longest_number_that_fits_keeps_every_digit() -> None:
    book = Workbook(xlsx_bytes(with_cell("total_cost", Decimal("-1234567890123.45"))))

    cell = book.records()[0]["Total cost"]
    assert (cell.kind, cell.text) == ("n", "-1234567890123.45")


def test_text_that_no_cell_holds_is_cut_and_not_lost() -> None:
    book = Workbook(xlsx_bytes(with_cell("team", "x" * 40_000)))

    assert len(book.records()[0]["Team"].text) == 32_767


def test_money_that_nobody_knows_is_an_empty_cell() -> None:
    cell = Workbook(xlsx_bytes(with_cell("total_cost", None))).records()[0]["Total cost"]

    assert (cell.kind, cell.text) == ("n", "")


def test_the_second_sheet_says_what_the_report_is() -> None:
    book = Workbook(xlsx_bytes(a_document()))

    about = {row["A"].text: row["B"].text for row in book.rows(2) if "A" in row}
    assert about["title"] == "Costs by team and day"
    assert about["audience"] == "Finance"
    assert about["period"] == "2026-W46"
    assert about["period start"] == DAY
    assert about["status"] == "final"
    assert about["basis"] == "posted"
    assert about["price covers"] == "whole node: GPU, CPU, memory, disk"


def test_more_rows_than_a_sheet_has_are_refused() -> None:
    document = a_document()
    rows = document.table.rows[:1] * 1_048_576

    with pytest.raises(SpreadsheetError, match="1,048,576 rows"):
        xlsx_bytes(replace(document, table=Table(document.table.columns, rows)))


PRINT_HASHES = """
import hashlib
from app.chargeback.reports import ReportFormat
from app.delivery.rendering import rendered
from tests.chargeback.reporting import a_document
for form in ReportFormat:
    print(hashlib.sha256(rendered(a_document(), form)).hexdigest())
"""


def hashes(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRINT_HASHES],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_every_format_has_the_same_bytes_elsewhere_and_later() -> None:
    here = hashes(TZ="UTC", PYTHONHASHSEED="1", LC_ALL="C")
    there = hashes(TZ="Asia/Kolkata", PYTHONHASHSEED="2", LC_ALL="C.UTF-8")

    assert len(here.split()) == 3
    assert here == there
    assert Workbook(xlsx_bytes(a_document())).dates == {(1980, 1, 1, 0, 0, 0)}
