"""Redistributed lines of a billing day over all clusters, and which days wait for theirs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from decimal import Decimal

import numpy as np
from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.attribution.charges import ChargeKind
from app.attribution.consumer_matching import MatchScope
from app.attribution.consumer_shares import ConsumerShare, ServiceShares
from app.attribution.contract import WEIGHT_SCALE
from app.attribution.redistribution import (
    BillingDay,
    RedistributedLine,
    RedistributionStep,
    billing_days,
)
from app.store.copying import Array, Column, Kind, copy_in, copy_out
from app.store.locking import ensure_partitions, guarded, lock
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.successors import remember_replaced
from app.store.tables.consumers import REASSIGNMENTS, REDISTRIBUTED_DAYS
from app.store.tables.ledger import CHARGE_DAYS, CHARGES, MS_COLUMNS, NANO_COLUMNS
from app.store.tables.redistribution import REDISTRIBUTION_WEIGHTS
from app.units.window import HOUR_MS, Window, from_ms

_STEPS = tuple(int(step) for step in RedistributionStep)
_ROLLUP_KEY = ("cluster_id", "day", "team_id", "namespace_id", "gpu_model_id")


@dataclass(frozen=True, slots=True)
class MarkedDay:
    """A day of which something changed since its lines were made; ``marks`` says how often."""

    day: BillingDay
    marks: int


class RedistributionStore:
    """The lines of all clusters; ``billing_zone`` says what a day is called."""

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._zone = billing_zone

    def mark(self, days: Iterable[BillingDay]) -> None:
        """Say that something changed under the days' lines, in the transaction that changes it."""
        table = REDISTRIBUTED_DAYS
        for day in sorted(days, key=lambda one: one.start_ms):
            self._connection.execute(
                upsert(table)
                .values(started_at=day.start_ms, until=day.end_ms, marks=1, done_marks=0)
                .on_conflict_do_update(
                    index_elements=["started_at"], set_={"marks": table.c.marks + 1}
                )
            )

    def marked(self) -> tuple[MarkedDay, ...]:
        """Return the days that wait for their lines, in order."""
        table = REDISTRIBUTED_DAYS
        rows = self._connection.execute(
            select(table).where(table.c.done_marks < table.c.marks).order_by(table.c.started_at)
        )
        return tuple(
            MarkedDay(BillingDay(start_ms=row.started_at, end_ms=row.until), row.marks)
            for row in rows
        )

    def forget_other_zones(self, since_ms: int = 0) -> None:
        """Take back the lines of days of another billing zone, and let this one's wait instead.

        A day that is cut otherwise would be reassigned in part twice. Days that begin before
        ``since_ms`` are left alone.
        """
        table = REDISTRIBUTED_DAYS
        for row in self._connection.execute(select(table).order_by(table.c.started_at)).all():
            day = BillingDay(start_ms=row.started_at, end_ms=row.until)
            days = billing_days(self._zone, day.start_ms, day.end_ms)
            if day.start_ms < since_ms or days == (day,):
                continue
            self.lock(day)
            self._delete(day.hours.start_ms, tuple(RedistributionStep))
            self._connection.execute(delete(table).where(table.c.started_at == day.start_ms))
            self.mark(one for one in days if one.start_ms >= since_ms)

    def lock(self, day: BillingDay) -> None:
        """Wait until nobody else works on the day in any cluster; keep it for the transaction."""
        lock(self._connection, "redistribution", str(day.start_ms))
        name = self._date(day).isoformat()
        for cluster in ("", *sorted(NameStore(self._connection).clusters().values())):
            lock(self._connection, "charge day", cluster, name)

    def replace(
        self,
        day: BillingDay,
        lines: Sequence[RedistributedLine],
        shares: Mapping[int, ServiceShares],
        *,
        steps: Collection[RedistributionStep] = tuple(RedistributionStep),
    ) -> None:
        """Store the lines of some steps of a day in place of those there, all clusters at once.

        ``shares`` are the consumers by service. The rollup's day is changed by what was and is
        redistributed. Call `lock` before anything that the lines are made from is read.
        """
        hour = day.hours.start_ms
        remember_replaced(
            self._connection,
            "cluster_id = ANY(%(clusters)s::bigint[]) AND window_start = %(hour)s::timestamptz"
            " AND node_id = 0 AND step = ANY(%(steps)s::bigint[])",
            {
                "clusters": self._clusters(),
                "hour": day.hours.start.isoformat(),
                "steps": [int(step) for step in steps],
            },
            _ints([line.charge_id for line in lines]),
        )
        self._delete(hour, steps)
        if lines:
            ensure_partitions(self._connection, Window(from_ms(hour), from_ms(hour + HOUR_MS)))
            with guarded():
                self._write(day, lines)
                self._write_reasons(hour, lines, shares)
                self._write_weights(hour, lines)
        self._sum_up(day, hour)

    def append(self, day: BillingDay, lines: Sequence[RedistributedLine]) -> None:
        """Add lines to those there, without their reasons; the rollup is left alone."""
        if lines:
            self._write(day, lines)

    def settle(self, marked: MarkedDay) -> None:
        """Say that the day's lines are made from all that its marks count."""
        table = REDISTRIBUTED_DAYS
        self._connection.execute(
            update(table)
            .where(table.c.started_at == marked.day.start_ms)
            .values(done_marks=marked.marks)
        )

    def by_team(self, day: BillingDay) -> dict[int, int]:
        """Return the redistributed nanos of the day by team."""
        rows = self._connection.execute(
            select(CHARGES.c.team_id, func.sum(CHARGES.c.cost_nanos).label("nanos"))
            .where(CHARGES.c.cluster_id.in_(self._clusters()))
            .where(CHARGES.c.window_start == day.hours.start_ms, CHARGES.c.node_id == 0)
            .where(CHARGES.c.step.in_(_STEPS))
            .group_by(CHARGES.c.team_id)
        )
        return {row.team_id: int(row.nanos) for row in rows}

    def _delete(self, hour: int, steps: Collection[RedistributionStep]) -> None:
        clusters = self._clusters()
        mine = [int(step) for step in steps]
        of_steps = select(CHARGES.c.charge_id).where(
            CHARGES.c.cluster_id.in_(clusters),
            CHARGES.c.window_start == hour,
            CHARGES.c.node_id == 0,
            CHARGES.c.step.in_(mine),
        )
        weights = REDISTRIBUTION_WEIGHTS
        with guarded():
            self._connection.execute(
                delete(weights)
                .where(weights.c.cluster_id.in_(clusters), weights.c.window_start == hour)
                .where(weights.c.charge_id.in_(of_steps))
            )
            self._connection.execute(
                delete(CHARGES)
                .where(CHARGES.c.cluster_id.in_(clusters), CHARGES.c.window_start == hour)
                .where(CHARGES.c.node_id == 0, CHARGES.c.step.in_(mine))
            )
            if RedistributionStep.CONSUMERS in steps:
                table = REASSIGNMENTS
                self._connection.execute(
                    delete(table).where(
                        table.c.cluster_id.in_(clusters), table.c.window_start == hour
                    )
                )

    def _write(self, day: BillingDay, lines: Sequence[RedistributedLine]) -> None:
        """Write lines as charges: in the day's first whole hour, so that no other day meets it."""
        hour = day.hours.start_ms
        same = {
            "window_start": (Kind.INSTANT, hour),
            "started_at": (Kind.INSTANT, hour),
            "ended_at": (Kind.INSTANT, day.end_ms),
            "node_id": (Kind.INT8, 0),
            "hold_id": (Kind.INT8, 0),
            "price_id": (Kind.INT8, 0),
            "gpu_ms": (Kind.INT8, 0),
            "kind": (Kind.INT2, int(ChargeKind.REDISTRIBUTED)),
        }
        own = (
            *("charge_id", "cluster_id", "workload_id", "namespace_id", "gpu_model_id"),
            *("team_id", "consumer_id"),
        )
        columns = [
            *(Column(name, kind) for name, (kind, _) in same.items()),
            *(Column(name, Kind.INT8) for name in (*own, "cost_nanos")),
            Column("step", Kind.INT2),
        ]
        arrays: dict[str, Array] = {
            name: np.full(len(lines), value, dtype=np.int64) for name, (_, value) in same.items()
        }
        arrays |= {name: _ints([getattr(line, name) for line in lines]) for name in own}
        arrays["cost_nanos"] = _ints([line.nanos for line in lines])
        arrays["step"] = _ints([int(line.step) for line in lines])
        copy_in(self._connection, "charges", columns, arrays)

    def _write_reasons(
        self,
        hour: int,
        lines: Sequence[RedistributedLine],
        shares: Mapping[int, ServiceShares],
    ) -> None:
        """Write beside each line of consumers whose tokens it was made from."""
        reasons = {key: _reasons(service) for key, service in shares.items()}
        rows = [
            {
                "cluster_id": line.cluster_id,
                "window_start": hour,
                "workload_id": line.workload_id,
                "charge_id": line.charge_id,
                "debit_id": line.debit_id,
                "consumer_id": line.consumer_id,
                **reasons[line.workload_id][line.consumer_id],
            }
            for line in lines
            if line.step is RedistributionStep.CONSUMERS
        ]
        if rows:
            self._connection.execute(insert(REASSIGNMENTS), rows)

    def _write_weights(self, hour: int, lines: Sequence[RedistributedLine]) -> None:
        """Write beside each line of steps 1 and 2 of what it is which part."""
        told = [line for line in lines if line.step is not RedistributionStep.CONSUMERS]
        names = ("cluster_id", "charge_id", "debit_id", "weight", "weight_sum")
        arrays: dict[str, Array] = {
            name: _ints([getattr(line, name) for line in told]) for name in names
        }
        arrays["window_start"] = np.full(len(told), hour, dtype=np.int64)
        arrays["charge_kind"] = _ints([line.kind for line in told])
        arrays["basis"] = _ints([int(line.basis) for line in told])
        columns = [
            *(Column(name, Kind.INT8) for name in names),
            Column("window_start", Kind.INSTANT),
            Column("charge_kind", Kind.INT2),
            Column("basis", Kind.INT2),
        ]
        copy_in(self._connection, "redistribution_weights", columns, arrays)

    def _sum_up(self, day: BillingDay, hour: int) -> None:
        """Take what was redistributed out of the rollup's day, and put what is into it."""
        table, name = CHARGE_DAYS, self._date(day)
        clusters = self._clusters()
        mine = (table.c.cluster_id.in_(clusters), table.c.day == name)
        stale = table.c.redistributed_nanos != 0
        self._connection.execute(update(table).where(*mine, stale).values(redistributed_nanos=0))
        found = copy_out(
            self._connection,
            "SELECT cluster_id, team_id, namespace_id, gpu_model_id, sum(cost_nanos)::bigint"
            " FROM charges WHERE cluster_id = ANY(%(clusters)s::bigint[]) AND node_id = 0"
            " AND window_start = %(hour)s::timestamptz AND step = ANY(%(steps)s::bigint[])"
            " GROUP BY 1, 2, 3, 4",
            [
                Column(one, Kind.INT8)
                for one in ("cluster_id", "team_id", "namespace_id", "gpu_model_id", "nanos")
            ],
            {"clusters": clusters, "hour": from_ms(hour).isoformat(), "steps": [*_STEPS]},
        )
        rows = [
            {
                **dict.fromkeys((*MS_COLUMNS, *NANO_COLUMNS), 0),
                **{key: row[key] for key in _ROLLUP_KEY if key != "day"},
                "day": name,
                "redistributed_nanos": row["nanos"],
            }
            for row in found.to_dict("records")
        ]
        if rows:
            statement = upsert(table)
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[*_ROLLUP_KEY],
                    set_={"redistributed_nanos": statement.excluded.redistributed_nanos},
                ),
                rows,
            )
        something = or_(*(table.c[column] != 0 for column in (*MS_COLUMNS, *NANO_COLUMNS)))
        self._connection.execute(delete(table).where(*mine, ~something))

    def _clusters(self) -> list[int]:
        """Return all clusters, and 0 for lines that lie in no single one."""
        return [0, *sorted(NameStore(self._connection).clusters())]

    def _date(self, day: BillingDay) -> date:
        return from_ms(day.start_ms).astimezone(self._zone).date()


