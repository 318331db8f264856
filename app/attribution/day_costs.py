"""What a billing day cost first-hand, summed to what redistribution needs of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa

from app.attribution.charges import HELD_KINDS, ChargeKind, LineStep
from app.attribution.contract import SharedMetric
from app.attribution.redistribution import BillingDay
from app.usage import frames

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# One row a cluster (0: no single one), workload, namespace, GPU model, team and charge kind of a
# day's first-hand lines and of its unused commitments. `workload_id` is 0 where the workload does
# not matter; `nanos` is what prices cover, `gpu_ms` all device-milliseconds.
DAY_COSTS = pa.DataFrameSchema(
    {
        name: pa.Column("int64")
        for name in (
            "cluster_id",
            "workload_id",
            "namespace_id",
            "gpu_model_id",
            "team_id",
            "kind",
            "nanos",
            "gpu_ms",
        )
    },
    strict=True,
    coerce=False,
)
COST_KEY = ("cluster_id", "workload_id", "namespace_id", "gpu_model_id", "team_id", "kind")

# One row a cluster, hour, workload, hold and team that was charged for the hold's time.
HOLDERS = pa.DataFrameSchema(
    {
        name: pa.Column("int64")
        for name in (
            "cluster_id",
            "window_start_ms",
            "workload_id",
            "hold_id",
            "team_id",
            "gpu_ms",
        )
    },
    strict=True,
    coerce=False,
)

# One row a cluster, hour and workload: what its engines counted.
SERVED = pa.DataFrameSchema(
    {
        name: pa.Column("int64")
        for name in (
            "cluster_id",
            "window_start_ms",
            "workload_id",
            "requests",
            "prompt_tokens",
            "generation_tokens",
        )
    },
    strict=True,
    coerce=False,
)

# A measured metric by cluster and team.
Measured = Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDay:
    """What policies may weigh by beside money, of one day: frames of `HOLDERS` and `SERVED`."""

    holders: pd.DataFrame
    served: pd.DataFrame


NOTHING_MEASURED = MeasuredDay(holders=frames.empty(HOLDERS), served=frames.empty(SERVED))


def day_costs(
    cluster_id: int, charges: pd.DataFrame, day: BillingDay, workloads: Collection[int]
) -> pd.DataFrame:
    """Sum the charges (`CHARGES`) of a cluster that start in the day, as `DAY_COSTS`.

    ``workloads`` are those that keep their identity. Lines of other steps than the first-hand one
    and unused commitments are left out.
    """
    step, kind = charges["step"].to_numpy(), charges["kind"].to_numpy()
    unused = (step == LineStep.COMMITMENT) & (kind == ChargeKind.COMMITMENT_UNUSED)
    wanted = _inside(charges, day) & ((step == LineStep.FIRST_HAND) | unused)
    of_day = charges.loc[wanted]
    kept = np.isin(of_day["workload_id"].to_numpy(), [*workloads])
    priced = of_day["priced"].to_numpy(dtype=bool)
    rows = pd.DataFrame(
        {
            "cluster_id": np.full(len(of_day), cluster_id, dtype=np.int64),
            "workload_id": np.where(kept, of_day["workload_id"].to_numpy(), 0),
            **{
                name: of_day[name].to_numpy()
                for name in ("namespace_id", "gpu_model_id", "team_id", "kind")
            },
            "nanos": np.where(priced, of_day["cost_nanos"].to_numpy(), 0),
            "gpu_ms": of_day["gpu_ms"].to_numpy(),
        }
    )
    return summed([rows])


def summed(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Add up frames of `DAY_COSTS`, in the order of the key."""
    rows = pd.concat([frames.empty(DAY_COSTS), *parts], ignore_index=True)
    return rows.groupby([*COST_KEY], as_index=False, sort=True)[["nanos", "gpu_ms"]].sum()


def holders_of(cluster_id: int, charges: pd.DataFrame, day: BillingDay) -> pd.DataFrame:
    """Return who held in the day by the charges (`CHARGES`) of a cluster, as `HOLDERS`."""
    held = np.isin(charges["kind"].to_numpy(), HELD_KINDS)
    held &= charges["step"].to_numpy() == LineStep.FIRST_HAND
    held &= charges["hold_id"].to_numpy() != 0
    rows = charges.loc[_inside(charges, day) & held]
    key = ["window_start_ms", "workload_id", "hold_id", "team_id"]
    found = rows.groupby(key, as_index=False, sort=True)[["gpu_ms"]].sum()
    found.insert(0, "cluster_id", np.full(len(found), cluster_id, dtype=np.int64))
    return found


def measured(metric: SharedMetric, costs: pd.DataFrame, day: MeasuredDay) -> Measured:
    """Return a metric of the day by cluster and team; GPU-seconds are in milliseconds.

    A pod counts for every team that was charged for its time. What a workload's engines counted in
    an hour is its team's, of several teams that hour's longest holder's.
    """
    kind = costs["kind"].to_numpy()
    match metric:
        case SharedMetric.GPU_SECONDS_HELD:
            return _by_team(costs.loc[np.isin(kind, HELD_KINDS)], "gpu_ms")
        case SharedMetric.GPU_SECONDS_ACTIVE:
            return _by_team(costs.loc[kind == ChargeKind.USED], "gpu_ms")
        case SharedMetric.PODS:
            pods = day.holders[["cluster_id", "team_id", "hold_id"]].drop_duplicates()
            return _by_team(pods.assign(pods=np.ones(len(pods), dtype=np.int64)), "pods")
        case _:
            return _by_team(_owned(day), metric.value)


def _owned(day: MeasuredDay) -> pd.DataFrame:
    """Return what engines counted with the team of each workload's hour."""
    hour = ["cluster_id", "window_start_ms", "workload_id"]
    held = day.holders.groupby([*hour, "team_id"], as_index=False)[["gpu_ms"]].sum()
    held = held.sort_values([*hour, "gpu_ms", "team_id"], ascending=[True, True, True, False, True])
    first = held.drop_duplicates(hour)[[*hour, "team_id"]]
    return day.served.merge(first, on=hour, how="inner")


def _by_team(rows: pd.DataFrame, quantity: str) -> dict[tuple[int, int], int]:
    sums = rows.groupby(["cluster_id", "team_id"], as_index=False)[[quantity]].sum()
    columns = zip(*(sums[name] for name in ("cluster_id", "team_id", quantity)), strict=True)
    return {(int(cluster), int(team)): int(value) for cluster, team, value in columns}


def _inside(charges: pd.DataFrame, day: BillingDay) -> Bools:
    start = charges["start_ms"].to_numpy()
    return np.asarray((start >= day.start_ms) & (start < day.end_ms))
