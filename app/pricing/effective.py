"""What a price row comes to at an instant: exchange rate, discount and markup inside."""

from dataclasses import dataclass
from fractions import Fraction

from app.pricing.exchange import ExchangeRate
from app.pricing.rows import PriceRow
from app.pricing.terms import PriceTerm
from app.units.identity import hash64
from app.units.money import NANOS_PER_UNIT
from app.units.window import HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePrice:
    """A price row with the rate and terms of an instant: price × rate × (1 - d) × (1 + m).

    ``rate`` is None for a row in the billing currency. All amounts are exact.
    """

    row: PriceRow
    rate: ExchangeRate | None = None
    discount: PriceTerm | None = None
    markup: PriceTerm | None = None

    @property
    def price_id(self) -> int:
        """The row's own identity where nothing changes its price, else one of all parts."""
        if self.rate is None and self.discount is None and self.markup is None:
            return self.row.price_id
        return hash64(
            "effective price",
            str(self.row.price_id),
            str(self.rate.rate_id if self.rate else 0),
            str(self.discount.term_id if self.discount else 0),
            str(self.markup.term_id if self.markup else 0),
        )

    @property
    def exchange(self) -> Fraction:
        """Units of the billing currency for one of the row's."""
        return Fraction(self.rate.rate) if self.rate else Fraction(1)

    @property
    def factor(self) -> Fraction:
        """By what the row's price is multiplied: exchange rate, discount and markup."""
        discount = self.discount.factor if self.discount else 1
        markup = self.markup.factor if self.markup else 1
        return self.exchange * discount * markup

    @property
    def unit_price(self) -> Fraction:
        """What an hour of the row's unit costs in the billing currency."""
        return self.row.exact_price * self.factor

    @property
    def list_unit_price(self) -> Fraction | None:
        """The public list price of that hour in the billing currency; no terms apply to it."""
        if self.row.list_price is None:
            return None
        return Fraction(self.row.list_price) * self.exchange

    @property
    def nanos_per_ms(self) -> Fraction:
        """What a millisecond of the row's unit costs, in nanos of the billing currency."""
        return self.unit_price * NANOS_PER_UNIT / HOUR_MS
