"""Which pod held how much GPU time of a node, hour by hour, as the ledger charged it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sqlalchemy import Connection, select

from app.chargeback.focus_cells import Int64s
from app.store.copying import Column, Kind, copy_out
from app.store.naming import NameStore
from app.store.tables.inventory import HOLDS
from app.units.window import HOUR_MS, Window

_COLUMNS = (
    Column("cluster_id", Kind.INT8),
    Column("node_id", Kind.INT8),
    Column("hour_ms", Kind.INSTANT),
    Column("hold_id", Kind.INT8),
    Column("gpu_ms", Kind.INT8),
)
_IDENTITIES_AT_A_TIME = 5_000
Node = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBy:
    """The pod behind a hold."""

    pod_uid: str
    namespace: str
    pod: str
    cluster: str
    labels: tuple[tuple[str, str], ...]


class NodeTime:
    """GPU time of nodes in a window, by hour and holder; 0 is what nobody held."""

    def __init__(self, rows: pd.DataFrame) -> None:
        order = np.lexsort([rows[name].to_numpy() for name in ("hour_ms", "node_id", "cluster_id")])
        ordered = rows.iloc[order]
        self._hours: Int64s = ordered["hour_ms"].to_numpy()
        self._holds: Int64s = ordered["hold_id"].to_numpy()
        self._times: Int64s = ordered["gpu_ms"].to_numpy()
        pairs = zip(ordered["cluster_id"].tolist(), ordered["node_id"].tolist(), strict=True)
        self._spans: dict[Node, tuple[int, int]] = {}
        for place, pair in enumerate(pairs):
            first = self._spans.get(pair, (place, place))[0]
            self._spans[pair] = (first, place + 1)

    def between(self, nodes: Collection[Node], start_ms: int, end_ms: int) -> dict[int, int]:
        """Return milliseconds by hold, of the hours that meet the span."""
        found: dict[int, int] = {}
        for node in nodes:
            first, last = self._spans.get(node, (0, 0))
            hours = self._hours[first:last]
            low = first + int(np.searchsorted(hours, start_ms // HOUR_MS * HOUR_MS))
            high = first + int(np.searchsorted(hours, end_ms))
            for hold, gpu_ms in zip(
                self._holds[low:high].tolist(), self._times[low:high].tolist(), strict=True
            ):
                found[hold] = found.get(hold, 0) + gpu_ms
        return found

    @property
    def holds(self) -> list[int]:
        """Every hold that has time here."""
        return [int(one) for one in np.unique(self._holds) if one]


class NodeTimeStore:
    """Reads the time of nodes from their first-hand charges."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def within(self, nodes: Collection[Node], window: Window) -> NodeTime:
        """Return the charged GPU time of the nodes in the window's hours, with or without price."""
        rows = copy_out(
            self._connection,
            "SELECT cluster_id, node_id, window_start, hold_id, sum(gpu_ms)::bigint FROM charges"
            " WHERE step = 0 AND gpu_ms > 0 AND node_id = ANY(%(nodes)s::bigint[])"
            " AND cluster_id = ANY(%(clusters)s::bigint[])"
            " AND window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
            " GROUP BY 1, 2, 3, 4",
            _COLUMNS,
            {
                "nodes": sorted({node for _, node in nodes}),
                "clusters": sorted({cluster for cluster, _ in nodes}),
                "start": window.start.isoformat(),
                "end": window.end.isoformat(),
            },
        )
        return NodeTime(rows)

    def holders(self, holds: Collection[int]) -> Mapping[int, HeldBy]:
        """Return the pods of holds."""
        clusters = NameStore(self._connection).clusters()
        table = HOLDS
        names = ("cluster_id", "hold_id", "pod_uid", "namespace", "pod", "labels")
        wanted = sorted(holds)
        found: dict[int, HeldBy] = {}
        for at in range(0, len(wanted), _IDENTITIES_AT_A_TIME):
            rows = self._connection.execute(
                select(*(table.c[name] for name in names)).where(
                    table.c.cluster_id.in_(sorted(clusters)),
                    table.c.hold_id.in_(wanted[at : at + _IDENTITIES_AT_A_TIME]),
                )
            )
            for row in rows:
                found[row.hold_id] = HeldBy(
                    pod_uid=row.pod_uid,
                    namespace=row.namespace,
                    pod=row.pod,
                    cluster=clusters.get(row.cluster_id, ""),
                    labels=tuple(sorted((str(k), str(v)) for k, v in dict(row.labels).items())),
                )
        return found
