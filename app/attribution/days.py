"""Days of the billing zone: where one posting day ends and the next begins."""

from datetime import datetime, timedelta, tzinfo

from app.units.window import from_ms, to_ms


def day_starts(zone: tzinfo, start_ms: int, end_ms: int) -> tuple[int, ...]:
    """Return the starts of the zone's days that meet ``[start_ms, end_ms)``, the first included.

    Where clocks skip midnight the day begins at the instant of the change.
    """
    day = from_ms(start_ms).astimezone(zone).date() - timedelta(days=1)
    starts: list[int] = []
    while True:
        day += timedelta(days=1)
        begins = to_ms(datetime(day.year, day.month, day.day, tzinfo=zone))
        if begins >= end_ms:
            return tuple(starts)
        starts.append(begins)
