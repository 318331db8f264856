import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.units.window import HOUR_MS, Window, WindowError, from_ms, hour_of, to_ms

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_a_day_has_24_hours_that_tile_it() -> None:
    day = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))

    hours = list(day.hours())

    assert len(hours) == 24
    assert hours[0].start == day.start
    assert hours[-1].end == day.end
    assert all(a.end == b.start for a, b in itertools.pairwise(hours))
    assert day.length_ms == 24 * HOUR_MS


@pytest.mark.parametrize(
    ("start", "end", "word"),
    [
        (TEN, TEN, "not after"),
        (TEN, TEN - timedelta(hours=1), "not after"),
        (TEN + timedelta(minutes=1), TEN + timedelta(hours=1), "whole UTC hour"),
        (TEN, TEN + timedelta(milliseconds=3_600_001), "whole UTC hour"),
        (TEN.replace(tzinfo=None), TEN + timedelta(hours=1), "time zone"),
    ],
)
def test_a_span_that_is_no_run_of_hours_is_refused(
    start: datetime, end: datetime, word: str
) -> None:
    with pytest.raises(WindowError, match=word):
        Window(start, end)


def test_an_instant_belongs_to_the_hour_that_starts_with_it() -> None:
    assert hour_of(TEN).start == TEN
    assert hour_of(TEN - timedelta(milliseconds=1)).end == TEN


def test_other_zones_are_the_same_instant() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))

    assert to_ms(datetime(2026, 11, 23, 15, 30, tzinfo=kolkata)) == to_ms(TEN)
    assert from_ms(to_ms(TEN)) == TEN
