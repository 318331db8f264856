"""What the energy of owned boards costs, and which lines carry it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.capacity import ints
from app.attribution.schedules import Schedules, Step
from app.attribution.segments import NOBODY, Pieces, Segments
from app.attribution.tariffs import Codes, Place, Pools, describe
from app.pricing.cost import segment_costs
from app.pricing.inputs import EnergyPriceAt, PriceInputs
from app.units.identity import mix64
from app.units.money import MAX_INT64_WEIGHT_SUM, split_groups

Int64s = npt.NDArray[np.int64]

# What names a pool in a window, and a hold.
_POOL = ("window_start_ms", "node_id", "gpu_model_id")
_HOLD = (*_POOL, "hold_id")
# Energy of boards that no time of the pool carries is noted from this part of all on.
_NOTED_PART = 1_000


@dataclass(frozen=True, slots=True)
class EnergyTariffs:
    """The energy prices, and by pool and time the number of the one that counts; 0 is none."""

    prices: tuple[EnergyPriceAt | None, ...]
    schedules: Schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEnergy:
    """What counters tell: the millijoules of each hold, -1 for unknown, and of each pool's boards.

    ``measured_ms`` is for how much time of its boards ``pool_mj`` is, 0 where nothing is told.
    """

    hold_mj: Int64s
    pool_mj: Int64s
    measured_ms: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyCosts:
    """Which pieces carry what energy cost; ``pieces.segment`` numbers the segments.

    ``tariff`` numbers the prices, ``energy_mj`` is what each piece used. By pool, ``rated_ms`` is
    how much time was charged by the rated draw of a board, as nothing measured it, and
    ``unplaced_mj`` what the boards drew more than any time of the pool can carry, or less (below
    0) than its holders did.
    """

    pieces: Pieces
    tariff: Int64s
    energy_mj: Int64s
    cost_nanos: Int64s
    rated_ms: Int64s
    unplaced_mj: Int64s


def energy_tariffs_of(
    pools: Pools, place: Place, inputs: PriceInputs, start_ms: int, end_ms: int
) -> EnergyTariffs:
    """Return what the energy of each pool's boards costs over ``[start_ms, end_ms)``."""
    described = describe(pools, place)
    prices, profiles = Codes[EnergyPriceAt | None](), Codes[tuple[Step, ...]]()
    prices.code(None)
    profile = [
        profiles.code(
            tuple(
                Step(span.from_ms, prices.code(span.price))
                for span in inputs.energy_spans(pool, start_ms, end_ms)
            )
        )
        for pool in described.attributes
    ]
    of_pool = np.array(profile, dtype=np.int64)[described.pool]
    return EnergyTariffs(prices.values(), Schedules(of_pool, profiles.values(), start_ms, end_ms))


def measured_energy(
    pools: Pools,
    holds: pd.DataFrame,
    hold_usage: pd.DataFrame,
    pool_energy: pd.DataFrame | None = None,
) -> MeasuredEnergy:
    """Return what frames of `HOLD_USAGE` and `POOL_ENERGY` tell of holds and pools."""
    told = hold_usage[[*_HOLD]].assign(mj=hold_usage["energy_mj"].fillna(-1).astype("int64"))
    wanted = [ints(holds, name) for name in _HOLD]
    (hold_mj,) = _found(wanted, [ints(told, name) for name in _HOLD], [ints(told, "mj")], -1)
    none = np.zeros(len(pools.node_id), dtype=np.int64)
    if pool_energy is None:
        return MeasuredEnergy(hold_mj=hold_mj, pool_mj=none, measured_ms=none)
    pool_mj, measured_ms = _found(
        [pools.window_ms, pools.node_id, pools.gpu_model_id],
        [ints(pool_energy, name) for name in _POOL],
        [ints(pool_energy, name) for name in ("energy_mj", "measured_ms")],
        0,
    )
    return MeasuredEnergy(hold_mj=hold_mj, pool_mj=pool_mj, measured_ms=measured_ms)


def _found(
    wanted: Sequence[Int64s], have: Sequence[Int64s], values: Sequence[Int64s], default: int
) -> list[Int64s]:
    """Return the values of the rows of ``have`` with the wanted keys, the default where none is."""
    key, keys = mix64(*wanted), mix64(*have)
    if not len(keys):
        return [np.full(len(key), default, dtype=np.int64) for _ in values]
    order = np.argsort(keys)
    place = order[np.minimum(np.searchsorted(keys, key, sorter=order), len(order) - 1)]
    return [np.where(keys[place] == key, one[place], default) for one in values]


