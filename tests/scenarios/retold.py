"""Tells a scenario's cluster to a watch that dies and comes back between any two of its events."""

import re
from collections.abc import Iterator, Sequence

from sqlalchemy import Engine

from app.sources.kubernetes_lists import WatchEvent
from app.units.window import Window, from_ms
from app.workflows.streams import Seen, Stream
from app.workflows.watch import _Follower
from tests.scenarios.told_cluster import CLUSTER, HOUR_MS, Ledger, Listed, Told, changes_of, ms

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")
Change = tuple[int, tuple[Stream, WatchEvent]]


def follow(document: Told, engine: Engine, *, restart: bool) -> Window:
    """Watch the scenario; with ``restart`` a new watch lists everything after every event."""
    start_ms, end_ms = (ms(instant) for instant in document["window"])
    changes = sorted(changes_of(document, start_ms), key=lambda change: change[0])
    before = [one for one in changes if one[0] < start_ms]
    follower = _begun(engine, before, start_ms - HOUR_MS)
    for place, (at_ms, (stream, event)) in enumerate(changes):
        if at_ms < start_ms:
            continue
        follower.apply([Seen(stream, at_ms, event, known_ms=at_ms)])
        later = [one for one, _ in changes[place + 1 :]]
        if restart and at_ms not in later:
            _known_until(follower, at_ms + 1)
            follower = _begun(engine, changes[: place + 1], at_ms + 1)
    _known_until(follower, end_ms + 1)
    return Window(from_ms(start_ms), from_ms(end_ms))


def _begun(engine: Engine, changes: Sequence[Change], at_ms: int) -> _Follower:
    follower = _Follower(CLUSTER, engine, lambda: at_ms)
    follower.begin(Listed([one for _, one in changes]))
    return follower


def _known_until(follower: _Follower, at_ms: int) -> None:
    streams = Stream if follower.claims is not None else (Stream.NODES, Stream.PODS)
    follower.apply([Seen(stream, at_ms, known_ms=at_ms) for stream in streams])


def stretched(document: Told, times: int) -> Told:
    """Return a scenario whose instants are so many times as far from the start of its window."""
    start_ms = ms(document["window"][0])

    def later(value: object) -> object:
        if isinstance(value, dict):
            return {key: later(one) for key, one in value.items()}
        if isinstance(value, list):
            return [later(one) for one in value]
        if isinstance(value, str) and _INSTANT.fullmatch(value):
            at = from_ms(start_ms + times * (ms(value) - start_ms))
            return at.isoformat()
        return value

    return {key: later(value) for key, value in document.items()}


def hours_of(window: Window) -> Iterator[Window]:
    """Yield the hours of a window."""
    for start_ms in range(window.start_ms, window.end_ms, HOUR_MS):
        yield Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))


def summed(ledgers: Sequence[Ledger]) -> dict[tuple[str, str], tuple[int, int]]:
    """Add up the lines of several windows."""
    total: dict[tuple[str, str], tuple[int, int]] = {}
    for ledger in ledgers:
        for key, (gpu_ms, nanos) in ledger.lines.items():
            known = total.get(key, (0, 0))
            total[key] = (known[0] + gpu_ms, known[1] + nanos)
    return total
