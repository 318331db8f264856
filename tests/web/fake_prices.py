"""A price book of two versions, a rate card, and imports that count the lines of their file."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from app.pricing.rows import PriceRow
from app.store.price_versions import ImportKind, PriceVersion
from app.web.price_reading import PriceImportRequest
from app.web.problems import NotFoundError
from app.web.reading import IdempotencyConflictError
from app.workflows.imports import Imported, Moved
from tests.pricing.builders import a_price

OLD = replace(a_price("3.00", gpu_model="H100", provider="aws"), source="contract")
CORRECTED = replace(OLD, price=Decimal("2.50"), list_price=Decimal(4))
OTHER = a_price("0.35", gpu_model="T4", provider="gcp")
CARD = replace(a_price("5", gpu_model="H100"), source="card")
IMPORTED_MS = 1_795_428_000_000  # 2026-11-23T10:00:00Z


def a_version(version: int, reason: str = "") -> PriceVersion:
    return PriceVersion(
        version=version,
        kind=ImportKind.PRICES,
        imported_ms=IMPORTED_MS,
        file_name="prices.csv",
        sha256="ab" * 32,
        added=2,
        superseded=1 if reason else 0,
        reason=reason,
        author="ada",
    )


class FakePrices:
    """Answers the same prices to everybody; a file with `bad` in it is refused."""

    taken: dict[str, PriceImportRequest] | None = None

    def prices(self, version: int | None, *, card: bool) -> Sequence[PriceRow]:
        if version is not None and version > 2:
            message = f"There is no version {version} of the prices; the last one is 2."
            raise NotFoundError(message)
        if card:
            return (CARD,)
        return {0: (), 1: (OLD, OTHER)}.get(2 if version is None else version, (OTHER, CORRECTED))

    def price_versions(self) -> Sequence[PriceVersion]:
        return (a_version(1), a_version(2, "mistyped"))

    def import_prices(self, request: PriceImportRequest, *, idempotency_key: str) -> Imported:
        self.taken = self.taken or {}
        if self.taken.setdefault(idempotency_key, request).text != request.text:
            message = "This Idempotency-Key was used for another request."
            raise IdempotencyConflictError(message)
        return Imported(
            version=3,
            added=max(request.text.count("\n") - 1, 0),
            superseded=0,
            unchanged=0,
            hours=4,
            moved=(
                Moved(team="search", before_nanos=3_000_000_000, after_nanos=2_500_000_000),
                Moved(team="ml", before_nanos=1, after_nanos=1),
            ),
            dry_run=request.dry_run,
            closed_hours=2,
            warnings=("a gap",),
        )
