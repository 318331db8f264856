"""Virtual time of a simulated fleet, moved by hand."""

from app.errors import GpuledgerError


class ClockError(GpuledgerError):
    """Virtual time was asked to run backwards."""


class VirtualClock:
    """Says the same instant, in milliseconds, until it is moved; servers may share one."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def __call__(self) -> int:
        """Return the present in milliseconds since the epoch."""
        return self._at_ms

    def move_to(self, at_ms: int) -> None:
        """Make it later."""
        if at_ms < self._at_ms:
            message = f"The virtual clock stands at {self._at_ms} ms and cannot go to {at_ms} ms."
            raise ClockError(message, hint="Start another clock.")
        self._at_ms = at_ms

    def advance(self, by_ms: int) -> None:
        """Make it later by a duration."""
        self.move_to(self._at_ms + by_ms)
