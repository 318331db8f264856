"""Money as integer nanos, and the split that loses nothing.

A nano is 10⁻⁹ of the billing currency, as in ``google.type.Money``.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import GpuledgerError

Int64s = npt.NDArray[np.int64]

NANOS_PER_UNIT = 10**9

# (weight sum)² must stay below 2⁶³ for the int64 products of `split_groups`.
MAX_INT64_WEIGHT_SUM = 3_037_000_499


class SplitError(GpuledgerError):
    """The weights cannot carry the total: none, all zero, or one below zero."""


def to_nanos(amount: Decimal) -> int:
    """Return ``amount`` of the currency in nanos. Refuses what a nano cannot express."""
    nanos = amount * NANOS_PER_UNIT
    if nanos != nanos.to_integral_value():
        message = f"The amount {amount} has more than 9 decimals."
        raise GpuledgerError(message, hint="Round it to 9 decimals or fewer.")
    return int(nanos)


def from_nanos(nanos: int) -> Decimal:
    """Return nanos as an exact amount of the currency, with 9 decimals."""
    return Decimal(int(nanos)).scaleb(-9)


def split(total: int, weights: Sequence[int], keys: Sequence[Any]) -> list[int]:
    """Divide ``total`` in proportion to ``weights``; the parts sum to ``total``.

    Every part is its exact share rounded down, and the units left over go one each to the largest
    remainders; equal remainders go in the order of ``keys`` (the natural keys of the lines, each
    unique). A negative total gives the mirrored parts of the positive one. The result is in the
    order of the input and does not depend on it. Refuses weights below zero and weights that are
    all zero (also none), since such a total has no one to carry it.
    """
    weight_sum = sum(weights)
    if any(weight < 0 for weight in weights) or weight_sum <= 0:
        message = f"{total} cannot be split by the weights {list(weights)[:8]}."
        raise SplitError(message, hint="Keep it on a line of its own.")
    if total < 0:
        return [-part for part in split(-total, weights, keys)]
    parts = [total * weight // weight_sum for weight in weights]
    remainders = [total * weight % weight_sum for weight in weights]
    ranked = sorted(range(len(parts)), key=lambda line: (-remainders[line], keys[line]))
    for line in ranked[: total - sum(parts)]:
        parts[line] += 1
    return parts


def split_groups(totals: Int64s, group: Int64s, weights: Int64s) -> Int64s:
    """Divide each group's total among its lines: `split` for many groups at once.

    ``group[i]`` is the index into ``totals`` of line i and must not decrease; inside a group the
    lines must already be in the order of their natural keys, since ties go to the earlier line.
    Totals and weights are int64 of any size; groups whose weights sum above
    ``MAX_INT64_WEIGHT_SUM`` are computed with Python integers. Every group needs a line and a
    positive weight sum, except that a total of zero may have no lines.
    """
    if len(group) and np.any(np.diff(group) < 0):
        message = "The lines of a grouped split must be ordered by group."
        raise AssertionError(message)
    weight_sums = np.zeros(len(totals), dtype=np.int64)
    np.add.at(weight_sums, group, weights)
    line_counts = np.bincount(group, minlength=len(totals))
    if np.any(weights < 0) or np.any((weight_sums <= 0) & ((totals != 0) | (line_counts > 0))):
        message = "A total cannot be split: its weights are all zero or one is below zero."
        raise SplitError(message, hint="Keep it on a line of its own.")
    signs = np.where(totals < 0, np.int64(-1), np.int64(1))
    magnitudes = np.abs(totals)
    sums = weight_sums[group]
    small = np.where(sums > MAX_INT64_WEIGHT_SUM, np.int64(0), np.int64(1)).astype(bool)
    parts = np.zeros(len(weights), dtype=np.int64)
    remainders = np.zeros(len(weights), dtype=np.int64)
    # total = a·W + b, so total·w // W = a·w + b·w // W, and b·w < W² fits into int64.
    whole, rest = np.divmod(magnitudes[group][small], sums[small])
    product = rest * weights[small]
    parts[small] = whole * weights[small] + product // sums[small]
    remainders[small] = product % sums[small]
    _hand_out(parts, remainders, group, magnitudes)
    for index in np.unique(group[~small]):
        lines = np.flatnonzero(group == index)
        exact = split(int(magnitudes[index]), [int(w) for w in weights[lines]], range(len(lines)))
        parts[lines] = exact
    return parts * signs[group]


def _hand_out(parts: Int64s, remainders: Int64s, group: Int64s, magnitudes: Int64s) -> None:
    """Give each group's left-over units to its largest remainders, in place."""
    given = np.zeros(len(magnitudes), dtype=np.int64)
    np.add.at(given, group, parts)
    left = magnitudes - given
    ranked = np.lexsort((np.arange(len(group)), -remainders, group))
    starts = np.searchsorted(group, np.arange(len(magnitudes)))
    position = np.arange(len(group)) - starts[group[ranked]]
    parts[ranked[position < left[group[ranked]]]] += 1
