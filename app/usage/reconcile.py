"""Fills gaps of the Kubernetes watch from kube-state-metrics; what neither saw stays unobserved."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.intervals import Spans
from app.units.window import OPEN_MS
from app.usage import frames

Int64s = npt.NDArray[np.int64]


def reconcile(
    watch_holds: pd.DataFrame,
    watch_observed: Spans,
    state_holds: pd.DataFrame,
    state_observed: Spans,
) -> tuple[pd.DataFrame, Spans]:
    """Return the holds that either source knows (`HOLDS`), and when at least one of them looked.

    The watch's word stands wherever it watched. A hold that it saw on both sides of a gap has one
    row there already and is continuous. One that vanished in a gap (``end_lost``) gets the end that
    kube-state-metrics saw, with its uncertainty, as long as it saw the hold later than the watch
    did. Holds that only kube-state-metrics saw are added inside the gap where they mostly lie: at
    its borders the watch knows that they were not there yet, or no more.
    """
    known = pd.Index(watch_holds["hold_id"])
    position = known.get_indexer(pd.Index(state_holds["hold_id"]))
    joined = _with_found_ends(
        watch_holds, state_holds.loc[position >= 0], position[position >= 0], watch_observed
    )
    added = _inside_gaps(state_holds.loc[position < 0], watch_observed)
    parts = [frame for frame in (joined, added) if len(frame)]
    together = pd.concat(parts, ignore_index=True) if parts else frames.empty(frames.HOLDS)
    validated: pd.DataFrame = frames.HOLDS.validate(together)
    return validated, watch_observed.union(state_observed)


def _with_found_ends(
    holds: pd.DataFrame, state: pd.DataFrame, position: Int64s, watched: Spans
) -> pd.DataFrame:
    """Return the watch's holds; lost ends moved to where kube-state-metrics saw them."""
    start, end = (holds[name].to_numpy().copy() for name in ("start_ms", "end_ms"))
    unsure = holds["end_unsure_ms"].to_numpy().copy()
    lost = holds["end_lost"].to_numpy(dtype=bool).copy()
    latest = state["end_ms"].to_numpy()
    earliest = latest - state["end_unsure_ms"].to_numpy()
    still_lost = state["end_lost"].to_numpy(dtype=bool)
    # The watch looked again at the end of the gap, and the hold was gone.
    bound = _next_watched(watched, end[position])
    found = lost[position] & (latest > end[position])
    rows = position[found]
    new_end = np.minimum(latest, bound)[found]
    # Where the watch saw it last it was there still, whatever the scrapes before say.
    low = np.clip(earliest[found], end[rows], new_end)
    capped = (latest > bound)[found]
    lost[rows] = still_lost[found] & ~capped
    end[rows] = np.maximum(new_end, start[rows])
    unsure[rows] = new_end - low
    return holds.assign(end_ms=end, end_unsure_ms=unsure, end_lost=lost)


def _next_watched(watched: Spans, at: Int64s) -> Int64s:
    """Return when the watch was there again after an instant of a gap, open if never."""
    starts = np.append(watched.start, OPEN_MS)
    following: Int64s = starts[np.searchsorted(watched.start, at, side="left")]
    return following


def _inside_gaps(holds: pd.DataFrame, watched: Spans) -> pd.DataFrame:
    """Clip each hold to the gap of the watch that has most of it; those in no gap go."""
    gaps = watched.gaps(-OPEN_MS, OPEN_MS)
    start, end = holds["start_ms"].to_numpy(), holds["end_ms"].to_numpy()
    hold, gap = _overlaps(start, end, gaps)
    length = np.minimum(end[hold], gaps.end[gap]) - np.maximum(start[hold], gaps.start[gap])
    order = np.lexsort((gap, -length, hold))
    first = np.append(True, np.diff(hold[order]) > 0)[: len(order)]
    hold, gap = hold[order][first], gap[order][first]
    latest_start = start + holds["start_unsure_ms"].to_numpy()
    earliest_end = end - holds["end_unsure_ms"].to_numpy()
    low = np.maximum(start[hold], gaps.start[gap])
    high = np.minimum(end[hold], gaps.end[gap])
    lost = holds["end_lost"].to_numpy(dtype=bool)[hold] & (end[hold] <= gaps.end[gap])
    inside: pd.DataFrame = holds.iloc[hold].assign(
        start_ms=low,
        end_ms=high,
        start_unsure_ms=np.clip(latest_start[hold] - low, 0, high - low),
        end_unsure_ms=np.clip(high - earliest_end[hold], 0, high - low),
        end_lost=lost,
    )
    return inside


def _overlaps(start: Int64s, end: Int64s, gaps: Spans) -> tuple[Int64s, Int64s]:
    """Return all pairs of a hold and a gap that overlap."""
    first = np.searchsorted(gaps.end, start, side="right")
    last = np.searchsorted(gaps.start, end, side="left")
    count = np.maximum(last - first, 0)
    hold = np.repeat(np.arange(len(start), dtype=np.int64), count)
    offset = np.arange(len(hold)) - np.repeat(np.cumsum(count) - count, count)
    return hold, (first[hold] + offset).astype(np.int64)
