"""The price book as a table, in the columns of its file."""

from collections.abc import Iterable

from app.chargeback.tables import Cell, Table, plain
from app.pricing.rows import PriceRow
from app.units.window import OPEN_MS, from_ms

PRICE_COLUMNS = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
    "unit",
    "price",
    "list_price",
    "currency",
    "valid_from",
    "valid_to",
    "source",
)
_KEY = PRICE_COLUMNS[:8]


def in_order(rows: Iterable[PriceRow]) -> tuple[PriceRow, ...]:
    """Return rows by what they are for, then by time."""
    return tuple(sorted(rows, key=price_key))


def price_key(row: PriceRow) -> tuple[str | int, ...]:
    """Return what a row is for and since when: no two rows of a book have the same."""
    return (*(str(getattr(row, name)) for name in _KEY), row.valid_from_ms)


def prices_table(rows: Iterable[PriceRow]) -> Table:
    """Return rows as the price book's file has them, in the order given."""
    return Table(PRICE_COLUMNS, tuple(_cells(row) for row in rows))


def instant_text(ms: int) -> str:
    """Return an instant in UTC, '' for one that never comes."""
    return "" if ms >= OPEN_MS else from_ms(ms).isoformat().replace("+00:00", "Z")


def _cells(row: PriceRow) -> tuple[Cell, ...]:
    return (
        *(str(getattr(row, name)) for name in _KEY),
        # As text: a table for people rounds numbers, and a price is what it is.
        plain(row.price),
        None if row.list_price is None else plain(row.list_price),
        row.currency,
        instant_text(row.valid_from_ms),
        instant_text(row.valid_to_ms),
        row.source,
    )