def mark_days_of(connection: Connection, window: Window) -> None:
    """Say that something changed under the lines of the known days that the window touches.

    Days of closed periods are left alone.
    """
    table = REDISTRIBUTED_DAYS
    connection.execute(
        update(table)
        .where(table.c.started_at < window.end_ms, table.c.until > window.start_ms)
        .where(table.c.started_at >= closed_before_ms(connection))
        .values(marks=table.c.marks + 1)
    )


def _reasons(service: ServiceShares) -> dict[int, dict[str, int | Decimal | None]]:
    """Return what stands beside lines by consumer: its own tokens, at 0 (a debit) all of them."""
    whole: dict[str, int | Decimal | None] = {
        "all_weighted_tokens": _whole(sum(part.weight for part in service.consumers)),
        "gateway_tokens": service.gateway_tokens,
        "engine_tokens": service.engine_tokens,
    }
    own = {one.consumer.consumer_id: _tokens((one,)) | whole for one in service.consumers}
    return {0: _tokens(service.consumers) | whole} | own


def _tokens(parts: Sequence[ConsumerShare]) -> dict[str, int | Decimal | None]:
    return {
        "scope": int(max((part.scope for part in parts), default=MatchScope.SERVICE)),
        "prompt_tokens": sum(part.prompt for part in parts),
        "cached_prompt_tokens": sum(part.cached for part in parts),
        "generation_tokens": sum(part.generation for part in parts),
        "weighted_tokens": _whole(sum(part.weight for part in parts)),
    }


def _whole(millionths: int) -> Decimal:
    return Decimal(millionths) / WEIGHT_SCALE


def _ints(values: list[int]) -> Array:
    return np.array(values, dtype=np.int64)
