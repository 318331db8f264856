"""The one place where time becomes money: device-milliseconds times a price, rounded once."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from app.errors import GpuledgerError

Int64s = npt.NDArray[np.int64]

_INT64_MAX = 2**63 - 1


class CostOverflowError(GpuledgerError):
    """A segment costs more nanos than 64 bits hold: 9.2 billion of the currency."""


def segment_costs(device_ms: Int64s, rate: Int64s, rates: Sequence[Fraction]) -> Int64s:
    """Return the cost of each segment in nanos, exact and rounded once, half to even.

    ``rates`` are nanos for one device-millisecond and not negative; ``rate[i]`` is the index of
    segment i's. Products that could leave 64 bits are computed with Python integers.
    """
    if not len(device_ms):
        return np.zeros(0, dtype=np.int64)
    longest = int(device_ms.max())
    fits = np.array([_fits(price, longest) for price in rates], dtype=bool)
    safe = [price if fit else Fraction(0) for price, fit in zip(rates, fits, strict=True)]
    whole = np.array([price.numerator // price.denominator for price in safe], dtype=np.int64)
    rest = np.array([price.numerator % price.denominator for price in safe], dtype=np.int64)
    below = np.array([price.denominator for price in safe], dtype=np.int64)[rate]
    cost, remainder = np.divmod(device_ms * rest[rate], below)
    cost += device_ms * whole[rate]
    over = remainder - (below - remainder)
    cost += (over > 0) | ((over == 0) & (cost % 2 == 1))
    for segment in np.flatnonzero(~fits[rate]):
        cost[segment] = _exact(int(device_ms[segment]), rates[rate[segment]])
    return cost


def _fits(price: Fraction, longest_ms: int) -> bool:
    """Say whether every product of `segment_costs` stays below 2⁶³ for this price."""
    whole, rest = divmod(price.numerator, price.denominator)
    return (
        price.denominator <= _INT64_MAX
        and rest * longest_ms <= _INT64_MAX
        and (whole + 1) * longest_ms < _INT64_MAX
    )


def _exact(device_ms: int, price: Fraction) -> int:
    cost = round(device_ms * price)
    if cost > _INT64_MAX:
        message = f"{device_ms} device-milliseconds cost {cost} nanos, more than the ledger holds."
        raise CostOverflowError(message, hint="Look for a mistyped price in the price book.")
    return cost
