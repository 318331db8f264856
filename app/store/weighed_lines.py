"""Lines of steps 1 and 2 with what was weighed, and the charges that they were taken from."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from app.attribution.charges import HELD_KINDS, ChargeKind, LineStep
from app.attribution.redistribution import BillingDay, RedistributionStep, WeightBasis
from app.store.naming import NameStore
from app.store.tables.consumers import REDISTRIBUTED_DAYS
from app.store.tables.facts import WINDOW_STATE
from app.store.tables.ledger import CHARGES
from app.store.tables.redistribution import REDISTRIBUTION_WEIGHTS
from app.units.window import Window

# How many of the charges that a debit took are named.
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedLine:
    """A line of steps 1 or 2; see `app.attribution.redistribution_explanation.WeighedFacts`."""

    charge_id: int
    debit_id: int
    day: BillingDay
    step: RedistributionStep
    kind: ChargeKind | None
    cluster: str
    namespace: str
    gpu_model: str
    team: str
    nanos: int
    debit_nanos: int
    debit_team: str
    basis: WeightBasis
    weight: int
    weight_sum: int
    first_hand: int
    largest: tuple[tuple[int, int], ...]
    contract_version: int


class WeighedLineStore:
    """Reads lines of steps 1 and 2 of all clusters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = NameStore(connection)

    def line(self, charge_id: int) -> WeighedLine | None:
        """Return the line of step 1 or 2 with this identity, None if there is none."""
        told = REDISTRIBUTION_WEIGHTS
        row = self._connection.execute(
            select(told).where(told.c.charge_id == charge_id).limit(1)
        ).one_or_none()
        if row is None:
            return None
        charge, debit = self._charge(row, row.charge_id), self._charge(row, row.debit_id)
        day, teams = self._day(debit), self._names.teams()
        kind = ChargeKind(row.charge_kind) if row.charge_kind else None
        count, largest = self._first_hand(debit, kind, day)
        return WeighedLine(
            charge_id=row.charge_id,
            debit_id=row.debit_id,
            day=day,
            step=RedistributionStep(charge.step),
            kind=kind,
            cluster=self._names.clusters().get(row.cluster_id, ""),
            namespace=self._names.namespaces().get(charge.namespace_id, ""),
            gpu_model=self._names.gpu_models().get(charge.gpu_model_id, ""),
            team=teams.get(charge.team_id, ""),
            nanos=charge.cost_nanos,
            debit_nanos=-debit.cost_nanos,
            debit_team=teams.get(debit.team_id, ""),
            basis=WeightBasis(row.basis),
            weight=row.weight,
            weight_sum=row.weight_sum,
            first_hand=count,
            largest=largest,
            contract_version=self._contract_version(day.hours),
        )

    def _charge(self, row: Row[Any], charge_id: int) -> Row[Any]:
        return self._connection.execute(
            select(CHARGES)
            .where(CHARGES.c.cluster_id == row.cluster_id, CHARGES.c.node_id == 0)
            .where(CHARGES.c.window_start == row.window_start, CHARGES.c.charge_id == charge_id)
        ).one()

    def _day(self, line: Row[Any]) -> BillingDay:
        """Return the day of a line, which stands less than an hour after its beginning."""
        table = REDISTRIBUTED_DAYS
        row = self._connection.execute(
            select(table)
            .where(table.c.started_at <= line.started_at, table.c.until > line.started_at)
            .order_by(table.c.started_at.desc())
        ).first()
        if row is None:
            return BillingDay(start_ms=line.started_at, end_ms=line.ended_at)
        return BillingDay(start_ms=row.started_at, end_ms=row.until)

    def _first_hand(
        self, debit: Row[Any], kind: ChargeKind | None, day: BillingDay
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Return how many charges a debit took, and the largest of them with their nanos."""
        table = CHARGES
        step = LineStep.COMMITMENT if kind is ChargeKind.COMMITMENT_UNUSED else LineStep.FIRST_HAND
        wanted: list[ColumnElement[bool]] = [
            table.c.cluster_id == debit.cluster_id,
            table.c.window_start >= day.touched.start_ms,
            table.c.window_start < day.touched.end_ms,
            table.c.started_at >= day.start_ms,
            table.c.started_at < day.end_ms,
            table.c.step == int(step),
            table.c.kind.in_([int(kind)] if kind else HELD_KINDS),
            table.c.gpu_model_id == debit.gpu_model_id,
            table.c.team_id == debit.team_id,
            table.c.cost_nanos.is_not(None),
        ]
        if kind is None:
            wanted.append(table.c.namespace_id == debit.namespace_id)
        count = self._connection.scalar(select(func.count()).select_from(table).where(*wanted))
        rows = self._connection.execute(
            select(table.c.charge_id, table.c.cost_nanos)
            .where(*wanted)
            .order_by(table.c.cost_nanos.desc(), table.c.charge_id)
            .limit(_SHOWN)
        )
        return count or 0, tuple((row.charge_id, row.cost_nanos) for row in rows)

    def _contract_version(self, hours: Window) -> int:
        table = WINDOW_STATE
        found = self._connection.scalar(
            select(func.max(table.c.contract_version))
            .where(table.c.cluster_id.in_(sorted(self._names.clusters())))
            .where(table.c.window_start >= hours.start_ms, table.c.window_start < hours.end_ms)
        )
        return found or 0
