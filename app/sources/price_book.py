"""The price book's CSV file: all of its rows, or one error with line, column and reason."""

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from app.errors import InputError
from app.pricing.currencies import CURRENCIES
from app.pricing.products import product_tokens
from app.pricing.rows import PriceKey, PriceRow, PriceUnit
from app.sources.instants import INSTANT_FORMS, read_instant
from app.units.window import OPEN_MS

COLUMNS = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
    "unit",
    "price",
    "currency",
    "valid_from",
    "valid_to",
    "source",
)

_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)")
# Postgres keeps no NUL, and no reader shows the others; tabs and line breaks may stand in quotes.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
# A price keeps its exact value; more decimals than this are a computation's leftovers.
_MAX_DECIMALS = 12
# An hour of 72 GPUs at this price still fits into the ledger's 64-bit nanos.
_MAX_PRICE = Decimal(10**8)


class PriceBookError(InputError):
    """The file cannot be taken; ``line`` counts from 1, ``column`` is a column's name or ``""``."""

    def __init__(self, filename: str, line: int, column: str, reason: str) -> None:
        place = f", column {column}" if column else ""
        super().__init__(
            f"{filename}, line {line}{place}: {reason}.",
            hint="Nothing of the file was taken; correct the line and import the file again.",
        )
        self.filename = filename
        self.line = line
        self.column = column
        self.reason = reason


def read_price_book(text: str, *, filename: str, billing_currency: str) -> tuple[PriceRow, ...]:
    """Return the rows of a price book, all or none.

    Raises `PriceBookError` for the first line that is unusable, and for two lines for the same
    thing whose times overlap. Prices must be in the billing currency.
    """
    found: list[tuple[int, PriceRow]] = []
    seen: dict[PriceKey, list[tuple[int, PriceRow]]] = {}
    for line in _lines(text, filename):
        row = _row(line, billing_currency)
        same_key = seen.setdefault(row.key, [])
        place = bisect_right(same_key, row.valid_from_ms, key=lambda one: one[1].valid_from_ms)
        # Those before it do not overlap each other, so only its neighbors in time can.
        for number, other in same_key[max(place - 1, 0) : place + 1]:
            _refuse_overlap(line, row, number, other)
        same_key.insert(place, (line.number, row))
        found.append((line.number, row))
    if not found:
        raise PriceBookError(filename, 1, "", "the file has no prices below its header")
    return tuple(row for _, row in found)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file; ``number`` is where it begins."""

    filename: str
    number: int
    cells: dict[str, str]

    def refuse(self, column: str, reason: str) -> NoReturn:
        """Raise the error of a cell, or of the line where ``column`` is empty."""
        raise PriceBookError(self.filename, self.number, column, reason)


def _lines(text: str, filename: str) -> Iterator[_Line]:
    """Yield the lines below the header that are not empty; a byte order mark is dropped."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: list[str] | None = None
    begin = 1
    try:
        for cells in reader:
            if header is None:
                header = _header([cell.strip() for cell in cells], filename)
            elif any(cell.strip() for cell in cells):
                yield _line([cell.strip() for cell in cells], header, filename, begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise PriceBookError(filename, begin, "", f"it is not CSV: {error}") from error
    if header is None:
        raise PriceBookError(filename, 1, "", "the file is empty")


def _header(names: list[str], filename: str) -> list[str]:
    for delimiter, words in _DELIMITERS.items():
        if [name.strip() for name in "".join(names).split(delimiter)] == list(COLUMNS):
            reason = f"the cells are separated by {words} where commas should stand"
            raise PriceBookError(filename, 1, "", reason)
    for name in names:
        if name not in COLUMNS:
            reason = f"there is no such column; the columns are {', '.join(COLUMNS)}"
            raise PriceBookError(filename, 1, name or "(blank)", reason)
        if names.count(name) > 1:
            raise PriceBookError(filename, 1, name, "the column stands there twice")
    for name in COLUMNS:
        if name not in names:
            raise PriceBookError(filename, 1, name, "the column is missing; blank cells mean any")
    return names


def _line(cells: list[str], header: list[str], filename: str, number: int) -> _Line:
    if len(cells) != len(header):
        reason = f"the line has {len(cells)} cells where the header has {len(header)}"
        raise PriceBookError(filename, number, "", reason)
    line = _Line(filename, number, dict(zip(header, cells, strict=True)))
    for column, cell in line.cells.items():
        if _CONTROL.search(cell):
            line.refuse(column, "the cell has a control character")
    return line


def _row(line: _Line, billing_currency: str) -> PriceRow:
    valid_from_ms = _instant(line, "valid_from", 0)
    valid_to_ms = _instant(line, "valid_to", OPEN_MS)
    if valid_to_ms <= valid_from_ms:
        line.refuse("valid_to", "the price ends before it begins, or as it begins")
    model = line.cells["gpu_model"]
    if model and not product_tokens(model):
        line.refuse("gpu_model", f'"{model}" names a maker, not a model')
    return PriceRow(
        unit=_unit(line),
        price=_price(line),
        currency=_currency(line, billing_currency),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
        cluster=line.cells["cluster"],
        provider=line.cells["provider"],
        region=line.cells["region"],
        instance_type=line.cells["instance_type"],
        gpu_model=model,
        capacity_type=line.cells["capacity_type"],
        node=line.cells["node"],
        source=line.cells["source"],
    )


def _unit(line: _Line) -> PriceUnit:
    text = line.cells["unit"]
    if text not in list(PriceUnit):
        line.refuse("unit", f'"{text}" is not a unit; units are {", ".join(PriceUnit)}')
    return PriceUnit(text)


def _price(line: _Line) -> Decimal:
    text = line.cells["price"]
    if not _NUMBER.fullmatch(text):
        line.refuse("price", f'"{text}" is not a plain number such as 2.4991')
    price = Decimal(text)
    if price < 0:
        line.refuse("price", f"the price {text} is below zero")
    if price >= _MAX_PRICE:
        line.refuse("price", f"the price {text} is a hundred million or more for an hour")
    if len(text.partition(".")[2].rstrip("0")) > _MAX_DECIMALS:
        line.refuse("price", f"the price {text} has more than {_MAX_DECIMALS} decimals")
    return abs(price)


def _currency(line: _Line, billing_currency: str) -> str:
    text = line.cells["currency"].upper()
    if text not in CURRENCIES:
        line.refuse("currency", f'"{line.cells["currency"]}" is not a currency of ISO 4217')
    if text != billing_currency:
        line.refuse(
            "currency", f"the price is in {text} but the ledger bills in {billing_currency}"
        )
    return text


def _instant(line: _Line, column: str, blank_ms: int) -> int:
    text = line.cells[column]
    if not text:
        return blank_ms
    ms = read_instant(text)
    if ms is None:
        line.refuse(column, f'"{text}" is not a date; write {INSTANT_FORMS}')
    return ms


def _refuse_overlap(line: _Line, row: PriceRow, number: int, other: PriceRow) -> None:
    if row.price_id == other.price_id:
        line.refuse("", f"it says the same as line {number}")
    if row.valid_from_ms < other.valid_to_ms and other.valid_from_ms < row.valid_to_ms:
        reason = f"line {number} prices the same in {row.unit}, and their times overlap"
        line.refuse("valid_from", reason)
