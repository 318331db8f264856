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
class Shares:
    """Fractions of devices, as columns."""

    num: Int64s
    den: Int64s

    def only(self, rows: Int64s | Bools) -> "Shares":
        """Return some of the rows."""
        return Shares(self.num[rows], self.den[rows])


@dataclass(frozen=True, slots=True)
class PoolSpans:
    """Spans of pools with a share: what a hold has of devices, or how much of them may be held.

    ``compute`` is what ``share`` is under ``mig_share: compute``.
    """

    pool: Int64s
    start: Int64s
    end: Int64s
    share: Shares
    compute: Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Spans of pools, ordered; the amounts are devices times the pool's common denominator.

    The ``compute`` amounts are those under ``mig_share: compute``, times ``compute_denominator``.
    ``edge`` says that a hold starts or ends where the span starts.
    """

    pool: Int64s
    start: Int64s
    end: Int64s
    denominator: Int64s
    claimed: Int64s
    held: Int64s
    allocatable: Int64s
    compute_denominator: Int64s
    compute_held: Int64s
    compute_allocatable: Int64s
    advertised: Bools
    observed: Bools
    edge: Bools


def common_denominators(group: Int64s, groups: int, den: Int64s) -> Int64s:
    """Return the common denominator of each group's shares, at most `MAX_DENOMINATOR`."""
    denominator = np.ones(groups, dtype=np.int64)
    odd = den != 1
    for index, one in np.unique(np.column_stack([group[odd], den[odd]]), axis=0):
        common = int(np.lcm(int(denominator[index]), int(one), dtype=object))
        denominator[index] = min(common, MAX_DENOMINATOR)
    return denominator


def scaled(shares: Shares, scale: Int64s, *, least: int = 0) -> Int64s:
    """Return shares as multiples of 1 / scale, rounded down, but no less than ``least``."""
    # share = whole + rest / den, so that no product passes 2⁶³.
    whole, rest = np.divmod(shares.num, shares.den)
    return np.maximum(whole * scale + rest * scale // shares.den, least)


def sweep(index: PoolIndex, holds: PoolSpans, advertised: PoolSpans, observed: Spans) -> Sweep:
    """Return the spans between all borders of holds, of what is advertised and of who observed.

    Holds and advertised spans lie inside their pool's life.
    """
    points = _points(index, holds, advertised, observed)
    denominator, claimed, allocatable = _amounts(
        index, points, (holds, holds.share), (advertised, advertised.share)
    )
    compute_denominator, compute_claimed, compute_allocatable = _amounts(
        index, points, (holds, holds.compute), (advertised, advertised.compute)
    )
    devices = index.devices[points.pool]
    edge = np.zeros(len(points.pool), dtype=bool)
    edge[points.number(holds.pool, holds.start)] = True
    edge[points.number(holds.pool, holds.end)] = True
    swept = Sweep(
        pool=points.pool,
        start=points.at,
        end=np.append(points.at[1:], points.at[-1:]),
        denominator=denominator,
        claimed=claimed,
        held=np.minimum(claimed, devices * denominator),
        allocatable=np.minimum(allocatable, devices * denominator),
        compute_denominator=compute_denominator,
        compute_held=np.minimum(compute_claimed, devices * compute_denominator),
        compute_allocatable=np.minimum(compute_allocatable, devices * compute_denominator),
        advertised=points.running(advertised, np.ones_like(advertised.pool)) > 0,
        observed=observed.covers(points.at),
        edge=edge,
    )
    # The last point of a pool opens no span.
    return _rows(swept, np.flatnonzero(points.pool[1:] == points.pool[:-1]))


def _amounts(
    index: PoolIndex,
    points: "_Points",
    holds: tuple[PoolSpans, Shares],
    advertised: tuple[PoolSpans, Shares],
) -> tuple[Int64s, Int64s, Int64s]:
    """Return after each point its pool's denominator, what is claimed, and what may be held."""
    denominator = common_denominators(
        np.concatenate([holds[0].pool, advertised[0].pool]),
        len(index),
        np.concatenate([holds[1].den, advertised[1].den]),
    )
    claims = scaled(holds[1], denominator[holds[0].pool], least=1)
    allows = scaled(advertised[1], denominator[advertised[0].pool])
    return (
        denominator[points.pool],
        points.running(holds[0], claims),
        points.running(advertised[0], allows),
    )


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

    def running(self, spans: PoolSpans, amount: Int64s) -> Int64s:
        """Return the sum of the amounts whose span covers the time after each point."""
        change = np.zeros(len(self.keys), dtype=np.int64)
        np.add.at(change, self.number(spans.pool, spans.start), amount)
        np.subtract.at(change, self.number(spans.pool, spans.end), amount)
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


def united(swept: Sweep, devices: Int64s) -> Sweep:
    """Unite neighboring spans of equal states between which no hold starts or ends.

    ``devices`` is each span's number of them. Who may see a device is no state while it is held,
    and what is advertised is none while nobody knows who held the rest.
    """
    unseen = ~swept.observed
    states = (
        (swept.held, swept.allocatable, swept.denominator),
        (swept.compute_held, swept.compute_allocatable, swept.compute_denominator),
    )
    fresh = np.ones(len(swept.pool), dtype=bool)
    fresh[1:] = (swept.pool[1:] != swept.pool[:-1]) | swept.edge[1:]
    for held, allocatable, denominator in states:
        unobserved = unseen & (held < devices * denominator)
        free = np.where(unobserved, 0, np.maximum(allocatable - held, 0))
        fresh[1:] |= (unobserved[1:] != unobserved[:-1]) | (free[1:] != free[:-1])
    firsts = np.flatnonzero(fresh)
    return replace(_rows(swept, firsts), end=np.maximum.reduceat(swept.end, firsts))


def _rows(swept: Sweep, rows: Int64s) -> Sweep:
    return Sweep(**{field.name: getattr(swept, field.name)[rows] for field in fields(Sweep)})
