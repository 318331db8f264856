"""When a period's report is due."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.chargeback.periods import Grain, Period, parse_period, period_before
from app.chargeback.reports import Schedule, Weekday


def due_at(schedule: Schedule, period: Period, zone: ZoneInfo) -> datetime:
    """Return the first scheduled time at or after the period's end, in ``zone``."""
    end = period.end.astimezone(zone)
    day = end.date()
    if schedule.weekday is not None:
        days = (list(Weekday).index(schedule.weekday) - day.weekday()) % 7
        day += timedelta(days=days)
    elif schedule.day is not None:
        day = day.replace(day=schedule.day)
    return datetime.combine(day, schedule.at, tzinfo=zone)


def periods_before(at: datetime, grain: Grain, zone: ZoneInfo, *, count: int) -> tuple[Period, ...]:
    """Return the newest ``count`` periods that have ended at ``at``, the newest first."""
    periods = [period_before(at, grain, zone)]
    while len(periods) < count:
        periods.append(period_before(periods[-1].start, grain, zone))
    return tuple(periods)


def next_due(schedule: Schedule, grain: Grain, zone: ZoneInfo, at: datetime) -> datetime:
    """Return the first instant after ``at`` at which a period's report is due by its schedule.

    A report waits longer where the last hour of its period has not settled by then.
    """
    ended = period_before(at, grain, zone)
    local = ended.end.astimezone(zone)
    running = f"{local:%G-W%V}" if grain is Grain.WEEK else f"{local:%Y-%m}"
    due = (due_at(schedule, ended, zone), due_at(schedule, parse_period(running, zone), zone))
    return min(one for one in due if one > at)
