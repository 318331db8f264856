"""Why redistributed lines are what they are: the tokens, the ratio, the lines they balance."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, and_, func, select

from app.attribution.charges import HELD_KINDS
from app.attribution.consumer_matching import MatchScope
from app.attribution.consumer_shares import known_sum
from app.attribution.redistribution import BillingDay
from app.findings.gateway_ratio import GATEWAY_RATIO_EVIDENCE
from app.store.consumers import ConsumerStore
from app.store.naming import NameStore
from app.store.tables.consumers import REASSIGNMENTS, REDISTRIBUTED_DAYS
from app.store.tables.facts import TOKEN_USAGE, WINDOW_EVIDENCE, WINDOW_STATE
from app.store.tables.inventory import WORKLOADS
from app.store.tables.ledger import CHARGES
from app.units.window import Window
from app.usage.consumers import GatewayConsumer

# How many of the charges that a debit took are named.
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignedLine:
    """A line of step 3, what it was taken from and by which tokens.

    ``consumer`` is None for a debit. ``debit_nanos`` is what was taken, above zero, from
    ``debit_team``. ``first_hand`` are the charges that this was: how many, and the largest.
    ``coverage`` has seen and expected samples of gateways on the day, by family.
    """

    charge_id: int
    debit_id: int
    day: BillingDay
    cluster: str
    namespace: str
    service: str
    models: tuple[str, ...]
    gpu_model: str
    team: str
    consumer: GatewayConsumer | None
    nanos: int
    debit_nanos: int
    debit_team: str
    scope: MatchScope
    prompt_tokens: int
    cached_prompt_tokens: int
    generation_tokens: int
    weighted_tokens: Decimal
    all_weighted_tokens: Decimal
    gateway_tokens: int
    engine_tokens: int | None
    first_hand: int
    largest: tuple[tuple[int, int], ...]
    coverage: tuple[tuple[str, int, int], ...]
    contract_version: int


class ReassignmentStore:
    """Reads redistributed lines of all clusters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = NameStore(connection)

    def line(self, charge_id: int) -> ReassignedLine | None:
        """Return the redistributed line with this identity, None if there is none."""
        row = self._connection.execute(
            select(REASSIGNMENTS).where(REASSIGNMENTS.c.charge_id == charge_id).limit(1)
        ).one_or_none()
        if row is None:
            return None
        charge, debit = self._charge(row, row.charge_id), self._charge(row, row.debit_id)
        day = self._day(debit)
        count, largest = self._first_hand(debit, day)
        workload = self._connection.execute(
            select(WORKLOADS)
            .where(WORKLOADS.c.cluster_id == row.cluster_id)
            .where(WORKLOADS.c.workload_id == row.workload_id)
        ).one_or_none()
        teams = self._names.teams()
        return ReassignedLine(
            charge_id=row.charge_id,
            debit_id=row.debit_id,
            day=day,
            cluster=self._names.clusters().get(row.cluster_id, ""),
            namespace=workload.namespace if workload else "",
            service=workload.name if workload else "",
            models=self._models(row, day.hours),
            gpu_model=self._names.gpu_models().get(charge.gpu_model_id, ""),
            team=teams.get(charge.team_id, ""),
            consumer=ConsumerStore(self._connection)
            .consumers([row.consumer_id])
            .get(row.consumer_id),
            nanos=charge.cost_nanos,
            debit_nanos=-debit.cost_nanos,
            debit_team=teams.get(debit.team_id, ""),
            scope=MatchScope(row.scope),
            prompt_tokens=row.prompt_tokens,
            cached_prompt_tokens=row.cached_prompt_tokens,
            generation_tokens=row.generation_tokens,
            weighted_tokens=row.weighted_tokens,
            all_weighted_tokens=row.all_weighted_tokens,
            gateway_tokens=row.gateway_tokens,
            engine_tokens=row.engine_tokens,
            first_hand=count,
            largest=largest,
            coverage=self._coverage(day.hours),
            contract_version=self._contract_version(row, day.hours),
        )

    def consumers(self, window: Window) -> list[Row[Any]]:
        """Return one row a day, service, consumer and team, of lines that stand in the window.

        Of each: cluster_id, window_start, workload_id, consumer_id, team_id, nanos, scope, the
        tokens, weighted_tokens, gateway_tokens and engine_tokens.
        """
        told, charge = REASSIGNMENTS.c, CHARGES.c
        same = ("cluster_id", "window_start", "charge_id")
        tokens = (
            *("scope", "prompt_tokens", "cached_prompt_tokens", "generation_tokens"),
            *("weighted_tokens", "gateway_tokens", "engine_tokens"),
        )
        key = (told.cluster_id, told.window_start, told.workload_id, told.consumer_id)
        statement = (
            select(
                *key,
                charge.team_id,
                func.sum(charge.cost_nanos).label("nanos"),
                *(func.max(told[name]).label(name) for name in tokens),
            )
            .join_from(REASSIGNMENTS, CHARGES, and_(*(told[one] == charge[one] for one in same)))
            .where(told.window_start >= window.start_ms, told.window_start < window.end_ms)
            .where(told.consumer_id != 0, charge.node_id == 0)
            .group_by(*key, charge.team_id)
            .order_by(*key, charge.team_id)
        )
        return list(self._connection.execute(statement))

    def workloads(self, ids: Collection[int]) -> dict[tuple[int, int], tuple[str, str]]:
        """Return namespace and name of workloads by cluster and identity."""
        table = WORKLOADS
        rows = self._connection.execute(
            select(table)
            .where(table.c.cluster_id.in_(sorted(self._names.clusters())))
            .where(table.c.workload_id.in_(sorted(ids)))
        )
        return {(row.cluster_id, row.workload_id): (row.namespace, row.name) for row in rows}

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
        self, debit: Row[Any], day: BillingDay
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Return how many charges a debit took, and the largest of them with their nanos."""
        table = CHARGES
        wanted = (
            table.c.cluster_id == debit.cluster_id,
            table.c.window_start >= day.touched.start_ms,
            table.c.window_start < day.touched.end_ms,
            table.c.started_at >= day.start_ms,
            table.c.started_at < day.end_ms,
            table.c.step == 0,
            table.c.kind.in_(HELD_KINDS),
            table.c.workload_id == debit.workload_id,
            table.c.namespace_id == debit.namespace_id,
            table.c.gpu_model_id == debit.gpu_model_id,
            table.c.team_id == debit.team_id,
            table.c.cost_nanos.is_not(None),
        )
        count = self._connection.scalar(select(func.count()).select_from(table).where(*wanted))
        rows = self._connection.execute(
            select(table.c.charge_id, table.c.cost_nanos)
            .where(*wanted)
            .order_by(table.c.cost_nanos.desc(), table.c.charge_id)
            .limit(_SHOWN)
        )
        return count or 0, tuple((row.charge_id, row.cost_nanos) for row in rows)

    def _models(self, row: Row[Any], hours: Window) -> tuple[str, ...]:
        table = TOKEN_USAGE
        found = self._connection.scalars(
            select(table.c.model_id)
            .where(table.c.cluster_id == row.cluster_id, table.c.workload_id == row.workload_id)
            .where(table.c.window_start >= hours.start_ms, table.c.window_start < hours.end_ms)
            .distinct()
        )
        names = self._names.models()
        return tuple(sorted(names.get(key, "") for key in found))

    def _coverage(self, hours: Window) -> tuple[tuple[str, int, int], ...]:
        """Return the evidence of gateways in all clusters: their families have a dot."""
        table = WINDOW_EVIDENCE
        rows = self._connection.execute(
            select(
                table.c.family,
                func.sum(table.c.seen).label("seen"),
                func.sum(table.c.expected).label("expected"),
            )
            .where(table.c.cluster_id.in_(sorted(self._names.clusters())))
            .where(table.c.window_start >= hours.start_ms, table.c.window_start < hours.end_ms)
            .where(table.c.family.like("%.%"))
            .group_by(table.c.family)
            .order_by(table.c.family)
        )
        return tuple((row.family, int(row.seen), int(row.expected)) for row in rows)

    def _contract_version(self, row: Row[Any], hours: Window) -> int:
        table = WINDOW_STATE
        found = self._connection.scalar(
            select(func.max(table.c.contract_version))
            .where(table.c.cluster_id == row.cluster_id)
            .where(table.c.window_start >= hours.start_ms, table.c.window_start < hours.end_ms)
        )
        return found or 0


def gateway_ratios(connection: Connection, cluster: int, window: Window) -> pd.DataFrame:
    """Return `GATEWAY_RATIO_EVIDENCE` of one cluster: days whose lines stand in the window."""
    table = REASSIGNMENTS
    rows = connection.execute(
        select(
            table.c.workload_id,
            table.c.window_start,
            func.max(table.c.gateway_tokens).label("gateway"),
            func.max(table.c.engine_tokens).label("engine"),
        )
        .where(table.c.cluster_id == cluster)
        .where(table.c.window_start >= window.start_ms, table.c.window_start < window.end_ms)
        .group_by(table.c.workload_id, table.c.window_start)
    ).all()
    ids = sorted({row.workload_id for row in rows})
    gateway: dict[int, list[int]] = {key: [] for key in ids}
    engine: dict[int, list[int | None]] = {key: [] for key in ids}
    for row in rows:
        gateway[row.workload_id].append(row.gateway)
        engine[row.workload_id].append(row.engine)
    names = NameStore(connection)
    workloads = {
        row.workload_id: row
        for row in connection.execute(
            select(WORKLOADS).where(
                WORKLOADS.c.cluster_id == cluster, WORKLOADS.c.workload_id.in_(ids)
            )
        )
    }
    payers = _payers(connection, cluster, window)
    teams = names.teams()
    frame = pd.DataFrame(
        {
            "cluster": _texts([names.clusters().get(cluster, "")] * len(ids)),
            "namespace": _texts(
                [workloads[key].namespace if key in workloads else "" for key in ids]
            ),
            "workload": _texts([workloads[key].name if key in workloads else "" for key in ids]),
            "team": _texts([teams.get(payers.get(key, 0), "") for key in ids]),
            "workload_id": pd.Series(ids, dtype="int64"),
            "gateway_tokens": pd.Series([sum(gateway[key]) for key in ids], dtype="int64"),
            "days": pd.Series([len(gateway[key]) for key in ids], dtype="int64"),
            "engine_tokens": pd.array([known_sum(engine[key]) for key in ids], dtype="Int64"),
        }
    )
    validated: pd.DataFrame = GATEWAY_RATIO_EVIDENCE.validate(
        frame[[*GATEWAY_RATIO_EVIDENCE.columns]]
    )
    return validated


def _payers(connection: Connection, cluster: int, window: Window) -> Mapping[int, int]:
    """Return by service the team that most was taken from."""
    rows = connection.execute(
        select(CHARGES.c.workload_id, CHARGES.c.team_id, func.sum(CHARGES.c.cost_nanos))
        .where(CHARGES.c.cluster_id == cluster, CHARGES.c.node_id == 0)
        .where(CHARGES.c.window_start >= window.start_ms, CHARGES.c.window_start < window.end_ms)
        .where(CHARGES.c.step > 0, CHARGES.c.consumer_id == 0)
        .group_by(CHARGES.c.workload_id, CHARGES.c.team_id)
        .order_by(func.sum(CHARGES.c.cost_nanos).desc(), CHARGES.c.team_id)
    )
    return {row[0]: row[1] for row in rows}


def _texts(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="str")
