"""The price book's CSV file: all of its rows, or one error with line, column and reason."""

from bisect import bisect_right
from collections.abc import Collection
from decimal import Decimal

from app.pricing.rows import PriceKey, PriceRow, PriceUnit
from app.sources.price_lines import MATCHED, Line, PriceBookError, lines_of

__all__ = ["COLUMNS", "LIST_PRICE", "PriceBookError", "read_price_book"]

COLUMNS = (*MATCHED, "unit", "price", "currency", "valid_from", "valid_to", "source")
LIST_PRICE = "list_price"
"""The column of public list prices, which a book may leave out."""

# An hour of 72 GPUs at this price still fits into the ledger's 64-bit nanos.
_MAX_PRICE = Decimal(10**8)


def read_price_book(
    text: str, *, filename: str, billing_currency: str, exchanged: Collection[str] = ()
) -> tuple[PriceRow, ...]:
    """Return the rows of a price book, all or none.

    Raises `PriceBookError` for the first line that is unusable, and for two lines for the same
    thing whose times overlap. Prices must be in the billing currency, or in one of ``exchanged``:
    those that have an exchange rate.
    """
    found: list[tuple[int, PriceRow]] = []
    seen: dict[PriceKey, list[tuple[int, PriceRow]]] = {}
    columns = (*COLUMNS, LIST_PRICE)
    for line in lines_of(text, filename=filename, columns=columns, optional=(LIST_PRICE,)):
        row = _row(line, billing_currency, exchanged)
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


def _row(line: Line, billing_currency: str, exchanged: Collection[str]) -> PriceRow:
    valid_from_ms, valid_to_ms = line.validity("price")
    model = line.gpu_model()
    listed = line.text(LIST_PRICE)
    return PriceRow(
        unit=_unit(line),
        price=line.amount("price", below=_MAX_PRICE, called="price"),
        list_price=line.amount(LIST_PRICE, below=_MAX_PRICE, called="price") if listed else None,
        currency=line.billed_currency("price", billing_currency, exchanged),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
        cluster=line.text("cluster"),
        provider=line.text("provider"),
        region=line.text("region"),
        instance_type=line.text("instance_type"),
        gpu_model=model,
        capacity_type=line.text("capacity_type"),
        node=line.text("node"),
        source=line.text("source"),
    )


def _unit(line: Line) -> PriceUnit:
    text = line.text("unit")
    if text not in list(PriceUnit):
        line.refuse("unit", f'"{text}" is not a unit; units are {", ".join(PriceUnit)}')
    return PriceUnit(text)


def _refuse_overlap(line: Line, row: PriceRow, number: int, other: PriceRow) -> None:
    if row.price_id == other.price_id:
        line.refuse("", f"it says the same as line {number}")
    if row.valid_from_ms < other.valid_to_ms and other.valid_from_ms < row.valid_to_ms:
        reason = f"line {number} prices the same in {row.unit}, and their times overlap"
        line.refuse("valid_from", reason)
