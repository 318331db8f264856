"""Consumers of gateways: their names, what they sent, and what services served on a day."""

from collections.abc import Collection, Iterable

import pandas as pd
from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, Connection, Table, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from app.attribution.consumer_matching import ServingDay
from app.attribution.consumer_shares import Sent
from app.attribution.redistribution import BillingDay
from app.store.copying import Column, Kind, copy_out
from app.store.hold_rows import value_of
from app.store.naming import NameStore
from app.store.tables.consumers import CONSUMERS, GATEWAY_ROUTES
from app.store.tables.inventory import HOLDS, WORKLOADS
from app.store.tables.names import GPU_MODELS
from app.units.window import Window
from app.usage.consumers import GatewayConsumer, GatewayRoute
from app.usage.models import ModelEntry
from app.usage.serving_pods import entries_of, serving_pods

_WITHIN = "window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
# An integer that no sum has, sent in place of null.
_NO_INTEGER = -(2**63)


class ConsumerStore:
    """What gateways said, over all clusters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, consumers: Iterable[GatewayConsumer], routes: Iterable[GatewayRoute]) -> None:
        """Save the names of consumers and routes; those that are known stay as they are."""
        self._save(
            CONSUMERS,
            {
                one.consumer_id: {
                    "gateway": one.gateway,
                    "team": one.team,
                    "key_alias": one.key_alias,
                    "end_user": one.end_user,
                }
                for one in consumers
            },
        )
        self._save(
            GATEWAY_ROUTES,
            {
                one.route_id: {
                    "model": one.model,
                    "target_model": one.target_model,
                    "cluster": one.cluster,
                    "backend_namespace": one.backend_namespace,
                    "backend": one.backend,
                }
                for one in routes
            },
        )

    def consumers(self, ids: Collection[int] | None = None) -> dict[int, GatewayConsumer]:
        """Return consumers by identity: those of ``ids``, or all."""
        statement = select(CONSUMERS)
        if ids is not None:
            statement = statement.where(CONSUMERS.c.consumer_id.in_(sorted(ids)))
        rows = self._connection.execute(statement)
        return {
            row.consumer_id: GatewayConsumer(
                gateway=row.gateway, team=row.team, key_alias=row.key_alias, end_user=row.end_user
            )
            for row in rows
        }

    def sent(self, hours: Window) -> tuple[Sent, ...]:
        """Return what was sent in the hours, by gateway's cluster, consumer and route."""
        tokens = ("prompt_tokens", "cached_prompt_tokens", "generation_tokens")
        sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in tokens)
        found = self._read(
            f"SELECT cluster_id, consumer_id, route_id, {sums} FROM consumer_usage"  # noqa: S608 names of ours only
            f" WHERE {_WITHIN} GROUP BY 1, 2, 3",
            hours,
            cluster_id=Kind.INT8,
            consumer_id=Kind.INT8,
            route_id=Kind.INT8,
            **dict.fromkeys(tokens, Kind.INT8),
        )
        if not len(found):
            return ()
        clusters = NameStore(self._connection).clusters()
        consumers = self.consumers(found["consumer_id"].unique().tolist())
        routes = self._routes(found["route_id"].unique().tolist())
        return tuple(
            Sent(
                cluster=clusters[row["cluster_id"]],
                consumer=consumers[row["consumer_id"]],
                route=routes[row["route_id"]],
                prompt=row["prompt_tokens"],
                cached=row["cached_prompt_tokens"],
                generation=row["generation_tokens"],
            )
            for row in found.to_dict("records")
        )

    def serving(self, day: BillingDay) -> tuple[ServingDay, ...]:
        """Return the services that published tokens in the hours of the day."""
        sums = ", ".join(
            f"coalesce(sum({name})::bigint, {_NO_INTEGER})"
            for name in ("prompt_tokens", "generation_tokens")
        )
        found = self._read(
            f"SELECT cluster_id, workload_id, model_id, {sums} FROM token_usage"  # noqa: S608 names of ours only
            f" WHERE {_WITHIN} GROUP BY 1, 2, 3",
            day.hours,
            cluster_id=Kind.INT8,
            workload_id=Kind.INT8,
            model_id=Kind.INT8,
            prompt_tokens=Kind.INT8,
            generation_tokens=Kind.INT8,
        )
        names = NameStore(self._connection)
        clusters, models = names.clusters(), names.models()
        tokens: dict[tuple[int, int], dict[str, int | None]] = {}
        for row in found.to_dict("records"):
            served = tokens.setdefault((row["cluster_id"], row["workload_id"]), {})
            counts = (row["prompt_tokens"], row["generation_tokens"])
            known = None if _NO_INTEGER in counts else sum(counts)
            served[models.get(row["model_id"], "")] = known
        rows = self._connection.execute(
            select(WORKLOADS)
            .where(WORKLOADS.c.cluster_id.in_(sorted({key for key, _ in tokens})))
            .where(WORKLOADS.c.workload_id.in_(sorted({key for _, key in tokens})))
            .order_by(WORKLOADS.c.cluster_id, WORKLOADS.c.workload_id)
        )
        return tuple(
            ServingDay(
                workload_id=row.workload_id,
                cluster=clusters[row.cluster_id],
                namespace=row.namespace,
                name=row.name,
                tokens=tuple(sorted(tokens[row.cluster_id, row.workload_id].items())),
            )
            for row in rows
            if (row.cluster_id, row.workload_id) in tokens
        )

    def model_entries(self, workloads: Collection[int], day: BillingDay) -> tuple[ModelEntry, ...]:
        """Return what the workloads' pods of the day say their models are called."""
        holds = HOLDS
        rows = self._connection.execute(
            select(holds, WORKLOADS, func.coalesce(GPU_MODELS.c.name, "").label("gpu_model"))
            .join_from(
                holds,
                WORKLOADS,
                (WORKLOADS.c.cluster_id == holds.c.cluster_id)
                & (WORKLOADS.c.workload_id == holds.c.workload_id),
            )
            .join(GPU_MODELS, GPU_MODELS.c.gpu_model_id == holds.c.gpu_model_id, isouter=True)
            .where(holds.c.cluster_id.in_(sorted(NameStore(self._connection).clusters())))
            .where(holds.c.workload_id.in_(sorted(workloads)))
            .where(holds.c.started_at < day.end_ms)
            .where(or_(holds.c.ended_at.is_(None), holds.c.ended_at > day.start_ms))
            .order_by(holds.c.hold_id)
            .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        )
        # The cluster only makes identities, which entries do not have.
        return entries_of(serving_pods("", [value_of(row) for row in rows]))

    def _routes(self, ids: list[int]) -> dict[int, GatewayRoute]:
        rows = self._connection.execute(
            select(GATEWAY_ROUTES).where(GATEWAY_ROUTES.c.route_id.in_(ids))
        )
        return {
            row.route_id: GatewayRoute(
                model=row.model,
                target_model=row.target_model,
                cluster=row.cluster,
                backend_namespace=row.backend_namespace,
                backend=row.backend,
            )
            for row in rows
        }

    def _save(self, table: Table, wanted: dict[int, dict[str, str]]) -> None:
        key = next(iter(table.primary_key))
        # The order keeps two writers from waiting for each other in a circle.
        rows = [{key.name: number, **wanted[number]} for number in sorted(wanted)]
        if rows:
            self._connection.execute(
                insert(table).on_conflict_do_nothing(index_elements=[key.name]), rows
            )

    def _read(self, query: str, hours: Window, **columns: Kind) -> pd.DataFrame:
        bounds = {"start": hours.start.isoformat(), "end": hours.end.isoformat()}
        return copy_out(
            self._connection, query, [Column(name, kind) for name, kind in columns.items()], bounds
        )
