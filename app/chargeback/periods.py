"""Reporting periods by name: ISO weeks and calendar months of the billing zone."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import assert_never
from zoneinfo import ZoneInfo

from app.errors import InputError
from app.units.window import HOUR_MS, Window, from_ms, to_ms

_WEEK = re.compile(r"(\d{4})-W(\d{2})", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_HINT = "Write an ISO week as 2026-W46 or a month as 2026-10."


class PeriodError(InputError):
    """A period whose name says no week or month."""


class Grain(StrEnum):
    """How long a period is."""

    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A week or month: its name and its half-open span, in UTC.

    A week with a clock change is an hour shorter or longer than 168 hours.
    """

    name: str
    grain: Grain
    start: datetime
    end: datetime

    @property
    def hours(self) -> int:
        """How many hours the span has."""
        return (self.end - self.start) // timedelta(hours=1)

    @property
    def span_ms(self) -> tuple[int, int]:
        """The span in milliseconds since the Unix epoch."""
        return to_ms(self.start), to_ms(self.end)

    def window(self) -> Window:
        """Return the whole UTC hours that cover the span.

        In zones whose days begin inside an hour that is more than the span.
        """
        start_ms, end_ms = self.span_ms
        first, last = start_ms // HOUR_MS, -(-end_ms // HOUR_MS)
        return Window(from_ms(first * HOUR_MS), from_ms(last * HOUR_MS))


def parse_period(name: str, zone: ZoneInfo) -> Period:
    """Return the period called ``name`` in ``zone``."""
    if week := _WEEK.fullmatch(name):
        return _span(name, Grain.WEEK, _first_day_of_week(name, week), zone)
    if month := _MONTH.fullmatch(name):
        return _span(name, Grain.MONTH, _first_day_of_month(name, month), zone)
    message = f"{name!r} is not a period."
    raise PeriodError(message, hint=_HINT)


def period_before(at: datetime, grain: Grain, zone: ZoneInfo) -> Period:
    """Return the newest period of ``grain`` that has ended at ``at``."""
    today = at.astimezone(zone).date()
    match grain:
        case Grain.WEEK:
            day = today - timedelta(days=today.isoweekday())
            year, week, _ = day.isocalendar()
            return parse_period(f"{year:04}-W{week:02}", zone)
        case Grain.MONTH:
            return parse_period(f"{today.replace(day=1) - timedelta(days=1):%Y-%m}", zone)
        case _:
            assert_never(grain)


def _first_day_of_week(name: str, match: re.Match[str]) -> date:
    try:
        return date.fromisocalendar(int(match[1]), int(match[2]), 1)
    except ValueError as error:
        message = f"There is no ISO week {name}."
        raise PeriodError(message, hint=_HINT) from error


def _first_day_of_month(name: str, match: re.Match[str]) -> date:
    try:
        return date(int(match[1]), int(match[2]), 1)
    except ValueError as error:
        message = f"There is no month {name}."
        raise PeriodError(message, hint=_HINT) from error


def _span(name: str, grain: Grain, first: date, zone: ZoneInfo) -> Period:
    try:
        after = first + timedelta(days=7 if grain is Grain.WEEK else 31)
        last = after if grain is Grain.WEEK else after.replace(day=1)
        start, end = _midnight(first, zone), _midnight(last, zone)
    except OverflowError as error:
        message = f"The period {name} is outside the calendar."
        raise PeriodError(message, hint=_HINT) from error
    return Period(name=name, grain=grain, start=start, end=end)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
