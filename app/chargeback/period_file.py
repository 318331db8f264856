"""A file of billing periods (CSV): name, start, end, as days of the billing zone."""

import csv
import io
from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

from app.chargeback.billing_periods import (
    BillingPeriod,
    BillingPeriodError,
    checked_name,
    midnight_ms,
)

COLUMNS = ("name", "start", "end")
_HINT = "Each line is name,start,end with days as 2026-12-27; the end is the day after the last."


def read_periods(text: str, zone: ZoneInfo, *, file_name: str) -> tuple[BillingPeriod, ...]:
    """Return the periods of a file, in order; refuse gaps, overlaps and names that mislead.

    Starts and ends are days of the billing zone and mean their midnights; a period ends where the
    day ``end`` begins.
    """
    found: list[BillingPeriod] = []
    for place, row in enumerate(_rows(text, file_name), start=2):
        where = f"{file_name} line {place}"
        start, end = _day(row["start"], where), _day(row["end"], where)
        if end <= start:
            message = f"{where}: {row['name']} ends on {end}, not after {start}."
            raise BillingPeriodError(message, hint=_HINT)
        found.append(
            BillingPeriod(
                name=checked_name(row["name"].strip(), start, end),
                start_ms=midnight_ms(start, zone),
                end_ms=midnight_ms(end, zone),
            )
        )
    periods = tuple(sorted(found, key=lambda one: one.start_ms))
    _refuse_breaks(periods, file_name)
    return periods


def _refuse_breaks(periods: tuple[BillingPeriod, ...], file_name: str) -> None:
    if not periods:
        message = f"{file_name} has no billing period."
        raise BillingPeriodError(message, hint=_HINT)
    names = [period.name for period in periods]
    for name in names:
        if names.count(name) > 1:
            message = f"{file_name} names {name} twice."
            raise BillingPeriodError(message, hint="Each period has a name of its own.")
        # Numbers of statements join the names of a period and a team by a dash.
        if any(other.startswith(f"{name}-") for other in names):
            message = f"{file_name}: the name {name} begins the name of another period."
            raise BillingPeriodError(message, hint="Call it by another name.")
    for before, after in pairwise(periods):
        if before.end_ms != after.start_ms:
            word = "overlap" if after.start_ms < before.end_ms else "leave a gap"
            message = f"{file_name}: {before.name} and {after.name} {word}."
            raise BillingPeriodError(
                message, hint="A period begins on the day that ends the one before."
            )


def _rows(text: str, file_name: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
            message = f"{file_name} has not the columns {', '.join(COLUMNS)}."
            raise BillingPeriodError(message, hint=_HINT)
        rows: list[dict[str, str]] = []
        for row in reader:
            if None in row or None in row.values():
                message = f"{file_name} line {len(rows) + 2} has not {len(COLUMNS)} cells."
                raise BillingPeriodError(message, hint=_HINT)
            rows.append({str(name): str(cell) for name, cell in row.items()})
    except csv.Error as error:
        message = f"{file_name} is not CSV: {error}."
        raise BillingPeriodError(message, hint=_HINT) from error
    return rows


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        message = f"{where}: {text!r} is no day."
        raise BillingPeriodError(
            message, hint=f"Borders are midnights of the billing zone. {_HINT}"
        ) from error
