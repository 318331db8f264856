"""When a period's report is due."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.chargeback.periods import Grain, Period, period_before
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
