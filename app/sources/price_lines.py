"""Lines of the CSV files of prices: read by their header, and refused by line and column."""

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from app.errors import InputError
from app.pricing.currencies import CURRENCIES
from app.pricing.products import product_tokens
from app.sources.instants import INSTANT_FORMS, read_instant
from app.sources.name_faults import name_fault
from app.units.window import FIRST_YEAR, LAST_YEAR, OPEN_MS

MATCHED = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
)
"""The columns by which a line is for some pools and not for others; blank means any."""

# No exponent, no thousands separator, no other script's digits.
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)", re.ASCII)
# Postgres keeps no NUL, and no reader shows the others; tabs and line breaks may stand in quotes.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NAMES = frozenset((*MATCHED, "name", "team", "commitment", "billing_account", "payer"))
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_FINER_THAN_SECONDS = re.compile(r"\.\d*[1-9]")
# An amount keeps its exact value; more decimals than this are a computation's leftovers.
MAX_DECIMALS = 12


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


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file; ``number`` is where it begins."""

    filename: str
    number: int
    cells: dict[str, str]

    def refuse(self, column: str, reason: str) -> NoReturn:
        """Raise the error of a cell, or of the line where ``column`` is empty."""
        raise PriceBookError(self.filename, self.number, column, reason)

    def text(self, column: str) -> str:
        """Return a cell; '' for an optional column that the file does not have."""
        return self.cells.get(column, "")

    def amount(self, column: str, *, below: Decimal, called: str) -> Decimal:
        """Return a plain number from 0 to below a bound; ``called`` names it in the refusal."""
        text = self.text(column)
        if not _NUMBER.fullmatch(text):
            self.refuse(column, f'"{text}" is not a plain number such as 2.4991')
        amount = Decimal(text)
        if amount < 0:
            self.refuse(column, f"the {called} {text} is below zero")
        if amount >= below:
            self.refuse(column, f"the {called} {text} is {_large(below)} or more")
        if len(text.partition(".")[2].rstrip("0")) > MAX_DECIMALS:
            self.refuse(column, f"the {called} {text} has more than {MAX_DECIMALS} decimals")
        return abs(amount)

    def currency(self, column: str = "currency") -> str:
        """Return a currency of ISO 4217."""
        text = self.text(column).upper()
        if text not in CURRENCIES:
            self.refuse(column, f'"{self.text(column)}" is not a currency of ISO 4217')
        return text

    def billed_currency(self, called: str, billing: str, exchanged: Collection[str]) -> str:
        """Return the currency of an amount: the billing one, or one that has an exchange rate."""
        text = self.currency()
        if text != billing and text not in exchanged:
            reason = f"the {called} is in {text} but the ledger bills in {billing}"
            self.refuse("currency", f"{reason} and has no exchange rate of {text}")
        return text

    def validity(self, called: str) -> tuple[int, int]:
        """Return from when until when the line counts; blank means ever, to the second."""
        start_ms = self.instant("valid_from", 0)
        end_ms = self.instant("valid_to", OPEN_MS)
        if end_ms <= start_ms:
            self.refuse("valid_to", f"the {called} ends before it begins, or as it begins")
        return start_ms, end_ms

    def instant(self, column: str, blank_ms: int | None) -> int:
        """Return the milliseconds of an instant of whole seconds; ``blank_ms`` for no text."""
        text = self.text(column)
        if not text and blank_ms is not None:
            return blank_ms
        ms = read_instant(text)
        if ms is None:
            self.refuse(column, f'"{text}" is not a date; write {INSTANT_FORMS}')
        if ms < 0:
            reason = f'"{text}" is not of the years {FIRST_YEAR} to {LAST_YEAR}'
            self.refuse(column, f"{reason}; leave the cell blank where it has no bound")
        if _FINER_THAN_SECONDS.search(text):
            self.refuse(column, f'"{text}" is finer than a second; validity is to the second')
        # What spreadsheets write for an end that never comes lies in the last year.
        return min(ms, OPEN_MS)

    def gpu_model(self) -> str:
        """Return the GPU model; refuse one that is no more than a maker."""
        model = self.text("gpu_model")
        if model and not product_tokens(model):
            self.refuse("gpu_model", f'"{model}" names a maker, not a model')
        return model


def lines_of(
    text: str, *, filename: str, columns: Sequence[str], optional: Collection[str] = ()
) -> Iterator[Line]:
    """Yield the lines below the header that are not empty; a byte order mark is dropped.

    The columns may stand in any order; those of ``optional`` may be missing.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: list[str] | None = None
    begin = 1
    try:
        for cells in reader:
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(header, filename, columns, optional)
            elif any(cell.strip() for cell in cells):
                yield _line([cell.strip() for cell in cells], header, filename, begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise PriceBookError(filename, begin, "", f"it is not CSV: {error}") from error
    if header is None:
        raise PriceBookError(filename, 1, "", "the file is empty")


def _check_header(
    names: list[str], filename: str, columns: Sequence[str], optional: Collection[str]
) -> None:
    for delimiter, words in _DELIMITERS.items():
        cut = {name.strip() for name in "".join(names).split(delimiter)}
        if len(cut) > 1 and cut <= {*columns}:
            reason = f"the cells are separated by {words} where commas should stand"
            raise PriceBookError(filename, 1, "", reason)
    for name in names:
        if name not in columns:
            reason = f"there is no such column; the columns are {', '.join(columns)}"
            raise PriceBookError(filename, 1, name or "(blank)", reason)
        if names.count(name) > 1:
            raise PriceBookError(filename, 1, name, "the column stands there twice")
    for name in columns:
        if name not in names and name not in optional:
            raise PriceBookError(filename, 1, name, "the column is missing; blank cells mean any")


def _line(cells: list[str], header: list[str], filename: str, number: int) -> Line:
    if len(cells) != len(header):
        reason = f"the line has {len(cells)} cells where the header has {len(header)}"
        raise PriceBookError(filename, number, "", reason)
    line = Line(filename, number, dict(zip(header, cells, strict=True)))
    for column, cell in line.cells.items():
        if _CONTROL.search(cell):
            line.refuse(column, "the cell has a control character")
        if column in _NAMES and (fault := name_fault(cell)):
            line.refuse(column, f"the cell {fault}")
    return line


def _large(bound: Decimal) -> str:
    words = {Decimal(10**8): "a hundred million", Decimal(10**12): "a million million"}
    return words.get(bound, f"{bound:f}")
