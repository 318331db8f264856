"""Applies dated sharing policies to collected usage: who held how much under other rules.

Facts are collected once, under the default policies; every row carries what the others need.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.money import split_groups
from app.usage.kinds import Sharing
from app.usage.share_policies import SharePolicy, ShareSchedule
from app.usage.states import hold_segments
from app.usage.sweep import Shares, common_denominators, scaled

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_POOL = ["window_start_ms", "node_id", "gpu_model_id"]
_STATES = ["held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms"]
_ALLOCATABLE = ["allocatable_ms", "compute_allocatable_ms"]
_TIMES = ["active_ms", "idle_ms", "unmeasured_ms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedUsage:
    """Frames of `POOL_USAGE`, `HOLD_USAGE`, and `HOLD_SEGMENTS` that divide what was held.

    The hold rows may lack the columns that say more of activity than how long it was.
    """

    pool_usage: pd.DataFrame
    hold_usage: pd.DataFrame
    hold_segments: pd.DataFrame


def under_policies(facts: DividedUsage, policies: Sequence[SharePolicy]) -> DividedUsage:
    """Return the usage under ``policies``, which are ordered by their instants.

    Spans are cut where the policy changes inside them, in the pools that this concerns; all other
    rows come back as they are, and ``facts`` itself where nothing but the default applies. Shares,
    bands, ratios and energy stay those of the facts, and ``facts`` must be as they were collected.

    Time is conserved: the states of each span sum to its devices times its length, the parts of
    the holders to what was held, and a hold's active, idle and unmeasured time, which keep their
    proportions, to what it held.

    ``mig_share: compute``: an instance holds its compute slices, and what no instance's compute
    slices cover is stranded. ``time_slicing: present``: as many devices as slots are held are in
    use, as far as devices are left to slicing, and are split over these slots.
    """
    start_ms, end_ms = facts.pool_usage["start_ms"], facts.pool_usage["end_ms"]
    if not len(start_ms):
        return facts
    schedule = ShareSchedule(policies, int(start_ms.min()), int(end_ms.max()))
    if not (schedule.compute or schedule.present):
        return facts
    holds = facts.hold_usage
    spans = facts.pool_usage.sort_values([*_POOL, "start_ms"], ignore_index=True)
    concerned = _concerned(spans, holds, schedule)
    if not concerned.any():
        return facts
    spans, concerned, whole = _cut(spans, concerned, schedule)
    begins = spans["start_ms"].to_numpy()
    rules = _Rules(
        compute=concerned & schedule.compute_at(begins),
        present=concerned & schedule.present_at(begins),
        restated=concerned & ~(whole & schedule.default_at(begins)),
    )
    lines = _lines(spans, holds, rules)
    taken = _taken(spans, lines, rules)
    spans = _restated(spans, taken, rules)
    parts = split_groups(spans["held_ms"].to_numpy(), lines.span, _weights(lines, taken))
    found = DividedUsage(
        pool_usage=spans,
        hold_usage=_with_held(holds, lines.hold, parts),
        hold_segments=lines.segments.assign(held_ms=parts),
    )
    _assert_conserved(found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """By which rules each span is divided, and whether its states are computed again."""

    compute: Bools
    present: Bools
    restated: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """Who is on which span: one line a holder and span, in the order of `HOLD_SEGMENTS`.

    ``share`` counts in the span's ``denominator``, which is by span; ``slots`` is 0 for holders
    that are not divided by the devices in use.
    """

    span: Int64s
    hold: Int64s
    share: Int64s
    slots: Int64s
    denominator: Int64s
    segments: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What each span's holders take, in its denominator: slots held, devices that they use."""

    claimed: Int64s
    slots: Int64s
    in_use: Int64s
    denominator: Int64s


def _concerned(spans: pd.DataFrame, holds: pd.DataFrame, schedule: ShareSchedule) -> Bools:
    """Say which spans are of a pool with a hold, or with leftovers, that the policies change."""
    pools, of_span, of_hold = _numbered(spans, holds)
    marks = np.zeros(pools, dtype=bool)
    held = np.zeros(len(holds), dtype=bool)
    if schedule.compute:
        default, compute = _shares(holds)
        held |= (default.num != compute.num) | (default.den != compute.den)
        leftovers = spans["allocatable_ms"] != spans["compute_allocatable_ms"]
        marks[of_span[leftovers.to_numpy()]] = True
    if schedule.present:
        held |= holds["sharing"].to_numpy() == int(Sharing.TIME_SLICING)
    marks[of_hold[held & (of_hold >= 0)]] = True
    return np.asarray(marks[of_span])


