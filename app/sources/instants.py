"""Instants as people write them in files: a day, or an RFC 3339 instant with its offset."""

import re
from datetime import UTC, datetime, tzinfo

from app.units.window import to_ms

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})"
)

INSTANT_FORMS = "2026-11-23 (midnight UTC) or 2026-11-23T10:37:00Z"


def read_instant(text: str, zone: tzinfo = UTC) -> int | None:
    """Return the milliseconds of an instant, None if the text is not one of `INSTANT_FORMS`.

    A day is its midnight in the zone; where clocks skip midnight, the instant of the change.
    """
    if not (_DAY.fullmatch(text) or _INSTANT.fullmatch(text)):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
        return to_ms(instant if instant.tzinfo else instant.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        # Overflow: an offset that leads out of the calendar, as 0001-01-01T00:00:00+05:00.
        return None
