"""What each device did over time, as integrals that can be read between any two instants.

A row is a device, a part of one, or what one pod does with one.

Everything is integer, so a figure of one device never depends on the samples of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage.readings import UNNAMED, Reading, samples_by_row
from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A sample speaks for the time since the one before, but for no more than this many scrapes.
REACH_SCRAPES = 2
# Upper bounds of the bands 0, (0,5], (5,20], (20,50], (50,80] percent; the last one is open.
_BAND_BOUNDS = np.array([0, 50_000_000, 200_000_000, 500_000_000, 800_000_000], dtype=np.int64)
BANDS = 6


@dataclass(frozen=True, slots=True)
class Cursor:
    """Instants on devices, located among the samples: the sample that speaks, and how far in."""

    sample: Int64s
    inside: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Samples by device (a row number of the caller's devices) and instant.

    Sample i speaks for ``(low[i], at[i]]``. ``basis`` is per device, 0 where no sample speaks.
    """

    device: Int64s
    at: Int64s
    low: Int64s
    nano: Int64s
    basis: Int64s
    keys: Int64s
    origin: int
    reach: int

    def cursor(self, device: Int64s, at: Int64s) -> Cursor:
        """Locate instants; they must lie inside the window that the timeline was made for."""
        sample = np.searchsorted(self.keys, device * self.reach + (at - self.origin))
        known = np.minimum(sample, max(len(self.at) - 1, 0))
        speaks = sample < len(self.at)
        if len(self.at):
            speaks &= self.device[known] == device
            inside = np.where(speaks, np.maximum(at - self.low[known], 0), 0)
        else:
            inside = np.zeros(len(at), dtype=np.int64)
        return Cursor(sample.astype(np.int64), inside)

    def active(self, start: Cursor, end: Cursor) -> Int64s:
        """Return the activity between the cursors, in billionths of a millisecond."""
        (total,) = self.steps(self.nano, [start, end])
        return total

    def bands(self, start: Cursor, end: Cursor) -> list[Int64s]:
        """Return the measured milliseconds between the cursors by band of activity."""
        band = np.searchsorted(_BAND_BOUNDS, self.nano, side="left")
        weights = [(band == number).astype(np.int64) for number in range(BANDS)]
        return [self.steps(weight, [start, end])[0] for weight in weights]

    def steps(self, weight: Int64s, cursors: Sequence[Cursor]) -> list[Int64s]:
        """Return the integral of a weight of the samples between each two neighboring cursors."""
        # Sums over all devices may wrap around 2⁶⁴; differences within one device do not.
        zero = np.zeros(1, dtype=np.int64)
        before = np.concatenate([zero, np.cumsum(weight * (self.at - self.low))])
        padded = np.concatenate([weight, zero])
        sums = [before[c.sample] + c.inside * padded[c.sample] for c in cursors]
        return [upper - lower for lower, upper in pairwise(sums)]


