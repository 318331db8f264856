"""What the held devices did: active, idle and unmeasured time, its shape, memory and energy."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.money import split_groups
from app.units.window import Window
from app.usage import frames
from app.usage.device_rows import Rows, homes, number_rows
from app.usage.kinds import ActivityBasis, ActivityScope
from app.usage.placement import Placement, Places, place
from app.usage.pools import pools_of_usage
from app.usage.readings import NANO, reading_of
from app.usage.samples import DEVICE_LABELS, SampleSet, no_samples
from app.usage.sharers import sharer_tracks
from app.usage.states import DeviceStates
from app.usage.timelines import (
    BANDS,
    REACH_SCRAPES,
    Cursor,
    EnergyTimeline,
    Timeline,
    activity_timeline,
    energy_timeline,
)

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

# Metrics of whole boards, which say nothing of one that is divided.
COARSE = (ActivityBasis.GPU_UTIL, ActivityBasis.DUTY_CYCLE, ActivityBasis.HAMI_HOST)
_NO_BOARD = (int(ActivityScope.NONE), int(ActivityScope.SHARED_POOL))
# The grid of the highest mean, aligned to the window.
PEAK_MS = 300_000
_BAND_COLUMNS = (
    "band_0_ms",
    "band_0_5_ms",
    "band_5_20_ms",
    "band_20_50_ms",
    "band_50_80_ms",
    "band_80_100_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMetrics:
    """What the exporters said of the devices, with `DEVICE_LABELS`.

    ``activity`` comes in the order of preference: a device is read by the first basis that has a
    sample for it. ``sharers`` say what the named pods did with a device that they share. Values are
    ratios of a whole device or part; energy is the raw counter in millijoules. The three frames
    have a column ``value`` beside the labels: a figure over exactly the window.
    """

    activity: tuple[tuple[ActivityBasis, SampleSet], ...]
    sharers: SampleSet = field(default_factory=partial(no_samples, DEVICE_LABELS))
    energy: SampleSet
    memory_used_max_mib: pd.DataFrame
    sm_active_mean: pd.DataFrame
    dram_active_mean: pd.DataFrame


def measure(
    window: Window,
    states: DeviceStates,
    metrics: DeviceMetrics,
    nodes: pd.DataFrame,
    scrape_ms: int,
) -> pd.DataFrame:
    """Return `HOLD_USAGE`: one row a hold that takes capacity in the window.

    A sample speaks for the time since the one before of the same device, at most two scrapes; held
    time that none speaks for is unmeasured, also where a hold's devices are only partly known.
    Where a hold was scaled down, as its pool was oversubscribed, measured time is scaled alike.

    Energy is the boards', each split by what is held of them, null where the devices of a hold are
    not known or a counter misses part of it.
    ``nodes`` has node_id and node_name of the cluster's nodes.
    """
    holds = states.holds
    reach_ms = REACH_SCRAPES * scrape_ms
    kinds = [kind for kind, _ in metrics.activity]
    series, rows = number_rows(
        [*(samples for _, samples in metrics.activity), metrics.sharers, metrics.energy]
    )
    *shown, told, counted = series
    tracks = sharer_tracks(holds, told, rows)
    timeline = activity_timeline(
        window,
        [
            *(reading_of(kind, one, rows) for kind, one in zip(kinds, shown, strict=True)),
            tracks.reading,
        ],
        len(rows) + len(tracks),
        scrape_ms,
    )
    pools = pools_of_usage(states.pool_usage)
    places = Places(
        pools,
        homes(pools, [*shown, told], nodes, rows, reach_ms),
        rows,
        np.isin(timeline.basis, COARSE),
    )
    placement = place(places, holds, shown, tracks.pairs)
    board = np.concatenate([rows.board, tracks.board])[placement.device]
    held = _held_ms(holds, states.hold_segments)
    energy = energy_timeline(window, metrics.energy, rows.board[counted.device], len(rows))
    figures = _Figures(holds, placement, rows)
    usage = holds.assign(
        window_start_ms=window.start_ms,
        held_ms=held,
        **_times(holds, held, placement, timeline),
        peak_5m_ratio=_peaks(window, holds, placement, timeline),
        memory_used_max_mib=figures.of(metrics.memory_used_max_mib, "max"),
        sm_active_ratio=figures.of(metrics.sm_active_mean, "mean"),
        dram_active_ratio=figures.of(metrics.dram_active_mean, "mean"),
        energy_mj=_energy(_Held(holds, held, placement), board, energy, reach_ms),
    )
    usage = usage.sort_values(["node_id", "gpu_model_id", "hold_id"], ignore_index=True)
    validated: pd.DataFrame = frames.HOLD_USAGE.validate(usage[list(frames.HOLD_USAGE.columns)])
    return validated


def _held_ms(holds: pd.DataFrame, segments: pd.DataFrame) -> Int64s:
    position = pd.Index(holds["hold_id"]).get_indexer(pd.Index(segments["hold_id"]))
    held = np.zeros(len(holds), dtype=np.int64)
    np.add.at(held, position, segments["held_ms"].to_numpy())
    return held


def _cursors(
    holds: pd.DataFrame, placement: Placement, timeline: Timeline
) -> tuple[Cursor, Cursor]:
    start, end = (holds[name].to_numpy()[placement.hold] for name in ("start_ms", "end_ms"))
    return timeline.cursor(placement.device, start), timeline.cursor(placement.device, end)


def _times(
    holds: pd.DataFrame, held: Int64s, placement: Placement, timeline: Timeline
) -> dict[str, Int64s]:
    """Return active, idle, unmeasured and the bands of each hold, with basis and scope."""
    start, end = _cursors(holds, placement, timeline)
    full = placement.capacity * (holds["end_ms"] - holds["start_ms"]).to_numpy()
    bands_raw = [_per_hold(part, placement, len(holds)) for part in timeline.bands(start, end)]
    raw: Int64s = np.stack(bands_raw).sum(axis=0)
    active_raw = _per_hold(timeline.active(start, end), placement, len(holds))
    # A device that took the place of another speaks beside it for a moment. At most 64 devices an
    # hour each: the product stays below 2⁵⁶.
    measured = np.minimum(raw, full) * held // np.maximum(full, 1)
    active = _scaled_active(active_raw, raw, measured)
    bands = _split_bands(measured, bands_raw)
    any_measured = measured > 0
    basis = np.zeros(len(holds), dtype=np.int64)
    np.maximum.at(basis, placement.hold, timeline.basis[placement.device])
    return {
        "active_ms": active,
        "idle_ms": measured - active,
        "unmeasured_ms": held - measured,
        "activity_basis": np.where(any_measured, basis, int(ActivityBasis.NONE)),
        "activity_scope": np.where(any_measured, placement.scope, int(ActivityScope.NONE)),
        **dict(zip(_BAND_COLUMNS, bands, strict=True)),
    }


def _per_hold(parts: Int64s, placement: Placement, holds: int) -> Int64s:
    total = np.zeros(holds, dtype=np.int64)
    np.add.at(total, placement.hold, parts)
    return total


def _scaled_active(active_raw: Int64s, raw: Int64s, measured: Int64s) -> Int64s:
    """Return active milliseconds: exact where the measured time was not scaled."""
    exact = (active_raw + NANO // 2) // NANO
    ratio = active_raw / (np.maximum(raw, 1) * float(NANO))
    scaled = np.rint(measured * ratio).astype(np.int64)
    return np.minimum(np.where(measured == raw, exact, scaled), measured)


def _split_bands(measured: Int64s, bands_raw: list[Int64s]) -> list[Int64s]:
    """Split the measured time over the bands in proportion to what they had before scaling."""
    rows = np.flatnonzero(measured > 0)
    weights = np.stack(bands_raw, axis=1)[rows].ravel()
    group = np.repeat(np.arange(len(rows), dtype=np.int64), BANDS)
    bands = np.zeros((len(measured), BANDS), dtype=np.int64)
    bands[rows] = split_groups(measured[rows], group, weights).reshape(-1, BANDS)
    return [bands[:, number] for number in range(BANDS)]


def _peaks(
    window: Window, holds: pd.DataFrame, placement: Placement, timeline: Timeline
) -> Float64s:
    """Return the highest mean activity of a hold in any 5 minutes of the window's grid."""
    best = np.full(len(holds), np.nan)
    low, high = (holds[name].to_numpy()[placement.hold] for name in ("start_ms", "end_ms"))
    edges = np.arange(window.start_ms, window.end_ms + PEAK_MS, PEAK_MS)
    cursors = [timeline.cursor(placement.device, np.clip(int(at), low, high)) for at in edges]
    measured = timeline.steps(np.ones_like(timeline.at), cursors)
    active = timeline.steps(timeline.nano, cursors)
    for span_measured, span_active in zip(measured, active, strict=True):
        total = _per_hold(span_measured, placement, len(holds))
        ratio = _per_hold(span_active, placement, len(holds)) / (np.maximum(total, 1) * NANO)
        best = np.fmax(best, np.where(total > 0, ratio, np.nan))
    return best


