"""Sweeps over the borders of pools: the longest spans in which holders and states are constant."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from app.units.intervals import Spans
from app.usage.pools import PoolIndex

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Amounts are multiplied by the denominator and by milliseconds: 64 devices × 10⁹ × 2 hours stays
# below 2⁶³. Shares whose common denominator is larger are rounded down to this one.
MAX_DENOMINATOR = 10**9


@dataclass(frozen=True, slots=True)
class PoolSpans:
    """Spans of pools with an amount: a hold's weight, or how many devices may be held."""

    pool: Int64s
    start: Int64s
    end: Int64s
    amount: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Spans of pools, ordered; the amounts are devices times the pool's common denominator.

    ``edge`` says that a hold starts or ends where the span starts.
    """

    pool: Int64s
    start: Int64s
    end: Int64s
    denominator: Int64s
    claimed: Int64s
    held: Int64s
    allocatable: Int64s
    advertised: Bools
    observed: Bools
    edge: Bools


def common_denominators(
    group: Int64s, groups: int, share_num: Int64s, share_den: Int64s
) -> tuple[Int64s, Int64s]:
    """Return each group's common denominator and each row's share as a multiple of its inverse."""
    denominator = np.ones(groups, dtype=np.int64)
    odd = share_den != 1
    for index, den in np.unique(np.column_stack([group[odd], share_den[odd]]), axis=0):
        common = int(np.lcm(int(denominator[index]), int(den), dtype=object))
        denominator[index] = min(common, MAX_DENOMINATOR)
    # share = whole + rest / den, so that no product passes 2⁶³.
    whole, rest = np.divmod(share_num, share_den)
    scale = denominator[group]
    return denominator, np.maximum(whole * scale + rest * scale // share_den, 1)


def sweep(
    index: PoolIndex,
    holds: PoolSpans,
    advertised: PoolSpans,
    observed: Spans,
    denominator: Int64s,
) -> Sweep:
    """Return the spans between all borders; hold amounts count in the pool's ``denominator``.

    Holds and advertised spans lie inside their pool's life.
    """
    points = _points(index, holds, advertised, observed)
    starts, ends = points.number(holds.pool, holds.start), points.number(holds.pool, holds.end)
    first = points.number(advertised.pool, advertised.start)
    last = points.number(advertised.pool, advertised.end)
    scale = denominator[points.pool]
    claimed = points.running(starts, ends, holds.amount)
    edge = np.zeros(len(points.pool), dtype=bool)
    edge[starts] = True
    edge[ends] = True
    swept = Sweep(
        pool=points.pool,
        start=points.at,
        end=np.append(points.at[1:], points.at[-1:]),
        denominator=scale,
        claimed=claimed,
        held=np.minimum(claimed, index.devices[points.pool] * scale),
        allocatable=points.running(first, last, advertised.amount) * scale,
        advertised=points.running(first, last, np.ones_like(first)) > 0,
        observed=observed.covers(points.at),
        edge=edge,
    )
    # The last point of a pool opens no span.
    return _rows(swept, np.flatnonzero(points.pool[1:] == points.pool[:-1]))


@dataclass(frozen=True, slots=True)
class _Points:
    """Every border of every pool once, ordered by pool and instant."""

    pool: Int64s
    at: Int64s
    origin: int
    reach: int
    keys: Int64s

    def number(self, pool: Int64s, at: Int64s) -> Int64s:
        """Return the number of each point, which must be one of the borders."""
        return np.searchsorted(self.keys, pool * self.reach + (at - self.origin)).astype(np.int64)

    def running(self, first: Int64s, last: Int64s, amount: Int64s) -> Int64s:
        """Return the sum of the amounts whose span covers the time after each point."""
        change = np.zeros(len(self.keys), dtype=np.int64)
        np.add.at(change, first, amount)
        np.subtract.at(change, last, amount)
        return np.cumsum(change)


def _points(index: PoolIndex, holds: PoolSpans, advertised: PoolSpans, observed: Spans) -> _Points:
    pools = np.arange(len(index), dtype=np.int64)
    seen_pool, seen_at = _observed_borders(index, observed)
    pool = np.concatenate(
        [pools, pools, holds.pool, holds.pool, advertised.pool, advertised.pool, seen_pool]
    )
    at = np.concatenate(
        [
            index.start_ms,
            index.end_ms,
            holds.start,
            holds.end,
            advertised.start,
            advertised.end,
            seen_at,
        ]
    )
    origin = int(at.min(initial=np.iinfo(np.int64).max)) if len(at) else 0
    reach = int(at.max(initial=0)) - origin + 1 if len(at) else 1
    keys = np.unique(pool * reach + (at - origin))
    pool_of_key, offset = np.divmod(keys, reach)
    return _Points(pool_of_key, offset + origin, origin, reach, keys)


def _observed_borders(index: PoolIndex, observed: Spans) -> tuple[Int64s, Int64s]:
    """Return the borders of the observed spans that lie inside each pool's life."""
    borders = np.concatenate([observed.start, observed.end])
    pool = np.repeat(np.arange(len(index), dtype=np.int64), len(borders))
    at = np.tile(borders, len(index))
    inside = (index.start_ms[pool] < at) & (at < index.end_ms[pool])
    return pool[inside], at[inside]


def united(swept: Sweep, capacity: Int64s) -> Sweep:
    """Unite neighboring spans of equal states between which no hold starts or ends.

    ``capacity`` is each span's devices times its denominator. Who may see a device is no state
    while it is held, and what is advertised is none while nobody knows who held the rest.
    """
    unobserved = ~swept.observed & (swept.held < capacity)
    free = np.where(unobserved, 0, np.maximum(swept.allocatable - swept.held, 0))
    fresh = np.ones(len(swept.pool), dtype=bool)
    fresh[1:] = (
        (swept.pool[1:] != swept.pool[:-1])
        | swept.edge[1:]
        | (unobserved[1:] != unobserved[:-1])
        | (free[1:] != free[:-1])
    )
    firsts = np.flatnonzero(fresh)
    return replace(_rows(swept, firsts), end=np.maximum.reduceat(swept.end, firsts))


def _rows(swept: Sweep, rows: Int64s) -> Sweep:
    return Sweep(**{field.name: getattr(swept, field.name)[rows] for field in fields(Sweep)})
