"""Half-open spans of whole UTC hours, and instants as integer milliseconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.errors import InputError

HOUR_MS = 3_600_000
# An instant that has not come: 9999-01-01T00:00:00Z. Holds and nodes that still live end here.
OPEN_MS = 253_370_764_800_000
# The years that the ledger knows: before them there is no GPU-hour, after them all is open.
FIRST_YEAR, LAST_YEAR = 1970, 9998
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WindowError(InputError):
    """A span that is not a non-empty run of whole UTC hours."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open span ``[start, end)`` of whole UTC hours; the ledger's grain is one hour."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, instant in (("start", self.start), ("end", self.end)):
            if instant.tzinfo is None:
                message = f"The {name} {instant.isoformat()} has no time zone."
                raise WindowError(message, hint="Write it in UTC, as 2026-11-23T10:00:00Z.")
            if not FIRST_YEAR <= instant.year <= LAST_YEAR:
                years = f"{FIRST_YEAR} to {LAST_YEAR}"
                message = f"The {name} {instant.isoformat()} is not of the years {years}."
                raise WindowError(message, hint="Check the year.")
            # Milliseconds are rounded down: without its own check a microsecond would pass.
            if to_ms(instant) % HOUR_MS or instant.microsecond:
                message = f"The {name} {instant.isoformat()} is not a whole UTC hour."
                raise WindowError(message, hint="Windows are whole hours: 10:00, 11:00.")
        if self.end <= self.start:
            message = (
                f"The end {self.end.isoformat()} is not after the start {self.start.isoformat()}."
            )
            raise WindowError(message, hint="Give an end at least one hour after the start.")

    @property
    def start_ms(self) -> int:
        """The first millisecond of the span, since the Unix epoch."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """The first millisecond after the span, since the Unix epoch."""
        return to_ms(self.end)

    @property
    def length_ms(self) -> int:
        """The length in milliseconds."""
        return self.end_ms - self.start_ms

    def hours(self) -> Iterator["Window"]:
        """Yield the hours of the span in order."""
        start = self.start
        while start < self.end:
            yield Window(start, start + timedelta(hours=1))
            start += timedelta(hours=1)


def hour_of(instant: datetime) -> Window:
    """Return the hour that contains ``instant``."""
    start = from_ms(to_ms(instant) // HOUR_MS * HOUR_MS)
    return Window(start, start + timedelta(hours=1))


def to_ms(instant: datetime) -> int:
    """Return milliseconds since the Unix epoch, rounded down. Needs a time zone."""
    return (instant.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """Return the UTC instant of ``ms`` since the Unix epoch."""
    return _EPOCH + timedelta(milliseconds=int(ms))
