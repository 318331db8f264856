"""What is in a charge's price beside the row: list price, components, rate, discount, markup."""

from collections.abc import Iterable, Iterator

from app.pricing.effective import EffectivePrice
from app.pricing.exchange import ExchangeRate
from app.pricing.rows import plain_amount
from app.pricing.terms import PriceTerm
from app.units.money import NANOS_PER_UNIT, from_nanos


def price_parts(price: EffectivePrice, currency: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a price as figures for people; ``currency`` is the billing currency."""
    row = price.row
    if row.list_price is not None:
        yield "list price", f"{plain_amount(row.list_price)} {row.currency}"
    if row.owned is not None:
        for name, part in row.owned.parts:
            amount = plain_amount(from_nanos(round(part * NANOS_PER_UNIT)))
            yield name, f"{amount} {row.currency} an hour"
    yield from term_parts(price.rate, (price.discount, price.markup), currency)


def term_parts(
    rate: ExchangeRate | None, terms: Iterable[PriceTerm | None], currency: str
) -> Iterator[tuple[str, str]]:
    """Yield what changes an amount: the exchange rate, and discount or markup."""
    if rate is not None:
        yield "exchange rate", f"{plain_amount(rate.rate)} {currency} for 1 {rate.currency}"
    for term in terms:
        if term is not None:
            yield term.kind.value, f"{plain_amount(term.percent)} % {term.reason}".rstrip()
