"""Nodes, device counts and watched spans of one cluster, as they are seen."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.holds import HoldStore
from app.store.inventory_rows import amounts_of, in_turn
from app.store.naming import NameStore
from app.store.tables.columns import literal_instant
from app.store.tables.inventory import INVENTORY_NOTES, NODE_COUNTS, NODES, WATCH_SPANS
from app.units.intervals import Spans, spans_of
from app.units.window import OPEN_MS, Window
from app.usage import frames
from app.usage.identity import MADE_UP_UID, cluster_id, gpu_model_id, node_id
from app.usage.inventory import NodeFacts, PodHold, PoolCount
from app.usage.notes import Note, notes_frame


class InventoryStore:
    """What Kubernetes said about one cluster; holds go through here as well."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._names = NameStore(connection)
        self._cluster_id = cluster_id(cluster)
        self.holds = HoldStore(connection, cluster)

    def begin_watch(self, at_ms: int) -> int:
        """Open a span of watching at ``at_ms``; return what `extend_watch` wants."""
        self._names.ensure_cluster(self._cluster)
        row = {"cluster_id": self._cluster_id, "started_at": at_ms, "until": at_ms}
        self._connection.execute(insert(WATCH_SPANS).on_conflict_do_nothing(), row)
        return at_ms

    def extend_watch(self, span: int, until_ms: int) -> None:
        """Say that the span of watching lasted until ``until_ms`` at least."""
        table = WATCH_SPANS
        self._connection.execute(
            update(table)
            .where(table.c.cluster_id == self._cluster_id, table.c.started_at == span)
            .where(table.c.until < until_ms)
            .values(until=until_ms)
        )

    def watched(self, window: Window) -> Spans:
        """Return when inside the window nodes and pods were watched."""
        table = WATCH_SPANS
        rows = self._connection.execute(
            select(table.c.started_at, table.c.until)
            .where(table.c.cluster_id == self._cluster_id)
            .where(table.c.started_at < window.end_ms, table.c.until > window.start_ms)
        ).all()
        starts = np.array([row.started_at for row in rows], dtype=np.int64)
        ends = np.array([row.until for row in rows], dtype=np.int64)
        return spans_of(starts, ends).clip(window.start_ms, window.end_ms)

    def watched_until_ms(self) -> int:
        """Return the last instant at which nodes and pods were watched; 0 if never."""
        last: int | None = self._connection.scalar(
            select(func.max(WATCH_SPANS.c.until)).where(
                WATCH_SPANS.c.cluster_id == self._cluster_id
            )
        )
        return last or 0

    def put_node(self, node: NodeFacts, counts: Iterable[PoolCount], *, at_ms: int) -> None:
        """Store a node as it was at ``at_ms``, and its devices by model from then on.

        The first counts of a node speak from its creation, unless it was seen before without any:
        then its devices were not advertised until ``at_ms``. An older sighting than the last one
        changes nothing.
        """
        seen_bare = self._connection.scalar(
            select(NODES.c.node_id).where(
                NODES.c.cluster_id == self._cluster_id,
                NODES.c.node_id == node_id(self._cluster, node.uid),
                NODES.c.seen_at < at_ms,
            )
        )
        self.put_node_facts([node], at_ms=at_ms)
        since_ms = min(at_ms, node.created_ms) if seen_bare is None else at_ms
        self._put_counts(node, {count.gpu_model: count for count in counts}, at_ms, since_ms)

    def put_node_facts(self, nodes: Iterable[NodeFacts], *, at_ms: int) -> None:
        """Store nodes without their devices: what prices are matched with.

        An ended node that was seen after its end goes on.
        """
        self._names.ensure_cluster(self._cluster)
        rows = [
            {
                "cluster_id": self._cluster_id,
                "node_id": node_id(self._cluster, node.uid),
                "uid": node.uid,
                "name": node.name,
                "provider": node.provider,
                "region": node.region,
                "zone": node.zone,
                "instance_type": node.instance_type,
                "capacity_type": node.capacity_type,
                "labels": dict(node.labels),
                "created_at": node.created_ms,
                "deleted_at": None,
                "seen_at": at_ms,
                "provider_id": node.provider_id,
            }
            for node in sorted(nodes, key=lambda node: node.uid)
        ]
        if not rows:
            return
        statement = insert(NODES)
        fresh: dict[str, ColumnElement[Any]] = {
            column.name: statement.excluded[column.name]
            for column in NODES.columns
            if not column.primary_key
        }
        # One source may not tell what another one told: a machine keeps its identity.
        told = func.nullif(statement.excluded.provider_id, "")
        fresh["provider_id"] = func.coalesce(told, NODES.c.provider_id)
        seen_after = NODES.c.deleted_at < statement.excluded.seen_at
        end = case((seen_after, None), else_=NODES.c.deleted_at)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["cluster_id", "node_id"],
                set_={**fresh, "deleted_at": end},
                where=statement.excluded.seen_at >= NODES.c.seen_at,
            ),
            rows,
        )

    def end_node(self, uid: str, at_ms: int) -> None:
        """Store that a node was seen to be deleted at ``at_ms``."""
        self._end_nodes({node_id(self._cluster, uid): at_ms})

    def end_missing(
        self, at_ms: int, *, node_uids: Collection[str], pod_uids: Collection[str]
    ) -> None:
        """End what a list at ``at_ms`` does not show: it vanished while nobody watched.

        Nodes and holds end at the last evidence of them, which is where the span of watching
        before ``at_ms`` ended, or the last sighting if that is later.
        """
        table = WATCH_SPANS
        last_ms = self._connection.scalar(
            select(func.max(table.c.until)).where(
                table.c.cluster_id == self._cluster_id, table.c.started_at < at_ms
            )
        )
        self.holds.end_missing(pod_uids, last_ms or 0)
        present = {node_id(self._cluster, uid) for uid in node_uids}
        rows = self._connection.execute(
            select(NODES.c.node_id, NODES.c.seen_at).where(
                NODES.c.cluster_id == self._cluster_id, NODES.c.deleted_at.is_(None)
            )
        ).all()
        self._end_nodes(
            {
                row.node_id: max(row.seen_at, last_ms or 0)
                for row in rows
                if row.node_id not in present
            }
        )

    def end_unseen(self, window: Window, node_uids: Collection[str]) -> None:
        """End nodes that were there before the window and are not among those seen in it.

        They end at their last sighting. A node that was seen later than the window begins, or was
        created in it, stays as it is.
        """
        present = {node_id(self._cluster, uid) for uid in node_uids}
        rows = self._connection.execute(
            select(NODES.c.node_id, NODES.c.seen_at)
            .where(NODES.c.cluster_id == self._cluster_id, NODES.c.deleted_at.is_(None))
            .where(NODES.c.created_at < window.start_ms, NODES.c.seen_at <= window.start_ms)
        ).all()
        self._end_nodes({row.node_id: row.seen_at for row in rows if row.node_id not in present})

    def put_hold(self, hold: PodHold, *, seen_ms: int | None = None) -> None:
        """Store what a pod holds, as it is known; see `HoldStore.put`."""
        self.holds.put([hold], seen_ms=seen_ms)

    def put_notes(self, notes: Iterable[Note], *, at_ms: int) -> None:
        """Store what was odd about pods and nodes at ``at_ms``."""
        rows = [
            {
                "cluster_id": self._cluster_id,
                "kind": note.kind,
                "subject": note.subject,
                "detail": note.detail,
                "quantity": note.quantity,
                "first_seen_at": at_ms,
                "last_seen_at": at_ms,
            }
            for note in sorted(set(notes), key=lambda note: (note.kind, note.subject, note.detail))
        ]
        if rows:
            statement = insert(INVENTORY_NOTES)
            fresh, stored = statement.excluded, INVENTORY_NOTES.c
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["cluster_id", "kind", "subject", "detail"],
                    set_={
                        "quantity": fresh.quantity,
                        "first_seen_at": func.least(stored.first_seen_at, fresh.first_seen_at),
                        "last_seen_at": func.greatest(stored.last_seen_at, fresh.last_seen_at),
                    },
                ),
                rows,
            )

    def notes(self, window: Window) -> pd.DataFrame:
        """Return what was odd and seen inside the window, as `frames.NOTES`."""
        table = INVENTORY_NOTES
        rows = self._connection.execute(
            select(table)
            .where(table.c.cluster_id == self._cluster_id)
            .where(table.c.first_seen_at < window.end_ms, table.c.last_seen_at >= window.start_ms)
        )
        return notes_frame(Note(row.kind, row.subject, row.quantity, row.detail) for row in rows)

    def pools(self, window: Window) -> pd.DataFrame:
        """Return the pools that existed in the window, as `frames.POOLS`.

        A pool lasts as long as its node. Where a node came to show another model in its life, the
        models follow each other: each begins with its first count, the replaced one ends with its
        last. A node under a made-up UID is left out once its own is known.
        """
        counts, nodes = NODE_COUNTS, NODES
        known = {node_id(self._cluster, uid) for uid in self.known_nodes().values()}
        last_until = func.max(func.coalesce(counts.c.until, literal_instant(OPEN_MS)))
        rows = self._connection.execute(
            select(
                counts.c.node_id,
                counts.c.gpu_model_id,
                func.max(counts.c.devices).label("devices"),
                func.min(counts.c.started_at).label("first_at"),
                last_until.label("last_until"),
                nodes.c.created_at,
                nodes.c.deleted_at,
            )
            .join_from(
                counts,
                nodes,
                (nodes.c.cluster_id == counts.c.cluster_id) & (nodes.c.node_id == counts.c.node_id),
            )
            .where(counts.c.cluster_id == self._cluster_id, counts.c.devices > 0)
            .where(nodes.c.created_at < window.end_ms)
            .where(or_(nodes.c.deleted_at.is_(None), nodes.c.deleted_at > window.start_ms))
            .group_by(
                counts.c.node_id, counts.c.gpu_model_id, nodes.c.created_at, nodes.c.deleted_at
            )
        ).all()
        frame = pd.DataFrame(
            [
                (
                    row.node_id,
                    row.gpu_model_id,
                    row.devices,
                    row.created_at,
                    OPEN_MS if row.deleted_at is None else row.deleted_at,
                    row.first_at,
                    row.last_until,
                )
                for row in rows
                if row.node_id in known
            ],
            columns=[*frames.POOLS.columns, "first_ms", "last_ms"],
        ).astype("int64")
        return in_turn(frame, window)

    def counts(self, window: Window) -> pd.DataFrame:
        """Return how many devices could be held, over the window, as `frames.POOL_COUNTS`."""
        table = NODE_COUNTS
        rows = self._connection.execute(
            select(
                table.c.node_id,
                table.c.gpu_model_id,
                table.c.started_at,
                table.c.until,
                table.c.allocatable_num,
                table.c.allocatable_den,
                table.c.compute_num,
                table.c.compute_den,
            )
            .where(table.c.cluster_id == self._cluster_id)
            .where(table.c.started_at < window.end_ms)
            .where(or_(table.c.until.is_(None), table.c.until > window.start_ms))
            .order_by(table.c.node_id, table.c.gpu_model_id, table.c.started_at)
        )
        return pd.DataFrame(
            [(*row[:3], OPEN_MS if row.until is None else row.until, *row[4:]) for row in rows],
            columns=[*frames.POOL_COUNTS.columns],
        ).astype("int64")

    def nodes(self) -> pd.DataFrame:
        """Return what prices are matched with: one row a node that was ever seen."""
        columns = ("node_id", "name", "provider", "region", "instance_type", "capacity_type")
        rows = self._connection.execute(
            select(*(NODES.c[name] for name in columns)).where(
                NODES.c.cluster_id == self._cluster_id
            )
        )
        frame = pd.DataFrame(rows.all(), columns=[*columns]).rename(columns={"name": "node_name"})
        return frame.astype({name: "str" for name in frame.columns if name != "node_id"}).astype(
            {"node_id": "int64"}
        )

    def known_nodes(self) -> dict[tuple[str, int], str]:
        """Return the UIDs of nodes by name and creation, for sources that tell no UID.

        A node's own UID wins over one that was made up before the watch saw the node.
        """
        made_up = NODES.c.uid.startswith(MADE_UP_UID, autoescape=True)
        rows = self._connection.execute(
            select(NODES.c.name, NODES.c.created_at, NODES.c.uid)
            .where(NODES.c.cluster_id == self._cluster_id)
            .order_by(made_up.desc(), NODES.c.uid)
        )
        return {(row.name, row.created_at): row.uid for row in rows}

    def _put_counts(
        self, node: NodeFacts, counts: dict[str, PoolCount], at_ms: int, since_ms: int
    ) -> None:
        """Store counts that are shown at ``at_ms``; the first ones of a node since ``since_ms``."""
        identity = node_id(self._cluster, node.uid)
        self._names.ensure_gpu_models(counts)
        wanted = {gpu_model_id(model): count for model, count in counts.items()}
        table = NODE_COUNTS
        of_node = (table.c.cluster_id == self._cluster_id) & (table.c.node_id == identity)
        known = self._connection.execute(select(table).where(of_node)).all()
        if any(row.started_at > at_ms or (row.until or 0) > at_ms for row in known):
            return
        current = {row.gpu_model_id: row for row in known if row.until is None}
        stale = [
            model
            for model, row in current.items()
            if model not in wanted
            or any(getattr(row, name) != value for name, value in amounts_of(wanted[model]).items())
        ]
        if stale:
            self._close_counts(identity, stale, at_ms)
        rows = [
            {
                "cluster_id": self._cluster_id,
                "node_id": identity,
                "gpu_model_id": model,
                "started_at": at_ms if known else since_ms,
                "until": None,
                **amounts_of(count),
            }
            for model, count in wanted.items()
            if model in stale or model not in current
        ]
        if rows:
            self._connection.execute(insert(table), rows)

    def _close_counts(self, node: int, models: Collection[int], at_ms: int) -> None:
        table = NODE_COUNTS
        current = (
            (table.c.cluster_id == self._cluster_id)
            & (table.c.node_id == node)
            & table.c.gpu_model_id.in_(models)
            & table.c.until.is_(None)
        )
        self._connection.execute(delete(table).where(current, table.c.started_at >= at_ms))
        self._connection.execute(update(table).where(current).values(until=at_ms))

    def _end_nodes(self, ends: dict[int, int]) -> None:
        for identity, end_ms in sorted(ends.items()):
            of_node = (NODES.c.cluster_id == self._cluster_id) & (NODES.c.node_id == identity)
            end = func.greatest(NODES.c.created_at, literal_instant(end_ms))
            self._connection.execute(update(NODES).where(of_node).values(deleted_at=end))
            models = self._connection.scalars(
                select(NODE_COUNTS.c.gpu_model_id).where(
                    NODE_COUNTS.c.cluster_id == self._cluster_id,
                    NODE_COUNTS.c.node_id == identity,
                    NODE_COUNTS.c.until.is_(None),
                )
            ).all()
            if models:
                self._close_counts(identity, models, end_ms)
