"""The price book as it was at every version; a row is superseded, never edited."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from app.errors import InputError
from app.pricing.rows import PriceRow, PriceUnit
from app.store.locking import lock
from app.store.tables.ledger import PRICE_IMPORTS, PRICE_ROWS
from app.units.window import OPEN_MS, from_ms

_TEXTS = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
    "currency",
    "source",
)


class PriceOverlapError(InputError):
    """Two prices for the same thing at the same time; nothing of the import was taken."""

    def __init__(self, fresh: PriceRow, other: PriceRow) -> None:
        super().__init__(
            f"The price {_words(fresh)} overlaps {_words(other)}, which is for the same.",
            hint="Give the earlier row a valid_to and import both together.",
        )
        self.fresh = fresh
        self.other = other


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceImport:
    """What an import changed: rows, and the spans of time in which prices may differ."""

    version: int
    added: tuple[PriceRow, ...]
    superseded: tuple[PriceRow, ...]
    unchanged: int

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """From when until when a price that was added or superseded counts."""
        changed = (*self.added, *self.superseded)
        return tuple(sorted({(row.valid_from_ms, row.valid_to_ms) for row in changed}))


class PriceStore:
    """All versions of the price book."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def version(self) -> int:
        """Return the last version; 0 before the first import."""
        return self._connection.scalar(select(func.max(PRICE_IMPORTS.c.version))) or 0

    def rows(self, version: int | None = None) -> tuple[PriceRow, ...]:
        """Return the price book of a version, of the last one by default, in a fixed order."""
        table = PRICE_ROWS
        statement = select(table).order_by(*(table.c[name] for name in _TEXTS[:7]), *_ORDER)
        if version is None:
            statement = statement.where(table.c.superseded_version.is_(None))
        else:
            statement = statement.where(
                table.c.version <= version,
                or_(table.c.superseded_version.is_(None), table.c.superseded_version > version),
            )
        return tuple(_value(row) for row in self._connection.execute(statement))

    def by_id(self, price_id: int) -> PriceRow | None:
        """Return the price with this identity, also one that was superseded."""
        table = PRICE_ROWS
        row = self._connection.execute(
            select(table).where(table.c.price_id == price_id).order_by(table.c.version).limit(1)
        ).one_or_none()
        return None if row is None else _value(row)

    def import_rows(
        self, rows: Sequence[PriceRow], *, imported_ms: int, file_name: str, sha256: str
    ) -> PriceImport:
        """Add rows to the price book, all or none; what it has already stays as it is.

        A row for the same thing from the same instant supersedes the one that is there, which
        remains readable under its versions. Any other overlap is a `PriceOverlapError`. An import
        that changes nothing makes no version.
        """
        lock(self._connection, "prices")
        current = {(row.key, row.valid_from_ms): row for row in self.rows()}
        added = [row for row in rows if not _same(current.get((row.key, row.valid_from_ms)), row)]
        superseded = [
            current[row.key, row.valid_from_ms]
            for row in added
            if (row.key, row.valid_from_ms) in current
        ]
        gone = {row.price_id for row in superseded}
        _refuse_overlap(added, [row for row in current.values() if row.price_id not in gone])
        unchanged = len(rows) - len(added)
        if not added:
            return PriceImport(version=self.version(), added=(), superseded=(), unchanged=unchanged)
        version = self.version() + 1
        self._connection.execute(
            insert(PRICE_IMPORTS).values(
                version=version,
                imported_at=imported_ms,
                file_name=file_name,
                sha256=sha256,
                added=len(added),
                superseded=len(superseded),
            )
        )
        if gone:
            self._connection.execute(
                update(PRICE_ROWS)
                .where(PRICE_ROWS.c.price_id.in_(sorted(gone)))
                .where(PRICE_ROWS.c.superseded_version.is_(None))
                .values(superseded_version=version)
            )
        self._connection.execute(insert(PRICE_ROWS), [_stored(row, version) for row in added])
        return PriceImport(
            version=version,
            added=tuple(added),
            superseded=tuple(superseded),
            unchanged=unchanged,
        )


_ORDER = (PRICE_ROWS.c.unit, PRICE_ROWS.c.valid_from, PRICE_ROWS.c.version)


def _same(stored: PriceRow | None, fresh: PriceRow) -> bool:
    return stored is not None and (
        (stored.price, stored.currency, stored.valid_to_ms)
        == (fresh.price, fresh.currency, fresh.valid_to_ms)
    )


def _refuse_overlap(added: Sequence[PriceRow], kept: Sequence[PriceRow]) -> None:
    by_key: dict[object, list[tuple[int, bool, PriceRow]]] = {}
    for is_fresh, rows in ((False, kept), (True, added)):
        for row in rows:
            by_key.setdefault(row.key, []).append((row.valid_from_ms, is_fresh, row))
    for same in by_key.values():
        # If any two overlap then some two neighbors in time do; kept rows never do.
        in_time = sorted(same, key=itemgetter(0, 1))
        for (_, first_is_fresh, first), (_, _, second) in pairwise(in_time):
            if second.valid_from_ms < first.valid_to_ms:
                pair = (first, second) if first_is_fresh else (second, first)
                raise PriceOverlapError(*pair)


def _stored(row: PriceRow, version: int) -> dict[str, object]:
    return {
        "price_id": row.price_id,
        "version": version,
        **{name: getattr(row, name) for name in _TEXTS},
        "unit": row.unit.value,
        "price": row.price,
        "valid_from": row.valid_from_ms,
        "valid_to": None if row.valid_to_ms >= OPEN_MS else row.valid_to_ms,
        "superseded_version": None,
    }


def _value(row: Row[Any]) -> PriceRow:
    fields = row._mapping  # noqa: SLF001 SQLAlchemy's documented name
    return PriceRow(
        unit=PriceUnit(row.unit),
        price=Decimal(row.price).normalize(),
        valid_from_ms=row.valid_from,
        valid_to_ms=OPEN_MS if row.valid_to is None else row.valid_to,
        **{name: fields[name] for name in _TEXTS},
    )


def _words(row: PriceRow) -> str:
    filled = [f"{name}={getattr(row, name)}" for name in _TEXTS[:7] if getattr(row, name)]
    until = "open" if row.valid_to_ms >= OPEN_MS else from_ms(row.valid_to_ms).isoformat()
    return (
        f"{row.price:f} {row.currency} per {row.unit.value} for {', '.join(filled) or 'anything'}"
        f" from {from_ms(row.valid_from_ms).isoformat()} to {until}"
    )