def _cut(
    spans: pd.DataFrame, concerned: Bools, schedule: ShareSchedule
) -> tuple[pd.DataFrame, Bools, Bools]:
    """Cut the spans concerned; return the parts, which are concerned, and which are whole spans."""
    rows = np.flatnonzero(concerned)
    start, end = (spans[name].to_numpy() for name in ("start_ms", "end_ms"))
    cut, at_ms = schedule.cuts(start[rows], end[rows])
    cut = rows[cut]
    parts = np.bincount(cut, minlength=len(spans)) + 1
    of_part = np.repeat(np.arange(len(spans)), parts)
    # The n-th cut of all begins a part that n cuts precede, one of them in each earlier place.
    begins = cut + 1 + np.arange(len(cut))
    part_start, part_end = start[of_part].copy(), end[of_part].copy()
    part_start[begins], part_end[begins - 1] = at_ms, at_ms
    length, whole = part_end - part_start, (end - start)[of_part]
    smaller = spans.iloc[of_part].reset_index(drop=True)
    scaled = {name: _nearest(smaller[name].to_numpy() * length, whole) for name in _ALLOCATABLE}
    smaller = smaller.assign(start_ms=part_start, end_ms=part_end, **scaled)
    return smaller, concerned[of_part], length == whole


def _lines(spans: pd.DataFrame, holds: pd.DataFrame, rules: _Rules) -> _Lines:
    segments = hold_segments(spans, holds)
    span = _places(segments, spans, [*_POOL, "start_ms"])
    hold = _places(segments, holds, [*_POOL, "hold_id"])
    pools, of_span, of_hold = _numbered(spans, holds)
    default, compute = _shares(holds)
    by_default = common_denominators(of_hold, pools, default.den)
    by_compute = common_denominators(of_hold, pools, compute.den)
    default_share = scaled(default, by_default[of_hold], least=1)
    compute_share = scaled(compute, by_compute[of_hold], least=1)
    sliced = holds["sharing"].to_numpy() == int(Sharing.TIME_SLICING)
    slots = np.where(sliced, np.maximum(holds["units"].to_numpy(), 1), 0)
    return _Lines(
        span=span,
        hold=hold,
        share=np.where(rules.compute[span], compute_share[hold], default_share[hold]),
        slots=np.where(rules.present[span], slots[hold], 0),
        denominator=np.where(rules.compute, by_compute[of_span], by_default[of_span]),
        segments=segments,
    )


