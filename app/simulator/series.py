"""Series as Prometheus stores them, and the targets whose scrapes made them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.simulator.fleet import Fleet
from app.simulator.scrapes import outside, scrape_attempts

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a family: labels sorted and without ``__name__``, samples ascending."""

    labels: Labels
    at_ms: Int64s
    value: Float64s


def series(labels: dict[str, str], at_ms: Int64s, value: Float64s) -> Series:
    """Return a series; a label with an empty value is no label."""
    kept = sorted((name, text) for name, text in labels.items() if text)
    return Series(tuple(kept), at_ms, value)


def united(made: Iterable[Series]) -> tuple[Series, ...]:
    """Return series of which no two have the same labels: those that go on are one."""
    by_labels: dict[Labels, list[Series]] = {}
    for one in made:
        by_labels.setdefault(one.labels, []).append(one)
    return tuple(
        same[0] if len(same) == 1 else _joined(labels, same) for labels, same in by_labels.items()
    )


def _joined(labels: Labels, same: list[Series]) -> Series:
    at_ms = np.concatenate([one.at_ms for one in same])
    order = np.argsort(at_ms, kind="stable")
    return Series(labels, at_ms[order], np.concatenate([one.value for one in same])[order])


def constant(value: float, at_ms: Int64s) -> Float64s:
    """Return one value for every instant, without the memory."""
    return np.broadcast_to(np.float64(value), at_ms.shape)


def between(at_ms: Int64s, start_ms: int, end_ms: int) -> Int64s:
    """Return the instants in ``[start_ms, end_ms)``."""
    low, high = np.searchsorted(at_ms, [start_ms, end_ms], side="left")
    return at_ms[low:high]


class ScrapeBook:
    """Which attempts to scrape a target there were and which found Prometheus and target up."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._attempts: dict[tuple[str, int], Int64s] = {}

    def copies(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield each Prometheus replica and the label that tells it apart."""
        if self._fleet.spec.prometheus_replicas == 1:
            yield 0, {}
            return
        for copy in range(self._fleet.spec.prometheus_replicas):
            yield copy, {"prometheus_replica": f"prometheus-{copy}"}

    def attempts(self, key: str, copy: int) -> Int64s:
        """Return the instants at which a Prometheus that was up tried to scrape a target."""
        if (key, copy) not in self._attempts:
            times = scrape_attempts(self._fleet.spec, key, copy)
            good = outside(times, self._fleet.outages, "")
            self._attempts[key, copy] = times[good]
        return self._attempts[key, copy]

    def answered(self, key: str, name: str, copy: int) -> Int64s:
        """Return the attempts outside the outages of the target called ``name``."""
        times = self.attempts(key, copy)
        return times[outside(times, self._fleet.outages, name)]
