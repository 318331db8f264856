"""Forecasts of round series, and an interval that holds what it says."""

import random
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.planning.daily import CostDay
from app.planning.forecast import Forecast, forecast

USD = 10**9
# A Monday.
FIRST = date(2026, 11, 2)


def days(*amounts: float, complete: bool = True) -> list[CostDay]:
    return [
        CostDay(day=FIRST + timedelta(days=n), nanos=round(amount * USD), complete=complete)
        for n, amount in enumerate(amounts)
    ]


def after(history: list[CostDay], count: int) -> list[date]:
    return [history[-1].day + timedelta(days=n + 1) for n in range(count)]


def test_equal_days_go_on_as_they_are() -> None:
    history = days(*[100] * 10)

    found = forecast(history, 1_000 * USD, after(history, 20))

    assert found.nanos == pytest.approx(3_000 * USD)
    assert found.low_nanos == pytest.approx(3_000 * USD)
    assert found.high_nanos == pytest.approx(3_000 * USD)
    assert found.days == 10


def test_a_trend_goes_on() -> None:
    history = days(*range(1, 11))

    found = forecast(history, 55 * USD, after(history, 2))

    # 11 and 12 come after 1 to 10.
    assert found.nanos == pytest.approx(78 * USD)


def test_weekends_are_told_from_weekdays_after_two_weeks() -> None:
    history = days(*[10, 10, 10, 10, 10, 3, 3] * 2)

    found = forecast(history, 112 * USD, after(history, 7))

    assert found.nanos == pytest.approx((112 + 56) * USD, rel=1e-6)


@pytest.mark.parametrize(("count", "says"), [(7, "not enough data: 7"), (8, "")])
def test_fewer_than_eight_days_are_not_enough(count: int, says: str) -> None:
    history = days(*[100] * count)

    found = forecast(history, 0, after(history, 3))

    assert found.reason.startswith(says)
    assert (found.nanos is None) == bool(says)


def test_incomplete_days_are_not_learned_from() -> None:
    history = days(*[100] * 8)
    broken = CostDay(day=FIRST + timedelta(days=8), nanos=0, complete=False)

    found = forecast([*history, broken], 800 * USD, [FIRST + timedelta(days=9)])

    assert found.nanos == pytest.approx(900 * USD)
    assert found.days == 8


def test_a_period_that_is_over_costs_what_it_has_cost() -> None:
    assert forecast([], 5, []) == Forecast(nanos=5, low_nanos=5, high_nanos=5, days=0)


def test_falling_cost_is_never_forecast_below_what_is_spent() -> None:
    history = days(100, 90, 80, 70, 60, 50, 40, 30, 20, 10)

    found = forecast(history, 550 * USD, after(history, 20))

    assert found.nanos == found.low_nanos == 550 * USD


def test_the_interval_holds_the_end_of_most_months() -> None:
    dice = random.Random(7)
    inside = 0
    for _ in range(200):
        history = days(*[100 + dice.gauss(0, 10) for _ in range(20)])
        ahead = after(history, 10)
        end = sum(round((100 + dice.gauss(0, 10)) * USD) for _ in ahead)
        found = forecast(history, 0, ahead)
        assert found.low_nanos is not None
        assert found.high_nanos is not None
        inside += found.low_nanos <= end <= found.high_nanos

    # 95 % of 200 are 190, with a deviation of 3.
    assert 180 <= inside <= 199


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10**15), min_size=8, max_size=60), st.integers(1, 31))
def test_bounds_are_in_order_and_above_what_is_spent(amounts: list[int], ahead: int) -> None:
    history = [
        CostDay(day=FIRST + timedelta(days=n), nanos=nanos) for n, nanos in enumerate(amounts)
    ]

    found = forecast(history, 10**12, after(history, ahead))

    assert found.nanos is not None
    assert found.low_nanos is not None
    assert found.high_nanos is not None
    assert 10**12 <= found.low_nanos <= found.nanos <= found.high_nanos


def test_an_odd_day_that_ended_says_nothing_of_the_days_to_come() -> None:
    history = days(*[100] * 5, 900, *[100] * 5)
    odd = [history[5].day]

    found = forecast(history, 1_900 * USD, after(history, 2), odd)

    assert found.nanos == pytest.approx(2_100 * USD)
    assert (found.days, found.odd_days) == (10, 1)


def test_odd_days_that_go_on_are_the_way_it_is() -> None:
    history = days(*[100] * 10, 300, 300)
    odd = [one.day for one in history[-2:]]

    found = forecast(history, 1_600 * USD, after(history, 1), odd)

    assert (found.days, found.odd_days) == (12, 0)
    assert found.nanos > 1_800 * USD