@dataclass(frozen=True, slots=True)
class _Held:
    """Holds, their held milliseconds, and where they are placed."""

    holds: pd.DataFrame
    held: Int64s
    placement: Placement


def _energy(what: _Held, board: Int64s, energy: EnergyTimeline, reach_ms: int) -> "pd.Series[int]":
    """Return the energy of holds on known boards, null where a counter misses part of one.

    A hold has of each board's energy what it held of the board: MIG instances and sharers have
    their shares, so that all holders of a board have no more than the board.
    """
    holds, placement = what.holds, what.placement
    begin, finish = (holds[name].to_numpy() for name in ("start_ms", "end_ms"))
    start, end = begin[placement.hold], finish[placement.hold]
    whole = (energy.first_at[board] <= start + reach_ms) & (energy.last_at[board] >= end - reach_ms)
    used = np.where(whole, energy.used(board, start, end), 0) if len(energy.at) else 0 * start
    known = _per_hold(whole.astype(np.int64), placement, len(holds))
    null = (known < placement.capacity) | np.isin(placement.scope, _NO_BOARD)
    full = placement.capacity * np.maximum(finish - begin, 1)
    # used × held may pass 2⁶³ after a driver reload; quotient and rest by the span do not.
    whole_part, rest = np.divmod(used, full[placement.hold])
    share = holds["share_num"].to_numpy() * (finish - begin) // holds["share_den"].to_numpy()
    held = np.minimum(what.held, share)[placement.hold]
    parts = whole_part * held + rest * held // full[placement.hold]
    total = pd.Series(_per_hold(parts, placement, len(holds)), dtype="Int64", index=holds.index)
    return total.mask(null)


