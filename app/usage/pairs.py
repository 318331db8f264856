"""Pairs of holds and devices: who is named by samples, and who wins where two are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.device_rows import SeriesSpans
from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Candidates: a hold, a row of a device or part, and by how many samples."""

    hold: Int64s
    device: Int64s
    samples: Int64s

    def where(self, keep: Bools) -> "Pairs":
        """Return the chosen pairs."""
        return Pairs(self.hold[keep], self.device[keep], self.samples[keep])


def named_pairs(holds: pd.DataFrame, series: Sequence[SeriesSpans]) -> Pairs:
    """Return holds and devices of which a sample names the pod while it held."""
    named = holds[["namespace", "pod", "start_ms", "end_ms"]].assign(hold=np.arange(len(holds)))
    found: list[pd.DataFrame] = []
    for one in series:
        rows = one.labels[["namespace", "pod"]].assign(
            series=np.arange(len(one.labels)), device=one.device
        )
        rows = rows.loc[rows["pod"] != ""].merge(named, on=["namespace", "pod"])
        number = rows["series"].to_numpy()
        # A sample speaks for the time before it: one at the start of a hold says nothing of it.
        edges = pd.concat([rows["start_ms"], rows["end_ms"]])
        before, until = np.split(samples_until(one.samples, np.tile(number, 2), edges), 2)
        found.append(rows.assign(samples=until - before)[["hold", "device", "samples"]])
    named_by = pd.concat(found).groupby(["hold", "device"], sort=True)["samples"].sum()
    pairs = named_by[named_by > 0].reset_index()
    return Pairs(
        pairs["hold"].to_numpy(dtype=np.int64),
        pairs["device"].to_numpy(dtype=np.int64),
        pairs["samples"].to_numpy(dtype=np.int64),
    )


def summed(pairs: Pairs) -> Pairs:
    """Return each pair once, with all of its samples."""
    frame = pd.DataFrame({"hold": pairs.hold, "device": pairs.device, "samples": pairs.samples})
    each = frame.groupby(["hold", "device"], sort=True)["samples"].sum().reset_index()
    hold, device, samples = (each[name].to_numpy(dtype=np.int64) for name in each.columns)
    return Pairs(hold, device, samples)


def samples_until(samples: SampleSet, series: Int64s, at: "pd.Series[int]") -> Int64s:
    """Return how many samples of each series are not later than the instant."""
    if not len(samples.at_ms):
        return np.zeros(len(series), dtype=np.int64)
    origin = int(samples.at_ms.min())
    reach = int(samples.at_ms.max()) - origin + 2
    keys = samples.series_of_samples() * reach + (samples.at_ms - origin) + 1
    offset = np.clip(at.to_numpy() - origin + 1, 0, reach - 1)
    below = np.searchsorted(keys, series * reach + offset, side="right")
    until: Int64s = np.subtract(below, samples.first[series], dtype=np.int64)
    return until


def best_pairs(pairs: Pairs, holds: pd.DataFrame, units: Int64s) -> Pairs:
    """Keep no more devices a hold than it has, and no device for two holds at one time.

    The pair with more samples wins, then the smaller hold, then the earlier device.
    """
    hold_id = holds["hold_id"].to_numpy()
    order = np.lexsort((pairs.device, hold_id[pairs.hold], -pairs.samples, pairs.hold))
    hold = pairs.hold[order]
    rank = np.arange(len(hold)) - np.searchsorted(hold, hold)
    kept = np.zeros(len(hold), dtype=bool)
    kept[order[rank < units[hold]]] = True
    pairs = pairs.where(kept)
    start, end = holds["start_ms"].to_numpy(), holds["end_ms"].to_numpy()
    contested = _contested(pairs, start, end)
    keep = np.ones(len(pairs.hold), dtype=bool)
    for device in np.unique(pairs.device[contested]):
        rows = np.flatnonzero(pairs.device == device)
        rows = rows[np.lexsort((hold_id[pairs.hold[rows]], -pairs.samples[rows]))]
        taken: list[int] = []
        for row in rows:
            mine = pairs.hold[row]
            others = pairs.hold[taken]
            keep[row] = not np.any((start[others] < end[mine]) & (start[mine] < end[others]))
            if keep[row]:
                taken.append(int(row))
    return pairs.where(keep)


def _contested(pairs: Pairs, start: Int64s, end: Int64s) -> Int64s:
    """Return the pairs whose device stood with another hold when theirs began."""
    order = np.lexsort((start[pairs.hold], pairs.device))
    device, began = pairs.device[order], start[pairs.hold][order]
    over = end[pairs.hold][order]
    overlaps = (device[1:] == device[:-1]) & (began[1:] < over[:-1])
    contested: Int64s = order[1:][overlaps]
    return contested
