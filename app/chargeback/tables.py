"""Tables as values, the plain decimals in them, and the same table as CSV."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

Cell = str | int | bool | Decimal | None

# A spreadsheet runs a text cell that starts with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows of cells in that order."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def records(self) -> list[Mapping[str, Cell]]:
        """Return the rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def seconds(milliseconds: int) -> Decimal:
    """Return milliseconds as exact seconds, without trailing zeros."""
    return _scaled(milliseconds, decimals=3, at_least=0)


def amount(nanos: int) -> Decimal:
    """Return nanos as an exact amount of the currency, with 2 to 9 decimals."""
    return _scaled(nanos, decimals=9, at_least=2)


def _scaled(units: int, *, decimals: int, at_least: int) -> Decimal:
    while decimals > at_least and units % 10 == 0:
        units //= 10
        decimals -= 1
    return Decimal(units).scaleb(-decimals)


def plain(cell: Cell) -> str:
    """Return a cell as text: '' for nothing, decimals without exponent or separators."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case Decimal():
            return format(cell, "f")
        case _:
            return str(cell)


def csv_bytes(table: Table) -> bytes:
    """Return the table as CSV (RFC 4180): a header, CRLF, UTF-8 without a byte order mark.

    Text that a spreadsheet would run as a formula gets a leading apostrophe; numbers, also
    negative ones, stay as they are. Equal tables give equal bytes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_harmless(name) for name in table.columns])
    writer.writerows([_csv_cell(cell) for cell in row] for row in table.rows)
    return text.getvalue().encode()


def _csv_cell(cell: Cell) -> str:
    return _harmless(cell) if isinstance(cell, str) else plain(cell)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
