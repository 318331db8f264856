"""A report as an XLSX workbook: numbers as numbers, dates as dates, and a sheet about it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from app.chargeback.report_columns import HEAD, CellKind
from app.chargeback.report_tables import ReportDocument
from app.chargeback.reports import NumberFormat
from app.chargeback.rounding import currency_decimals
from app.chargeback.tables import FORMULA_STARTS, Cell, plain
from app.errors import InputError

# What a sheet and a cell can hold: Excel's specifications and limits.
_MOST_ROWS = 1_048_576
_LONGEST_TEXT = 32_767
# A double keeps every decimal figure of this many digits, and Excel shows no more.
_MOST_DIGITS = 15
# Widths in characters: a heading is readable, and a long name does not fill the screen.
_NARROWEST, _WIDEST = 8, 48
_WIDTH_ROWS = 1_000

_KIND_FORMATS = {
    CellKind.INSTANT: "yyyy-mm-dd hh:mm",
    CellKind.DAY: "yyyy-mm-dd",
    CellKind.COUNT: "#,##0",
    CellKind.HOURS: "#,##0.00",
    CellKind.UNIT_COST: "#,##0.00#######",
    CellKind.RATIO: "0.00##",
}
_NUMBER_FORMATS = {
    NumberFormat.WHOLE: "#,##0",
    NumberFormat.TWO_DECIMALS: "#,##0.00",
    NumberFormat.FOUR_DECIMALS: "#,##0.0000",
    NumberFormat.PERCENT: "0.00%",
    NumberFormat.EXACT: "0.#########",
}
# What is the same in every row stands behind the figures: a sheet has its own page about that.
_BEHIND = tuple(name for name in HEAD if name != "row")
# The instant in the properties of every workbook: equal reports are equal bytes.
_CREATED = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)


class SpreadsheetError(InputError):
    """A report that a spreadsheet cannot hold."""


@dataclass(frozen=True, slots=True)
class _Formats:
    """The formats of one column: of its cells, and of its cell in the totals row."""

    plain: Format
    bold: Format
    quoted: Format


def xlsx_bytes(document: ReportDocument) -> bytes:
    """Return the report as a workbook: equal documents give equal bytes.

    No text becomes a formula, a link or a number. Numbers of more than 15 digits stand as text,
    because a spreadsheet would round them.
    """
    if len(document.table.rows) >= _MOST_ROWS:
        message = f"A sheet holds {_MOST_ROWS:,} rows; the report has more."
        raise SpreadsheetError(message, hint="Write it as csv or parquet, or group it by less.")
    content = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_numbers": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(content, options) as workbook:
        workbook.set_properties({"title": document.definition.title, "created": _CREATED})
        _write_rows(workbook, workbook.add_worksheet("Report"), document)
        _write_about(workbook, workbook.add_worksheet("About"), document)
    return content.getvalue()


def _write_rows(workbook: Workbook, sheet: Worksheet, document: ReportDocument) -> None:
    columns = document.table.columns
    order = sorted(range(len(columns)), key=lambda place: columns[place] in _BEHIND)
    heading = workbook.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
    quoted_heading = workbook.add_format(
        {"bold": True, "bottom": 1, "text_wrap": True, "valign": "top", "quote_prefix": True}
    )
    shown = [_formats_of(workbook, document, place) for place in order]
    rows = document.table.rows
    for target, place in enumerate(order):
        title = document.headings[place]
        _write_text(sheet, 0, target, title, heading, quoted_heading)
        width = _width(title, [row[place] for row in rows[-_WIDTH_ROWS:]])
        sheet.set_column(target, target, width)
    total = columns.index("row")
    details = 0
    for number, row in enumerate(rows, start=1):
        is_total = row[total] == "total"
        details += not is_total
        for target, place in enumerate(order):
            formats, kind = shown[target], document.kinds[place]
            style = formats.bold if is_total else formats.plain
            _write(sheet, number, target, row[place], kind, style, formats.quoted)
    sheet.freeze_panes(1, 0)
    # Whoever sorts the rows leaves the totals where they are.
    sheet.autofilter(0, 0, details, len(columns) - 1)
    sheet.set_landscape()
    sheet.repeat_rows(0)
    sheet.fit_to_pages(1, 0)


def _formats_of(workbook: Workbook, document: ReportDocument, place: int) -> _Formats:
    name, kind = document.table.columns[place], document.kinds[place]
    chosen = dict(document.definition.number_formats).get(name)
    decimals = currency_decimals(document.currency)
    money = "#,##0" + ("." + "0" * decimals if decimals else "")
    shown = money if kind is CellKind.MONEY else _KIND_FORMATS.get(kind, "General")
    base: Mapping[str, str] = {"num_format": _NUMBER_FORMATS[chosen] if chosen else shown}
    return _Formats(
        workbook.add_format(dict(base)),
        workbook.add_format({**base, "bold": True, "top": 1}),
        workbook.add_format({"quote_prefix": True}),
    )


def _write_about(workbook: Workbook, sheet: Worksheet, document: ReportDocument) -> None:
    bold, quoted = workbook.add_format({"bold": True}), workbook.add_format({"quote_prefix": True})
    wrapped = workbook.add_format({"text_wrap": True, "align": "left", "valign": "top"})
    instant = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm", "align": "left"})
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 80)
    for row, (label, cell) in enumerate(document.about):
        sheet.write_string(row, 0, label.replace("_", " "), bold)
        moment = label in {"period_start", "period_end"}
        kind, style = (CellKind.INSTANT, instant) if moment else (CellKind.TEXT, wrapped)
        _write(sheet, row, 1, cell, kind, style, quoted)
    note = "Instants are in UTC. Money is rounded so that rows and columns add up."
    sheet.write_string(len(document.about) + 1, 1, note, wrapped)


def _write(
    sheet: Worksheet,
    row: int,
    column: int,
    cell: Cell,
    kind: CellKind,
    style: Format,
    quoted: Format,
) -> None:
    match cell:
        case None:
            sheet.write_blank(row, column, None, style)
        case bool():
            sheet.write_boolean(row, column, cell, style)
        case Decimal() | int():
            digits = plain(cell).lstrip("-").replace(".", "").lstrip("0")
            if len(digits) > _MOST_DIGITS:
                sheet.write_string(row, column, plain(cell), style)
            else:
                # Whatever has 15 digits is written with all of them.
                sheet.write_number(row, column, cell, style)
        case str() if kind in {CellKind.INSTANT, CellKind.DAY} and cell:
            moment = datetime.fromisoformat(cell)
            value = moment.date() if kind is CellKind.DAY else moment.replace(tzinfo=None)
            _write_moment(sheet, row, column, value, style)
        case str():
            _write_text(sheet, row, column, cell, style, quoted)


def _write_moment(
    sheet: Worksheet, row: int, column: int, value: date | datetime, style: Format
) -> None:
    sheet.write_datetime(row, column, value, style)


def _write_text(
    sheet: Worksheet, row: int, column: int, text: str, style: Format, quoted: Format
) -> None:
    """Write text as text; what begins like a formula stays text also after someone edits it."""
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
    sheet.write_string(row, column, shown, quoted if text.startswith(FORMULA_STARTS) else style)


def _width(title: str, cells: list[Cell]) -> int:
    longest = max((len(plain(cell)) for cell in cells), default=0)
    # The button of the filter covers two characters of the heading.
    return min(max(longest + 2, len(title) + 3, _NARROWEST), _WIDEST)
