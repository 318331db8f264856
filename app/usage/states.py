"""Decides for every instant of every device whether it is held, unobserved, stranded or free."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from app.units.intervals import Spans
from app.units.money import split_groups
from app.units.window import Window
from app.usage import frames
from app.usage.notes import notes_frame
from app.usage.placing import flagged, place_holds
from app.usage.pools import PoolIndex, index_pools, resolve_models
from app.usage.sweep import (
    PoolSpans,
    Shares,
    Sweep,
    common_denominators,
    scaled,
    sweep,
    united,
)

Int64s = npt.NDArray[np.int64]

# The holds that take capacity in a window: `frames.HOLDS` cut and clipped to the window and the
# pool's life, the model resolved, the unsure parts those inside the span, and `UsageFlag` bits.
CUT_HOLDS = pa.DataFrameSchema(
    {**frames.HOLDS.columns, "flags": pa.Column("int64")}, strict=True, coerce=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStates:
    """What `device_states` found: frames of `POOL_USAGE`, `HOLD_SEGMENTS`, `CUT_HOLDS`, `NOTES`."""

    pool_usage: pd.DataFrame
    hold_segments: pd.DataFrame
    holds: pd.DataFrame
    notes: pd.DataFrame


def device_states(
    window: Window,
    pools: pd.DataFrame,
    counts: pd.DataFrame,
    holds: pd.DataFrame,
    observed: Spans,
) -> DeviceStates:
    """Return who held what in ``window``: every device of every pool in one state at each instant.

    The order of decision is held, unobserved, stranded, unallocated. Device time outside the spans
    of ``counts`` is not advertised and therefore stranded, unless it is held or unobserved. Shares
    that add up to more than the devices are scaled to them; `claimed_ms` keeps the raw sum.

    ``holds`` may reach beyond the window, and holds that only touch it may be given too: edges are
    cut before they are clipped, so that neighboring windows cut alike. Each hold has one row. A
    hold on a pool that is not known, or outside the pool's life, becomes a note, not capacity.
    """
    index = index_pools(window, pools)
    placed = place_holds(window, index, pools, holds)
    swept = sweep(index, placed.spans(), _advertised(index, pools, counts), observed)
    devices = index.devices[swept.pool]
    cut = flagged(placed, swept, devices * swept.denominator)
    pool_usage = _pool_usage(window, index, united(swept, devices))
    segments = hold_segments(pool_usage, cut.assign(window_start_ms=window.start_ms))
    _assert_conserved(index, pool_usage, segments)
    return DeviceStates(
        pool_usage=frames.POOL_USAGE.validate(pool_usage),
        hold_segments=frames.HOLD_SEGMENTS.validate(segments),
        holds=CUT_HOLDS.validate(cut),
        notes=frames.NOTES.validate(notes_frame(placed.notes)),
    )


def hold_segments(pool_usage: pd.DataFrame, holds: pd.DataFrame) -> pd.DataFrame:
    """Split the held time of each span of ``pool_usage`` over its holders by their shares.

    ``holds`` needs the columns window_start_ms, node_id, gpu_model_id, hold_id, start_ms, end_ms,
    share_num, share_den (`HOLD_USAGE` has them) of the same windows; their edges must be borders of
    the spans. The result is ordered by window, node, model, start and hold; ties of the split go
    to the smaller hold identity.
    """
    key = ["window_start_ms", "node_id", "gpu_model_id"]
    spans = pool_usage.sort_values([*key, "start_ms"], ignore_index=True)
    group_of_span, group_of_hold, groups = _codes(spans[key], holds[key])
    held = np.flatnonzero(group_of_hold >= 0)
    group = group_of_hold[held]
    start, end = holds["start_ms"].to_numpy()[held], holds["end_ms"].to_numpy()[held]
    first, last = _ranges(group_of_span, spans["start_ms"].to_numpy(), group, start, end)
    shares = Shares(holds["share_num"].to_numpy()[held], holds["share_den"].to_numpy()[held])
    denominator = common_denominators(group, groups, shares.den)
    weight = scaled(shares, denominator[group], least=1)
    line = np.repeat(np.arange(len(held)), last - first)
    offset = np.arange(len(line)) - np.repeat(
        np.cumsum(last - first) - (last - first), last - first
    )
    span = first[line] + offset
    hold_id = holds["hold_id"].to_numpy()[held]
    order = np.lexsort((hold_id[line], span))
    line, span = line[order], span[order]
    parts = split_groups(spans["held_ms"].to_numpy(), span, weight[line])
    lines = spans[[*key, "start_ms", "end_ms"]].iloc[span].reset_index(drop=True)
    lines = lines.assign(hold_id=hold_id[line], held_ms=parts)
    ordered: pd.DataFrame = lines[list(frames.HOLD_SEGMENTS.columns)]
    return ordered


def _codes(spans: pd.DataFrame, holds: pd.DataFrame) -> tuple[Int64s, Int64s, int]:
    """Number the windows' pools in the order of the spans; -1 for a hold whose pool has none."""
    columns = [spans[name].to_numpy() for name in spans.columns]
    fresh = np.ones(len(spans), dtype=bool)
    if len(spans):
        fresh[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    group = np.cumsum(fresh) - 1
    pools = pd.MultiIndex.from_frame(spans.loc[fresh])
    found = pools.get_indexer(pd.MultiIndex.from_frame(holds))
    return group.astype(np.int64), found.astype(np.int64), int(fresh.sum())


def _ranges(
    group_of_span: Int64s, span_start: Int64s, group: Int64s, start: Int64s, end: Int64s
) -> tuple[Int64s, Int64s]:
    """Return the first span of each hold and the one after its last."""
    origin = int(min(span_start.min(initial=2**62), start.min(initial=2**62)))
    reach = int(max(span_start.max(initial=0), end.max(initial=0))) - origin + 1
    keys = group_of_span * reach + (span_start - origin)
    first = np.searchsorted(keys, group * reach + (start - origin))
    last = np.searchsorted(keys, group * reach + (end - origin))
    return first.astype(np.int64), last.astype(np.int64)


def _advertised(index: PoolIndex, pools: pd.DataFrame, counts: pd.DataFrame) -> PoolSpans:
    """Return disjoint spans of how much of the devices may be held.

    Where two rows speak for one instant, the one that started later does, of two that started
    together the larger.
    """
    pool = index.find(counts["node_id"].to_numpy(), resolve_models(counts, pools))
    known = np.flatnonzero(pool >= 0)
    columns = {name: counts[name].to_numpy()[known] for name in counts.columns}
    pool = pool[known]
    amount = columns["allocatable_num"] / columns["allocatable_den"]
    order = np.lexsort((amount, columns["start_ms"], pool))
    pool = pool[order]
    columns = {name: column[order] for name, column in columns.items()}
    start = np.maximum(columns["start_ms"], index.start_ms[pool])
    end = np.minimum(columns["end_ms"], index.end_ms[pool])
    same = pool[1:] == pool[:-1]
    end[:-1] = np.where(same, np.minimum(end[:-1], start[1:]), end[:-1])
    keep = start < end
    share = Shares(columns["allocatable_num"], columns["allocatable_den"])
    compute = Shares(columns["compute_num"], columns["compute_den"])
    return PoolSpans(pool[keep], start[keep], end[keep], share.only(keep), compute.only(keep))


def _pool_usage(window: Window, index: PoolIndex, swept: Sweep) -> pd.DataFrame:
    """Turn spans into milliseconds: held is rounded to the nearest, the rest is what remains."""
    length = swept.end - swept.start
    devices = index.devices[swept.pool]
    held = _nearest(swept.held * length, swept.denominator)
    rest = devices * length - held
    unobserved = np.where(swept.observed, 0, rest)
    # What is not allocatable is stranded, as far as it is not held nevertheless.
    allocatable = _held_or_allocatable(swept.held, swept.allocatable, swept.denominator, length)
    compute_allocatable = _held_or_allocatable(
        swept.compute_held, swept.compute_allocatable, swept.compute_denominator, length
    )
    stranded = np.where(swept.observed, devices * length - allocatable, 0)
    return pd.DataFrame(
        {
            "window_start_ms": np.full(len(length), window.start_ms, dtype=np.int64),
            "node_id": index.node_id[swept.pool],
            "gpu_model_id": index.gpu_model_id[swept.pool],
            "start_ms": swept.start,
            "end_ms": swept.end,
            "devices": devices,
            "held_ms": held,
            "unobserved_ms": unobserved,
            "stranded_ms": stranded,
            "unallocated_ms": rest - unobserved - stranded,
            "claimed_ms": _nearest(swept.claimed * length, swept.denominator),
            "allocatable_ms": allocatable,
            "compute_allocatable_ms": compute_allocatable,
        }
    )


def _held_or_allocatable(
    held: Int64s, allocatable: Int64s, denominator: Int64s, length: Int64s
) -> Int64s:
    """Return the milliseconds that are held or could be."""
    return _nearest(np.maximum(held, allocatable) * length, denominator)


def _nearest(amount: Int64s, denominator: Int64s) -> Int64s:
    """Divide and round to the nearest integer, halves up."""
    return (2 * amount + denominator) // (2 * denominator)


def _assert_conserved(index: PoolIndex, pool_usage: pd.DataFrame, segments: pd.DataFrame) -> None:
    states = ["held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms"]
    total = int(pool_usage[states].to_numpy().sum())
    capacity = int((index.devices * (index.end_ms - index.start_ms)).sum())
    assert total == capacity, f"The states sum to {total} ms of a capacity of {capacity} ms."
    assert bool((pool_usage[states].to_numpy() >= 0).all()), "A device state is negative."
    held, split = int(pool_usage["held_ms"].sum()), int(segments["held_ms"].sum())
    assert held == split, f"The holders have {split} ms of {held} ms held."
