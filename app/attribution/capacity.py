"""Stored usage as rating takes it: pools, their spans, and who had how much of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.charges import ChargeKind
from app.attribution.segments import HELD, NOBODY, Pieces, Segments, join
from app.attribution.tariffs import Pools
from app.errors import GpuledgerError
from app.units.identity import mix64
from app.units.window import from_ms
from app.usage.policies import DividedUsage, under_policies
from app.usage.share_policies import SharePolicy
from app.usage.states import hold_segments

Int64s = npt.NDArray[np.int64]

# What names a pool in a window.
_POOL = ("window_start_ms", "node_id", "gpu_model_id")

# What rating reads of a hold's row; the shape of its activity is for findings.
_HOLD_COLUMNS = [
    *_POOL,
    "hold_id",
    "workload_id",
    "start_ms",
    "end_ms",
    "share_num",
    "share_den",
    "compute_num",
    "compute_den",
    "units",
    "sharing",
    "held_ms",
    "active_ms",
    "idle_ms",
    "unmeasured_ms",
]

# Which column of the pool rows is charged as what when nobody held the time.
_STATES = (
    ("unallocated_ms", ChargeKind.UNALLOCATED),
    ("stranded_ms", ChargeKind.STRANDED),
    ("unobserved_ms", ChargeKind.UNOBSERVED),
)


class UsageMismatchError(GpuledgerError):
    """Stored usage rows of a window contradict each other: held time that no hold has."""

    def __init__(self, window_start_ms: int, node_id: int, what: str) -> None:
        super().__init__(
            f"The usage of {from_ms(window_start_ms).isoformat()} contradicts itself"
            f" on node {node_id}: {what}.",
            hint="Collect the window again.",
        )
        self.window_start_ms = window_start_ms
        self.node_id = node_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """All device time of some windows; ``pieces.hold`` numbers the rows of ``holds``."""

    pools: Pools
    holds: pd.DataFrame
    segments: Segments
    pieces: Pieces


def capacity_of(
    pool_usage: pd.DataFrame, hold_usage: pd.DataFrame, policies: Sequence[SharePolicy] = ()
) -> Capacity:
    """Return the capacity that frames of `POOL_USAGE` and `HOLD_USAGE` describe under policies.

    Raises `UsageMismatchError` if, as they were collected, the holds' time is not the pools' held
    time.
    """
    facts = _divided(pool_usage, hold_usage)
    capacity = _capacity(facts)
    usage = under_policies(facts, policies)
    if usage is facts:
        return capacity
    holds = _ordered_holds(usage.hold_usage)
    return _capacity(replace(usage, hold_usage=holds))


def pools_and_segments(pool_usage: pd.DataFrame) -> tuple[Pools, Segments]:
    """Return all device time of a frame of `POOL_USAGE`, whoever held it."""
    return _segments(_ordered_rows(pool_usage))


def ints(frame: pd.DataFrame, column: str) -> Int64s:
    """Return a column of whole numbers as an array."""
    return frame[column].to_numpy(dtype=np.int64)


def _divided(pool_usage: pd.DataFrame, hold_usage: pd.DataFrame) -> DividedUsage:
    rows, holds = _ordered_rows(pool_usage), _ordered_holds(hold_usage)
    _check_pools(rows, holds)
    return DividedUsage(pool_usage=rows, hold_usage=holds, hold_segments=hold_segments(rows, holds))


def _capacity(usage: DividedUsage) -> Capacity:
    pools, segments = _segments(usage.pool_usage)
    return Capacity(pools=pools, holds=usage.hold_usage, segments=segments, pieces=_pieces(usage))


def _ordered_rows(pool_usage: pd.DataFrame) -> pd.DataFrame:
    keys = ("start_ms", "gpu_model_id", "node_id", "window_start_ms")
    some = pool_usage[pool_usage["devices"] > 0]
    return some.iloc[np.lexsort([ints(some, key) for key in keys])].reset_index(drop=True)


def _ordered_holds(hold_usage: pd.DataFrame) -> pd.DataFrame:
    """Order holds by when they held how much and did what, by identity only between equals.

    Ties of a split go in this order, so that a renamed pod keeps its money to the nano.
    """
    keys = ("hold_id", "unmeasured_ms", "active_ms", "held_ms", "end_ms", "start_ms")
    order = np.lexsort([ints(hold_usage, key) for key in keys])
    return hold_usage[_HOLD_COLUMNS].iloc[order].reset_index(drop=True)


def _segments(rows: pd.DataFrame) -> tuple[Pools, Segments]:
    window_ms, node_id, model_id = (
        ints(rows, name) for name in ("window_start_ms", "node_id", "gpu_model_id")
    )
    changes = (np.diff(window_ms) != 0) | (np.diff(node_id) != 0) | (np.diff(model_id) != 0)
    fresh = np.concatenate([[True], changes])[: len(rows)]
    first = np.flatnonzero(fresh)
    devices = ints(rows, "devices")
    pools = Pools(
        window_ms=window_ms[first],
        node_id=node_id[first],
        gpu_model_id=model_id[first],
        devices=np.maximum.reduceat(devices, first) if len(first) else devices,
    )
    segments = Segments(
        pool=np.cumsum(fresh) - 1,
        start_ms=ints(rows, "start_ms"),
        end_ms=ints(rows, "end_ms"),
        devices=devices,
    )
    return pools, segments


def _pieces(usage: DividedUsage) -> Pieces:
    """Return who had what of each row: the holds' held time and the states nobody held."""
    rows, holds, parts = usage.pool_usage, usage.hold_usage, usage.hold_segments
    held = Pieces(
        segment=_find(parts, rows, (*_POOL, "start_ms")),
        hold=_find(parts, holds, (*_POOL, "hold_id")),
        kind=np.full(len(parts), HELD, dtype=np.int64),
        ms=ints(parts, "held_ms"),
    )
    _check_holds(held, holds)
    pieces = [held.only(held.ms > 0)]
    for column, kind in _STATES:
        ms = ints(rows, column)
        some = np.flatnonzero(ms)
        pieces.append(
            Pieces(
                segment=some,
                hold=np.full(len(some), NOBODY, dtype=np.int64),
                kind=np.full(len(some), int(kind), dtype=np.int64),
                ms=ms[some],
            )
        )
    return join(pieces)


