"""Quantities and unit prices of the statement's rows, as printed: exact decimals, no float."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from app.attribution.charges import ChargeKind, LineStep
from app.chargeback.focus_cells import EXACT, DecimalColumn, Int64s, exact
from app.chargeback.focus_lines import FocusPrice, PricedUnit
from app.chargeback.rounding import round_half_even
from app.units.money import NANOS_PER_UNIT, from_nanos
from app.units.window import HOUR_MS

# Decimals of a printed quantity: a nano of the dearest GPU-hour is far above the last of them.
QUANTITY_DECIMALS = 15
# Decimals of a unit price that no price row says, as the price book's own columns have them.
DERIVED_PRICE_DECIMALS = 12
# How far money may lie from price × quantity and still be of that price: every segment was rounded
# once, to a nano, and a row sums up some hundreds of them.
_ROUNDING_NANOS = 1_000
_ROUNDING_DIVISOR = 10**7

_USAGE_KINDS = tuple(range(int(ChargeKind.USED), int(ChargeKind.UNOBSERVED) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a row of usage prints: quantity × unit price is the cost, exactly, as printed.

    ``derived`` says that the unit price is the row's own money by its time: no price row explains
    it, as with several prices in one line. ``consumed`` is in ``consumed_unit``, all else of
    ``unit``.
    """

    quantity: Decimal
    consumed: Decimal
    unit_price: Decimal
    list_unit_price: Decimal
    cost: Decimal
    list_cost: Decimal
    unit: PricedUnit
    consumed_unit: PricedUnit
    derived: bool


def is_usage(
    lines: pd.DataFrame, prices: Mapping[int, FocusPrice]
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Say of each line whether it is priced time or energy: all else has no quantities."""
    energy = [key for key, price in prices.items() if price.unit is PricedUnit.KILOWATT_HOUR]
    metered = (lines["gpu_ms"].to_numpy() > 0) | lines["price_id"].isin(energy).to_numpy()
    usage: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        lines["kind"].isin(_USAGE_KINDS).to_numpy()
        & (lines["step"].to_numpy() == int(LineStep.FIRST_HAND))
        & (lines["run_id"].to_numpy() == 0)
        & (lines["cost_nanos"].to_numpy() >= 0)
        & metered
    )
    return usage


@dataclass(frozen=True, slots=True)
class PricedLines:
    """Row i prints ``priced[codes[i]]``; None for what has no quantities."""

    codes: Int64s
    priced: tuple[Priced | None, ...]

    def column(self, name: str) -> DecimalColumn:
        """Return one of the decimals, null where there are no quantities."""
        values = tuple(None if one is None else getattr(one, name) for one in self.priced)
        return DecimalColumn(self.codes, values)


def priced_lines(lines: pd.DataFrame, prices: Mapping[int, FocusPrice]) -> PricedLines:
    """Return what each line prints; lines that are equal in price, time and money are one."""
    usage = is_usage(lines, prices)
    key = lines.loc[usage, ["price_id", "gpu_ms", "cost_nanos"]]
    group = key.groupby([*key.columns], sort=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    found = [
        _priced(prices.get(price_id), gpu_ms, cost_nanos)
        for price_id, gpu_ms, cost_nanos in key.iloc[first].itertuples(index=False, name=None)
    ]
    codes = np.full(len(lines), len(found), dtype=np.int64)
    codes[usage] = group
    return PricedLines(codes, (*found, None))


def _priced(price: FocusPrice | None, gpu_ms: int, cost_nanos: int) -> Priced:
    hours = _quantity(gpu_ms, HOUR_MS)
    if price is None:
        return _derived(None, hours, gpu_ms, cost_nanos)
    # Whole numbers throughout: the fractions of a month of a fleet would take most of its time.
    over, under = price.unit_price.as_integer_ratio()
    if price.unit is not PricedUnit.GPU_HOUR:
        if not price.unit_price:
            return _of(price, hours, hours)
        units = _quantity(cost_nanos * under, over * NANOS_PER_UNIT)
        return _of(price, units, units if price.unit is PricedUnit.KILOWATT_HOUR else hours)
    scale = under * HOUR_MS
    beside = abs(over * NANOS_PER_UNIT * gpu_ms - cost_nanos * scale)
    if beside * _ROUNDING_DIVISOR > max(_ROUNDING_NANOS * _ROUNDING_DIVISOR, cost_nanos) * scale:
        return _derived(price, hours, gpu_ms, cost_nanos)
    return _of(price, hours, hours)


def _of(price: FocusPrice, quantity: Decimal, consumed: Decimal) -> Priced:
    listed = price.unit_price if price.list_unit_price is None else price.list_unit_price
    energy = price.unit is PricedUnit.KILOWATT_HOUR
    return Priced(
        quantity=quantity,
        consumed=consumed,
        unit_price=price.unit_price,
        list_unit_price=listed,
        cost=EXACT.multiply(price.unit_price, quantity),
        list_cost=EXACT.multiply(listed, quantity),
        # A node whose price is 0 says no share of its hours: the GPUs' own are printed.
        unit=price.unit if price.unit_price else PricedUnit.GPU_HOUR,
        consumed_unit=price.unit if energy else PricedUnit.GPU_HOUR,
        derived=False,
    )


def _derived(price: FocusPrice | None, hours: Decimal, gpu_ms: int, cost_nanos: int) -> Priced:
    """Return the unit price that the money says; the list price is the book's where it has one."""
    scale = 10 ** (DERIVED_PRICE_DECIMALS - 9)
    count = round_half_even(cost_nanos * HOUR_MS * scale, gpu_ms)
    unit = exact(count, DERIVED_PRICE_DECIMALS)
    listed = unit
    if price is not None and price.list_unit_price is not None:
        listed = price.list_unit_price
    return Priced(
        quantity=hours,
        consumed=hours,
        unit_price=unit,
        list_unit_price=listed,
        cost=EXACT.multiply(unit, hours),
        list_cost=EXACT.multiply(listed, hours),
        unit=PricedUnit.GPU_HOUR,
        consumed_unit=PricedUnit.GPU_HOUR,
        derived=True,
    )


def _quantity(over: int, under: int) -> Decimal:
    """Return a quantity to its decimals, ties to the even."""
    return exact(round_half_even(over * 10**QUANTITY_DECIMALS, under), QUANTITY_DECIMALS)


def or_billed(priced: DecimalColumn, cost_nanos: Int64s) -> DecimalColumn:
    """Return a cost column: the printed product, and the billed amount where there is no price."""
    absent = np.flatnonzero(priced.codes == len(priced.amounts) - 1)
    distinct, places = np.unique(cost_nanos[absent], return_inverse=True)
    codes = priced.codes.copy()
    codes[absent] = len(priced.amounts) + places
    return DecimalColumn(codes, (*priced.amounts, *(from_nanos(int(one)) for one in distinct)))
