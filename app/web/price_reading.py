"""What the routes of prices ask of the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.pricing.rows import PriceRow
from app.store.price_versions import ImportKind, PriceVersion
from app.workflows.imports import Imported


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceImportRequest:
    """A file of price inputs in a request; ``author`` is the name of the key."""

    kind: ImportKind
    text: str
    reason: str
    author: str
    dry_run: bool
    at_ms: int


class PriceLedger(Protocol):
    """The price inputs, and taking more of them."""

    def prices(self, version: int | None, *, card: bool) -> Sequence[PriceRow]:
        """Return the prices as of a version, of the last one for None; of the rate card or not.

        Those of owned hardware are among the actual ones. Raises `NotFoundError` for a version
        that there is not.
        """
        ...

    def price_versions(self) -> Sequence[PriceVersion]:
        """Return every version, the first one first."""
        ...

    def import_prices(self, request: PriceImportRequest, *, idempotency_key: str) -> Imported:
        """Take a file once, however often the request with its key comes.

        The same key with the same request returns what that import counted, without the money; with
        another request it is an `IdempotencyConflictError`.
        """
        ...
