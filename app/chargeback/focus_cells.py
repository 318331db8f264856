"""A file's columns as codes into few texts, or as scaled integers, and how they are printed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import Any

import numpy as np
import numpy.typing as npt

from app.units.window import from_ms

Int64s = npt.NDArray[np.int64]
Texts = npt.NDArray[Any]

# Decimals of any length without rounding: whatever would lose a digit raises.
EXACT = Context(prec=200, traps=[Inexact])
# Rows that are printed at a time: enough to be fast, few enough to stream.
BLOCK_ROWS = 8_192
# What makes a spreadsheet run a text cell as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NEEDS_QUOTES = frozenset(',"\r\n')


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Row i says ``texts[codes[i]]``; None is null."""

    codes: Int64s
    texts: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class DecimalColumn:
    """Row i is ``amounts[codes[i]]``, an exact decimal; None is null."""

    codes: Int64s
    amounts: tuple[Decimal | None, ...]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True)
class InstantColumn:
    """Row i is the instant ``values_ms[i]``, a whole second."""

    values_ms: Int64s

    def __len__(self) -> int:
        return len(self.values_ms)


FocusCells = TextColumn | DecimalColumn | InstantColumn
Columns = Mapping[str, FocusCells]


def constant(text: str | None, count: int) -> TextColumn:
    """Return a column that says the same in every row."""
    return TextColumn(np.zeros(count, dtype=np.int64), (text,))


def scaled(values: Int64s, scale: int) -> DecimalColumn:
    """Return a column of integers that count 10⁻ˢᶜᵃˡᵉ of a unit."""
    distinct, codes = np.unique(values, return_inverse=True)
    return DecimalColumn(codes.astype(np.int64), tuple(exact(int(one), scale) for one in distinct))


def exact(value: int, scale: int) -> Decimal:
    """Return ``value`` counts of 10⁻ˢᶜᵃˡᵉ, whatever its length."""
    return Decimal(value).scaleb(-scale, EXACT)


def json_text(value: Mapping[str, object]) -> str:
    """Return a JSON object in the same bytes for equal content."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def decimal_text(value: Decimal) -> str:
    """Return a decimal without exponent and with at least one digit after the point.

    Without a fraction, readers that guess types take a column of whole amounts for integers.
    """
    plain = format(value, "f")
    if "." not in plain:
        return f"{plain}.0"
    head, _, tail = plain.partition(".")
    return f"{head}.{tail.rstrip('0') or '0'}"


def instant_text(at_ms: int) -> str:
    """Return an instant of whole seconds as FOCUS writes it, in UTC."""
    return f"{from_ms(at_ms):%Y-%m-%dT%H:%M:%SZ}"


def csv_blocks(names: Sequence[str], columns: Columns) -> Iterator[str]:
    """Yield a CSV file (RFC 4180, CRLF) in blocks: the header, then some thousand rows each.

    A column that is not given is null in every row. Every distinct value is printed and quoted
    once; a row is then only joined.
    """
    yield ",".join(names) + "\r\n"
    given = [columns.get(name) for name in names]
    count = max((len(cells) for cells in given if cells is not None), default=0)
    # Columns share cells, and rows share decimals: each object is printed once. All of them live as
    # long as the columns do, so that an identity is of one object only.
    known: dict[int, Callable[[int, int], list[str]] | None] = {}
    amounts: dict[int, str] = {}
    for cells in given:
        if id(cells) not in known:
            known[id(cells)] = _printed(cells, amounts)
    printed = [known[id(cells)] for cells in given]
    for start in range(0, count, BLOCK_ROWS):
        rows = range(min(BLOCK_ROWS, count - start))
        parts = [
            [""] * len(rows) if one is None else one(start, start + len(rows)) for one in printed
        ]
        yield "\r\n".join(map(",".join, zip(*parts, strict=True))) + "\r\n"


def total_of(columns: Columns, name: str = "BilledCost") -> Decimal:
    """Return the sum of a column of decimals, exact."""
    cells = columns[name]
    assert isinstance(cells, DecimalColumn)
    total = Decimal(0)
    for value, count in zip(
        cells.amounts, np.bincount(cells.codes, minlength=len(cells.amounts)).tolist(), strict=True
    ):
        if value is not None:
            total = EXACT.add(total, EXACT.multiply(value, Decimal(count)))
    return total


def _printed(
    cells: FocusCells | None, printed: dict[int, str]
) -> Callable[[int, int], list[str]] | None:
    """Return a function from a span of rows to their printed cells; None prints nothing.

    ``printed`` has the texts of decimals by their identity.
    """
    match cells:
        case None:
            return None
        case TextColumn(codes, known):
            shown = [_csv_text(text) for text in known]
        case DecimalColumn(codes, amounts):
            shown = [_shown(one, printed) for one in amounts]
        case InstantColumn(values_ms):
            distinct, places = np.unique(values_ms, return_inverse=True)
            codes = places.astype(np.int64)
            shown = [instant_text(int(at_ms)) for at_ms in distinct]
    if not any(shown):
        return None
    table: Texts = np.array(shown, dtype=object)
    where = codes

    def part(start: int, end: int) -> list[str]:
        found: list[str] = table[where[start:end]].tolist()
        return found

    return part


def _shown(value: Decimal | None, printed: dict[int, str]) -> str:
    if value is None:
        return ""
    text = printed.get(id(value))
    if text is None:
        text = printed[id(value)] = decimal_text(value)
    return text


def _csv_text(text: str | None) -> str:
    if text is None:
        return ""
    harmless = f"'{text}" if text.startswith(_FORMULA_STARTS) else text
    if _NEEDS_QUOTES.isdisjoint(harmless):
        return harmless
    return '"' + harmless.replace('"', '""') + '"'
