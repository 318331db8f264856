"""What price inputs come to together, held against what the ledger's 64 bits take."""

from fractions import Fraction

from app.errors import InputError
from app.pricing.book import PriceBook, describe_key
from app.pricing.inputs import PriceInputs
from app.pricing.terms import TermKind

# An hour of 72 GPUs at this price still fits into the ledger's 64-bit nanos.
_MOST_AN_HOUR = 10**8
# A node of a megawatt at this price for a kilowatt-hour still does.
_MOST_A_KWH = 10**5
_INT64_MAX = 2**63 - 1


class HugePriceError(InputError):
    """A price, tariff or credit that exchange rate and markup make larger than the ledger takes."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} comes to more than the ledger takes, with its exchange rate and markup.",
            hint="Look for a mistyped exchange rate, markup or amount.",
        )
        self.what = what


class LostRateError(InputError):
    """A credit that an import of exchange rates would leave without a rate."""

    def __init__(self, name: str, currency: str) -> None:
        super().__init__(
            f"The credit {name} would have no exchange rate of {currency} at its beginning.",
            hint="Let the rates cover that instant.",
        )
        self.name = name


def refuse_unusable(inputs: PriceInputs) -> None:
    """Refuse inputs of which rating could make no charges: too large, or a credit without a rate.

    The largest rate of a currency and the largest markup count, whenever they are valid.
    """
    rates: dict[str, Fraction] = {}
    for rate in inputs.book.rates.rates:
        rates[rate.currency] = max(rates.get(rate.currency, Fraction(0)), Fraction(rate.rate))
    markups = [one.factor for one in inputs.book.terms.terms if one.kind is TermKind.MARKUP]
    markup = max(markups, default=Fraction(1))
    _refuse_huge(inputs.book, rates, markup)
    if inputs.card:
        _refuse_huge(inputs.card, rates, Fraction(1))
    for tariff in inputs.energy:
        if tariff.unit_price * markup >= _MOST_A_KWH:
            what = f"A kilowatt-hour of {tariff.asset}"
            raise HugePriceError(what)
    for credit in inputs.credits:
        if credit.rate is None and inputs.book.rates.foreign(credit.currency):
            raise LostRateError(credit.name, credit.currency)
        if credit.nanos > _INT64_MAX:
            what = f"The credit {credit.name}"
            raise HugePriceError(what)


def _refuse_huge(book: PriceBook, rates: dict[str, Fraction], markup: Fraction) -> None:
    for row in book.rows:
        if row.exact_price * rates.get(row.currency, Fraction(1)) * markup >= _MOST_AN_HOUR:
            what = f"The {row.unit} price of {describe_key(row)}"
            raise HugePriceError(what)
