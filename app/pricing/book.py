"""The price book: which row prices a pool at an instant, and why not another."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from itertools import pairwise, product

from app.errors import InputError
from app.pricing.effective import EffectivePrice
from app.pricing.exchange import ExchangeRate, ExchangeRates
from app.pricing.products import product_tokens
from app.pricing.rows import (
    RANK_COLUMNS,
    ModelCount,
    PricedPool,
    PriceKey,
    PriceRow,
    PriceUnit,
    matches,
)
from app.pricing.terms import PriceTerm, PriceTerms, TermKind, term_at


class PriceOverlapError(InputError):
    """Two rows with equal keys are valid at one instant: ``first`` and ``second``."""

    def __init__(self, first: PriceRow, second: PriceRow) -> None:
        super().__init__(
            f"Two {first.unit} prices for {describe_key(first)} are valid at the same time:"
            f" {first.price} and {second.price} {first.currency}.",
            hint="End the one before the other begins.",
        )
        self.first = first
        self.second = second


class Division(Enum):
    """By what a node's price was divided among its devices."""

    NONE = "the price is for one GPU"
    ONE_MODEL = "the node's price divided by its devices"
    GPU_HOUR_ROWS = "the node's price divided by the gpu_hour prices of its models"
    DEVICE_COUNT = "the node's price divided by device count, as a model has no gpu_hour price"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSpan:
    """From when until when which row prices a pool, and what a device-millisecond costs.

    ``row`` is None where nothing prices the pool; ``nanos_per_ms`` is then 0 and means nothing.
    ``price`` is the row with the exchange rate, discount and markup of the time, all of which are
    in ``nanos_per_ms``. ``unconverted`` is a row that would price the pool if its currency had an
    exchange rate then; ``row`` is None beside it.
    """

    from_ms: int
    to_ms: int
    row: PriceRow | None
    nanos_per_ms: Fraction
    division: Division
    price: EffectivePrice | None = None
    unconverted: PriceRow | None = None

    @property
    def price_id(self) -> int:
        """The identity of the price with its rate and terms; 0 where nothing prices the pool."""
        if self.price is not None:
            return self.price.price_id
        return self.row.price_id if self.row else 0

    @property
    def unpriced_reason(self) -> str:
        """Why the time is unpriced; '' where it has a price."""
        if self.row is not None:
            return ""
        if self.unconverted is None:
            return "no row of the price book fits the pool"
        return f"there is no exchange rate of {self.unconverted.currency}"


@dataclass(frozen=True, slots=True)
class Loser:
    """A row that also fits the pool, and why it does not price it."""

    row: PriceRow
    reason: str


@dataclass(frozen=True, slots=True)
class PriceChoice:
    """The row that prices a pool at an instant, and those it won over."""

    winner: PriceSpan
    losers: tuple[Loser, ...]


