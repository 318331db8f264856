"""The allotment: which device time of an hour each commitment covers, over all its clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from app.pricing.commitments import (
    AllotmentRule,
    Commitment,
    CommitmentUnit,
    active_commitments,
)
from app.pricing.rows import PricedPool
from app.units.money import split_groups
from app.units.window import HOUR_MS

Int64s = npt.NDArray[np.int64]

_INT = "int64"


def _schema(*names: str) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({name: pa.Column(_INT) for name in names}, strict=True)


# Device time of one billing account that commitments may cover: spans of pools inside an hour, none
# of which a term's border or a change of price crosses. `node_devices` are the node's devices of
# all models, `nanos` what the span costs at its price, 0 where `priced` is 0; `place` is the number
# of the pool's attributes, `rank` the place of its cluster in the settings.
CAPACITY = _schema(
    "window_start_ms",
    "cluster_id",
    "rank",
    "node_id",
    "gpu_model_id",
    "start_ms",
    "end_ms",
    "node_devices",
    "device_ms",
    "nanos",
    "priced",
    "place",
)

# Who used what: device-milliseconds of a span that a commitment covers, and its nanos for them.
ALLOTMENTS = _schema(
    "window_start_ms",
    "cluster_id",
    "node_id",
    "gpu_model_id",
    "price_id",
    "start_ms",
    "end_ms",
    "covered_ms",
    "cost_nanos",
)

# A commitment's hour. `committed` and `used` are GPU- or node-milliseconds, nanos of a spend
# commitment; `eligible_*` is what fitted and no earlier
# commitment had covered, in device-milliseconds and at on-demand prices; `covered_*` the part that
# it covered. `used_nanos` of `cost_nanos` were allotted, the rest is unused.
COMMITMENT_HOURS = _schema(
    "window_start_ms",
    "price_id",
    "committed",
    "used",
    "eligible_ms",
    "covered_ms",
    "eligible_nanos",
    "covered_nanos",
    "cost_nanos",
    "used_nanos",
)


@dataclass(frozen=True, slots=True)
class Allotted:
    """Frames of `ALLOTMENTS` and `COMMITMENT_HOURS`, in the order of hours and commitments."""

    allotments: pd.DataFrame
    hours: pd.DataFrame


def allot(
    commitments: Sequence[Commitment],
    windows: Sequence[int],
    capacity: pd.DataFrame,
    places: Sequence[PricedPool],
) -> Allotted:
    """Return what each commitment covers of the capacity in each of the hours.

    ``windows`` are the starts of all hours whose capacity is complete; an hour without any device
    is one in which all is unused. Commitments cover one after another, each what is left by those
    before it. Of every pool the same fraction is covered, or under `AllotmentRule.PRIORITY` all
    that is possible of each cluster before the next has any. The nanos of what was used are split
    over the covered time, of a spend commitment by its on-demand price.
    """
    if not len(windows):
        return _joined([], [])
    ordered = active_commitments(commitments, min(windows), max(windows) + HOUR_MS)
    rows = _Rows.of(capacity)
    allotments: list[pd.DataFrame] = []
    hours: list[pd.DataFrame] = []
    for commitment in ordered:
        active = [one for one in sorted(windows) if commitment.active_ms(one)]
        taken, hour = _cover(commitment, _ints(active), rows, places)
        allotments.append(taken)
        hours.append(hour)
    return _joined(allotments, hours)


@dataclass(slots=True)
class _Rows:
    """The capacity in the order of its natural keys, and what of it is left."""

    frame: pd.DataFrame
    left_ms: Int64s

    @classmethod
    def of(cls, capacity: pd.DataFrame) -> "_Rows":
        keys = ("start_ms", "gpu_model_id", "node_id", "cluster_id", "rank", "window_start_ms")
        order = np.lexsort([capacity[name].to_numpy() for name in keys])
        frame = capacity.iloc[order].reset_index(drop=True)
        return cls(frame, frame["device_ms"].to_numpy().copy())

    def column(self, name: str, rows: Int64s) -> Int64s:
        """Return some values of a column."""
        return self.frame[name].to_numpy()[rows]


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a commitment is asked for: rows of capacity, their hour's number, and their weight.

    Weights are in the commitment's unit times ``scale``.
    """

    rows: Int64s
    hour: Int64s
    left_ms: Int64s
    weight: Int64s
    nanos: Int64s
    scale: Fraction


