"""Rounding for people: to minor units of the currency and hundredths of hours, losing nothing."""

from collections.abc import Sequence
from decimal import Decimal

# Minor units of ISO 4217 currencies that do not have 2 decimals; those in use.
_DECIMALS = {
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
}


def currency_decimals(currency: str) -> int:
    """Return how many decimals amounts of ``currency`` have on paper."""
    return _DECIMALS.get(currency, 2)


def rounded_amount(nanos: int, currency: str) -> Decimal:
    """Return nanos as people are told them: in minor units of ``currency``, ties to the even."""
    decimals = currency_decimals(currency)
    return Decimal(round_half_even(nanos, 10 ** (9 - decimals))).scaleb(-decimals)


def round_half_even(value: int, step: int) -> int:
    """Return ``value`` as a count of ``step``, the nearest one, ties to the even."""
    count, rest = divmod(value, step)
    return count + (rest * 2 > step or (rest * 2 == step and count % 2 == 1))


def round_to_sum(values: Sequence[int], step: int, total: int) -> list[int]:
    """Return each value as a count of ``step``, one below or above it, so that they sum to total.

    Every count is rounded down, and the steps left over go one each to the largest remainders,
    equal ones in the order given. A column that sums below zero gives the mirrored counts.
    ``total`` must be the rounded sum of the values, up or down.
    """
    if sum(values) < 0:
        return [-count for count in round_to_sum([-value for value in values], step, -total)]
    counts = [value // step for value in values]
    left = total - sum(counts)
    assert 0 <= left <= len(values), "A total must be the rounded sum of its parts."
    ranked = sorted(range(len(values)), key=lambda index: -(values[index] % step))
    for index in ranked[:left]:
        counts[index] += 1
    return counts


def round_lines(lines: Sequence[Sequence[int]], step: int) -> list[list[int]]:
    """Return lines of parts as counts of ``step`` that add up.

    The grand total is rounded once, half-even; the lines' sums are rounded to add up to it, and the
    parts of each line to add up to that line.
    """
    sums = [sum(parts) for parts in lines]
    line_totals = round_to_sum(sums, step, round_half_even(sum(sums), step)) if sums else []
    return [
        round_to_sum(parts, step, total) for parts, total in zip(lines, line_totals, strict=True)
    ]
