"""Exchange rates: what one unit of a currency was worth in the billing currency, and when."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from app.errors import InputError
from app.pricing.rows import plain_amount
from app.units.identity import hash64
from app.units.window import OPEN_MS


class RateOverlapError(InputError):
    """Two rates of one currency are valid at one instant: ``first`` and ``second``."""

    def __init__(self, first: "ExchangeRate", second: "ExchangeRate") -> None:
        super().__init__(
            f"Two exchange rates of {first.currency} are valid at the same time:"
            f" {first.rate} and {second.rate}.",
            hint="End the one before the other begins.",
        )
        self.first = first
        self.second = second


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """Units of the billing currency for one unit of ``currency``, over ``[from, to)``; above 0."""

    currency: str
    rate: Decimal
    valid_from_ms: int
    valid_to_ms: int = OPEN_MS
    source: str = ""

    @property
    def key(self) -> str:
        """Of what two rates may not be valid at one instant."""
        return self.currency

    @property
    def rate_id(self) -> int:
        """The identity of the rate: of what, how much, since when and until when."""
        return hash64(
            "exchange rate",
            self.currency,
            plain_amount(self.rate),
            str(self.valid_from_ms),
            str(self.valid_to_ms),
        )


class ExchangeRates:
    """Rates of any currencies, no two of one currency at one instant.

    A currency without any rate is the billing currency: prices in another one are refused while
    it has no rate at all.
    """

    def __init__(self, rates: Iterable[ExchangeRate] = ()) -> None:
        self.rates = tuple(sorted(rates, key=lambda one: (one.currency, one.valid_from_ms)))
        self._by_currency: dict[str, list[ExchangeRate]] = {}
        for one in self.rates:
            same = self._by_currency.setdefault(one.currency, [])
            if same and one.valid_from_ms < same[-1].valid_to_ms:
                raise RateOverlapError(same[-1], one)
            same.append(one)

    @property
    def currencies(self) -> frozenset[str]:
        """The currencies that have a rate at any time."""
        return frozenset(self._by_currency)

    def foreign(self, currency: str) -> bool:
        """Say whether amounts of the currency need a rate."""
        return currency in self._by_currency

    def at(self, currency: str, at_ms: int) -> ExchangeRate | None:
        """Return the rate of a foreign currency at the instant, None where there is none."""
        same = self._by_currency.get(currency, [])
        place = bisect_right(same, at_ms, key=lambda one: one.valid_from_ms) - 1
        if place < 0 or at_ms >= same[place].valid_to_ms:
            return None
        return same[place]

    def edges(self, currency: str, start_ms: int, end_ms: int) -> set[int]:
        """Return the instants inside ``(start_ms, end_ms)`` at which a rate begins or ends."""
        same = self._by_currency.get(currency, [])
        first = max(bisect_right(same, start_ms, key=lambda one: one.valid_from_ms) - 1, 0)
        found: set[int] = set()
        for one in same[first:]:
            if one.valid_from_ms >= end_ms:
                break
            found |= {one.valid_from_ms, one.valid_to_ms}
        return {at_ms for at_ms in found if start_ms < at_ms < end_ms}
