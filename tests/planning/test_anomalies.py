"""Days that are off, on either side of each bound; price changes alarm nobody."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.planning.anomalies import Anomaly, AnomalyKind, AnomalyPolicy, anomalies
from app.planning.daily import CostDay, ModelDay

USD = 10**9
HOUR_MS = 3_600_000
# A Monday.
FIRST = date(2026, 9, 7)
POLICY = AnomalyPolicy(deviations=3.5, floor_nanos=100 * USD, floor_ratio=0.2)


def a_day(number: int, gpu_hours: int, price: int = 2, *, complete: bool = True) -> CostDay:
    nanos = gpu_hours * price * USD
    return CostDay(
        day=FIRST + timedelta(days=number),
        nanos=nanos,
        complete=complete,
        models=(ModelDay(gpu_model="H100", gpu_ms=gpu_hours * HOUR_MS, nanos=nanos),),
    )


def judged(days: list[CostDay], *numbers: int) -> tuple[Anomaly, ...]:
    return anomalies("search", days, [FIRST + timedelta(days=n) for n in numbers], POLICY)


# 500 GPU-hours at 2.00: 1,000 a day.
USUAL = [a_day(n, 500 + n % 3) for n in range(35)]


def test_a_day_of_twice_the_gpu_hours_is_a_spike() -> None:
    (found,) = judged([*USUAL, a_day(35, 1000)], 35)

    assert found.kind is AnomalyKind.SPIKE
    assert found.nanos == 2_000 * USD
    assert found.expected_nanos == pytest.approx(1_002 * USD, abs=2 * USD)
    assert found.measure == "the 5 Mondays before"
    assert found.explanation == "1,000.0 GPU-hours, where 501.0 are usual."


def test_a_usual_day_is_none() -> None:
    assert judged([*USUAL, a_day(35, 503)], 35) == ()


def test_a_day_without_work_is_a_drop() -> None:
    (found,) = judged([*USUAL, a_day(35, 0)], 35)

    assert found.kind is AnomalyKind.DROP


def test_weekends_are_compared_with_weekends() -> None:
    week = [100, 100, 100, 100, 100, 10, 10]
    days = [a_day(n, 10 * week[n % 7]) for n in range(35)]

    # A Saturday as a Monday is: usual for neither.
    (found,) = judged(
        [*days, *[a_day(35 + n, 10 * week[n]) for n in range(5)], a_day(40, 1000)], 40
    )

    assert found.kind is AnomalyKind.SPIKE
    assert found.measure == "the 5 Saturdays before"


@pytest.mark.parametrize(("gpu_hours", "off"), [(549, False), (550, True)])
def test_below_the_floor_of_money_nothing_is_off(gpu_hours: int, off: bool) -> None:  # noqa: FBT001 # a case
    # Equal days have no deviation; 100.00 is the floor, and 10 % of 1,000.00 the floor in parts.
    days = [a_day(n, 500) for n in range(35)]
    policy = AnomalyPolicy(deviations=3.5, floor_nanos=100 * USD, floor_ratio=0.1)
    last = a_day(35, gpu_hours)

    found = anomalies("search", [*days, last], [last.day], policy)

    assert bool(found) is off
    assert all(one.deviations is None for one in found)


def test_a_price_change_is_told_once_and_alarms_nobody() -> None:
    dearer = [a_day(n, 500, price=3) for n in range(35, 42)]
    found = judged([*USUAL, *dearer], *range(35, 42))

    assert [one.kind for one in found] == [AnomalyKind.PRICE_CHANGE]
    assert found[0].day == dearer[0].day
    assert found[0].at_old_prices_nanos == 1_000 * USD


def test_more_work_at_another_price_is_a_spike_all_the_same() -> None:
    (found,) = judged([*USUAL, a_day(35, 1000, price=3)], 35)

    assert found.kind is AnomalyKind.SPIKE


def test_a_spike_does_not_become_the_measure() -> None:
    spikes = [a_day(35 + n, 2000) for n in range(7)]
    found = judged([*USUAL, *spikes], *range(35, 42))

    assert len(found) == 7
    assert all(one.expected_nanos < 1_010 * USD for one in found)


@pytest.mark.parametrize(("count", "judges"), [(7, False), (8, True)])
def test_fewer_than_eight_days_judge_nothing(count: int, judges: bool) -> None:  # noqa: FBT001 # a case
    days = [a_day(n, 500) for n in range(count)]

    assert bool(judged([*days, a_day(count, 5000)], count)) is judges


def test_an_incomplete_day_is_neither_judged_nor_a_measure() -> None:
    days = [*USUAL, a_day(35, 0, complete=False)]

    assert judged(days, 35) == ()
    assert judged([*days, a_day(36, 501)], 36) == ()


@given(st.lists(st.integers(0, 2000), min_size=36, max_size=36), st.integers(1, 5))
def test_twice_the_money_at_twice_the_floor_is_judged_alike(hours: list[int], price: int) -> None:
    days = [a_day(n, count, price=price) for n, count in enumerate(hours)]
    doubled = [a_day(n, count, price=2 * price) for n, count in enumerate(hours)]
    policy = AnomalyPolicy(deviations=3.5, floor_nanos=200 * USD, floor_ratio=0.2)
    judge = [days[-1].day]

    one = anomalies("search", days, judge, POLICY)
    other = anomalies("search", doubled, judge, policy)

    assert [found.kind for found in one] == [found.kind for found in other]
    assert [2 * found.nanos for found in one] == [found.nanos for found in other]
