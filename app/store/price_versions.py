"""The one sequence of versions that all price inputs share, and what made each of them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from app.store.locking import lock
from app.store.tables.ledger import PRICE_IMPORTS


class ImportKind(StrEnum):
    """What a version's import was about."""

    PRICES = "prices"
    RATE_CARD = "rate_card"
    EXCHANGE_RATES = "exchange_rates"
    TERMS = "terms"
    CREDITS = "credits"
    OWNED = "owned"
    COMMITMENTS = "commitments"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportNote:
    """Where an import comes from; ``reason`` and ``author`` say why and by whom it corrects."""

    imported_ms: int
    file_name: str
    sha256: str
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """One version of the price inputs: what was imported, and how many rows it changed."""

    version: int
    kind: ImportKind
    imported_ms: int
    file_name: str
    sha256: str
    added: int
    superseded: int
    reason: str
    author: str


class PriceVersions:
    """All versions of the price inputs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def latest(self) -> int:
        """Return the last version; 0 before the first import."""
        return self._connection.scalar(select(func.max(PRICE_IMPORTS.c.version))) or 0

    def all(self) -> tuple[PriceVersion, ...]:
        """Return every version, the first one first."""
        rows = self._connection.execute(select(PRICE_IMPORTS).order_by(PRICE_IMPORTS.c.version))
        return tuple(_value(row) for row in rows)

    def lock(self) -> None:
        """Wait until no other import of price inputs runs; keep them out until this one ends."""
        lock(self._connection, "prices")

    def add(self, kind: ImportKind, note: ImportNote, *, added: int, superseded: int) -> int:
        """Make the next version and return its number; the caller has called `lock`."""
        version = self.latest() + 1
        self._connection.execute(
            insert(PRICE_IMPORTS).values(
                version=version,
                imported_at=note.imported_ms,
                file_name=note.file_name,
                sha256=note.sha256,
                added=added,
                superseded=superseded,
                kind=kind.value,
                reason=note.reason,
                author=note.author,
            )
        )
        return version


def _value(row: Row[Any]) -> PriceVersion:
    return PriceVersion(
        version=row.version,
        kind=ImportKind(row.kind),
        imported_ms=row.imported_at,
        file_name=row.file_name,
        sha256=row.sha256,
        added=row.added,
        superseded=row.superseded,
        reason=row.reason,
        author=row.author,
    )
