"""The price book: which row prices a pool at an instant, and why not another."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import pairwise

from app.errors import InputError
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
    """

    from_ms: int
    to_ms: int
    row: PriceRow | None
    nanos_per_ms: Fraction
    division: Division


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
    """Rows of one currency, no two of which have equal keys at one instant."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
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
        self._by_key = by_key

    def names_node(self, node: str) -> bool:
        """Say whether any row is for this node alone."""
        return node.casefold() in self._nodes

    def spans(self, pool: PricedPool, start_ms: int, end_ms: int) -> tuple[PriceSpan, ...]:
        """Return who prices the pool over ``[start_ms, end_ms)``: spans that tile it, in order."""
        fitting = self._fitting(pool)
        sharers = self._sharers(pool)
        instants = {start_ms, end_ms}
        for edge in (*fitting, *(row for rows in sharers.values() for row in rows)):
            instants |= {edge.valid_from_ms, edge.valid_to_ms}
        inside = sorted(at for at in instants if start_ms <= at <= end_ms)
        spans: list[PriceSpan] = []
        for from_ms, to_ms in pairwise(inside):
            row = _best(fitting, from_ms)
            price, division = _per_device(row, pool, sharers, from_ms)
            last = spans[-1] if spans else None
            if last and (last.row, last.nanos_per_ms, last.division) == (row, price, division):
                from_ms = spans.pop().from_ms  # noqa: PLW2901 - the span grows to the left
            spans.append(
                PriceSpan(
                    from_ms=from_ms, to_ms=to_ms, row=row, nanos_per_ms=price, division=division
                )
            )
        return tuple(spans)

    def choice(self, pool: PricedPool, at_ms: int) -> PriceChoice:
        """Return which row prices the pool at the instant, and why each other fitting one lost."""
        (winner,) = self.spans(pool, at_ms, at_ms + 1)
        losers = tuple(
            Loser(row, _why_lost(row, winner.row, at_ms))
            for row in self._fitting(pool)
            if row != winner.row
        )
        return PriceChoice(winner, losers)

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


def _per_device(
    row: PriceRow | None,
    pool: PricedPool,
    sharers: dict[ModelCount, list[PriceRow]],
    at_ms: int,
) -> tuple[Fraction, Division]:
    """Return what a device-millisecond of the pool costs by this row.

    A node's price is divided over all devices of the node, whatever it advertises: with several
    models in proportion to their gpu_hour prices, or evenly where one of them has none or all
    are free.
    """
    if row is None or row.unit is PriceUnit.GPU_HOUR:
        return (row.nanos_per_ms if row else Fraction(0)), Division.NONE
    if not sharers:
        return row.nanos_per_ms / max(pool.devices, 1), Division.ONE_MODEL
    worth = {one: _best(rows, at_ms) for one, rows in sharers.items()}
    prices = {one: Fraction(found.price) for one, found in worth.items() if found}
    total = sum((price * one.devices for one, price in prices.items()), Fraction(0))
    if len(prices) < len(worth) or not total:
        devices = sum(one.devices for one in pool.on_node)
        return row.nanos_per_ms / max(devices, 1), Division.DEVICE_COUNT
    own = next(price for one, price in prices.items() if one.gpu_model == pool.gpu_model)
    return row.nanos_per_ms * own / total, Division.GPU_HOUR_ROWS


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