def energy_costs(
    segments: Segments,
    pieces: Pieces,
    tariffs: EnergyTariffs,
    measured: MeasuredEnergy,
    pools: int,
) -> EnergyCosts:
    """Return what each piece's energy costs.

    What was measured of a hold is spread over its time. What its pool's boards drew beside that is
    spread over the rest of their measured time: nobody's, and that of holds of which nothing was
    measured. Other time draws what a board is rated for. A segment's energy costs its millijoules
    times the price, rounded once, half to even, and is split by its pieces' energy.
    """
    pieces = pieces.only(np.lexsort((pieces.hold, pieces.kind, pieces.segment)))
    tariff = tariffs.schedules.at(segments.pool, segments.start_ms)
    drawn = _drawn(pieces, segments.pool, measured, pools)
    draws = [one.tariff.rated_mj_per_ms if one else Fraction(0) for one in tariffs.prices]
    rated_mj = segment_costs(drawn.rated_ms, tariff[pieces.segment], draws)
    mj = drawn.measured_mj + rated_mj
    priced = tariff[pieces.segment] > 0
    rated_ms, owned = (np.zeros(pools, dtype=np.int64) for _ in range(2))
    counted = priced & (rated_mj > 0)
    np.add.at(rated_ms, segments.pool[pieces.segment[counted]], drawn.rated_ms[counted])
    owned[segments.pool[tariff > 0]] = 1
    some = priced & (mj > 0)
    pieces, mj = pieces.only(some), mj[some]
    segment, part = np.unique(pieces.segment, return_inverse=True)
    part = part.astype(np.int64)
    total = np.zeros(len(segment), dtype=np.int64)
    np.add.at(total, part, mj)
    rates = [one.nanos_per_mj if one else Fraction(0) for one in tariffs.prices]
    cost = segment_costs(total, tariff[segment], rates)
    nanos = split_groups(cost, part, _weights(mj, total[part]))
    return EnergyCosts(
        pieces=pieces,
        tariff=tariff[pieces.segment],
        energy_mj=mj,
        cost_nanos=nanos,
        rated_ms=rated_ms,
        unplaced_mj=drawn.unplaced_mj * owned,
    )


def _weights(mj: Int64s, total: Int64s) -> Int64s:
    """Return energies as weights whose sum `split_groups` divides fast.

    They are millijoules; of a segment with more than 1.5 billion of them begun dozens or so: 14 at
    a time for 8 boards of 700 W in an hour, which cost about a thousandth of a nano.
    """
    return -(-mj // (1 + total // (MAX_INT64_WEIGHT_SUM // 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """By piece the measured millijoules, and how much of its time nothing measured."""

    measured_mj: Int64s
    rated_ms: Int64s
    unplaced_mj: Int64s


def _drawn(pieces: Pieces, pool_of: Int64s, measured: MeasuredEnergy, pools: int) -> _Drawn:
    """Return the energy of each piece of segments, whose pools are ``pool_of``.

    The figures of the holders have precedence: where they are more than the boards', the rest of
    the pool's time is as if nothing had measured it.
    """
    pool = pool_of[pieces.segment]
    known = np.zeros(len(pieces.ms), dtype=bool)
    held = pieces.hold != NOBODY
    known[held] = measured.hold_mj[pieces.hold[held]] >= 0
    mj = np.zeros(len(pieces.ms), dtype=np.int64)
    by_hold = np.flatnonzero(known)
    by_hold = by_hold[np.argsort(pieces.hold[by_hold], kind="stable")]
    holds, group = np.unique(pieces.hold[by_hold], return_inverse=True)
    mj[by_hold] = split_groups(measured.hold_mj[holds], group.astype(np.int64), pieces.ms[by_hold])
    known_mj, known_ms, other_ms = (np.zeros(pools, dtype=np.int64) for _ in range(3))
    np.add.at(known_mj, pool, mj)
    np.add.at(known_ms, pool[known], pieces.ms[known])
    np.add.at(other_ms, pool[~known], pieces.ms[~known])
    told = measured.measured_ms > 0
    rest_mj = np.where(told, measured.pool_mj - known_mj, 0)
    rest_ms = np.clip(measured.measured_ms - known_ms, 0, other_ms)
    rest_ms[rest_mj < 0] = 0
    rated_ms = np.where(known, 0, pieces.ms)
    rest = np.flatnonzero(~known & (rest_ms[pool] > 0))
    pool_numbers, group = np.unique(pool[rest], return_inverse=True)
    part_ms = split_groups(rest_ms[pool_numbers], group.astype(np.int64), pieces.ms[rest])
    mj[rest] = split_groups(rest_mj[pool_numbers], group.astype(np.int64), part_ms)
    rated_ms[rest] -= part_ms
    odd = (rest_mj < 0) | ((rest_ms == 0) & (rest_mj > measured.pool_mj // _NOTED_PART))
    return _Drawn(measured_mj=mj, rated_ms=rated_ms, unplaced_mj=np.where(odd, rest_mj, 0))