def _find(parts: pd.DataFrame, rows: pd.DataFrame, key: tuple[str, ...]) -> Int64s:
    """Return for each part the row with the same key."""
    wanted = mix64(*(ints(parts, name) for name in key))
    have = mix64(*(ints(rows, name) for name in key))
    order = np.argsort(have)
    place = np.searchsorted(have, wanted, sorter=order)
    found = order[np.minimum(place, len(order) - 1)] if len(order) else place
    for name in key:
        if not np.array_equal(ints(rows, name)[found], ints(parts, name)):
            message = f"A part of a hold has no row with its {', '.join(key)}."
            raise AssertionError(message)
    return found.astype(np.int64)


def _check_pools(rows: pd.DataFrame, holds: pd.DataFrame) -> None:
    """Refuse a pool whose held time is not the sum of its holds'."""
    both = pd.concat([rows[[*_POOL]], holds[[*_POOL]]], ignore_index=True)
    signed = np.concatenate([ints(rows, "held_ms"), -ints(holds, "held_ms")])
    _, first, pool = np.unique(
        mix64(*(ints(both, name) for name in _POOL)), return_index=True, return_inverse=True
    )
    surplus = np.zeros(len(first), dtype=np.int64)
    np.add.at(surplus, pool, signed)
    for wrong in np.flatnonzero(surplus)[:1]:
        row = both.iloc[first[wrong]]
        words = f"the pool was held for {surplus[wrong]} ms more than its holds say"
        raise UsageMismatchError(int(row["window_start_ms"]), int(row["node_id"]), words)


def _check_holds(held: Pieces, holds: pd.DataFrame) -> None:
    """Refuse a hold whose held time is not the sum of its parts of the pool's spans."""
    found = np.zeros(len(holds), dtype=np.int64)
    np.add.at(found, held.hold, held.ms)
    stored = ints(holds, "held_ms")
    for wrong in np.flatnonzero(found != stored)[:1]:
        row = holds.iloc[wrong]
        words = f"a hold has {stored[wrong]} ms but its parts of the pool {found[wrong]} ms"
        raise UsageMismatchError(int(row["window_start_ms"]), int(row["node_id"]), words)
