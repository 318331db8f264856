"""When a report is due, in the billing zone."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from app.chargeback.due import due_at, next_due, periods_before
from app.chargeback.periods import Grain, parse_period
from app.chargeback.reports import Schedule, Weekday

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("period", "schedule", "due"),
    [
        (
            "2026-W46",
            Schedule(at=time(6), weekday=Weekday.MONDAY),
            datetime(2026, 11, 16, 5, tzinfo=UTC),
        ),
        (
            "2026-W46",
            Schedule(at=time(6), weekday=Weekday.SUNDAY),
            datetime(2026, 11, 22, 5, tzinfo=UTC),
        ),
        # The clocks went forward on the day before.
        (
            "2026-W13",
            Schedule(at=time(6), weekday=Weekday.MONDAY),
            datetime(2026, 3, 30, 4, tzinfo=UTC),
        ),
        ("2026-10", Schedule(at=time(6), day=3), datetime(2026, 11, 3, 5, tzinfo=UTC)),
        ("2026-10", Schedule(at=time(0), day=1), datetime(2026, 10, 31, 23, tzinfo=UTC)),
        (
            "2026-10",
            Schedule(at=time(6), weekday=Weekday.MONDAY),
            datetime(2026, 11, 2, 5, tzinfo=UTC),
        ),
    ],
)
def test_a_report_is_due_at_its_first_time_after_the_period(
    period: str, schedule: Schedule, due: datetime
) -> None:
    span = parse_period(period, BERLIN)

    assert due_at(schedule, span, BERLIN) == due
    assert due >= span.end


def test_the_newest_periods_come_first_and_touch() -> None:
    periods = periods_before(datetime(2026, 11, 16, 6, tzinfo=UTC), Grain.WEEK, BERLIN, count=3)

    assert [period.name for period in periods] == ["2026-W46", "2026-W45", "2026-W44"]
    assert [period.hours for period in periods] == [168, 168, 168]
    assert periods[0].start == periods[1].end


def test_months_before_the_first_of_a_month() -> None:
    periods = periods_before(datetime(2026, 3, 1, tzinfo=UTC), Grain.MONTH, BERLIN, count=2)

    assert [period.name for period in periods] == ["2026-02", "2026-01"]


@pytest.mark.parametrize(
    ("at", "due"),
    [
        # The week before ended on Sunday; what is due at six o'clock has not come yet.
        (datetime(2026, 11, 16, 4, 59, tzinfo=UTC), datetime(2026, 11, 16, 5, tzinfo=UTC)),
        (datetime(2026, 11, 16, 5, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)),
        (datetime(2026, 11, 15, 22, 59, tzinfo=UTC), datetime(2026, 11, 16, 5, tzinfo=UTC)),
        # In the year's last week the clocks are an hour before UTC.
        (datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 4, 5, tzinfo=UTC)),
    ],
)
def test_the_next_week_is_due_at_its_first_time_to_come(at: datetime, due: datetime) -> None:
    assert next_due(Schedule(at=time(6), weekday=Weekday.MONDAY), Grain.WEEK, BERLIN, at) == due


@pytest.mark.parametrize(
    ("day", "at", "due"),
    [
        (3, datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, 5, tzinfo=UTC)),
        (3, datetime(2026, 11, 4, tzinfo=UTC), datetime(2026, 12, 3, 5, tzinfo=UTC)),
        (28, datetime(2026, 12, 30, tzinfo=UTC), datetime(2027, 1, 28, 5, tzinfo=UTC)),
    ],
)
def test_the_next_month_is_due_on_its_day(day: int, at: datetime, due: datetime) -> None:
    assert next_due(Schedule(at=time(6), day=day), Grain.MONTH, BERLIN, at) == due
