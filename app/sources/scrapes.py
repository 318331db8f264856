"""When kube-state-metrics was scraped, and between which scrapes each object was there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.units.intervals import Spans, spans_of
from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]

# A scrape speaks for two; the half more lets one be missed although scrapes are not quite regular.
_SILENT_SCRAPES = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An object between its first and its last scrape, and the scrapes next to them without it.

    ``absent_before_ms`` and ``absent_after_ms`` are None where no scrape of a target that showed
    the object lies there. An object that ``vanished`` went in a silence: nobody looked for longer
    than scrapes speak for, and then it was gone.
    """

    first_ms: int
    last_ms: int
    absent_before_ms: int | None
    absent_after_ms: int | None
    vanished: bool


@dataclass(frozen=True, slots=True)
class ScrapeTimes:
    """The instants at which each target was scraped, ascending.

    More than ``silence_ms`` between two scrapes is a silence.
    """

    by_target: Mapping[str, Int64s]
    silence_ms: int

    def sighting(self, targets: Sequence[str], first_ms: int, last_ms: int) -> Sighting:
        """Return where an object stands among the scrapes of the targets that showed it.

        Copies of one exporter show the same objects, shards show different ones; so a scrape of a
        target says nothing about an object that it never showed.
        """
        before = [self._before(target, first_ms) for target in targets]
        after = [self._after(target, last_ms) for target in targets]
        absent_after_ms = min((at for at in after if at is not None), default=None)
        return Sighting(
            first_ms=first_ms,
            last_ms=last_ms,
            absent_before_ms=max((at for at in before if at is not None), default=None),
            absent_after_ms=absent_after_ms,
            vanished=absent_after_ms is not None and absent_after_ms - last_ms > self.silence_ms,
        )

    def observed(self, longest_ms: int) -> Spans:
        """Return the time that scrapes speak for: from the one before, at most ``longest_ms``."""
        starts, ends = [], []
        for times in self.by_target.values():
            before = np.concatenate([times[:1] - longest_ms, times[:-1]])
            starts.append(np.maximum(before, times - longest_ms))
            ends.append(times)
        if not starts:
            nothing = np.zeros(0, dtype=np.int64)
            return Spans(nothing, nothing)
        return spans_of(np.concatenate(starts), np.concatenate(ends))

    def most_within(self, start_ms: int, end_ms: int) -> int:
        """Return how often the most faithfully scraped target was scraped in the span."""
        counts = [
            int(np.searchsorted(times, end_ms) - np.searchsorted(times, start_ms))
            for times in self.by_target.values()
        ]
        return max(counts, default=0)

    def _before(self, target: str, at_ms: int) -> int | None:
        times = self.by_target[target]
        index = int(np.searchsorted(times, at_ms, side="left"))
        return int(times[index - 1]) if index else None

    def _after(self, target: str, at_ms: int) -> int | None:
        times = self.by_target[target]
        index = int(np.searchsorted(times, at_ms, side="right"))
        return int(times[index]) if index < len(times) else None


def scrape_times(sets: Sequence[SampleSet], scrape_ms: int) -> ScrapeTimes:
    """Collect the instants of all samples by target, of which one is due every ``scrape_ms``."""
    instants: dict[str, list[Int64s]] = {}
    for samples in sets:
        targets = samples.labels["target"].to_numpy()
        owner = samples.series_of_samples()
        for target in np.unique(targets):
            mine = (targets == target)[owner]
            instants.setdefault(str(target), []).append(np.unique(samples.at_ms[mine]))
    return ScrapeTimes(
        {target: np.unique(np.concatenate(parts)) for target, parts in instants.items()},
        silence_ms=round(_SILENT_SCRAPES * scrape_ms),
    )