@dataclass(frozen=True, slots=True)
class _Figures:
    """Reads figures over the window of the devices on which holds are placed."""

    holds: pd.DataFrame
    placement: Placement
    rows: Rows

    def of(self, figure: pd.DataFrame, how: str) -> Float64s:
        """Return the maximum or mean of a figure over each placed hold's devices.

        Series that name the pod win; those that name another pod are of another time. Of a device
        that is told of in parts only, all parts are taken.
        """
        placed = self.placement.scope[self.placement.hold] == ActivityScope.DEVICE
        hold, row = self.placement.hold[placed], self.placement.device[placed]
        mine = self.holds[["namespace", "pod"]].iloc[hold].reset_index(drop=True)
        mine.columns = pd.Index(["own_namespace", "own_pod"])
        pairs = mine.assign(hold=hold, row=row)
        rows = pairs.merge(self._numbered(figure), on="row")
        own = (rows["pod"] == rows["own_pod"]) & (rows["namespace"] == rows["own_namespace"])
        rows = rows.assign(own=own).loc[own | (rows["pod"] == "")]
        named = rows.groupby(["hold", "row"])["own"].transform("max")
        rows = rows.loc[rows["own"] == named]
        # Copies of a series differ at most by a scrape's phase.
        each = rows.groupby(["hold", "row"])["value"].max()
        result = np.full(len(self.holds), np.nan)
        total = each.groupby("hold").agg(how)
        result[total.index.to_numpy(dtype=np.int64)] = total.to_numpy(dtype=np.float64)
        return result

    def _numbered(self, figure: pd.DataFrame) -> pd.DataFrame:
        """Return the figure's series by row; parts stand for a device that has none itself."""
        names = pd.MultiIndex.from_frame(self.rows.names)
        row = names.get_indexer(pd.MultiIndex.from_frame(figure[["device", "instance"]]))
        told = figure[["namespace", "pod", "value"]].assign(row=row).loc[row >= 0]
        board = self.rows.board[told["row"].to_numpy()]
        for_board = told.assign(row=board).loc[~np.isin(board, told["row"].to_numpy())]
        return pd.concat([told, for_board], ignore_index=True)
