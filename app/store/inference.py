"""What services served and cost, by period: sums for unit costs, buckets for percentiles."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from enum import StrEnum

import numpy as np
import pandas as pd
from sqlalchemy import Connection, select

from app.attribution.charges import HELD_KINDS, ChargeKind
from app.attribution.service_costs import SERVICE_COSTS, SERVICE_TOKENS
from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.naming import NameStore
from app.store.ownership import OwnershipStore
from app.store.tables.inventory import WORKLOADS
from app.units.window import Window

# An integer that no sum has, sent in place of null.
_NO_INTEGER = -(2**63)

_TOKEN_COLUMNS = (
    "prompt_tokens",
    "cached_prompt_tokens",
    "generation_tokens",
    "reasoning_tokens",
    "requests_stop",
    "requests_length",
    "requests_abort",
    "requests_error",
    "requests_other",
)


class Period(StrEnum):
    """How finely sums are taken: by hour, or by day of the billing zone."""

    HOUR = "hour"
    DAY = "day"


class InferenceStore:
    """Sums over all clusters' services; a service is a workload that published tokens."""

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._billing_zone = billing_zone
        self._zone = str(billing_zone).replace("'", "")

    def services(self, window: Window) -> pd.DataFrame:
        """Return who serves: workload_id, cluster, namespace, workload, team, cost_center.

        The team is the one that was charged for most of the service's GPU time, '' if nobody was;
        the cost center is the one that it had when the window ended.
        """
        ids = self._serving(window)
        names = NameStore(self._connection)
        clusters, teams = names.clusters(), names.teams()
        owners = OwnershipStore(self._connection, self._billing_zone).owners(window.end_ms - 1)
        centers = {team: where.cost_center for team, where in owners.items()}
        payer = self._payers(window, ids)
        rows = self._connection.execute(
            select(WORKLOADS)
            .where(WORKLOADS.c.cluster_id.in_(sorted(clusters)), WORKLOADS.c.workload_id.in_(ids))
            .order_by(WORKLOADS.c.workload_id)
        ).all()
        columns = {
            "cluster": [clusters[row.cluster_id] for row in rows],
            "namespace": [row.namespace for row in rows],
            "workload": [row.name for row in rows],
            "team": [teams.get(payer.get(row.workload_id, 0), "") for row in rows],
            "cost_center": [centers.get(payer.get(row.workload_id, 0), "") for row in rows],
        }
        return pd.DataFrame(
            {"workload_id": pd.Series([row.workload_id for row in rows], dtype="int64")}
            | {name: pd.Series(values, dtype="str") for name, values in columns.items()}
        )

    def tokens(self, window: Window, period: Period) -> pd.DataFrame:
        """Return `SERVICE_TOKENS`: what was served, by period, service and model."""
        sums = ", ".join(f"coalesce(sum({name})::bigint, {_NO_INTEGER})" for name in _TOKEN_COLUMNS)
        columns = (
            Column("period_ms", Kind.INSTANT),
            Column("workload_id", Kind.INT8),
            Column("model_id", Kind.INT8),
            *(Column(name, Kind.INT8) for name in _TOKEN_COLUMNS),
            Column("carried", Kind.BOOL),
        )
        found = self._read(
            f"SELECT {self._period(period, 'window_start')}, workload_id, model_id, {sums},"  # noqa: S608 names of ours only
            f" bool_or(carried) FROM token_usage WHERE {_WITHIN} GROUP BY 1, 2, 3",
            columns,
            window,
        )
        for name in _TOKEN_COLUMNS:
            values = found[name]
            found[name] = values.astype("Int64").mask(values == _NO_INTEGER)
        return found[[*SERVICE_TOKENS.columns]].sort_values(
            ["period_ms", "workload_id", "model_id"], ignore_index=True
        )

    def costs(self, window: Window, period: Period) -> pd.DataFrame:
        """Return `SERVICE_COSTS`: what services held and cost, by period.

        ``unobserved_ms`` is the unobserved time of every pool that the service held at any time in
        the window: it may have held it then as well.
        """
        ids = self._serving(window)
        sums = (
            ("gpu_ms", "gpu_ms"),
            ("active_ms", f"CASE WHEN kind = {int(ChargeKind.USED)} THEN gpu_ms ELSE 0 END"),
            (
                "measured_ms",
                f"CASE WHEN kind <> {int(ChargeKind.UNMEASURED)} THEN gpu_ms ELSE 0 END",
            ),
            ("unpriced_ms", "CASE WHEN cost_nanos IS NULL THEN gpu_ms ELSE 0 END"),
            (
                "used_nanos",
                f"CASE WHEN kind = {int(ChargeKind.USED)} THEN coalesce(cost_nanos, 0) ELSE 0 END",
            ),
            ("cost_nanos", "coalesce(cost_nanos, 0)"),
        )
        chosen = ", ".join(f"sum({term})::bigint" for _, term in sums)
        kinds = ", ".join(str(kind) for kind in HELD_KINDS)
        held = self._read(
            f"SELECT {self._period(period, 'started_at')}, workload_id, {chosen} FROM charges"  # noqa: S608 names of ours only
            f" WHERE {_WITHIN} AND kind IN ({kinds}) AND workload_id = ANY(%(ids)s::bigint[])"
            " GROUP BY 1, 2",
            (
                Column("period_ms", Kind.INSTANT),
                Column("workload_id", Kind.INT8),
                *(Column(name, Kind.INT8) for name, _ in sums),
            ),
            window,
            {"ids": ids},
        )
        both = pd.concat([held, self._unobserved(window, period, ids)], ignore_index=True)
        for name in SERVICE_COSTS.columns:
            both[name] = _whole(both[name]) if name in both else np.int64(0)
        summed = both.groupby(["period_ms", "workload_id"], as_index=False, sort=True).sum()
        return summed[[*SERVICE_COSTS.columns]].astype("int64")

    def latencies(self, window: Window, period: Period) -> pd.DataFrame:
        """Return increments of latency buckets by period, service, model, metric and bound."""
        return self._read(
            f"SELECT {self._period(period, 'window_start')}, workload_id, model_id, metric, le,"  # noqa: S608 names of ours only
            f" sum(increments)::bigint FROM latency_usage WHERE {_WITHIN}"
            " GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5",
            (
                Column("period_ms", Kind.INSTANT),
                Column("workload_id", Kind.INT8),
                Column("model_id", Kind.INT8),
                Column("metric", Kind.INT2),
                Column("le", Kind.FLOAT8),
                Column("increments", Kind.INT8),
            ),
            window,
        )

    def cold_starts(self, window: Window, period: Period) -> pd.DataFrame:
        """Return every cold start: period_ms, workload_id, hold_id, seconds."""
        return self._read(
            f"SELECT {self._period(period, 'window_start')}, workload_id, hold_id, seconds"  # noqa: S608 names of ours only
            f" FROM cold_starts WHERE {_WITHIN} ORDER BY 1, 2, 3",
            (
                Column("period_ms", Kind.INSTANT),
                Column("workload_id", Kind.INT8),
                Column("hold_id", Kind.INT8),
                Column("seconds", Kind.FLOAT8),
            ),
            window,
        )

    def _serving(self, window: Window) -> list[int]:
        found = self._read(
            f"SELECT DISTINCT workload_id FROM token_usage WHERE {_WITHIN}",  # noqa: S608 names of ours only
            (Column("workload_id", Kind.INT8),),
            window,
        )
        return sorted(found["workload_id"].tolist())

    def _payers(self, window: Window, ids: Sequence[int]) -> Mapping[int, int]:
        found = self._read(
            "SELECT workload_id, team_id, sum(gpu_ms)::bigint FROM charges"  # noqa: S608 names of ours only
            f" WHERE {_WITHIN} AND workload_id = ANY(%(ids)s::bigint[]) GROUP BY 1, 2",
            (
                Column("workload_id", Kind.INT8),
                Column("team_id", Kind.INT8),
                Column("gpu_ms", Kind.INT8),
            ),
            window,
            {"ids": ids},
        )
        largest = found.sort_values(["gpu_ms", "team_id"]).groupby("workload_id")["team_id"].last()
        return {int(key): int(value) for key, value in zip(largest.index, largest, strict=True)}

    def _unobserved(self, window: Window, period: Period, ids: Sequence[int]) -> pd.DataFrame:
        unobserved = self._read(
            f"SELECT {self._period(period, 'started_at')}, node_id, gpu_model_id,"  # noqa: S608 names of ours only
            f" sum(gpu_ms)::bigint FROM charges WHERE {_WITHIN}"
            f" AND kind = {int(ChargeKind.UNOBSERVED)} GROUP BY 1, 2, 3",
            (
                Column("period_ms", Kind.INSTANT),
                Column("node_id", Kind.INT8),
                Column("gpu_model_id", Kind.INT8),
                Column("unobserved_ms", Kind.INT8),
            ),
            window,
        )
        held = self._read(
            "SELECT DISTINCT workload_id, node_id, gpu_model_id FROM hold_usage"  # noqa: S608 names of ours only
            f" WHERE {_WITHIN} AND workload_id = ANY(%(ids)s::bigint[])",
            (
                Column("workload_id", Kind.INT8),
                Column("node_id", Kind.INT8),
                Column("gpu_model_id", Kind.INT8),
            ),
            window,
            {"ids": ids if len(unobserved) else []},
        )
        found = unobserved.merge(held, on=["node_id", "gpu_model_id"])
        return found[["period_ms", "workload_id", "unobserved_ms"]]

    def _period(self, period: Period, column: str) -> str:
        if period is Period.HOUR:
            return f"date_trunc('hour', {column}, 'UTC')"
        return f"date_trunc('day', {column}, '{self._zone}')"

    def _read(
        self,
        query: str,
        columns: Sequence[Column],
        window: Window,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> pd.DataFrame:
        bounds = {"start": window.start.isoformat(), "end": window.end.isoformat()}
        return copy_out(self._connection, query, columns, {**bounds, **(parameters or {})})


_WITHIN = "window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"


def _whole(values: pd.Series) -> pd.Series:
    """Return integers where a concatenation left gaps, which stand for nothing."""
    return values.astype("Int64").fillna(0).astype("int64")