def activity_timeline(
    window: Window, readings: Sequence[Reading], rows: int, scrape_ms: int
) -> Timeline:
    """Unite the readings of each row, by the first basis that says anything about the window.

    Of several values at one instant that of the series without a pod counts: it is the device's,
    where the others are the parts of pods. Else they are copies (of a doubled scrape, or of a value
    shown to several pods) and the largest counts.
    """
    reach_ms = REACH_SCRAPES * scrape_ms
    basis = np.zeros(rows, dtype=np.int64)
    chosen: list[tuple[Int64s, Int64s, Int64s]] = []
    for reading in readings:
        near = (reading.at_ms > window.start_ms) & (reading.at_ms - reach_ms < window.end_ms)
        speaking = np.zeros(rows, dtype=bool)
        speaking[reading.row[near]] = True
        fresh = speaking & (basis == 0)
        basis[fresh] = int(reading.basis)
        mine = fresh[reading.row]
        chosen.append((reading.row[mine], reading.at_ms[mine], reading.nano[mine]))
    row, at, marked = (np.concatenate([part[i] for part in chosen]) for i in range(3))
    row, at, marked, keys, origin, reach = ordered(window, row, at, marked)
    nano = np.where(marked >= UNNAMED, marked - UNNAMED, marked)
    earlier = at - reach_ms
    same = row[1:] == row[:-1]
    earlier[1:] = np.where(same, np.maximum(earlier[1:], at[:-1]), earlier[1:])
    return Timeline(
        device=row,
        at=at,
        low=earlier,
        nano=nano,
        basis=basis,
        keys=keys,
        origin=origin,
        reach=reach,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTimeline:
    """Energy counters by device and instant: ``grown`` since the sample before, in millijoules."""

    device: Int64s
    at: Int64s
    low: Int64s
    grown: Int64s
    keys: Int64s
    origin: int
    reach: int
    first_at: Int64s
    last_at: Int64s

    def used(self, device: Int64s, start: Int64s, end: Int64s) -> Int64s:
        """Return the energy of devices between instants; growth is even between two samples."""
        return self._until(device, end) - self._until(device, start)

    def _until(self, device: Int64s, at: Int64s) -> Int64s:
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.grown)])
        sample = np.searchsorted(self.keys, device * self.reach + (at - self.origin))
        known = np.minimum(sample, len(self.at) - 1)
        inside = (sample < len(self.at)) & (self.device[known] == device)
        passed = np.clip(at - self.low[known], 0, None)
        length = np.maximum(self.at[known] - self.low[known], 1)
        # Growth between two samples and milliseconds between them: both far below 2³¹, or after a
        # driver reload the counter itself (below 2⁴⁴) and some scrapes.
        part = np.where(inside, self.grown[known] * passed // length, 0)
        total: Int64s = before[sample] + part
        return total


def energy_timeline(
    window: Window, energy: SampleSet, board_of_series: Int64s, devices: int
) -> EnergyTimeline:
    """Unite the energy counters of each device; of copies of a series the fullest is taken.

    The counter is the board's, and each MIG instance repeats it: it counts once, at an instant the
    largest value. Copies are read a moment apart, so that a small fall is none; a fall to less
    than half is a driver reload, after which the counter starts from 0.
    """
    unwanted = ~fullest_copies(energy)
    device, at, raw, _ = samples_by_row(np.where(unwanted, -1, board_of_series), energy)
    counter = np.rint(raw).astype(np.int64)
    device, at, value, keys, origin, reach = ordered(window, device, at, counter)
    low, grown = at.copy(), np.zeros(len(at), dtype=np.int64)
    same = device[1:] == device[:-1]
    low[1:] = np.where(same, at[:-1], at[1:])
    reset = np.zeros(len(at), dtype=bool)
    reset[1:] = same & (value[1:] < value[:-1] // 2)
    begins = np.append(True, ~same) | reset if len(at) else reset
    highest = pd.Series(value).groupby(np.cumsum(begins)).cummax().to_numpy()
    grown[1:] = np.where(same, highest[1:] - np.where(reset[1:], 0, highest[:-1]), 0)
    first_at = np.full(devices, np.iinfo(np.int64).max)
    last_at = np.full(devices, np.iinfo(np.int64).min)
    np.minimum.at(first_at, device, at)
    np.maximum.at(last_at, device, at)
    return EnergyTimeline(
        device=device,
        at=at,
        low=low,
        grown=grown,
        keys=keys,
        origin=origin,
        reach=reach,
        first_at=first_at,
        last_at=last_at,
    )


def fullest_copies(samples: SampleSet) -> Bools:
    """Mark of each identity one series: the one with most samples, then the first by name."""
    series = pd.DataFrame(
        {
            "identity": samples.labels["identity"],
            "series": samples.labels["series"],
            "samples": -np.diff(samples.first),
        }
    ).sort_values(["identity", "samples", "series"], kind="stable")
    chosen = np.zeros(len(series), dtype=bool)
    chosen[series.index[~series["identity"].duplicated()]] = True
    return chosen


def ordered(
    window: Window, device: Int64s, at: Int64s, value: Int64s
) -> tuple[Int64s, Int64s, Int64s, Int64s, int, int]:
    """Sort samples by device and instant, the larger value alone where two coincide."""
    origin = min(int(at.min(initial=window.start_ms)), window.start_ms)
    reach = max(int(at.max(initial=window.end_ms)), window.end_ms) - origin + 1
    keys = device * reach + (at - origin)
    if np.any(keys[1:] <= keys[:-1]):
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        firsts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        keys, value = keys[firsts], np.maximum.reduceat(value[order], firsts)
        device, at = np.divmod(keys, reach)
        at = at + origin
    return device, at, value, keys, origin, reach