class PriceBook:
    """Rows, no two of which have equal keys at one instant, with exchange rates and terms.

    A row of a currency that has rates costs what it says times the rate of the instant; rows of
    all other currencies are in the billing currency.
    """

    def __init__(
        self,
        rows: Iterable[PriceRow],
        rates: Iterable[ExchangeRate] = (),
        terms: Iterable[PriceTerm] = (),
    ) -> None:
        self.rates, self.terms = ExchangeRates(rates), PriceTerms(terms)
        self.rows = tuple(sorted(rows, key=lambda row: (row.valid_from_ms, row.price_id)))
        by_key: dict[PriceKey, list[PriceRow]] = {}
        for row in self.rows:
            by_key.setdefault(row.key, []).append(row)
        for same in by_key.values():
            for first, second in pairwise(same):
                if second.valid_from_ms < first.valid_to_ms:
                    raise PriceOverlapError(first, second)
        # Keys by node and instance type, since a book may list every instance type of a provider.
        self._keys: dict[tuple[str, str], list[PriceKey]] = {}
        for key in by_key:
            self._keys.setdefault((key.node, key.instance_type), []).append(key)
        self._nodes = {node for node, _ in self._keys if node}
        self._nodes |= {term.node.casefold() for term in self.terms.terms if term.node}
        self._by_key = by_key
        self._met: dict[int, EffectivePrice] = {}

    def names_node(self, node: str) -> bool:
        """Say whether any row or term is for this node alone."""
        return node.casefold() in self._nodes

    def spans(self, pool: PricedPool, start_ms: int, end_ms: int) -> tuple[PriceSpan, ...]:
        """Return who prices the pool over ``[start_ms, end_ms)``: spans that tile it, in order."""
        found = _Found(self._fitting(pool), self._sharers(pool), self.terms.fitting(pool))
        instants = {start_ms, end_ms}
        for edge in found.dated():
            instants |= {edge.valid_from_ms, edge.valid_to_ms}
        for currency in found.currencies():
            instants |= self.rates.edges(currency, start_ms, end_ms)
        inside = sorted(at for at in instants if start_ms <= at <= end_ms)
        spans: list[PriceSpan] = []
        for from_ms, to_ms in pairwise(inside):
            span = self._span(pool, found, from_ms, to_ms)
            if spans and replace(spans[-1], to_ms=to_ms) == replace(
                span, from_ms=spans[-1].from_ms
            ):
                span = replace(span, from_ms=spans.pop().from_ms)
            spans.append(span)
        return tuple(spans)

    def choice(self, pool: PricedPool, at_ms: int) -> PriceChoice:
        """Return which row prices the pool at the instant, and why each other fitting one lost."""
        (winner,) = self.spans(pool, at_ms, at_ms + 1)
        best = winner.row or winner.unconverted
        losers = tuple(
            Loser(row, _why_lost(row, best, at_ms)) for row in self._fitting(pool) if row != best
        )
        return PriceChoice(winner, losers)

    def price_of(self, price_id: int, at_ms: int) -> EffectivePrice | None:
        """Return the price with this identity that some pool has at the instant, None if none.

        What was found at an instant is kept, since many charges name few prices.
        """
        if price_id not in self._met:
            self._met |= {price.price_id: price for price in self.prices_at(at_ms)}
        return self._met.get(price_id)

    def prices_at(self, at_ms: int) -> Iterator[EffectivePrice]:
        """Yield all prices that any pool can have at the instant: every row with every term."""
        discounts, markups = self.terms.choices_at(at_ms)
        for row in self.rows:
            rate = self.rates.at(row.currency, at_ms)
            if not row.holds_at(at_ms) or (rate is None and self.rates.foreign(row.currency)):
                continue
            for discount, markup in product(discounts, markups):
                yield EffectivePrice(row=row, rate=rate, discount=discount, markup=markup)

    def _span(self, pool: PricedPool, found: "_Found", from_ms: int, to_ms: int) -> PriceSpan:
        """Return the price of a span in which nothing changes."""
        row = _best(found.rows, from_ms)
        price = self._effective(row, found.terms, from_ms)
        share, division = self._per_device(row if price else None, pool, found.sharers, from_ms)
        return PriceSpan(
            from_ms=from_ms,
            to_ms=to_ms,
            row=row if price else None,
            nanos_per_ms=price.nanos_per_ms * share if price else Fraction(0),
            division=division,
            price=price,
            unconverted=row if price is None else None,
        )

    def _effective(
        self, row: PriceRow | None, terms: tuple[PriceTerm, ...], at_ms: int
    ) -> EffectivePrice | None:
        """Return the row with its rate and terms, None without a row or without its rate."""
        if row is None:
            return None
        rate = self.rates.at(row.currency, at_ms)
        if rate is None and self.rates.foreign(row.currency):
            return None
        return EffectivePrice(
            row=row,
            rate=rate,
            discount=term_at(terms, TermKind.DISCOUNT, at_ms),
            markup=term_at(terms, TermKind.MARKUP, at_ms),
        )

    def _per_device(
        self,
        row: PriceRow | None,
        pool: PricedPool,
        sharers: dict[ModelCount, list[PriceRow]],
        at_ms: int,
    ) -> tuple[Fraction, Division]:
        """Return which part of the row's price a device of the pool bears.

        A node's price is divided over all devices of the node, whatever it advertises: with
        several models in proportion to their gpu_hour prices (exchanged, before discount and
        markup), or evenly where one of them has none or all are free.
        """
        if row is None or row.unit is PriceUnit.GPU_HOUR:
            return Fraction(1), Division.NONE
        if not sharers:
            return Fraction(1, max(pool.devices, 1)), Division.ONE_MODEL
        worth = {
            one: self._effective(_best(rows, at_ms), (), at_ms) for one, rows in sharers.items()
        }
        prices = {one: found.unit_price for one, found in worth.items() if found}
        total = sum((price * one.devices for one, price in prices.items()), Fraction(0))
        if len(prices) < len(worth) or not total:
            devices = sum(one.devices for one in pool.on_node)
            return Fraction(1, max(devices, 1)), Division.DEVICE_COUNT
        own = next(price for one, price in prices.items() if one.gpu_model == pool.gpu_model)
        return own / total, Division.GPU_HOUR_ROWS

    def _fitting(self, pool: PricedPool) -> list[PriceRow]:
        """Return the rows that fit the pool at any time, the most specific first."""
        tokens = product_tokens(pool.gpu_model)
        node, instance_type = pool.node.casefold(), pool.instance_type.casefold()
        places = dict.fromkeys(
            ((node, instance_type), (node, ""), ("", instance_type), ("", ""))
        )  # a pool without a name or a type has fewer than four
        keys = [
            key
            for place in places
            for key in self._keys.get(place, ())
            if matches(key, pool, tokens)
        ]
        keys.sort(key=lambda key: key.rank, reverse=True)
        return [row for key in keys for row in self._by_key[key]]

    def _sharers(self, pool: PricedPool) -> dict[ModelCount, list[PriceRow]]:
        """Return the gpu_hour rows of each model of the node, if there are several models."""
        if len(pool.on_node) < 2:  # noqa: PLR2004 - one model has nobody to share with
            return {}
        return {
            one: [
                row
                for row in self._fitting(_with_model(pool, one.gpu_model))
                if row.unit is PriceUnit.GPU_HOUR
            ]
            for one in pool.on_node
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """What fits a pool at any time: rows, those of the models beside it, and terms."""

    rows: list[PriceRow]
    sharers: dict[ModelCount, list[PriceRow]]
    terms: tuple[PriceTerm, ...]

    def all_rows(self) -> Iterator[PriceRow]:
        """Yield the pool's own rows and those of its node's other models."""
        yield from self.rows
        for rows in self.sharers.values():
            yield from rows

    def dated(self) -> Iterator[PriceRow | PriceTerm]:
        """Yield everything whose validity may change the price."""
        yield from self.all_rows()
        yield from self.terms

    def currencies(self) -> set[str]:
        """Return the currencies of all rows."""
        return {row.currency for row in self.all_rows()}


def overlaps(rows: Iterable[PriceRow]) -> Iterator[tuple[PriceRow, PriceRow]]:
    """Yield pairs of rows with equal keys that are valid at one instant, the earlier one first."""
    by_key: dict[PriceKey, list[PriceRow]] = {}
    for row in sorted(rows, key=lambda row: row.valid_from_ms):
        for other in by_key.setdefault(row.key, []):
            if row.valid_from_ms < other.valid_to_ms:
                yield other, row
        by_key[row.key].append(row)


def describe_key(row: PriceRow) -> str:
    """Say in words what a row is for."""
    filled = [
        f"{column} {text}" for column in RANK_COLUMNS[:-1] if (text := str(getattr(row, column)))
    ]
    return ", ".join(filled) or "every pool"


def _with_model(pool: PricedPool, gpu_model: str) -> PricedPool:
    return PricedPool(
        cluster=pool.cluster,
        provider=pool.provider,
        region=pool.region,
        instance_type=pool.instance_type,
        capacity_type=pool.capacity_type,
        node=pool.node,
        gpu_model=gpu_model,
        on_node=pool.on_node,
    )


def _best(fitting: list[PriceRow], at_ms: int) -> PriceRow | None:
    return next((row for row in fitting if row.holds_at(at_ms)), None)


def _why_lost(row: PriceRow, winner: PriceRow | None, at_ms: int) -> str:
    if at_ms < row.valid_from_ms:
        return "it is not valid yet"
    if at_ms >= row.valid_to_ms:
        return "it is not valid any more"
    if winner is None:
        message = "A valid row that fits the pool cannot lose to none."
        raise AssertionError(message)
    ranks = zip(RANK_COLUMNS, row.key.rank, winner.key.rank, strict=True)
    column = next(column for column, own, other in ranks if own != other)
    if column == "unit":
        return "a node_hour price wins over a gpu_hour price with the same columns"
    if column == "gpu_model" and row.gpu_model:
        return "the winner names the gpu_model more closely"
    return f"the winner names the {column}"
