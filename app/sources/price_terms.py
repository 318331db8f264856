"""The CSV files of what changes prices: exchange rates, discounts and markup, credits."""

from collections.abc import Collection, Hashable, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

from app.pricing.credits import Credit
from app.pricing.exchange import ExchangeRate, ExchangeRates
from app.pricing.terms import PriceTerm, TermKind
from app.sources.price_lines import MATCHED, Line, PriceBookError, lines_of
from app.units.window import OPEN_MS

RATE_COLUMNS = ("currency", "rate", "valid_from", "valid_to", "source")
TERM_COLUMNS = ("kind", "percent", *MATCHED, "valid_from", "valid_to", "reason")
CREDIT_COLUMNS = ("name", "amount", "currency", "team", "valid_from", "valid_to", "reason")

_MAX_RATE = Decimal(10**8)
_MAX_MARKUP_PERCENT = Decimal(10_000)
# A credit of this size still fits into the ledger's 64-bit nanos at an exchange rate of 1.
_MAX_CREDIT = Decimal(10**9)
_INT64_MAX = 2**63 - 1


class _Dated(Protocol):
    @property
    def key(self) -> Hashable: ...
    @property
    def valid_from_ms(self) -> int: ...
    @property
    def valid_to_ms(self) -> int: ...


_Value = TypeVar("_Value", bound=_Dated)


def read_exchange_rates(
    text: str, *, filename: str, billing_currency: str
) -> tuple[ExchangeRate, ...]:
    """Return dated exchange rates, all or none; rates of the billing currency are refused."""
    found: list[tuple[Line, ExchangeRate]] = []
    for line in lines_of(text, filename=filename, columns=RATE_COLUMNS):
        currency = line.currency()
        if currency == billing_currency:
            line.refuse("currency", f"{currency} is the billing currency and needs no rate")
        rate = line.amount("rate", below=_MAX_RATE, called="rate")
        if not rate:
            line.refuse("rate", "the rate is zero")
        valid_from_ms, valid_to_ms = line.validity("rate")
        one = ExchangeRate(
            currency=currency,
            rate=rate,
            valid_from_ms=valid_from_ms,
            valid_to_ms=valid_to_ms,
            source=line.text("source"),
        )
        found.append((line, one))
    return _apart(found, filename, "exchange rates")


def read_terms(text: str, *, filename: str) -> tuple[PriceTerm, ...]:
    """Return discounts and markups, all or none."""
    found: list[tuple[Line, PriceTerm]] = []
    for line in lines_of(text, filename=filename, columns=TERM_COLUMNS):
        kind = _kind(line)
        valid_from_ms, valid_to_ms = line.validity(kind.value)
        one = PriceTerm(
            kind=kind,
            percent=_percent(line, kind),
            valid_from_ms=valid_from_ms,
            valid_to_ms=valid_to_ms,
            cluster=line.text("cluster"),
            provider=line.text("provider"),
            region=line.text("region"),
            instance_type=line.text("instance_type"),
            gpu_model=line.gpu_model(),
            capacity_type=line.text("capacity_type"),
            node=line.text("node"),
            reason=line.text("reason"),
        )
        found.append((line, one))
    return _apart(found, filename, "terms")


def read_credits(
    text: str, *, filename: str, billing_currency: str, rates: Sequence[ExchangeRate] = ()
) -> tuple[Credit, ...]:
    """Return credits, all or none; one of another currency needs its rate at the beginning."""
    exchange = ExchangeRates(rates)
    found: list[tuple[Line, Credit]] = []
    for line in lines_of(text, filename=filename, columns=CREDIT_COLUMNS):
        valid_from_ms, valid_to_ms = line.validity("credit")
        for column, blank in (("valid_from", 0), ("valid_to", OPEN_MS)):
            if blank in (valid_from_ms, valid_to_ms):
                line.refuse(column, "a credit is spread over its time, which needs both ends")
        currency = line.billed_currency("credit", billing_currency, exchange.currencies)
        rate = exchange.at(currency, valid_from_ms)
        if currency != billing_currency and rate is None:
            line.refuse("valid_from", f"there is no exchange rate of {currency} at that instant")
        if not line.text("name"):
            line.refuse("name", "the credit has no name")
        one = Credit(
            name=line.text("name"),
            team=line.text("team"),
            amount=line.amount("amount", below=_MAX_CREDIT, called="amount"),
            currency=currency,
            valid_from_ms=valid_from_ms,
            valid_to_ms=valid_to_ms,
            reason=line.text("reason"),
            rate=rate,
        )
        if one.nanos > _INT64_MAX:
            line.refuse("amount", f"the amount {line.text('amount')} is more than the ledger holds")
        found.append((line, one))
    return _apart(found, filename, "credits")


def _apart(
    found: Collection[tuple[Line, _Value]], filename: str, called: str
) -> tuple[_Value, ...]:
    """Return the values; refuse a file without any, and two for the same whose times overlap."""
    if not found:
        raise PriceBookError(filename, 1, "", f"the file has no {called} below its header")
    by_key: dict[Hashable, tuple[Line, _Value]] = {}
    in_time = sorted(found, key=lambda one: one[1].valid_from_ms)
    for line, value in in_time:
        before = by_key.get(value.key)
        if before is not None and value.valid_from_ms < before[1].valid_to_ms:
            first, second = sorted((before[0].number, line.number))
            reason = f"line {first} is for the same, and their times overlap"
            raise PriceBookError(filename, second, "valid_from", reason)
        by_key[value.key] = (line, value)
    return tuple(value for _, value in found)


def _kind(line: Line) -> TermKind:
    text = line.text("kind")
    if text not in list(TermKind):
        line.refuse("kind", f'"{text}" is not a kind; kinds are {", ".join(TermKind)}')
    return TermKind(text)


def _percent(line: Line, kind: TermKind) -> Decimal:
    percent = line.amount("percent", below=_MAX_MARKUP_PERCENT, called="percentage")
    if kind is TermKind.DISCOUNT and percent > 100:  # noqa: PLR2004 - all of the price
        line.refuse("percent", f"the discount {line.text('percent')} is more than 100 percent")
    return percent
