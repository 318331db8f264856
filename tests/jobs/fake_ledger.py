"""A ledger for the queue's tests: hours are done at once, and whatever is asked of it is told."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from app.errors import GpuledgerError
from app.units.window import Window
from app.workflows.notifying import Notified
from tests.store.builders import NOON, an_hour


class UnreachableError(GpuledgerError):
    """Nobody answers."""


@dataclass
class FakeLedger:
    """``missing`` has the hours that are due by cluster; clusters in ``down`` do not answer."""

    connection_string: str
    missing: dict[str, list[Window]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    fails: set[Window] = field(default_factory=set)
    seconds: float = 0.0
    calls: list[tuple[str, ...]] = field(default_factory=list)
    most_at_once: Counter[Window] = field(default_factory=Counter)
    _running: Counter[Window] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cluster_names(self) -> tuple[str, ...]:
        return tuple(self.missing)

    def now(self) -> datetime:
        return NOON

    def windows_to_collect(self, cluster_name: str, at: datetime) -> tuple[Window, ...]:
        del at
        return tuple(self.missing[cluster_name])

    def windows_to_rate(self, cluster_name: str) -> tuple[Window, ...]:
        del cluster_name
        return ()

    def require_prometheus(self, cluster_name: str) -> None:
        if cluster_name in self.down:
            message = f"{cluster_name} does not answer."
            raise UnreachableError(message)

    def is_whole(self, cluster_name: str, window: Window) -> bool:
        return window not in self.missing[cluster_name]

    def collect(self, cluster_name: str, window: Window) -> None:
        self.calls.append(("collect", cluster_name, f"{window.start:%H}"))
        with self._lock:
            self._running[window] += 1
            self.most_at_once[window] = max(self.most_at_once[window], self._running[window])
        time.sleep(self.seconds)
        with self._lock:
            self._running[window] -= 1
        if window in self.fails:
            message = f"{cluster_name} was cut off."
            raise UnreachableError(message)
        self.missing[cluster_name].remove(window)

    def rate(self, cluster_name: str, window: Window) -> None:
        self.calls.append(("rate", cluster_name, f"{window.start:%H}"))

    def detect_due(self, at: datetime) -> None:
        self.calls.append(("detect", at.isoformat()))

    def notify(self) -> Notified:
        self.calls.append(("notify",))
        return Notified(sent=0, failures=("Slack is away.",))

    def adjust_due(self, at: datetime) -> None:
        self.calls.append(("adjust", at.isoformat()))

    def publish_due(self, at: datetime) -> None:
        self.calls.append(("publish", at.isoformat()))

    def forget_minutes(self, at: datetime) -> int:
        self.calls.append(("forget", at.isoformat()))
        return 0


def hours(*after_noon: int) -> list[Window]:
    return [an_hour(after) for after in after_noon]
