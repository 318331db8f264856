"""What a billing day cost first-hand over all clusters, and what policies measure of it."""

from collections.abc import Collection

import pandas as pd
from sqlalchemy import Connection

from app.attribution.charges import HELD_KINDS, ChargeKind, LineStep
from app.attribution.day_costs import COST_KEY, DAY_COSTS, HOLDERS, SERVED, MeasuredDay
from app.attribution.redistribution import BillingDay
from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.naming import NameStore
from app.units.window import from_ms

# A line starts and ends inside one billing day, so its start says to which day it belongs; the hour
# is what the partitions and the index know.
_OF_DAY = (
    "cluster_id = ANY(%(clusters)s::bigint[])"
    " AND window_start >= %(hour)s::timestamptz AND window_start < %(until)s::timestamptz"
    " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz"
)
# Finished requests, however they ended.
_REQUESTS = " + ".join(
    f"coalesce(requests_{one}, 0)" for one in ("stop", "length", "abort", "error", "other")
)
_HELD = f"kind IN ({', '.join(str(kind) for kind in HELD_KINDS)})"
# A day that begins inside an hour of a closed period has charges that are frozen: what was posted
# to them since then counts as they do.
_LINE = "cluster_id, window_start, started_at, workload_id, namespace_id, gpu_model_id, hold_id"
_LINES = (
    f"(SELECT {_LINE}, team_id, kind, step, gpu_ms, cost_nanos FROM charges WHERE {_OF_DAY}"  # noqa: S608 names of ours only
    f" UNION ALL SELECT {_LINE}, team_id, charge_kind, step, gpu_ms, cost_nanos FROM adjustments"
    f" WHERE {_OF_DAY}) AS lines"
)


class DayCostStore:
    """Reads charges, what was posted to them, and token counts of all clusters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def costs(self, day: BillingDay, workloads: Collection[int]) -> pd.DataFrame:
        """Return `DAY_COSTS` of the whole day, in which the given workloads have their identity."""
        unused = f"step = {int(LineStep.COMMITMENT)} AND kind = {int(ChargeKind.COMMITMENT_UNUSED)}"
        return self._costs(day, workloads, f"(step = 0 OR ({unused}))")

    def costs_of(self, day: BillingDay, workloads: Collection[int]) -> pd.DataFrame:
        """Return `DAY_COSTS` of what the given workloads held, and of nothing else."""
        return self._costs(
            day, workloads, f"step = 0 AND {_HELD} AND workload_id = ANY(%(workloads)s::bigint[])"
        )

    def measured(self, day: BillingDay) -> MeasuredDay:
        """Return who held in the day, and what engines counted in the hours that begin in it."""
        holders = copy_out(
            self._connection,
            "SELECT cluster_id, window_start, workload_id, hold_id, team_id, sum(gpu_ms)::bigint"  # noqa: S608 names of ours only
            f" FROM {_LINES} WHERE step = 0 AND {_HELD} AND hold_id <> 0"
            " GROUP BY 1, 2, 3, 4, 5 HAVING sum(gpu_ms) > 0 ORDER BY 1, 2, 3, 4, 5",
            _columns([*HOLDERS.columns]),
            self._parameters(day),
        )
        served = copy_out(
            self._connection,
            "SELECT cluster_id, window_start, workload_id,"  # noqa: S608 names of ours only
            f" coalesce(sum({_REQUESTS}), 0)::bigint, coalesce(sum(prompt_tokens), 0)::bigint,"
            " coalesce(sum(generation_tokens), 0)::bigint"
            " FROM token_usage WHERE cluster_id = ANY(%(clusters)s::bigint[])"
            " AND window_start >= %(first)s::timestamptz AND window_start < %(last)s::timestamptz"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            _columns([*SERVED.columns]),
            {
                "clusters": self._clusters(),
                "first": day.hours.start.isoformat(),
                "last": day.hours.end.isoformat(),
            },
        )
        return MeasuredDay(holders=holders, served=served)

    def _costs(self, day: BillingDay, workloads: Collection[int], condition: str) -> pd.DataFrame:
        kept = "CASE WHEN workload_id = ANY(%(workloads)s::bigint[]) THEN workload_id ELSE 0 END"
        key = ", ".join(kept if name == "workload_id" else name for name in COST_KEY)
        return copy_out(
            self._connection,
            f"SELECT {key}, sum(coalesce(cost_nanos, 0))::bigint, sum(gpu_ms)::bigint"  # noqa: S608 names of ours only
            f" FROM {_LINES} WHERE {condition}"
            " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6",
            _columns([*DAY_COSTS.columns]),
            {**self._parameters(day), "workloads": sorted(workloads)},
        )

    def _parameters(self, day: BillingDay) -> dict[str, Parameter]:
        return {
            "clusters": self._clusters(),
            "hour": day.touched.start.isoformat(),
            "until": day.touched.end.isoformat(),
            "start": from_ms(day.start_ms).isoformat(),
            "end": from_ms(day.end_ms).isoformat(),
        }

    def _clusters(self) -> list[int]:
        """Return all clusters, and 0 for what lies in no single one."""
        return [0, *sorted(NameStore(self._connection).clusters())]


def _columns(names: list[str]) -> list[Column]:
    kinds = {"window_start_ms": Kind.INSTANT, "kind": Kind.INT2}
    return [Column(name, kinds.get(name, Kind.INT8)) for name in names]
