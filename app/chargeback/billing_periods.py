"""Billing periods: the spans that close, those of the table and the months in between."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from app.errors import InputError
from app.units.window import HOUR_MS, Window, from_ms, to_ms

_WEEK = re.compile(r"\d{4}-W\d{2}", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", re.ASCII)
# Names that months and rests of months have, which no other period may take.
_TAKEN = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)


class BillingPeriodError(InputError):
    """A billing period that is not there, or that cannot be as it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPeriod:
    """A half-open span of whole days of the billing zone, in milliseconds since the Unix epoch.

    ``version`` counts how often it was closed; ``closed_ms`` is None while it is open.
    """

    name: str
    start_ms: int
    end_ms: int
    version: int = 0
    closed_ms: int | None = None

    @property
    def is_closed(self) -> bool:
        """Say whether its charges are frozen."""
        return self.closed_ms is not None

    def window(self) -> Window:
        """Return the whole UTC hours that cover the span: more than it where midnight is not one.

        The first of them may belong to the period before, as the last always belongs to this one.
        """
        return Window(
            from_ms(self.start_ms // HOUR_MS * HOUR_MS),
            from_ms(-(-self.end_ms // HOUR_MS) * HOUR_MS),
        )

    def hours(self) -> Window:
        """Return the hours that begin in the span: those that close with it."""
        return Window(
            from_ms(-(-self.start_ms // HOUR_MS) * HOUR_MS),
            from_ms(-(-self.end_ms // HOUR_MS) * HOUR_MS),
        )


def period_at(stored: Sequence[BillingPeriod], at_ms: int, zone: ZoneInfo) -> BillingPeriod:
    """Return the period that contains an instant: one of the table, else a month of the zone.

    ``stored`` is contiguous and in order. A month that it covers in part is cut where it begins or
    ends; such a rest is called by its first day, a whole month as 2026-10.
    """
    for period in stored:
        if period.start_ms <= at_ms < period.end_ms:
            return period
    first = from_ms(at_ms).astimezone(zone).date().replace(day=1)
    start_ms = midnight_ms(first, zone)
    end_ms = midnight_ms(_month_after(first), zone)
    before = [period.end_ms for period in stored if period.end_ms <= at_ms]
    after = [period.start_ms for period in stored if period.start_ms > at_ms]
    start, end = max([start_ms, *before]), min([end_ms, *after])
    whole = (start, end) == (start_ms, end_ms)
    day = from_ms(start).astimezone(zone).date()
    return BillingPeriod(name=f"{day:%Y-%m}" if whole else f"{day}", start_ms=start, end_ms=end)


def period_named(stored: Sequence[BillingPeriod], name: str, zone: ZoneInfo) -> BillingPeriod:
    """Return the period of that name; refuse weeks, which are reports, and what there is not."""
    for period in stored:
        if period.name == name:
            return period
    if _WEEK.fullmatch(name):
        message = f"{name} is a week: weeks are reports and do not close."
        raise BillingPeriodError(message, hint="Name a billing period: gpuledger period list.")
    day = _first_day(name)
    if day is not None:
        found = period_at(stored, midnight_ms(day, zone), zone)
        if found.name == name:
            return found
    message = f"There is no billing period {name!r}."
    raise BillingPeriodError(
        message, hint="A month is written as 2026-10; gpuledger period list shows the others."
    )


def checked_name(name: str, start: date, end: date) -> str:
    """Return a name that a defined period of those days may have; refuse any other.

    A name that reads like a month, a day, a year or a week is that month's alone.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} cannot name a billing period."
        raise BillingPeriodError(
            message, hint="Up to 32 letters, digits, dots, dashes and underscores do."
        )
    month = f"{start:%Y-%m}" if start.day == 1 and end == _month_after(start) else ""
    if name != month and (_TAKEN.fullmatch(name) or _WEEK.fullmatch(name)):
        message = f"The billing period {name} from {start} to {end} reads like another span."
        raise BillingPeriodError(message, hint="Call it by a name that is no date, as 2026-P10.")
    return name


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return the instant at which a day of the zone begins."""
    return to_ms(datetime.combine(day, time(), tzinfo=zone).astimezone(UTC))


def _first_day(name: str) -> date | None:
    try:
        return date.fromisoformat(f"{name}-01" if _MONTH.fullmatch(name) else name)
    except ValueError:
        return None


def _month_after(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
