"""What the detectors look at: sums over an evidence window of usage and of the money charged."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sqlalchemy import Connection, select

from app.attribution.charges import HELD_KINDS, ChargeKind
from app.findings.idle_hold import IDLE_HOLD_EVIDENCE
from app.findings.unallocated_pool import UNALLOCATED_POOL_EVIDENCE
from app.store.copying import Column, Kind, copy_out
from app.store.fact_frames import span
from app.store.naming import NameStore
from app.store.reassignments import gateway_ratios
from app.store.tables.inventory import HOLDS, NODES, WORKLOADS
from app.units.window import OPEN_MS, Window
from app.usage.identity import cluster_id

_WITHIN = (
    "cluster_id = %(cluster)s AND window_start >= %(start)s::timestamptz"
    " AND window_start < %(end)s::timestamptz"
)
_HELD = ", ".join(str(kind) for kind in HELD_KINDS)
# Of the hours that were never rated: those without a charge. What was rated may have another length
# than the facts have, where a policy of shares other than the default counts.
_UNRATED = (
    "FILTER (WHERE window_start NOT IN"  # noqa: S608 names of ours only
    f" (SELECT DISTINCT window_start FROM charges WHERE {_WITHIN} AND step = 0))"
)
_POOL_KEY = ["node_id", "gpu_model_id"]


class WasteStore:
    """The evidence of one cluster."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._cluster_id = cluster_id(cluster)
        self._names = NameStore(connection)

    def idle_holds(self, window: Window) -> pd.DataFrame:
        """Return `IDLE_HOLD_EVIDENCE`: one row a hold that was held in the window.

        Sources may name its workload or its device's model differently from hour to hour: what the
        last hour says counts.
        """
        sums = (
            "held_ms",
            "active_ms",
            "idle_ms",
            "band_0_ms",
            "band_0_5_ms",
        )
        last = ", ".join(
            f"(array_agg({name} ORDER BY window_start DESC))[1]"
            for name in ("node_id", "gpu_model_id", "workload_id")
        )
        usage = self._read(
            f"SELECT hold_id, {last},"  # noqa: S608 names of ours only
            f" {', '.join(f'sum({name})::bigint' for name in sums)},"
            f" coalesce(sum(held_ms) {_UNRATED}, 0)::bigint,"
            " sum((extract(epoch FROM ended_at - started_at) * 1000)::bigint)::bigint,"
            " max(activity_scope)::smallint, coalesce(max(memory_used_max_mib), 'NaN'::float8)"
            f" FROM hold_usage WHERE {_WITHIN} GROUP BY 1 HAVING sum(held_ms) > 0",
            window,
            hold_id=Kind.INT8,
            node_id=Kind.INT8,
            gpu_model_id=Kind.INT8,
            workload_id=Kind.INT8,
            **dict.fromkeys(sums, Kind.INT8),
            unrated_ms=Kind.INT8,
            held_wall_ms=Kind.INT8,
            activity_scope=Kind.INT2,
            memory_used_max_mib=Kind.FLOAT8,
        )
        charges = self._read(
            "SELECT hold_id, team_id, sum(gpu_ms)::bigint,"  # noqa: S608 names of ours only
            f" coalesce(sum(cost_nanos) FILTER (WHERE kind = {int(ChargeKind.IDLE)}), 0)::bigint,"
            " coalesce(sum(gpu_ms) FILTER (WHERE cost_nanos IS NULL), 0)::bigint"
            f" FROM charges WHERE {_WITHIN} AND kind IN ({_HELD}) GROUP BY 1, 2",
            window,
            hold_id=Kind.INT8,
            team_id=Kind.INT8,
            gpu_ms=Kind.INT8,
            idle_nanos=Kind.INT8,
            unpriced_ms=Kind.INT8,
        )
        money = _by_key(charges, ["hold_id"])
        frame = _joined(usage, money, ["hold_id"])
        # Time that was never rated has no money either.
        frame["unpriced_ms"] += frame["unrated_ms"]
        self._name(frame)
        self._describe_holds(frame, window)
        return frame[[*IDLE_HOLD_EVIDENCE.columns]].sort_values("hold_id", ignore_index=True)

    def unallocated_pools(self, window: Window) -> pd.DataFrame:
        """Return `UNALLOCATED_POOL_EVIDENCE`: one row a pool that existed in the window."""
        sums = ("held_ms", "unallocated_ms", "stranded_ms", "unobserved_ms")
        usage = self._read(
            "SELECT node_id, gpu_model_id, max(devices),"  # noqa: S608 names of ours only
            f" {', '.join(f'sum({name})::bigint' for name in sums)},"
            f" coalesce(sum(unallocated_ms) {_UNRATED}, 0)::bigint"
            f" FROM pool_usage WHERE {_WITHIN} GROUP BY 1, 2 HAVING max(devices) > 0",
            window,
            node_id=Kind.INT8,
            gpu_model_id=Kind.INT8,
            devices=Kind.INT8,
            **dict.fromkeys(sums, Kind.INT8),
            unrated_ms=Kind.INT8,
        )
        usage["capacity_ms"] = usage[[*sums]].sum(axis="columns").astype("int64")
        unallocated = int(ChargeKind.UNALLOCATED)
        charges = self._read(
            "SELECT node_id, gpu_model_id, team_id, sum(gpu_ms)::bigint,"  # noqa: S608 names of ours only
            " coalesce(sum(cost_nanos), 0)::bigint,"
            " coalesce(sum(gpu_ms) FILTER (WHERE cost_nanos IS NULL), 0)::bigint"
            f" FROM charges WHERE {_WITHIN} AND kind = {unallocated} GROUP BY 1, 2, 3",
            window,
            node_id=Kind.INT8,
            gpu_model_id=Kind.INT8,
            team_id=Kind.INT8,
            gpu_ms=Kind.INT8,
            unallocated_nanos=Kind.INT8,
            unpriced_ms=Kind.INT8,
        )
        frame = _joined(usage, _by_key(charges, _POOL_KEY), _POOL_KEY)
        frame["unpriced_ms"] += frame["unrated_ms"]
        self._name(frame)
        ends = self._node_ends()
        frame["exists_until_ms"] = _ints([ends.get(key, OPEN_MS) for key in frame["node_id"]])
        return frame[[*UNALLOCATED_POOL_EVIDENCE.columns]].sort_values(_POOL_KEY, ignore_index=True)

    def gateway_ratios(self, window: Window) -> pd.DataFrame:
        """Return `GATEWAY_RATIO_EVIDENCE`: one row a service whose cost consumers share."""
        return gateway_ratios(self._connection, self._cluster_id, window)

    def _name(self, frame: pd.DataFrame) -> None:
        """Add the names that both kinds of evidence have."""
        nodes = self._connection.execute(
            select(NODES.c.node_id, NODES.c.name).where(NODES.c.cluster_id == self._cluster_id)
        )
        frame["cluster"] = _texts([self._cluster] * len(frame))
        for name, key, known in (
            ("node", "node_id", {row.node_id: row.name for row in nodes}),
            ("gpu_model", "gpu_model_id", self._names.gpu_models()),
            ("team", "team_id", self._names.teams()),
        ):
            frame[name] = _texts([known.get(value, "") for value in frame[key]])

    def _describe_holds(self, frame: pd.DataFrame, window: Window) -> None:
        """Add the pod, its workload and the whole span of each hold."""
        rows = {
            row.hold_id: row
            for row in self._connection.execute(
                select(
                    HOLDS.c.hold_id,
                    HOLDS.c.namespace,
                    HOLDS.c.pod,
                    HOLDS.c.started_at,
                    HOLDS.c.ended_at,
                    WORKLOADS.c.name,
                )
                .join_from(
                    HOLDS,
                    WORKLOADS,
                    (WORKLOADS.c.cluster_id == HOLDS.c.cluster_id)
                    & (WORKLOADS.c.workload_id == HOLDS.c.workload_id),
                )
                .where(HOLDS.c.cluster_id == self._cluster_id)
                .where(HOLDS.c.hold_id.in_(frame["hold_id"].tolist()))
            )
        }
        found = [rows.get(key) for key in frame["hold_id"]]
        for name, column in (("namespace", "namespace"), ("pod", "pod"), ("workload", "name")):
            frame[name] = _texts([getattr(row, column) if row else "" for row in found])
        # A hold that the inventory does not know is over: there is nothing to free.
        frame["held_from_ms"] = _ints([row.started_at if row else window.start_ms for row in found])
        frame["held_until_ms"] = _ints(
            [window.start_ms if row is None else row.ended_at or OPEN_MS for row in found]
        )

    def _node_ends(self) -> Mapping[int, int]:
        rows = self._connection.execute(
            select(NODES.c.node_id, NODES.c.deleted_at).where(
                NODES.c.cluster_id == self._cluster_id, NODES.c.deleted_at.is_not(None)
            )
        )
        return {row.node_id: row.deleted_at for row in rows}

    def _read(self, query: str, window: Window, **columns: Kind) -> pd.DataFrame:
        return copy_out(
            self._connection,
            query,
            [Column(name, kind) for name, kind in columns.items()],
            span(self._cluster_id, window),
        )


def _by_key(charges: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Add up what several teams were charged; the team is the one that was charged for most."""
    largest = charges.sort_values(["gpu_ms", "team_id"]).groupby(key)["team_id"].last()
    summed = charges.drop(columns="team_id").groupby(key).sum()
    return summed.join(largest)


def _joined(usage: pd.DataFrame, money: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Put the money beside the usage, 0 where nothing was charged."""
    wanted = pd.MultiIndex.from_frame(usage[key]) if len(key) > 1 else pd.Index(usage[key[0]])
    place = money.index.get_indexer(wanted)
    frame = usage.copy()
    for name in money.columns:
        values = money[name].to_numpy(dtype=np.int64)
        frame[name] = np.where(place >= 0, values[place], 0) if len(values) else np.int64(0)
    return frame


def _texts(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="str")


def _ints(values: list[int]) -> pd.Series:
    return pd.Series(values, dtype="int64")
