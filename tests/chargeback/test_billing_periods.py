"""Billing periods: the months of a zone, those of a table, and names that do not mislead."""

from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.billing_periods import (
    BillingPeriod,
    BillingPeriodError,
    checked_name,
    period_at,
    period_named,
)
from app.chargeback.period_file import read_periods
from app.units.window import HOUR_MS, from_ms, to_ms

UTC = ZoneInfo("UTC")
KOLKATA = ZoneInfo("Asia/Kolkata")
BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


def test_without_a_table_periods_are_calendar_months_of_the_zone() -> None:
    october = period_at((), ms("2026-10-31T18:29Z"), KOLKATA)
    november = period_at((), ms("2026-10-31T18:30Z"), KOLKATA)

    assert (october.name, november.name) == ("2026-10", "2026-11")
    assert october.end_ms == november.start_ms == ms("2026-10-31T18:30Z")


def test_the_hour_over_a_border_closes_with_the_period_it_begins_in() -> None:
    october = period_at((), ms("2026-10-15T00:00Z"), KOLKATA)

    hours = october.hours()

    assert hours.start == datetime.fromisoformat("2026-09-30T19:00Z")
    assert hours.end == datetime.fromisoformat("2026-10-31T19:00Z")


def test_a_month_with_a_clock_change_is_an_hour_longer() -> None:
    october = period_at((), ms("2026-10-15T00:00Z"), BERLIN)

    assert (october.end_ms - october.start_ms) // HOUR_MS == 31 * 24 + 1


FOUR_FOUR_FIVE = "name,start,end\nP10,2026-09-27,2026-10-25\nP11,2026-10-25,2026-11-22\n"


def test_months_are_cut_where_a_table_begins_and_ends() -> None:
    stored = read_periods(FOUR_FOUR_FIVE, UTC, file_name="periods.csv")

    names = [
        period_at(stored, ms(f"{day}T12:00Z"), UTC).name
        for day in ("2026-08-31", "2026-09-26", "2026-09-27", "2026-11-21", "2026-11-22")
    ]

    assert names == ["2026-08", "2026-09-01", "P10", "P11", "2026-11-22"]
    assert period_named(stored, "2026-11-22", UTC).end_ms == ms("2026-12-01T00:00Z")


@given(
    st.lists(st.integers(1, 60), max_size=5),
    st.integers(0, 700),
    st.sampled_from([UTC, KOLKATA, BERLIN]),
)
def test_periods_tile_time_and_are_found_by_their_names(
    lengths: list[int], first: int, zone: ZoneInfo
) -> None:
    days = [date(2026, 1, 1).toordinal() + first]
    for length in lengths:
        days.append(days[-1] + length)
    stored = tuple(
        BillingPeriod(
            name=f"P{place}",
            start_ms=to_ms(datetime.combine(date.fromordinal(a), datetime.min.time(), zone)),
            end_ms=to_ms(datetime.combine(date.fromordinal(b), datetime.min.time(), zone)),
        )
        for place, (a, b) in enumerate(pairwise(days))
    )
    at_ms = ms("2026-01-01T00:00Z")
    found = []
    while at_ms < ms("2028-06-01T00:00Z"):
        found.append(period_at(stored, at_ms, zone))
        at_ms = found[-1].end_ms

    assert all(a.end_ms == b.start_ms for a, b in pairwise(found))
    assert len({one.name for one in found}) == len(found)
    assert [period_named(stored, one.name, zone) for one in found] == found
    assert set(stored) <= {*found}
    assert all(from_ms(one.start_ms).astimezone(zone).strftime("%H:%M") == "00:00" for one in found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2026-W46", "weeks are reports"),
        ("2026-13", "There is no billing period"),
        ("2026-10-02", "There is no billing period"),
        ("P1", "There is no billing period"),
        ("", "There is no billing period"),
    ],
)
def test_a_name_without_a_period_is_refused(name: str, said: str) -> None:
    with pytest.raises(BillingPeriodError, match=said):
        period_named((), name, UTC)


@pytest.mark.parametrize("name", ["2026-10", "2026-10-05", "2026", "2026-W41", "", "a b", "-x"])
def test_a_period_is_not_called_what_reads_like_another_span(name: str) -> None:
    with pytest.raises(BillingPeriodError):
        checked_name(name, date(2026, 10, 5), date(2026, 11, 2))


def test_a_whole_month_may_be_called_so() -> None:
    assert checked_name("2026-10", date(2026, 10, 1), date(2026, 11, 1)) == "2026-10"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,start\nP1,2026-01-01\n", "has not the columns"),
        ("name,start,end\n", "has no billing period"),
        ("name,start,end\nP1,2026-01-01,2026-01-01\n", "line 2: P1 ends on 2026-01-01, not after"),
        ("name,start,end\nP1,2026-01-01T06:00,2026-02-01\n", "is no day"),
        ("name,start,end\nP1,2026-01-01\n", "line 2 has not 3 cells"),
        ("name,start,end\nP1,2026-01-01,2026-01-29\nP2,2026-01-30,2026-02-26\n", "leave a gap"),
        ("name,start,end\nP1,2026-01-01,2026-01-29\nP2,2026-01-28,2026-02-26\n", "overlap"),
        ("name,start,end\nP1,2026-01-01,2026-01-29\nP1,2026-01-29,2026-02-26\n", "P1 twice"),
        ("name,start,end\nP,2026-01-01,2026-01-29\nP-2,2026-01-29,2026-02-26\n", "begins the name"),
        ('name,start,end\n"P1,2026-01-01,2026-01-29\n', "is not CSV"),
    ],
)
def test_a_file_that_cannot_be_periods_is_refused(text: str, said: str) -> None:
    with pytest.raises(BillingPeriodError, match=said):
        read_periods(text, UTC, file_name="periods.csv")


def test_periods_of_a_file_begin_at_midnights_of_the_zone() -> None:
    (first, second) = read_periods(FOUR_FOUR_FIVE, KOLKATA, file_name="periods.csv")

    assert first.start_ms == ms("2026-09-26T18:30Z")
    assert first.end_ms == second.start_ms
