"""Puts holds on pools: cuts unsure overlaps, clips to the window and the pool's life, flags."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.cutting import Edges, cut_overlaps
from app.usage.kinds import UsageFlag
from app.usage.notes import Note
from app.usage.pools import PoolIndex
from app.usage.sweep import PoolSpans, Shares, Sweep

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlacedHolds:
    """The window's holds on its pools (`CUT_HOLDS`, flags as far as edges tell), and notes."""

    frame: pd.DataFrame
    pool: Int64s
    notes: tuple[Note, ...]

    def spans(self) -> PoolSpans:
        """Return the holds as spans of their pools."""
        start, end, *shares = (
            self.frame[name].to_numpy()
            for name in (
                "start_ms",
                "end_ms",
                "share_num",
                "share_den",
                "compute_num",
                "compute_den",
            )
        )
        return PoolSpans(self.pool, start, end, Shares(*shares[:2]), Shares(*shares[2:]))


def place_holds(
    window: Window, index: PoolIndex, pools: pd.DataFrame, holds: pd.DataFrame
) -> PlacedHolds:
    """Return the holds that take capacity in the window, ordered by pool and hold.

    Holds of no length or no share take none. What lies outside the life of a known pool, and what
    stands on no known pool, is noted with its device-milliseconds.
    """
    assert holds["hold_id"].is_unique, "A hold has more than one row."
    holds = holds.loc[(holds["share_num"] > 0) & (holds["start_ms"] < holds["end_ms"])]
    pool = index.find(holds["node_id"].to_numpy(), holds["gpu_model_id"].to_numpy())
    notes = _notes_on_unplaced(window, index, pools, holds, pool)
    known = pool >= 0
    frame, pool = holds.loc[known], pool[known]
    order = np.lexsort((frame["hold_id"].to_numpy(), pool))
    frame, pool = frame.iloc[order].reset_index(drop=True), pool[order]
    frame = _clipped(index, pool, _cut(frame, pool, index))
    present = (frame["start_ms"] < frame["end_ms"]).to_numpy()
    return PlacedHolds(frame.loc[present].reset_index(drop=True), pool[present], notes)


def flagged(placed: PlacedHolds, swept: Sweep, capacity: Int64s) -> pd.DataFrame:
    """Return the holds with the flags that the sweep tells.

    A device that is not allocatable and still held cannot be told from its neighbors: all holders
    of the pool at that time are flagged.
    """
    frame = placed.frame
    oversubscribed = swept.claimed > capacity
    unhealthy = swept.advertised & (swept.held > swept.allocatable)
    reach = int(swept.end.max(initial=0)) + 1
    origin = int(swept.start.min(initial=reach))
    keys = swept.pool * (reach - origin) + (swept.start - origin)
    at = placed.pool * (reach - origin) - origin
    first = np.searchsorted(keys, at + frame["start_ms"].to_numpy())
    last = np.searchsorted(keys, at + frame["end_ms"].to_numpy())
    flags = frame["flags"].to_numpy().copy()
    flags |= _any_within(oversubscribed, first, last) * np.int64(UsageFlag.OVERSUBSCRIBED)
    flags |= _any_within(unhealthy, first, last) * np.int64(UsageFlag.UNHEALTHY_HELD)
    return frame.assign(flags=flags)


def _any_within(marks: Bools, first: Int64s, last: Int64s) -> Bools:
    """Say for each range of rows whether one of them is marked."""
    before = np.concatenate([[0], np.cumsum(marks)])
    return np.asarray(before[last] > before[first])


