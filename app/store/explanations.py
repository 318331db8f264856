"""Everything stored that a charge rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from app.attribution.charge_explanation import Coverage, ExplainedSpan
from app.attribution.charges import ChargeKind, LineStep
from app.attribution.explanation import Versions
from app.attribution.hold_explanation import ExplainedHold, ExplainedUsage
from app.pricing.rows import ModelCount, PricedPool
from app.store.naming import NameStore
from app.store.rated_versions import versions_of
from app.store.tables.facts import (
    HOLD_USAGE,
    POOL_USAGE,
    WINDOW_EVIDENCE,
    WINDOW_NOTES,
)
from app.store.tables.inventory import HOLDS, NODES, WORKLOADS
from app.store.tables.ledger import CHARGES
from app.units.window import OPEN_MS
from app.usage.kinds import ActivityBasis, ActivityScope, HoldSource, Sharing

# The kind of note that says what was asked, and the evidence that it belongs to where that has
# another name: both activity metrics are one family.
_QUERY = "query"
_FAMILIES = {"gr_engine_active": "activity", "gpu_util": "activity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRecord:
    """A charge as it is stored, and the stored rows that it was made from.

    ``labels`` are those of the hold's pod; ``pool`` is what prices were matched with.
    """

    charge_id: int
    kind: ChargeKind
    step: LineStep
    cluster_id: int
    window_start_ms: int
    node_id: int
    gpu_model_id: int
    hold_id: int
    start_ms: int
    end_ms: int
    cluster: str
    team: str
    team_id: int
    namespace: str
    namespace_id: int
    workload_id: int
    price_id: int
    labels: tuple[tuple[str, str], ...]
    gpu_ms: int
    cost_nanos: int | None
    pool: PricedPool
    hold: ExplainedHold | None
    usage: ExplainedUsage | None
    spans: tuple[ExplainedSpan, ...]
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]
    versions: Versions


class ExplanationStore:
    """Reads what a charge rests on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = NameStore(connection)

    def charge(self, charge_id: int) -> ChargeRecord | None:
        """Return the charge with this identity and what it rests on, None if there is none."""
        row = self._connection.execute(
            select(CHARGES).where(CHARGES.c.charge_id == charge_id).limit(1)
        ).one_or_none()
        if row is None:
            return None
        models = self._names.gpu_models()
        hold = self._one(HOLDS, row, hold_id=row.hold_id)
        return ChargeRecord(
            charge_id=row.charge_id,
            kind=ChargeKind(row.kind),
            step=LineStep(row.step),
            cluster_id=row.cluster_id,
            window_start_ms=row.window_start,
            node_id=row.node_id,
            gpu_model_id=row.gpu_model_id,
            hold_id=row.hold_id,
            start_ms=row.started_at,
            end_ms=row.ended_at,
            cluster=self._names.clusters().get(row.cluster_id, ""),
            team=self._names.teams().get(row.team_id, ""),
            team_id=row.team_id,
            namespace=self._names.namespaces().get(row.namespace_id, ""),
            namespace_id=row.namespace_id,
            workload_id=row.workload_id,
            price_id=row.price_id,
            labels=tuple(sorted(hold.labels.items())) if hold else (),
            gpu_ms=row.gpu_ms,
            cost_nanos=row.cost_nanos,
            pool=self._pool(row, models),
            hold=self._hold(row, hold),
            usage=self._usage(row),
            spans=self._spans(row),
            coverage=self._coverage(row),
            notes=self._notes(row),
            versions=versions_of(self._connection, row.cluster_id, row.window_start),
        )

    def _pool(self, charge: Row[Any], models: dict[int, str]) -> PricedPool:
        node = self._one(NODES, charge, node_id=charge.node_id)
        devices: dict[int, int] = {}
        for row in self._window_rows(POOL_USAGE, charge):
            devices[row.gpu_model_id] = max(devices.get(row.gpu_model_id, 0), row.devices)
        return PricedPool(
            cluster=self._names.clusters().get(charge.cluster_id, ""),
            provider=node.provider if node else "",
            region=node.region if node else "",
            instance_type=node.instance_type if node else "",
            capacity_type=node.capacity_type if node else "",
            node=node.name if node else "",
            gpu_model=models.get(charge.gpu_model_id, ""),
            on_node=tuple(
                sorted(
                    (
                        ModelCount(models.get(model, ""), count)
                        for model, count in devices.items()
                        if count
                    ),
                    key=lambda one: one.gpu_model,
                )
            ),
        )

    def _hold(self, charge: Row[Any], hold: Row[Any] | None) -> ExplainedHold | None:
        if hold is None:
            return None
        workload = self._one(WORKLOADS, charge, workload_id=charge.workload_id)
        return ExplainedHold(
            namespace=hold.namespace,
            pod=hold.pod,
            workload=f"{workload.kind} {workload.name}" if workload else "",
            resource=hold.resource,
            units=hold.units,
            share_num=hold.share_num,
            share_den=hold.share_den,
            compute_num=hold.compute_num,
            compute_den=hold.compute_den,
            sharing=Sharing(hold.sharing),
            start_ms=hold.started_at,
            end_ms=OPEN_MS if hold.ended_at is None else hold.ended_at,
            start_unsure_ms=hold.start_unsure_ms,
            end_unsure_ms=hold.end_unsure_ms,
            source=HoldSource(hold.source),
        )

    def _usage(self, charge: Row[Any]) -> ExplainedUsage | None:
        row = self._one(
            HOLD_USAGE,
            charge,
            window_start=charge.window_start,
            node_id=charge.node_id,
            hold_id=charge.hold_id,
        )
        if row is None:
            return None
        return ExplainedUsage(
            held_ms=row.held_ms,
            active_ms=row.active_ms,
            idle_ms=row.idle_ms,
            unmeasured_ms=row.unmeasured_ms,
            basis=ActivityBasis(row.activity_basis),
            scope=ActivityScope(row.activity_scope),
            flags=row.flags,
            energy_mj=row.energy_mj,
        )

    def _spans(self, charge: Row[Any]) -> tuple[ExplainedSpan, ...]:
        return tuple(
            ExplainedSpan(
                start_ms=row.started_at,
                end_ms=row.ended_at,
                devices=row.devices,
                held_ms=row.held_ms,
                unallocated_ms=row.unallocated_ms,
                stranded_ms=row.stranded_ms,
                unobserved_ms=row.unobserved_ms,
                claimed_ms=row.claimed_ms,
            )
            for row in self._window_rows(POOL_USAGE, charge)
            if row.gpu_model_id == charge.gpu_model_id
        )

    def _coverage(self, charge: Row[Any]) -> tuple[Coverage, ...]:
        queries: dict[str, list[str]] = {}
        for note in self._note_rows(charge):
            if note.kind == _QUERY:
                queries.setdefault(_FAMILIES.get(note.subject, note.subject), []).append(
                    note.detail
                )
        table = WINDOW_EVIDENCE
        rows = self._connection.execute(
            select(table)
            .where(table.c.cluster_id == charge.cluster_id)
            .where(table.c.window_start == charge.window_start)
            .order_by(table.c.source, table.c.family)
        )
        return tuple(
            Coverage(
                source=row.source,
                family=row.family,
                expected=row.expected,
                seen=row.seen,
                query="; ".join(queries.get(row.family, ())),
            )
            for row in rows
        )

    def _notes(self, charge: Row[Any]) -> tuple[str, ...]:
        return tuple(
            f"{row.kind} {row.subject}: {row.detail}"
            for row in self._note_rows(charge)
            if row.kind != _QUERY
        )

    def _note_rows(self, charge: Row[Any]) -> Sequence[Row[Any]]:
        table = WINDOW_NOTES
        return self._connection.execute(
            select(table)
            .where(table.c.cluster_id == charge.cluster_id)
            .where(table.c.window_start == charge.window_start)
            .order_by(table.c.stage, table.c.line)
        ).all()

    def _window_rows(self, table: Table, charge: Row[Any]) -> Sequence[Row[Any]]:
        """Return a window's rows of the charge's node, in order of time."""
        return self._connection.execute(
            select(table)
            .where(table.c.cluster_id == charge.cluster_id)
            .where(table.c.window_start == charge.window_start)
            .where(table.c.node_id == charge.node_id)
            .order_by(table.c.gpu_model_id, table.c.started_at)
        ).all()

    def _one(self, table: Table, charge: Row[Any], **key: int) -> Row[Any] | None:
        """Return the row of the charge's cluster with the key, which is the table's own."""
        return self._connection.execute(
            select(table).where(
                table.c.cluster_id == charge.cluster_id,
                *(table.c[name] == value for name, value in key.items()),
            )
        ).one_or_none()
