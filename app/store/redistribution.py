"""Redistributed lines of a billing day over all clusters, and which days wait for theirs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from decimal import Decimal

import numpy as np
from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.attribution.charges import HELD_KINDS, ChargeKind
from app.attribution.consumer_matching import MatchScope
from app.attribution.consumer_shares import ConsumerShare, ServiceShares
from app.attribution.contract import WEIGHT_SCALE
from app.attribution.redistribution import (
    BillingDay,
    DayCost,
    RedistributedLine,
    RedistributionStep,
    billing_days,
)
from app.store.copying import Array, Column, Kind, copy_in, copy_out
from app.store.locking import ensure_partitions, guarded, lock
from app.store.naming import NameStore
from app.store.tables.consumers import REASSIGNMENTS, REDISTRIBUTED_DAYS
from app.store.tables.ledger import CHARGE_DAYS, CHARGES, MS_COLUMNS, NANO_COLUMNS
from app.units.window import HOUR_MS, Window, from_ms

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

    def forget_other_zones(self) -> None:
        """Take back the lines of days of another billing zone, and let this one's wait instead.

        A day that is cut otherwise would be reassigned in part twice.
        """
        table = REDISTRIBUTED_DAYS
        for row in self._connection.execute(select(table).order_by(table.c.started_at)).all():
            day = BillingDay(start_ms=row.started_at, end_ms=row.until)
            if billing_days(self._zone, day.start_ms, day.end_ms) == (day,):
                continue
            self.lock(day)
            self._delete(day.hours.start_ms, tuple(RedistributionStep))
            self._connection.execute(delete(table).where(table.c.started_at == day.start_ms))
            self.mark(billing_days(self._zone, day.start_ms, day.end_ms))

    def lock(self, day: BillingDay) -> None:
        """Wait until nobody else works on the day in any cluster; keep it for the transaction."""
        lock(self._connection, "redistribution", str(day.start_ms))
        name = self._date(day).isoformat()
        for cluster in sorted(NameStore(self._connection).clusters().values()):
            lock(self._connection, "charge day", cluster, name)

    def first_hand(self, day: BillingDay, workloads: Collection[int]) -> tuple[DayCost, ...]:
        """Return what the workloads' holds were charged on the day, where a price covers it."""
        columns = ("cluster_id", "workload_id", "namespace_id", "gpu_model_id", "team_id")
        kinds = ", ".join(str(kind) for kind in HELD_KINDS)
        found = copy_out(
            self._connection,
            f"SELECT {', '.join(columns)}, sum(cost_nanos)::bigint FROM charges"  # noqa: S608 names of ours only
            " WHERE cluster_id = ANY(%(clusters)s::bigint[]) AND step = 0"
            " AND window_start >= %(hour)s::timestamptz AND window_start < %(end)s::timestamptz"
            " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz"
            f" AND kind IN ({kinds}) AND workload_id = ANY(%(workloads)s::bigint[])"
            " AND cost_nanos IS NOT NULL GROUP BY 1, 2, 3, 4, 5",
            [*(Column(name, Kind.INT8) for name in columns), Column("nanos", Kind.INT8)],
            {
                "clusters": sorted(NameStore(self._connection).clusters()),
                "workloads": sorted(workloads),
                "hour": day.touched.start.isoformat(),
                "start": from_ms(day.start_ms).isoformat(),
                "end": from_ms(day.end_ms).isoformat(),
            },
        )
        names = (*columns, "nanos")
        return tuple(
            DayCost(**{name: int(row[name]) for name in names}) for row in found.to_dict("records")
        )

    def replace(
        self,
        day: BillingDay,
        lines: Sequence[RedistributedLine],
        shares: Mapping[int, ServiceShares],
        *,
        steps: Collection[RedistributionStep] = (RedistributionStep.CONSUMERS,),
    ) -> None:
        """Store the lines of some steps of a day in place of those there, all clusters at once.

        ``shares`` are the consumers by service. The rollup's day is changed by what was and is
        redistributed. Call `lock` before anything that the lines are made from is read.
        """
        hour = day.hours.start_ms
        self._delete(hour, steps)
        if lines:
            ensure_partitions(self._connection, Window(from_ms(hour), from_ms(hour + HOUR_MS)))
            with guarded():
                self._write(day, lines)
                self._write_reasons(hour, lines, shares)
        self._sum_up(day, hour)

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
            .where(CHARGES.c.cluster_id.in_(sorted(NameStore(self._connection).clusters())))
            .where(CHARGES.c.window_start == day.hours.start_ms, CHARGES.c.node_id == 0)
            .where(CHARGES.c.step > 0)
            .group_by(CHARGES.c.team_id)
        )
        return {row.team_id: int(row.nanos) for row in rows}

    def _delete(self, hour: int, steps: Collection[RedistributionStep]) -> None:
        clusters = sorted(NameStore(self._connection).clusters())
        with guarded():
            self._connection.execute(
                delete(CHARGES)
                .where(CHARGES.c.cluster_id.in_(clusters), CHARGES.c.window_start == hour)
                .where(CHARGES.c.node_id == 0, CHARGES.c.step.in_([int(step) for step in steps]))
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

    def _sum_up(self, day: BillingDay, hour: int) -> None:
        """Take what was redistributed out of the rollup's day, and put what is into it."""
        table, name = CHARGE_DAYS, self._date(day)
        clusters = sorted(NameStore(self._connection).clusters())
        mine = (table.c.cluster_id.in_(clusters), table.c.day == name)
        stale = table.c.redistributed_nanos != 0
        self._connection.execute(update(table).where(*mine, stale).values(redistributed_nanos=0))
        found = copy_out(
            self._connection,
            "SELECT cluster_id, team_id, namespace_id, gpu_model_id, sum(cost_nanos)::bigint"
            " FROM charges WHERE cluster_id = ANY(%(clusters)s::bigint[]) AND node_id = 0"
            " AND window_start = %(hour)s::timestamptz AND step > 0 GROUP BY 1, 2, 3, 4",
            [
                Column(one, Kind.INT8)
                for one in ("cluster_id", "team_id", "namespace_id", "gpu_model_id", "nanos")
            ],
            {"clusters": clusters, "hour": from_ms(hour).isoformat()},
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

    def _date(self, day: BillingDay) -> date:
        return from_ms(day.start_ms).astimezone(self._zone).date()


def mark_days_of(connection: Connection, window: Window) -> None:
    """Say that something changed under the lines of the known days that the window touches."""
    table = REDISTRIBUTED_DAYS
    connection.execute(
        update(table)
        .where(table.c.started_at < window.end_ms, table.c.until > window.start_ms)
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