def _cut(frame: pd.DataFrame, pool: Int64s, index: PoolIndex) -> pd.DataFrame:
    """Return the holds with unsure overlaps cut apart and flagged."""
    edges = Edges(
        hold_id=frame["hold_id"].to_numpy(),
        pool=pool,
        share_num=frame["share_num"].to_numpy(),
        share_den=frame["share_den"].to_numpy(),
        exclusive=frame["exclusive"].to_numpy(dtype=bool),
        start=frame["start_ms"].to_numpy().copy(),
        end=frame["end_ms"].to_numpy().copy(),
        start_unsure=frame["start_unsure_ms"].to_numpy().copy(),
        end_unsure=frame["end_unsure_ms"].to_numpy().copy(),
        cut_start=np.zeros(len(frame), dtype=bool),
        cut_end=np.zeros(len(frame), dtype=bool),
    )
    cut_overlaps(edges, index.devices)
    return frame.assign(
        start_ms=edges.start,
        end_ms=edges.end,
        start_unsure_ms=edges.start_unsure,
        end_unsure_ms=edges.end_unsure,
        cut_start=edges.cut_start,
        cut_end=edges.cut_end,
    )


def _clipped(index: PoolIndex, pool: Int64s, holds: pd.DataFrame) -> pd.DataFrame:
    """Return the holds inside their pool's part of the window, with the pool's model."""
    low, high = index.start_ms[pool], index.end_ms[pool]
    start, end = holds["start_ms"].to_numpy(), holds["end_ms"].to_numpy()
    latest_start = start + holds["start_unsure_ms"].to_numpy()
    earliest_end = end - holds["end_unsure_ms"].to_numpy()
    inside_start, inside_end = np.maximum(start, low), np.minimum(end, high)
    length = np.maximum(inside_end - inside_start, 0)
    cut = (holds["cut_start"].to_numpy() & (low <= start) & (start <= high)) | (
        holds["cut_end"].to_numpy() & (low <= end) & (end <= high)
    )
    lost = holds["end_lost"].to_numpy() & (low < end) & (end <= high)
    flags = cut * np.int64(UsageFlag.EDGE_CUT) | lost * np.int64(UsageFlag.END_LOST)
    return holds.drop(columns=["cut_start", "cut_end"]).assign(
        node_id=index.node_id[pool],
        gpu_model_id=index.gpu_model_id[pool],
        start_ms=inside_start,
        end_ms=inside_end,
        start_unsure_ms=np.clip(latest_start - inside_start, 0, length),
        end_unsure_ms=np.clip(inside_end - earliest_end, 0, length),
        flags=flags,
    )[[*frames.HOLDS.columns, "flags"]]


def _notes_on_unplaced(
    window: Window, index: PoolIndex, pools: pd.DataFrame, holds: pd.DataFrame, pool: Int64s
) -> tuple[Note, ...]:
    """Return notes on hold time in the window that is on no pool, or outside the pool's life."""
    start = holds["start_ms"].clip(lower=window.start_ms).to_numpy()
    end = holds["end_ms"].clip(upper=window.end_ms).to_numpy()
    total = np.maximum(end - start, 0)
    alive = np.zeros(len(holds), dtype=np.int64)
    known = pool >= 0
    low, high = index.start_ms[pool[known]], index.end_ms[pool[known]]
    inside = np.minimum(end[known], high) - np.maximum(start[known], low)
    alive[known] = np.maximum(inside, 0)
    off = np.flatnonzero(total > alive)
    node_is_known = holds["node_id"].isin(pools["node_id"]).to_numpy()
    device_ms = (total - alive) * holds["share_num"].to_numpy() // holds["share_den"].to_numpy()
    notes = []
    for row in off:
        kind, detail = _OUTSIDE if node_is_known[row] else _UNKNOWN
        subject = f"{holds['namespace'].iloc[row]}/{holds['pod'].iloc[row]}"
        notes.append(Note(kind, subject, int(device_ms[row]), detail))
    return tuple(notes)


_OUTSIDE = (
    "hold_outside_pool",
    "The pod stood on its node before the node was created or after it was gone.",
)
_UNKNOWN = (
    "hold_on_unknown_pool",
    "No device of the pod's node is known; its time is on no pool and takes no capacity.",
)
