"""The price inputs as they were at every version; a row is superseded, never edited."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from app.pricing.book import PriceBook
from app.pricing.credits import Credit
from app.pricing.exchange import ExchangeRate, ExchangeRates
from app.pricing.inputs import PriceInputs
from app.pricing.owned import OwnedAsset, energy_tariffs, owned_rows
from app.pricing.rows import PriceRow
from app.pricing.terms import PriceTerm
from app.store.commitments import CommitmentStore
from app.store.dated_rows import PriceOverlapError, Taken, read, take
from app.store.price_kinds import ASSETS, CREDIT_ROWS, PRICES, RATE_CARD, RATES, TERMS, price_of
from app.store.price_versions import ImportNote, PriceVersion, PriceVersions
from app.store.tables.ledger import PRICE_ROWS

__all__ = ["PriceImport", "PriceOverlapError", "PriceStore"]

PriceImport = Taken[PriceRow]


class PriceStore:
    """All versions of the price inputs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def version(self) -> int:
        """Return the last version; 0 before the first import."""
        return PriceVersions(self._connection).latest()

    def versions(self) -> tuple[PriceVersion, ...]:
        """Return every version, the first one first."""
        return PriceVersions(self._connection).all()

    def inputs(self, version: int | None = None) -> PriceInputs:
        """Return all price inputs of a version, of the last one by default."""
        number = self.version() if version is None else version
        rates = self.rates(number)
        exchange = ExchangeRates(rates)
        assets = self.assets(number)
        derived = [row for asset in assets for row in owned_rows(asset)]
        card = self.card_rows(number)
        return PriceInputs(
            version=number,
            book=PriceBook([*self.rows(number), *derived], rates, self.terms(number)),
            card=PriceBook(card, rates) if card else None,
            energy=tuple(one for asset in assets for one in energy_tariffs(asset, exchange)),
            commitments=CommitmentStore(self._connection).rows(number),
            credits=tuple(
                replace(one, rate=exchange.at(one.currency, one.valid_from_ms))
                for one in self.credits(number)
            ),
            owned=assets,
        )

    def rows(self, version: int | None = None) -> tuple[PriceRow, ...]:
        """Return the actual prices of a version, of the last one by default, in a fixed order.

        Those derived from owned hardware are in `inputs` only.
        """
        return read(self._connection, PRICES, version)

    def card_rows(self, version: int | None = None) -> tuple[PriceRow, ...]:
        """Return the rate card of a version, of the last one by default, in a fixed order."""
        return read(self._connection, RATE_CARD, version)

    def rates(self, version: int | None = None) -> tuple[ExchangeRate, ...]:
        """Return the exchange rates of a version, of the last one by default."""
        return read(self._connection, RATES, version)

    def terms(self, version: int | None = None) -> tuple[PriceTerm, ...]:
        """Return the discounts and markups of a version, of the last one by default."""
        return read(self._connection, TERMS, version)

    def credits(self, version: int | None = None) -> tuple[Credit, ...]:
        """Return the credits of a version, of the last one by default, without exchange rates."""
        return read(self._connection, CREDIT_ROWS, version)

    def assets(self, version: int | None = None) -> tuple[OwnedAsset, ...]:
        """Return the register of owned hardware of a version, of the last one by default."""
        return read(self._connection, ASSETS, version)

    def by_id(self, price_id: int) -> PriceRow | None:
        """Return the price row with this identity, also one that was superseded.

        Prices with an exchange rate, discount or markup have identities of their own, which
        `PriceInputs.price_of` finds.
        """
        row = self._connection.execute(
            select(PRICE_ROWS)
            .where(PRICE_ROWS.c.price_id == price_id)
            .order_by(PRICE_ROWS.c.version)
            .limit(1)
        ).one_or_none()
        return None if row is None else price_of(row)

    def import_rows(
        self, rows: Sequence[PriceRow], *, imported_ms: int, file_name: str, sha256: str
    ) -> PriceImport:
        """Add rows to the book of actual prices; see `app.store.dated_rows.take`."""
        note = ImportNote(imported_ms=imported_ms, file_name=file_name, sha256=sha256)
        return self.take_prices(rows, note)

    def take_prices(self, rows: Sequence[PriceRow], note: ImportNote) -> Taken[PriceRow]:
        """Add rows to the book of actual prices, all or none."""
        return take(self._connection, PRICES, rows, note)

    def take_card(self, rows: Sequence[PriceRow], note: ImportNote) -> Taken[PriceRow]:
        """Add rows to the rate card, all or none."""
        return take(self._connection, RATE_CARD, rows, note)

    def take_rates(self, rates: Sequence[ExchangeRate], note: ImportNote) -> Taken[ExchangeRate]:
        """Add exchange rates, all or none."""
        return take(self._connection, RATES, rates, note)

    def take_terms(self, terms: Sequence[PriceTerm], note: ImportNote) -> Taken[PriceTerm]:
        """Add discounts and markups, all or none."""
        return take(self._connection, TERMS, terms, note)

    def take_credits(self, given: Sequence[Credit], note: ImportNote) -> Taken[Credit]:
        """Add credits, all or none."""
        return take(self._connection, CREDIT_ROWS, given, note)

    def take_assets(self, assets: Sequence[OwnedAsset], note: ImportNote) -> Taken[OwnedAsset]:
        """Add owned hardware to the register, all or none; an asset supersedes its namesake."""
        return take(self._connection, ASSETS, assets, note)
