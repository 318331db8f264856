"""Weeks and months of the billing zone: edges, clock changes, names that say nothing."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.periods import Grain, PeriodError, parse_period, period_before
from app.units.window import Window

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")


def test_a_week_runs_from_monday_to_monday() -> None:
    week = parse_period("2026-W46", UTC_ZONE)

    assert week.grain is Grain.WEEK
    assert week.start == datetime(2026, 11, 9, tzinfo=UTC)
    assert week.end == datetime(2026, 11, 16, tzinfo=UTC)


def test_the_first_week_of_a_year_may_begin_in_the_year_before() -> None:
    assert parse_period("2026-W01", UTC_ZONE).start == datetime(2025, 12, 29, tzinfo=UTC)


def test_a_long_year_has_a_week_53() -> None:
    assert parse_period("2026-W53", UTC_ZONE).end == datetime(2027, 1, 4, tzinfo=UTC)


def test_a_month_ends_with_the_next() -> None:
    month = parse_period("2026-12", UTC_ZONE)

    assert month.grain is Grain.MONTH
    assert month.start == datetime(2026, 12, 1, tzinfo=UTC)
    assert month.end == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "hours"), [("2026-W13", 167), ("2026-W43", 169), ("2026-W46", 168)]
)
def test_a_week_with_a_clock_change_has_an_hour_less_or_more(name: str, hours: int) -> None:
    assert parse_period(name, BERLIN).window().length_ms == hours * 3_600_000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "2026",
        "2026-W00",
        "2026-W54",
        "2025-W53",
        "2026-13",
        "2026-00",
        "2026-W4",
        "2026-10-01",
        "2026-w46",
        " 2026-W46",
        "2026-W46\n",
        "٢٠٢٦-W46",
        "0000-01",
        "0000-W01",
        "9999-12",
        "9999-W52",
    ],
)
def test_what_is_no_period_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(PeriodError) as caught:
        parse_period(name, UTC_ZONE)

    assert "2026-W46" in caught.value.hint


def test_where_days_begin_inside_an_hour_the_window_has_all_of_that_hour() -> None:
    period = parse_period("2026-10", ZoneInfo("Asia/Kolkata"))

    assert (period.start, period.end) == (
        datetime(2026, 9, 30, 18, 30, tzinfo=UTC),
        datetime(2026, 10, 31, 18, 30, tzinfo=UTC),
    )
    assert period.window() == Window(
        datetime(2026, 9, 30, 18, tzinfo=UTC), datetime(2026, 10, 31, 19, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("at", "grain", "name"),
    [
        (datetime(2026, 11, 16, 6, tzinfo=UTC), Grain.WEEK, "2026-W46"),
        (datetime(2026, 11, 15, 23, 30, tzinfo=UTC), Grain.WEEK, "2026-W46"),
        (datetime(2026, 11, 15, 22, 30, tzinfo=UTC), Grain.WEEK, "2026-W45"),
        (datetime(2027, 1, 4, 6, tzinfo=UTC), Grain.WEEK, "2026-W53"),
        (datetime(2026, 11, 1, 6, tzinfo=UTC), Grain.MONTH, "2026-10"),
        (datetime(2026, 10, 31, 23, 30, tzinfo=UTC), Grain.MONTH, "2026-10"),
        (datetime(2027, 1, 31, 6, tzinfo=UTC), Grain.MONTH, "2026-12"),
    ],
)
def test_the_newest_period_that_is_over(at: datetime, grain: Grain, name: str) -> None:
    period = period_before(at, grain, BERLIN)

    assert period.name == name
    assert period.end <= at


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 # hypothesis wants naive bounds
    st.sampled_from(list(Grain)),
)
def test_periods_tile_the_calendar(at: datetime, grain: Grain) -> None:
    newest = period_before(at, grain, BERLIN)
    following = period_before(period_after_end(newest.end), grain, BERLIN)

    assert newest.end <= at
    assert following.end > newest.end or following == newest
    assert following.start in (newest.start, newest.end)


def period_after_end(end: datetime) -> datetime:
    """An instant about one and a half weeks later: at most one more week has ended."""
    return datetime.fromtimestamp(end.timestamp() + 8 * 86_400, tz=UTC)
