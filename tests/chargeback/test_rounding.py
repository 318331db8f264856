"""Rounding that loses nothing: parts add up to lines, lines to the whole."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.rounding import (
    currency_decimals,
    round_half_even,
    round_lines,
    round_to_sum,
    rounded_amount,
)

CENT = 10**7
LINES = st.lists(
    st.lists(st.integers(-(10**12), 10**12), min_size=3, max_size=3), min_size=1, max_size=8
)


@pytest.mark.parametrize(
    ("value", "count"), [(0, 0), (5, 0), (6, 1), (15, 2), (25, 2), (-5, 0), (-15, -2), (-16, -2)]
)
def test_half_goes_to_the_even(value: int, count: int) -> None:
    assert round_half_even(value, 10) == count


def test_three_thirds_of_a_dollar_make_a_dollar() -> None:
    third = 333_333_333

    assert round_to_sum([third, third, third + 1], CENT, 100) == [33, 33, 34]


def test_equal_remainders_go_to_the_earlier_line() -> None:
    assert round_to_sum([5, 5, 5, 5], 10, 2) == [1, 1, 0, 0]


def test_a_line_of_zero_never_gets_a_cent() -> None:
    assert round_to_sum([0, 6, 0, 6], 10, 1) == [0, 1, 0, 0]


@given(LINES)
def test_lines_add_up_to_the_rounded_whole_and_no_figure_is_off_by_a_cent(
    lines: list[list[int]],
) -> None:
    rounded = round_lines(lines, CENT)

    assert sum(map(sum, rounded)) == round_half_even(sum(map(sum, lines)), CENT)
    for exact, counts in zip(lines, rounded, strict=True):
        assert abs(sum(counts) * CENT - sum(exact)) < CENT
        assert all(abs(n * CENT - part) < CENT for n, part in zip(counts, exact, strict=True))


@given(LINES)
def test_negative_amounts_round_as_their_mirror(lines: list[list[int]]) -> None:
    mirrored = [[-part for part in line] for line in lines]
    whole = sum(map(sum, lines))

    if whole and all(map(sum, lines)):
        assert round_lines(mirrored, CENT) == [
            [-count for count in line] for line in round_lines(lines, CENT)
        ]
    else:
        # A sum of zero has no sign to mirror; it still adds up.
        assert sum(map(sum, round_lines(mirrored, CENT))) == -round_half_even(whole, CENT)


def test_no_lines_are_no_lines() -> None:
    assert round_lines([], CENT) == []


@pytest.mark.parametrize(
    ("currency", "text"), [("USD", "1.50"), ("JPY", "2"), ("KWD", "1.500"), ("EUR", "1.50")]
)
def test_each_currency_has_its_own_minor_unit(currency: str, text: str) -> None:
    assert rounded_amount(1_500_000_000, currency) == Decimal(text)
    assert currency_decimals(currency) == -int(Decimal(text).as_tuple().exponent)
