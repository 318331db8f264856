"""Exact growth of counters: differences per series, restarts handled, nothing estimated."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.copies import readings
from app.usage.samples import SampleSet
from app.usage.timelines import REACH_SCRAPES

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LOGICAL = [
    *("namespace", "pod", "target", "model", "quantity", "outcome", "le"),
    *("engine", "layer", "role"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Increments:
    """What each sample inside a window adds, by series (a row of ``labels``).

    ``grown`` is the growth since the sample before, ``uncounted`` a first value that may be older
    than the window. ``carried`` says that the growth crossed a gap, ``reset`` that the counter had
    started again, ``fresh`` that it was born in the window and this is its first sample. ``copies``
    is, per series, how many copies of it were left out.
    """

    labels: pd.DataFrame
    copies: Int64s
    series: Int64s
    at_ms: Int64s
    grown: Int64s
    uncounted: Int64s
    carried: Bools
    reset: Bools
    fresh: Bools


def increments(
    window: Window, samples: SampleSet, births: SampleSet, scrape_ms: int, lookback_ms: int
) -> Increments:
    """Return the growth of every sample in ``window`` since the newest earlier one of its series.

    A sample at t belongs to the window with start ≤ t < end; earlier ones count for ``lookback_ms``
    before the start. ``births`` has the identities of the counters, and as values the instants, in
    milliseconds, at which they began; they may change when a process restarts. A counter started
    again where it fell or its birth moved: then it counts from 0. So does a series without an
    earlier sample that was born inside the window; otherwise its first value is no growth. Growth
    that crossed more than 2 scrapes is carried; of a counter that started again what counts is the
    time since its birth.
    """
    read = readings(window, samples, scrape_ms)
    wanted = (read.at_ms >= window.start_ms - lookback_ms) & (read.at_ms < window.end_ms)
    series, at, value = read.series[wanted], read.at_ms[wanted], read.value[wanted]
    born = _births_at(births, read.labels["identity"], series, at)
    gap_ms = REACH_SCRAPES * scrape_ms
    follows = np.zeros(len(at), dtype=bool)
    follows[1:] = series[1:] == series[:-1]
    at_before, value_before = np.append(at[:1], at[:-1]), np.append(value[:1], value[:-1])
    born_before = np.append(born[:1], born[:-1])
    # Both births known: only a move tells, since clocks of pods and Prometheus differ.
    both = np.isfinite(born) & np.isfinite(born_before)
    moved = np.where(both, born > born_before, born > at_before)
    reset = follows & ((value < value_before) | moved)
    fresh = ~follows & (born >= window.start_ms)
    step = np.where(reset | fresh, value, np.where(follows, value - value_before, 0))
    since = np.where(follows, at_before, -np.inf)
    since = np.where(reset | fresh, np.fmax(since, born), since)
    inside = at >= window.start_ms
    return Increments(
        labels=read.labels,
        copies=read.copies,
        series=series[inside],
        at_ms=at[inside],
        grown=step[inside],
        uncounted=np.where(follows | fresh, 0, value)[inside],
        carried=((step > 0) & (at - since > gap_ms))[inside],
        reset=reset[inside],
        fresh=fresh[inside],
    )


def growth(
    window: Window, samples: SampleSet, births: SampleSet, scrape_ms: int, lookback_ms: int
) -> pd.DataFrame:
    """Return `GROWTH`: the `increments` of a window, summed."""
    return growth_of(increments(window, samples, births, scrape_ms, lookback_ms))


def growth_of(found: Increments) -> pd.DataFrame:
    """Sum increments to `GROWTH`: one row a logical series, engines of one replica united."""
    count = len(found.labels)
    per_series = found.labels[_LOGICAL].assign(
        growth=by_series(found.grown, found.series, count),
        uncounted=by_series(found.uncounted, found.series, count),
        carried=by_series(found.carried.astype(np.int64), found.series, count) > 0,
        resets=by_series(found.reset.astype(np.int64), found.series, count),
        samples=np.bincount(found.series, minlength=count).astype(np.int64),
        duplicates=found.copies,
    )
    numbers = ["growth", "uncounted", "resets", "samples", "duplicates"]
    how = {**dict.fromkeys(numbers, "sum"), "carried": "any"}
    united = per_series.groupby(_LOGICAL, sort=True, as_index=False).agg(how)
    ordered = united[list(frames.GROWTH.columns)]
    validated: pd.DataFrame = frames.GROWTH.validate(ordered)
    return validated


def by_series(parts: Int64s, series: Int64s, count: int) -> Int64s:
    """Return the sum of the parts of each of ``count`` series."""
    total = np.zeros(count, dtype=np.int64)
    np.add.at(total, series, parts)
    return total


def _births_at(
    births: SampleSet, identity: "pd.Series[str]", series: Int64s, at: Int64s
) -> Float64s:
    """Return for each sample when its counter was born, as far as known by then; else NaN.

    The newest statement not later than the sample counts; before the first statement the first
    one does, if the birth it states is not later than the sample.
    """
    result = np.full(len(at), np.nan)
    if not len(births.at_ms):
        return result
    codes, names = pd.factorize(births.labels["identity"])
    code = pd.Index(names).get_indexer(pd.Index(identity))[series].astype(np.int64)
    origin = int(min(births.at_ms.min(), at.min(initial=births.at_ms.min())))
    reach = int(max(births.at_ms.max(), at.max(initial=0))) - origin + 1
    keys = np.repeat(codes.astype(np.int64), np.diff(births.first)) * reach
    keys = keys + (births.at_ms - origin)
    order = np.argsort(keys, kind="stable")
    keys, born = keys[order], births.value[order]
    owner = keys // reach
    after = np.searchsorted(keys, code * reach + (at - origin), side="right")
    before = np.maximum(after - 1, 0)
    upcoming = np.minimum(after, len(keys) - 1)
    said = (after > 0) & (owner[before] == code)
    hindsight = ~said & (owner[upcoming] == code) & (born[upcoming] <= at)
    result[said] = born[before[said]]
    result[hindsight] = born[upcoming[hindsight]]
    result[code < 0] = np.nan
    return result
