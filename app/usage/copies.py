"""Copies of one counter: the fullest is read, and another one only while it is silent."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage.samples import SampleSet
from app.usage.timelines import REACH_SCRAPES

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Readings:
    """Samples by counter, each counter's ascending; ``series`` is a row of ``labels``."""

    labels: pd.DataFrame
    copies: Int64s
    series: Int64s
    at_ms: Int64s
    value: Int64s


def readings(window: Window, samples: SampleSet, scrape_ms: int) -> Readings:
    """Return one sequence of samples for each counter that has any in ``window``.

    Of copies (`identity`) the one with most samples in the window is read, of equals the first by
    its labels; ``copies`` is how many others there are. Where it is silent for more than 2 scrapes,
    before its first sample or after its last, the others are read: a scrape may be renamed, a
    Prometheus replaced, a pod made anew under its name. A sample less than half a scrape from its
    neighbor is passed over, since two scrapers of one instant may disagree about it.
    """
    ranked = _ranked(window, samples)
    best = ranked.loc[ranked["rank"] == 0, "row"].to_numpy(dtype=np.int64)
    best = np.sort(best)
    counter = pd.Series(np.arange(len(best)), index=samples.labels["identity"].iloc[best])
    ranked["counter"] = counter.reindex(ranked["identity"]).to_numpy(dtype=np.int64)
    ranked = ranked.sort_values("row")
    merged = _Merged(samples, scrape_ms)
    merged.add(ranked.loc[ranked["rank"] == 0])
    others = ranked.loc[ranked["counter"].isin(ranked.loc[ranked["rank"] > 0, "counter"])]
    others = _asked_whole(window, samples, others, scrape_ms)
    merged.reach_to(others)
    for rank in range(1, int(others["rank"].max()) + 1 if len(others) else 1):
        merged.add(others.loc[others["rank"] == rank])
    amount = np.bincount(ranked["counter"], minlength=len(best)).astype(np.int64)
    return Readings(
        labels=samples.labels.iloc[best].reset_index(drop=True),
        copies=amount - 1,
        series=merged.owner,
        at_ms=merged.at,
        value=np.rint(merged.value).astype(np.int64),
    )


def _ranked(window: Window, samples: SampleSet) -> pd.DataFrame:
    """Return row, identity and rank (0 is the fullest) of the series of counters in the window."""
    inside = (samples.at_ms >= window.start_ms) & (samples.at_ms < window.end_ms)
    count = np.bincount(samples.series_of_samples()[inside], minlength=len(samples.labels))
    rows = pd.DataFrame(
        {
            "row": np.arange(len(samples.labels)),
            "identity": samples.labels["identity"],
            "series": samples.labels["series"],
            "fewer": -count,
        }
    )
    rows = rows.loc[rows["identity"].isin(rows.loc[count > 0, "identity"])]
    rows = rows.sort_values(["identity", "fewer", "series"], kind="stable")
    return rows.assign(rank=rows.groupby("identity", sort=False).cumcount())


def _asked_whole(
    window: Window, samples: SampleSet, ranked: pd.DataFrame, scrape_ms: int
) -> pd.DataFrame:
    """Return the copies of counters that were asked for between the borders of the window too.

    Where only samples next to the borders were asked for, silence between them means nothing.
    """
    low, high = window.start_ms, window.end_ms - scrape_ms * 5 // 2
    between = (samples.at_ms >= low) & (samples.at_ms < high)
    rows = np.unique(samples.series_of_samples()[between])
    whole = ranked.loc[ranked["row"].isin(rows), "counter"]
    return ranked.loc[ranked["counter"].isin(whole)]


class _Merged:
    """Samples by counter and instant, to which copies are added where there are none."""

    def __init__(self, samples: SampleSet, scrape_ms: int) -> None:
        self._samples = samples
        self._apart = scrape_ms // 2
        self._silence = REACH_SCRAPES * scrape_ms
        self._origin = int(samples.at_ms.min(initial=0))
        self._reach = int(samples.at_ms.max(initial=0)) - self._origin + 1
        self._last: Int64s = np.empty(0, dtype=np.int64)
        self.owner: Int64s = np.empty(0, dtype=np.int64)
        self.at: Int64s = np.empty(0, dtype=np.int64)
        self.value: npt.NDArray[np.float64] = np.empty(0, dtype=np.float64)

    def reach_to(self, ranked: pd.DataFrame) -> None:
        """Note the last sample of any copy of each counter: what silence at the end is told by."""
        counter = np.full(len(self._samples.labels), -1, dtype=np.int64)
        counter[ranked["row"].to_numpy()] = ranked["counter"].to_numpy()
        owner = counter[self._samples.series_of_samples()]
        self._last = np.full(int(counter.max(initial=-1)) + 1, np.iinfo(np.int64).min)
        np.maximum.at(self._last, owner[owner >= 0], self._samples.at_ms[owner >= 0])

    def add(self, ranked: pd.DataFrame) -> None:
        """Add the samples of series, at most one a counter, that lie where it is silent."""
        row, counter = (ranked[name].to_numpy(dtype=np.int64) for name in ("row", "counter"))
        length = np.diff(self._samples.first)[row]
        shift = self._samples.first[row] - (np.cumsum(length) - length)
        index = np.arange(int(length.sum()), dtype=np.int64) + np.repeat(shift, length)
        owner, at = np.repeat(counter, length), self._samples.at_ms[index]
        value = self._samples.value[index]
        if not len(self.at):
            self.owner, self.at, self.value = owner, at, value
            return
        fits = self._fits(owner, at)
        owner = np.concatenate([self.owner, owner[fits]])
        at = np.concatenate([self.at, at[fits]])
        value = np.concatenate([self.value, value[fits]])
        order = np.lexsort((at, owner))
        self.owner, self.at, self.value = owner[order], at[order], value[order]

    def _fits(self, owner: Int64s, at: Int64s) -> npt.NDArray[np.bool_]:
        keys = self.owner * self._reach + (self.at - self._origin)
        place = np.searchsorted(keys, owner * self._reach + (at - self._origin))
        before, after = np.maximum(place - 1, 0), np.minimum(place, len(keys) - 1)
        follows = (place > 0) & (self.owner[before] == owner)
        leads = (place < len(keys)) & (self.owner[after] == owner)
        until = np.where(leads, self.at[after], self._last[owner])
        silent = ~follows | (until - self.at[before] > self._silence)
        apart = (~follows | (at - self.at[before] >= self._apart)) & (
            ~leads | (self.at[after] - at >= self._apart)
        )
        fits: npt.NDArray[np.bool_] = silent & apart
        return fits