def _taken(spans: pd.DataFrame, lines: _Lines, rules: _Rules) -> _Taken:
    """Return what is claimed of each span, counting the devices that slots use.

    Those are as many as there are slots, but no more than are left to slicing: whole devices that
    can be held and that nobody else holds. They are never fewer than the slots need: their shares,
    rounded up to whole devices as far as there is room.
    """
    devices = spans["devices"].to_numpy()
    length = (spans["end_ms"] - spans["start_ms"]).to_numpy()
    scale = lines.denominator
    others, sliced, slots = (np.zeros(len(spans), dtype=np.int64) for _ in range(3))
    np.add.at(others, lines.span, np.where(lines.slots > 0, 0, lines.share))
    np.add.at(sliced, lines.span, np.where(lines.slots > 0, lines.share, 0))
    np.add.at(slots, lines.span, lines.slots)
    room = np.maximum(devices * scale - others, 0)
    # Where nobody knows who held the rest, nobody knows either that it could not be held.
    unknown = spans["unobserved_ms"].to_numpy() > 0
    free = np.where(unknown, devices * length, _allocatable(spans, rules))
    free -= _nearest(others * length, scale)
    # Both figures are rounded to a millisecond, which must not cost a device.
    slack = np.minimum((length - 1) // 2, 1)
    left = np.minimum(np.maximum(free + slack, 0) // length * scale, room)
    needed = np.maximum(np.minimum(-(-sliced // scale) * scale, room), sliced)
    in_use = np.minimum(np.maximum(left, needed), slots * scale)
    return _Taken(claimed=others + in_use, slots=slots, in_use=in_use, denominator=scale)


def _weights(lines: _Lines, taken: _Taken) -> Int64s:
    """Return the weights by which each span's held time is split over its holders."""
    slots = taken.slots[lines.span]
    return np.where(
        lines.slots > 0, lines.slots * taken.in_use[lines.span], lines.share * np.maximum(slots, 1)
    )


def _restated(spans: pd.DataFrame, taken: _Taken, rules: _Rules) -> pd.DataFrame:
    """Return the spans with their states; held is rounded to the nearest, the rest remains.

    A span that the default policies hold whole has no room for a holder that nobody saw: what
    another policy leaves of it is not unobserved.
    """
    length = (spans["end_ms"] - spans["start_ms"]).to_numpy()
    capacity = spans["devices"].to_numpy() * length
    full = spans["devices"].to_numpy() * taken.denominator
    held = _nearest(np.minimum(taken.claimed, full) * length, taken.denominator)
    rest = capacity - held
    unknown = spans["unobserved_ms"].to_numpy() > 0
    not_allocatable = np.maximum(capacity - _allocatable(spans, rules), 0)
    stranded = np.where(unknown, 0, np.minimum(not_allocatable, rest))
    unobserved = np.where(unknown, rest, 0)
    states = {
        "held_ms": held,
        "unobserved_ms": unobserved,
        "stranded_ms": stranded,
        "unallocated_ms": rest - unobserved - stranded,
        "claimed_ms": _nearest(taken.claimed * length, taken.denominator),
    }
    return spans.assign(
        **{
            name: np.where(rules.restated, fresh, spans[name].to_numpy())
            for name, fresh in states.items()
        }
    )


def _with_held(holds: pd.DataFrame, hold: Int64s, parts: Int64s) -> pd.DataFrame:
    """Return the holds with the sum of their parts, what they did in the same proportions."""
    held = np.zeros(len(holds), dtype=np.int64)
    np.add.at(held, hold, parts)
    before = holds[_TIMES].to_numpy(dtype=np.int64)
    some = np.flatnonzero(before.sum(axis=1) > 0)
    times = np.zeros_like(before)
    # Of a hold too short to have had a millisecond nobody measured anything.
    times[:, -1] = held
    group = np.repeat(np.arange(len(some), dtype=np.int64), len(_TIMES))
    times[some] = split_groups(held[some], group, before[some].ravel()).reshape(-1, len(_TIMES))
    return holds.assign(held_ms=held, **dict(zip(_TIMES, times.T, strict=True)))


def _allocatable(spans: pd.DataFrame, rules: _Rules) -> Int64s:
    """Return the device time of each span that could be held under its rules."""
    default, compute = (spans[name].to_numpy() for name in _ALLOCATABLE)
    return np.where(rules.compute, compute, default)


def _shares(holds: pd.DataFrame) -> tuple[Shares, Shares]:
    """Return the holds' shares under ``mig_share: max`` and under ``mig_share: compute``."""
    return (
        Shares(holds["share_num"].to_numpy(), holds["share_den"].to_numpy()),
        Shares(holds["compute_num"].to_numpy(), holds["compute_den"].to_numpy()),
    )


def _numbered(spans: pd.DataFrame, holds: pd.DataFrame) -> tuple[int, Int64s, Int64s]:
    """Number the windows' pools: how many, that of each span, and of each hold (-1: none)."""
    rows = pd.MultiIndex.from_frame(spans[_POOL])
    pools = rows.unique()
    of_hold = pools.get_indexer(pd.MultiIndex.from_frame(holds[_POOL]))
    return len(pools), pools.get_indexer(rows).astype(np.int64), of_hold.astype(np.int64)


def _places(segments: pd.DataFrame, rows: pd.DataFrame, key: list[str]) -> Int64s:
    """Return the row of each segment by its key."""
    index = pd.MultiIndex.from_frame(rows[key])
    return index.get_indexer(pd.MultiIndex.from_frame(segments[key])).astype(np.int64)


def _nearest(amount: Int64s, denominator: Int64s) -> Int64s:
    """Divide and round to the nearest integer, halves up."""
    return (2 * amount + denominator) // (2 * denominator)


def _assert_conserved(found: DividedUsage) -> None:
    spans, holds = found.pool_usage, found.hold_usage
    capacity = spans["devices"] * (spans["end_ms"] - spans["start_ms"])
    assert spans[_STATES].sum(axis=1).equals(capacity), "The states of a span are not its capacity."
    assert bool((spans[_STATES].to_numpy() >= 0).all()), "A device state is negative."
    held, split = int(spans["held_ms"].sum()), int(found.hold_segments["held_ms"].sum())
    assert held == split, f"The holders have {split} ms of {held} ms held."
    assert holds[_TIMES].sum(axis=1).equals(holds["held_ms"]), "A hold did more than it held."
