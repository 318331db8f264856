"""Pods' holds of one cluster: stored as they change, read as frames and as values."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import (
    ARRAY,
    LABEL_STYLE_TABLENAME_PLUS_COL,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    any_,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from app.store.hold_rows import (
    changed,
    part_of,
    row_of,
    settled,
    upsert,
    value_of,
    with_share_of,
)
from app.store.naming import NameStore
from app.store.tables.columns import literal_instant
from app.store.tables.inventory import HOLDS, WORKLOADS
from app.store.tables.names import GPU_MODELS
from app.units.window import OPEN_MS, Window
from app.usage import frames
from app.usage.identity import cluster_id, hold_id, workload_id
from app.usage.inventory import PodHold, Workload
from app.usage.kinds import HoldSource


class HoldStore:
    """What pods of one cluster hold and held."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._cluster_id = cluster_id(cluster)
        self._names = NameStore(connection)

    def put(
        self,
        holds: Sequence[PodHold],
        *,
        seen_ms: int | None = None,
        changed_ms: int | None = None,
        untold: Collection[str] = (),
    ) -> None:
        """Store holds as they are known; ``seen_ms`` is until when their source was read.

        The watch's word replaces any; that of kube-state-metrics replaces only its own, unless that
        was read further. A surer edge is kept, and the node where none is told. With
        ``changed_ms``, a stored hold that has another share on the same node ends at that instant
        and goes on as a further part; without it the share is corrected from the start. Of pods in
        ``untold`` (UIDs) nothing tells the share at present: a stored one stays.
        """
        if not holds:
            return
        self._names.ensure_cluster(self._cluster)
        self._names.ensure_gpu_models({hold.gpu_model for hold in holds})
        self._names.ensure_namespaces({hold.namespace for hold in holds})
        self._put_workloads({hold.workload for hold in holds})
        rows = {
            self._identity(hold): row_of(self._cluster, hold, seen_ms)
            for hold in self._in_parts(holds, changed_ms, untold)
        }
        # The order keeps two writers from waiting for each other in a circle.
        self._connection.execute(upsert(), [rows[key] for key in sorted(rows)])

    def _in_parts(
        self, holds: Sequence[PodHold], changed_ms: int | None, untold: Collection[str]
    ) -> list[PodHold]:
        """Return holds as the parts that they go on as; ends the stored part of a changed share."""
        latest = self._latest({one.pod_uid for one in holds if one.source is HoldSource.WATCH})
        parts: list[PodHold] = []
        for hold in holds:
            last = latest.get((hold.pod_uid, hold.resource))
            if last is None or hold.part_ms or hold.source is not HoldSource.WATCH:
                parts.append(hold)
            elif hold.pod_uid in untold:
                part = part_of(hold, last.started_at) if last.part_ms else hold
                parts.append(with_share_of(last, part))
            elif changed_ms is not None and changed(last, hold, changed_ms):
                self._end(last.hold_id, changed_ms)
                parts.append(part_of(hold, changed_ms))
            else:
                part = part_of(hold, last.started_at) if last.part_ms else hold
                over = changed_ms is not None and settled(last, hold, changed_ms)
                parts.append(with_share_of(last, part) if over else part)
        return parts

    def _latest(self, pod_uids: Collection[str]) -> dict[tuple[str, str], Row[Any]]:
        """Return the last stored part of what the watch saw pods hold, by pod and resource."""
        table = HOLDS
        rows = self._connection.execute(
            select(table)
            .where(table.c.cluster_id == self._cluster_id)
            .where(table.c.pod_uid == any_(literal(sorted(pod_uids), ARRAY(Text))))
            .where(table.c.source == int(HoldSource.WATCH))
            .order_by(table.c.part_ms)
        )
        return {(row.pod_uid, row.resource): row for row in rows}

    def end_others(self, pod_uid: str, resources: Collection[str], at_ms: int) -> None:
        """End the open holds of a pod whose resources are not among ``resources``, at ``at_ms``."""
        for row in self._latest({pod_uid}).values():
            if row.ended_at is None and row.resource not in resources:
                self._end(row.hold_id, max(at_ms, row.started_at))

    def _end(self, identity: int, at_ms: int) -> None:
        table = HOLDS
        self._connection.execute(
            update(table)
            .where(table.c.cluster_id == self._cluster_id, table.c.hold_id == identity)
            .values(ended_at=at_ms, end_unsure_ms=0, end_lost=False)
        )

    def end_missing(self, pod_uids: Collection[str], last_ms: int) -> None:
        """End open holds that the watch knew and whose pod is not among ``pod_uids``.

        They end at ``last_ms``, the last instant at which anybody watched, or at their own last
        sighting if that is later, marked as lost.
        """
        rows = self._connection.execute(
            select(HOLDS.c.hold_id, HOLDS.c.pod_uid)
            .where(HOLDS.c.cluster_id == self._cluster_id, HOLDS.c.ended_at.is_(None))
            .where(HOLDS.c.source == int(HoldSource.WATCH))
        )
        present = frozenset(pod_uids)
        lost = sorted(row.hold_id for row in rows if row.pod_uid not in present)
        if lost:
            self._connection.execute(
                update(HOLDS)
                .where(HOLDS.c.cluster_id == self._cluster_id, HOLDS.c.hold_id.in_(lost))
                .values(
                    ended_at=func.greatest(
                        HOLDS.c.started_at, HOLDS.c.seen_at, literal_instant(last_ms)
                    ),
                    end_lost=True,
                )
            )

    def within(self, window: Window, *, source: HoldSource | None = None) -> tuple[PodHold, ...]:
        """Return the holds that touch the window, of one source or of all, as values."""
        table, models = HOLDS, GPU_MODELS
        statement = (
            select(table, WORKLOADS, func.coalesce(models.c.name, "").label("gpu_model"))
            .join_from(
                table,
                WORKLOADS,
                (WORKLOADS.c.cluster_id == table.c.cluster_id)
                & (WORKLOADS.c.workload_id == table.c.workload_id),
            )
            .outerjoin(models, models.c.gpu_model_id == table.c.gpu_model_id)
            .where(self._touches(window))
            .order_by(table.c.started_at, table.c.hold_id)
            .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        )
        if source is not None:
            statement = statement.where(table.c.source == int(source))
        return tuple(value_of(row) for row in self._connection.execute(statement))

    def frame(self, window: Window) -> pd.DataFrame:
        """Return the holds that touch the window, as `frames.HOLDS`."""
        table = HOLDS
        columns = (
            table.c.hold_id,
            table.c.node_id,
            table.c.gpu_model_id,
            table.c.workload_id,
            table.c.namespace,
            table.c.pod,
            table.c.share_num,
            table.c.share_den,
            table.c.compute_num,
            table.c.compute_den,
            table.c.units,
            table.c.sharing,
            table.c.devices,
            table.c.exclusive,
            table.c.started_at,
            func.coalesce(table.c.ended_at, literal_instant(OPEN_MS)),
            table.c.start_unsure_ms,
            table.c.end_unsure_ms,
            table.c.end_lost,
            table.c.source,
        )
        rows = self._connection.execute(
            select(*columns).where(self._touches(window)).order_by(table.c.hold_id)
        ).all()
        dtypes = {name: str(column.dtype) for name, column in frames.HOLDS.columns.items()}
        return pd.DataFrame(
            {
                name: pd.Series(
                    [row[place] for row in rows],
                    dtype="str" if dtype.startswith("str") else dtype,
                )
                for place, (name, dtype) in enumerate(dtypes.items())
            }
        )

    def owners(
        self, hold_ids: Collection[int], label_names: Collection[str] | None = None
    ) -> pd.DataFrame:
        """Return what owners of these holds are found by: one row a hold that is known.

        The columns are hold_id, namespace, labels (a mapping) and workload_id; ``label_names``
        limits the labels, and where it is empty none are read. Facts name holds: when these ended
        may have been learned only after the hour was collected.
        """
        table = HOLDS
        wanted = literal([*hold_ids], ARRAY(BigInteger))
        if label_names is None:
            labels: list[ColumnElement[Any]] = [table.c.labels]
        else:
            labels = [table.c.labels[name].astext for name in sorted(label_names)]
        rows = self._connection.execute(
            select(table.c.hold_id, table.c.namespace, table.c.workload_id, *labels)
            .where(table.c.cluster_id == self._cluster_id, table.c.hold_id == any_(wanted))
            .order_by(table.c.hold_id)
        ).all()
        columns = [*zip(*rows, strict=True)] or [()] * (3 + len(labels))
        telling = (
            columns[3] if label_names is None else _mappings(label_names, columns[3:], len(rows))
        )
        return pd.DataFrame(
            {
                "hold_id": pd.Series(columns[0], dtype="int64"),
                "namespace": pd.Series(columns[1], dtype="str"),
                "labels": pd.Series(telling, dtype="object"),
                "workload_id": pd.Series(columns[2], dtype="int64"),
            }
        )

    def _touches(self, window: Window) -> ColumnElement[bool]:
        table = HOLDS
        return (
            (table.c.cluster_id == self._cluster_id)
            & (table.c.started_at < window.end_ms)
            & or_(table.c.ended_at.is_(None), table.c.ended_at >= window.start_ms)
        )

    def put_workloads(self, workloads: Iterable[Workload]) -> None:
        """Store workloads that hold nothing themselves, such as replicas without a GPU."""
        self._put_workloads(set(workloads))

    def _put_workloads(self, workloads: Collection[Workload]) -> None:
        rows = {
            workload_id(self._cluster, workload): {
                "namespace": workload.namespace,
                "kind": workload.kind,
                "name": workload.name,
                "uid": workload.uid,
            }
            for workload in workloads
        }
        if rows:
            self._connection.execute(
                insert(WORKLOADS).on_conflict_do_nothing(
                    index_elements=["cluster_id", "workload_id"]
                ),
                [
                    {"cluster_id": self._cluster_id, "workload_id": key, **rows[key]}
                    for key in sorted(rows)
                ],
            )

    def _identity(self, hold: PodHold) -> int:
        return hold_id(self._cluster, hold.pod_uid, hold.resource, hold.part_ms)


def _mappings(
    names: Collection[str], columns: Sequence[Sequence[str | None]], count: int
) -> list[dict[str, str]]:
    """Return one mapping a row from one column a name, without what is null."""
    if not names:
        return [{}] * count
    ordered = sorted(names)
    return [
        {name: text for name, text in zip(ordered, texts, strict=True) if text is not None}
        for texts in zip(*columns, strict=True)
    ]
