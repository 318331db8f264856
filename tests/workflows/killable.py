"""What children of a nursery do: watch and collect, with a clock that the test moves."""

import mmap
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.store.engine import engine_of
from app.units.window import HOUR_MS, Window, from_ms
from app.wiring import Ledger
from app.workflows.watch import WatchCounts

CLUSTER = "killed"
_SIZE = 8
_PLACES = ("clock_ms", "until_ms", "events", "lists", "hour_ms")


class Board:
    """Numbers that the test and its children see at once, however a child ends."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE * len(_PLACES)))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    def read(self, name: str) -> int:
        return int(self._numbers[_PLACES.index(name)])

    def write(self, name: str, value: int) -> None:
        self._numbers[_PLACES.index(name)] = value

    def clock(self) -> int:
        return self.read("clock_ms")


def a_ledger(database: str, prometheus: str, kubernetes: str, board: Board) -> Ledger:
    """Return a ledger of one cluster whose present is the board's."""

    def now() -> datetime:
        return from_ms(board.clock())

    cluster = ClusterSettings(
        name=CLUSTER,
        prometheus=PrometheusSettings(url=prometheus),
        kubernetes=KubernetesSettings(mode="url" if kubernetes else "off", url=kubernetes),
    )
    url = make_url(database)
    return Ledger(Settings(clusters=(cluster,)), url, engine_of(url), now)


def follow(*, database: str, prometheus: str, kubernetes: str, board: str) -> None:
    """Watch until killed."""
    shared = Board(Path(board))
    ledger = a_ledger(database, prometheus, kubernetes, shared)

    def tell(counts: WatchCounts) -> bool:
        shared.write("until_ms", counts.until_ms)
        shared.write("events", counts.events)
        shared.write("lists", counts.lists)
        return False

    ledger.watch(CLUSTER, clock=shared.clock, stop=tell)


def gather(
    *,
    database: str,
    prometheus: str,
    kubernetes: str,
    board: str,
    hours: list[int],
    forced_reason: str = "",
) -> None:
    """Collect hours, given by their starts."""
    shared = Board(Path(board))
    ledger = a_ledger(database, prometheus, kubernetes, shared)
    for start_ms in hours:
        shared.write("hour_ms", start_ms)
        ledger.collect(CLUSTER, _hour(start_ms), forced_reason=forced_reason)


def charge(
    *, database: str, prometheus: str, kubernetes: str, board: str, hours: list[int]
) -> None:
    """Rate hours, given by their starts."""
    ledger = a_ledger(database, prometheus, kubernetes, Board(Path(board)))
    for start_ms in hours:
        ledger.rate(CLUSTER, _hour(start_ms))


def _hour(start_ms: int) -> Window:
    return Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))
