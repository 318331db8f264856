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
    any_,
    case,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from app.store.naming import NameStore
from app.store.tables.columns import literal_instant
from app.store.tables.inventory import HOLDS, WORKLOADS
from app.store.tables.names import GPU_MODELS
from app.units.window import OPEN_MS, Window
from app.usage import frames
from app.usage.identity import cluster_id, gpu_model_id, hold_id, node_id, workload_id
from app.usage.inventory import PodHold, Workload
from app.usage.kinds import HoldSource


class HoldStore:
    """What pods of one cluster hold and held."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._cluster_id = cluster_id(cluster)
        self._names = NameStore(connection)

    def put(self, holds: Sequence[PodHold], *, seen_ms: int | None = None) -> None:
        """Store holds as they are known; ``seen_ms`` is until when their source was read.

        The watch's word replaces any; that of kube-state-metrics replaces only its own, unless that
        was read further. A surer edge is kept, and the node where none is told.
        """
        if not holds:
            return
        self._names.ensure_cluster(self._cluster)
        self._names.ensure_gpu_models({hold.gpu_model for hold in holds})
        self._names.ensure_namespaces({hold.namespace for hold in holds})
        self._put_workloads({hold.workload for hold in holds})
        rows = {
            hold_id(self._cluster, hold.pod_uid, hold.resource): self._row(hold, seen_ms)
            for hold in holds
        }
        # The order keeps two writers from waiting for each other in a circle.
        self._connection.execute(_upsert(), [rows[key] for key in sorted(rows)])

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
        return tuple(_value(row) for row in self._connection.execute(statement))

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

    def _row(self, hold: PodHold, seen_ms: int | None) -> dict[str, object]:
        return {
            "cluster_id": self._cluster_id,
            "hold_id": hold_id(self._cluster, hold.pod_uid, hold.resource),
            "pod_uid": hold.pod_uid,
            "namespace": hold.namespace,
            "pod": hold.pod,
            "node_id": node_id(self._cluster, hold.node_uid) if hold.node_uid else 0,
            "node_uid": hold.node_uid,
            "node_name": hold.node_name,
            "gpu_model_id": gpu_model_id(hold.gpu_model),
            "resource": hold.resource,
            "units": hold.units,
            "share_num": hold.share_num,
            "share_den": hold.share_den,
            "exclusive": hold.exclusive,
            "workload_id": workload_id(self._cluster, hold.workload),
            "labels": dict(hold.labels),
            "started_at": hold.start_ms,
            "ended_at": None if hold.end_ms >= OPEN_MS else hold.end_ms,
            "start_unsure_ms": hold.start_unsure_ms,
            "end_unsure_ms": hold.end_unsure_ms,
            "end_lost": hold.end_lost,
            "scheduled_at": hold.scheduled_ms,
            "ready_at": hold.ready_ms,
            "source": int(hold.source),
            "seen_at": seen_ms,
        }


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


def _upsert() -> Insert:
    statement = insert(HOLDS)
    fresh, stored = statement.excluded, HOLDS.c
    from_watch = fresh.source == int(HoldSource.WATCH)
    same_source = fresh.source == stored.source
    surer_start = same_source & (stored.start_unsure_ms < fresh.start_unsure_ms)
    surer_end = (
        same_source
        & stored.ended_at.is_not(None)
        & fresh.ended_at.is_not(None)
        & ~stored.end_lost
        & (stored.end_unsure_ms < fresh.end_unsure_ms)
    )
    values: dict[str, ColumnElement[Any]] = {
        column.name: fresh[column.name] for column in HOLDS.columns if not column.primary_key
    }
    for name in ("started_at", "start_unsure_ms"):
        values[name] = case((surer_start, stored[name]), else_=fresh[name])
    for name in ("ended_at", "end_unsure_ms", "end_lost"):
        values[name] = case((surer_end, stored[name]), else_=fresh[name])
    values["seen_at"] = case(
        (same_source, func.greatest(stored.seen_at, fresh.seen_at)), else_=fresh.seen_at
    )
    # A pod may outlive its node, and does not hold another one's devices then.
    for name in ("node_id", "node_uid", "gpu_model_id"):
        values[name] = case((fresh.node_id == 0, stored[name]), else_=fresh[name])
    # A pod that was ready once stays known as such: its cold start happened.
    for name in ("scheduled_at", "ready_at"):
        values[name] = func.coalesce(stored[name], fresh[name])
    further = (stored.source == int(HoldSource.KUBE_STATE_METRICS)) & (
        func.coalesce(stored.seen_at <= fresh.seen_at, True)
    )
    return statement.on_conflict_do_update(
        index_elements=["cluster_id", "hold_id"], set_=values, where=from_watch | further
    )


def _value(row: Row[Any]) -> PodHold:
    return PodHold(
        pod_uid=row.holds_pod_uid,
        namespace=row.holds_namespace,
        pod=row.holds_pod,
        node_uid=row.holds_node_uid,
        node_name=row.holds_node_name,
        gpu_model=row.gpu_model,
        resource=row.holds_resource,
        units=row.holds_units,
        share_num=row.holds_share_num,
        share_den=row.holds_share_den,
        exclusive=row.holds_exclusive,
        workload=Workload(
            namespace=row.workloads_namespace,
            kind=row.workloads_kind,
            name=row.workloads_name,
            uid=row.workloads_uid,
        ),
        labels=tuple(sorted(row.holds_labels.items())),
        start_ms=row.holds_started_at,
        end_ms=OPEN_MS if row.holds_ended_at is None else row.holds_ended_at,
        start_unsure_ms=row.holds_start_unsure_ms,
        end_unsure_ms=row.holds_end_unsure_ms,
        end_lost=row.holds_end_lost,
        scheduled_ms=row.holds_scheduled_at,
        ready_ms=row.holds_ready_at,
        source=HoldSource(row.holds_source),
    )
