from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pricing.cost import CostOverflowError, segment_costs
from app.units.window import HOUR_MS
from tests.pricing.builders import a_price


def costs(device_ms: list[int], rates: list[Fraction]) -> list[int]:
    index = np.arange(len(device_ms), dtype=np.int64) % max(len(rates), 1)
    return segment_costs(np.array(device_ms, dtype=np.int64), index, rates).tolist()


def test_two_gpus_for_an_hour_at_three_dollars_cost_six() -> None:
    assert costs([2 * HOUR_MS], [a_price("3.00").nanos_per_ms]) == [6 * 10**9]


def test_the_cost_is_rounded_once_and_half_to_even() -> None:
    half = Fraction(1, 2)

    assert costs([1, 3, 5, 7], [half]) == [0, 2, 2, 4]


def test_no_segments_cost_nothing() -> None:
    assert costs([], []) == []


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=6),
    st.lists(
        st.fractions(min_value=0, max_value=10**6, max_denominator=10**18), min_size=1, max_size=3
    ),
)
def test_the_cost_equals_exact_arithmetic_for_any_price(
    device_ms: list[int], rates: list[Fraction]
) -> None:
    expected = [round(ms * rates[i % len(rates)]) for i, ms in enumerate(device_ms)]

    assert costs(device_ms, rates) == expected


@given(st.integers(1, 10**20 - 1), st.integers(1, 72))
def test_prices_with_twelve_decimals_are_exact(digits: int, devices: int) -> None:
    price = a_price(str(Decimal(digits).scaleb(-12)))
    device_ms = devices * HOUR_MS

    assert costs([device_ms], [price.nanos_per_ms]) == [round(Fraction(digits * devices, 1000))]


def test_a_cost_beyond_64_bits_is_refused_by_name() -> None:
    with pytest.raises(CostOverflowError, match="more than the ledger holds"):
        costs([10**12], [Fraction(10**9)])
