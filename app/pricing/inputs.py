"""Everything that charges are priced by, as of one version."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise, product

from app.pricing.book import PriceBook
from app.pricing.commitments import Commitment
from app.pricing.credits import Credit
from app.pricing.effective import EffectivePrice
from app.pricing.owned import EnergyTariff, OwnedAsset
from app.pricing.products import product_tokens
from app.pricing.rows import PricedPool, matches
from app.pricing.terms import PriceTerm, TermKind, term_at
from app.units.identity import hash64


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPriceAt:
    """An energy tariff with the discount and markup of an instant, as prices have them.

    ``nanos_per_mj`` is what a millijoule of a board costs, PUE inside, in the billing currency.
    """

    tariff: EnergyTariff
    factor: Fraction
    price_id: int
    terms: tuple[PriceTerm, ...] = ()

    @property
    def nanos_per_mj(self) -> Fraction:
        """What a millijoule at the board costs, in nanos of the billing currency, with PUE."""
        return self.tariff.nanos_per_mj * self.factor


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySpan:
    """From when until when the energy of a pool's boards costs what; None: no tariff is for it."""

    from_ms: int
    to_ms: int
    price: EnergyPriceAt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceInputs:
    """All price inputs of one version.

    ``book`` has the actual prices, those of owned hardware among them; exchange rate, discount and
    markup are inside its spans. ``card`` is the rate card, None where there is none: exchange rates
    count there, discount and markup do not. ``energy`` are the tariffs of owned nodes' boards,
    ``owned`` the register that they and the rows ``owned:…`` are derived from.
    """

    version: int = 0
    book: PriceBook = field(default_factory=lambda: PriceBook(()))
    card: PriceBook | None = None
    energy: tuple[EnergyTariff, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    credits: tuple[Credit, ...] = ()
    owned: tuple[OwnedAsset, ...] = ()

    def price_of(self, price_id: int, at_ms: int) -> EffectivePrice | None:
        """Return the price that a charge names, from an instant at which the charge has time.

        Covers the book and the card; the identities of commitments and of energy tariffs are found
        with `Commitment.price_id` and `energy_of`. None for 0 and for what this version never had.
        """
        for book in (self.book, self.card):
            found = book.price_of(price_id, at_ms) if book else None
            if found is not None:
                return found
        return None

    def energy_of(self, price_id: int, at_ms: int) -> EnergyPriceAt | None:
        """Return the energy price that a charge names, from an instant at which it has time."""
        discounts, markups = self.book.terms.choices_at(at_ms)
        for tariff in self.energy:
            if tariff.holds_at(at_ms):
                for pair in product(discounts, markups):
                    price = _energy_price(tariff, pair)
                    if price.price_id == price_id:
                        return price
        return None

    def energy_spans(self, pool: PricedPool, start_ms: int, end_ms: int) -> tuple[EnergySpan, ...]:
        """Return what the boards' energy of a pool costs: spans that tile ``[start_ms, end_ms)``.

        The most specific tariff that fits the pool counts, as with price rows.
        """
        tokens = product_tokens(pool.gpu_model)
        fitting = [one for one in self.energy if matches(one.key, pool, tokens)]
        fitting.sort(key=lambda one: one.key.rank, reverse=True)
        terms = self.book.terms.fitting(pool)
        edges = {start_ms, end_ms}
        edges |= {at_ms for one in fitting for at_ms in (one.valid_from_ms, one.valid_to_ms)}
        edges |= {at_ms for one in terms for at_ms in (one.valid_from_ms, one.valid_to_ms)}
        inside = sorted(at_ms for at_ms in edges if start_ms <= at_ms <= end_ms)
        spans: list[EnergySpan] = []
        for from_ms, to_ms in pairwise(inside):
            tariff = next((one for one in fitting if one.holds_at(from_ms)), None)
            counting = (term_at(terms, kind, from_ms) for kind in TermKind)
            price = _energy_price(tariff, counting) if tariff else None
            if spans and spans[-1].price == price:
                from_ms = spans.pop().from_ms  # noqa: PLW2901 - the span grows to the left
            spans.append(EnergySpan(from_ms=from_ms, to_ms=to_ms, price=price))
        return tuple(spans)


def _energy_price(tariff: EnergyTariff, terms: Iterable[PriceTerm | None]) -> EnergyPriceAt:
    counting = [one for one in terms if one]
    factor = Fraction(1)
    for one in counting:
        factor *= one.factor
    ids = [str(one.term_id) for one in counting]
    price_id = hash64("effective energy", str(tariff.price_id), *ids) if ids else tariff.price_id
    return EnergyPriceAt(tariff=tariff, factor=factor, price_id=price_id, terms=tuple(counting))