def _cover(
    commitment: Commitment, windows: Int64s, rows: _Rows, places: Sequence[PricedPool]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cover what is left of the rows, take it off them, and return both frames' rows."""
    demand = _demand(commitment, windows, rows, places)
    promised = [commitment.committed(int(start)) for start in windows]
    covered, used = _covered(commitment, rows, demand, promised)
    costs = [commitment.cost_nanos(int(start)) for start in windows]
    used_nanos = [
        round(cost * done / full) if full else 0
        for cost, done, full in zip(costs, used, promised, strict=True)
    ]
    money = _money(demand, covered, np.array(used_nanos, dtype=np.int64))
    rows.left_ms[demand.rows] -= covered
    taken = _taken(commitment, rows, demand, covered, money)
    ratio_nanos = _part(demand.nanos, covered, demand.left_ms)
    hours = pd.DataFrame(
        {
            "window_start_ms": windows,
            "price_id": np.full(len(windows), commitment.price_id, dtype=np.int64),
            "committed": _ints([int(one) for one in promised]),
            "used": _ints([int(one) for one in used]),
            "eligible_ms": _sums(demand.left_ms, demand.hour, len(windows)),
            "covered_ms": _sums(covered, demand.hour, len(windows)),
            "eligible_nanos": _sums(demand.nanos, demand.hour, len(windows)),
            "covered_nanos": _sums(ratio_nanos, demand.hour, len(windows)),
            "cost_nanos": _ints(costs),
            "used_nanos": _sums(money, demand.hour, len(windows)),
        }
    )
    return taken, hours


def _covered(
    commitment: Commitment, rows: _Rows, demand: _Demand, promised: list[Fraction]
) -> tuple[Int64s, list[Fraction]]:
    """Return how much of each row is covered, and how much of each hour's promise that uses."""
    group, groups = _groups(commitment, rows, demand)
    hour_of_group = np.zeros(groups, dtype=np.int64)
    hour_of_group[group] = demand.hour
    asked = _sums(demand.weight, group, groups)
    left = _sums(demand.left_ms, group, groups)
    targets, used = np.zeros(groups, dtype=np.int64), [Fraction(0)] * len(promised)
    for number, (hour, wanted) in enumerate(
        zip(hour_of_group.tolist(), asked.tolist(), strict=True)
    ):
        room = (promised[hour] - used[hour]) * demand.scale
        part = min(Fraction(1), room / wanted) if wanted else Fraction(0)
        targets[number] = int(left[number]) * part.numerator // part.denominator
        if targets[number]:
            used[hour] += wanted * part / demand.scale
    return _split(targets, group, demand.left_ms), used


def _demand(
    commitment: Commitment, windows: Int64s, rows: _Rows, places: Sequence[PricedPool]
) -> _Demand:
    """Return the rows that the commitment may cover and what they ask of it."""
    frame = rows.frame
    inside = frame["start_ms"].to_numpy() >= commitment.term_start_ms
    inside &= frame["end_ms"].to_numpy() <= commitment.term_end_ms
    inside &= (rows.left_ms > 0) & np.isin(frame["window_start_ms"].to_numpy(), windows)
    fits = np.array([commitment.fits(place) for place in places] or [False])
    inside &= fits[frame["place"].to_numpy()]
    if commitment.unit is CommitmentUnit.SPEND_HOUR:
        inside &= frame["priced"].to_numpy() > 0
    chosen = np.flatnonzero(inside)
    if commitment.allotment is AllotmentRule.PRIORITY and commitment.clusters:
        turn = _turns(commitment, rows.column("place", chosen), places)
        chosen = chosen[np.lexsort((turn, rows.column("window_start_ms", chosen)))]
    left = rows.left_ms[chosen]
    nanos = _part(rows.column("nanos", chosen), left, rows.column("device_ms", chosen))
    weight, scale = left, Fraction(1)
    if commitment.unit is CommitmentUnit.SPEND_HOUR:
        weight, scale = nanos, 1 / (1 - Fraction(commitment.discount_ratio))
    elif commitment.unit is CommitmentUnit.NODE_HOUR:
        devices = rows.column("node_devices", chosen)
        common = lcm(*np.unique(devices).tolist()) if len(devices) else 1
        weight, scale = left * (common // np.maximum(devices, 1)), Fraction(common)
    hour = np.searchsorted(windows, rows.column("window_start_ms", chosen))
    return _Demand(chosen, hour, left, weight, nanos, scale)


def _turns(commitment: Commitment, place: Int64s, places: Sequence[PricedPool]) -> Int64s:
    """Return each row's place in the order in which the commitment lists its clusters."""
    turns = {name: number for number, name in enumerate(commitment.clusters)}
    return _ints([turns.get(one.cluster, 0) for one in places])[place]


def _groups(commitment: Commitment, rows: _Rows, demand: _Demand) -> tuple[Int64s, int]:
    """Return the number of the group that each row is covered with, in their order, and how many.

    Rows come ordered by hour, rank and cluster, so that a group's rows follow each other.
    """
    if not len(demand.rows):
        return demand.hour, 0
    changes = np.diff(demand.hour) != 0
    if commitment.allotment is AllotmentRule.PRIORITY:
        changes |= np.diff(rows.column("cluster_id", demand.rows)) != 0
    group = np.concatenate([[0], np.cumsum(changes)]).astype(np.int64)
    return group, int(group[-1]) + 1


def _money(demand: _Demand, covered: Int64s, used_nanos: Int64s) -> Int64s:
    """Split each hour's used nanos over its covered rows, by what they would have cost of a spend.

    ``demand.weight`` is what a row asked for, so that its covered part weighs alike.
    """
    some = covered > 0
    weight = _part(demand.weight, covered, demand.left_ms)
    sums = _sums(weight, demand.hour, len(used_nanos))
    weight = np.where(sums[demand.hour] > 0, weight, covered)
    money = np.zeros(len(covered), dtype=np.int64)
    hours, group = np.unique(demand.hour[some], return_inverse=True)
    money[some] = _split(used_nanos[hours], group.astype(np.int64), weight[some])
    return money


def _taken(
    commitment: Commitment, rows: _Rows, demand: _Demand, covered: Int64s, money: Int64s
) -> pd.DataFrame:
    some = covered > 0
    chosen = demand.rows[some]
    keys = ("window_start_ms", "cluster_id", "node_id", "gpu_model_id", "start_ms", "end_ms")
    columns = {name: rows.column(name, chosen) for name in keys}
    columns["price_id"] = np.full(len(chosen), commitment.price_id, dtype=np.int64)
    columns["covered_ms"], columns["cost_nanos"] = covered[some], money[some]
    return pd.DataFrame(columns)[[*ALLOTMENTS.columns]]


def _split(totals: Int64s, group: Int64s, weights: Int64s) -> Int64s:
    """Split what there is to split: a group whose total is 0 may have no weight."""
    some = totals[group] != 0 if len(group) else np.zeros(0, dtype=bool)
    parts = np.zeros(len(group), dtype=np.int64)
    kept, number = np.unique(group[some], return_inverse=True)
    parts[some] = split_groups(totals[kept], number.astype(np.int64), weights[some])
    return parts


def _part(amounts: Int64s, some: Int64s, whole: Int64s) -> Int64s:
    """Return ``amounts × some // whole``; amounts are so many nanos or units that it may pass 2⁶³.

    By the floor division of amounts by whole both products stay below the amounts, or below
    whole².
    """
    each, rest = np.divmod(amounts, np.maximum(whole, 1))
    return each * some + rest * some // np.maximum(whole, 1)


def _sums(values: Int64s, group: Int64s, count: int) -> Int64s:
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, group, values)
    return sums


def _ints(values: list[int]) -> Int64s:
    return np.array(values, dtype=np.int64)


def _joined(allotments: list[pd.DataFrame], hours: list[pd.DataFrame]) -> Allotted:
    return Allotted(
        _ordered(allotments, ALLOTMENTS, ("window_start_ms",)),
        _ordered(hours, COMMITMENT_HOURS, ("window_start_ms",)),
    )


def _ordered(
    parts: list[pd.DataFrame], schema: pa.DataFrameSchema, key: tuple[str, ...]
) -> pd.DataFrame:
    names = [*schema.columns]
    if not any(len(part) for part in parts):
        return pd.DataFrame({name: np.zeros(0, dtype=np.int64) for name in names})
    frame = pd.concat(parts, ignore_index=True)[names].sort_values(
        [*key], kind="stable", ignore_index=True
    )
    validated: pd.DataFrame = schema.validate(frame)
    return validated
