"""The lines of the true-up, billing day by billing day, and which days wait for theirs."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo

import numpy as np
from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.redistribution import BillingDay, billing_days
from app.attribution.true_up import PoolCost, TrueUpLine
from app.store.copying import Array, Column, Kind, copy_in, copy_out
from app.store.locking import ensure_partitions, guarded, lock
from app.store.naming import NameStore
from app.store.tables.adjustments import ADJUSTMENTS
from app.store.tables.ledger import CHARGE_DAYS, CHARGES, MS_COLUMNS, NANO_COLUMNS
from app.store.tables.provider_bills import TRUE_UP_DAYS
from app.units.window import HOUR_MS, Window, from_ms

# What a node's pool cost is: its first-hand lines, at what they cost whatever teams pay for them.
_POOL_STEPS = (int(LineStep.FIRST_HAND), int(LineStep.CARD_VARIANCE))
_STEP = int(LineStep.TRUE_UP)
_ROLLUP_KEY = ("cluster_id", "day", "team_id", "namespace_id", "gpu_model_id")


@dataclass(frozen=True, slots=True)
class WaitingDay:
    """A day under which something changed since its lines were made; ``marks`` says how often."""

    day: BillingDay
    marks: int


class TrueUpStore:
    """The true-up of all clusters; ``billing_zone`` says what a day is called."""

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._zone = billing_zone
        self._clusters = sorted(NameStore(connection).clusters())

    def mark(self, days: Iterable[BillingDay]) -> None:
        """Say that bills have charges of the days, in the transaction that stores the bills."""
        table = TRUE_UP_DAYS
        for day in sorted(days, key=lambda one: one.start_ms):
            self._connection.execute(
                upsert(table)
                .values(started_at=day.start_ms, until=day.end_ms, marks=1, done_marks=0)
                .on_conflict_do_update(
                    index_elements=["started_at"], set_={"marks": table.c.marks + 1}
                )
            )

    def waiting(self) -> tuple[WaitingDay, ...]:
        """Return the days that wait for their lines, in order."""
        table = TRUE_UP_DAYS
        rows = self._connection.execute(
            select(table).where(table.c.done_marks < table.c.marks).order_by(table.c.started_at)
        )
        return tuple(
            WaitingDay(BillingDay(start_ms=row.started_at, end_ms=row.until), row.marks)
            for row in rows
        )

    def forget_other_zones(self, closed_before_ms: int) -> None:
        """Take back the lines of open days of another zone, and let this one's wait instead."""
        table = TRUE_UP_DAYS
        for row in self._connection.execute(select(table).order_by(table.c.started_at)).all():
            day = BillingDay(start_ms=row.started_at, end_ms=row.until)
            mine = billing_days(self._zone, day.start_ms, day.end_ms) == (day,)
            if mine or day.start_ms < closed_before_ms:
                continue
            self.replace(day, ())
            self._connection.execute(delete(table).where(table.c.started_at == day.start_ms))
            self.mark(billing_days(self._zone, day.start_ms, day.end_ms))

    def lock(self, day: BillingDay) -> None:
        """Wait until nobody else works on the day in any cluster; keep it for the transaction."""
        lock(self._connection, "true-up", str(day.start_ms))
        name = self._date(day).isoformat()
        for cluster in sorted(NameStore(self._connection).clusters().values()):
            lock(self._connection, "charge day", cluster, name)

    def settle(self, waiting: WaitingDay) -> None:
        """Say that the day's lines are made from all that its marks count."""
        table = TRUE_UP_DAYS
        self._connection.execute(
            update(table)
            .where(table.c.started_at == waiting.day.start_ms)
            .values(done_marks=waiting.marks)
        )

    def first_hand(
        self, day: BillingDay, spans: Sequence[tuple[int, int]], nodes: Collection[int]
    ) -> tuple[PoolCost, ...]:
        """Return the first-hand cost of nodes by span of the day and payer."""
        if not nodes:
            return ()
        columns = ("cluster_id", "node_id", "team_id", "namespace_id", "gpu_model_id")
        made: list[PoolCost] = []
        for start_ms, end_ms in spans:
            hour_ms = start_ms // HOUR_MS * HOUR_MS
            found = copy_out(
                self._connection,
                f"SELECT {', '.join(columns)}, coalesce(sum(cost_nanos), 0)::bigint,"  # noqa: S608 names of ours only
                " bool_and(cost_nanos IS NOT NULL) FROM charges"
                " WHERE cluster_id = ANY(%(clusters)s::bigint[]) AND step = ANY(%(steps)s::int[])"
                " AND window_start >= %(hour)s::timestamptz AND window_start < %(end)s::timestamptz"
                " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz"
                " AND node_id = ANY(%(nodes)s::bigint[]) GROUP BY 1, 2, 3, 4, 5",
                [
                    *(Column(name, Kind.INT8) for name in (*columns, "nanos")),
                    Column("priced", Kind.BOOL),
                ],
                {
                    "clusters": self._clusters,
                    "steps": [*_POOL_STEPS],
                    "nodes": sorted(nodes),
                    "hour": from_ms(hour_ms).isoformat(),
                    "start": from_ms(start_ms).isoformat(),
                    "end": from_ms(end_ms).isoformat(),
                },
            )
            made += [
                PoolCost(
                    day_ms=day.start_ms,
                    span_ms=start_ms,
                    priced=bool(row["priced"]),
                    **{name: int(row[name]) for name in (*columns, "nanos")},
                )
                for row in found.to_dict("records")
            ]
        return tuple(sorted(made))

    def adjusted(
        self, day: BillingDay, spans: Sequence[tuple[int, int]], nodes: Collection[int]
    ) -> tuple[PoolCost, ...]:
        """Return what was posted to the first-hand lines of nodes on a closed day."""
        table, starts = ADJUSTMENTS, [start_ms for start_ms, _ in spans]
        rows = self._connection.execute(
            select(table)
            .where(table.c.day == self._date(day), table.c.step.in_(_POOL_STEPS))
            .where(table.c.node_id.in_(sorted(nodes)))
            .order_by(table.c.adjustment_id)
        )
        return tuple(
            PoolCost(
                day_ms=day.start_ms,
                span_ms=starts[max(bisect_right(starts, row.started_at) - 1, 0)],
                cluster_id=row.cluster_id,
                node_id=row.node_id,
                team_id=row.team_id,
                namespace_id=row.namespace_id,
                gpu_model_id=row.gpu_model_id,
                nanos=row.cost_nanos,
            )
            for row in rows
        )

    def replace(self, day: BillingDay, lines: Sequence[TrueUpLine]) -> None:
        """Store the lines of a day in place of those there, and in the rollup's day.

        They stand in the day's first whole hour, as redistributed lines do. Call `lock` before
        anything that they are made from is read.
        """
        hour = day.hours.start_ms
        with guarded():
            self._connection.execute(
                delete(CHARGES).where(
                    CHARGES.c.cluster_id.in_(self._clusters),
                    CHARGES.c.window_start == hour,
                    CHARGES.c.step == _STEP,
                )
            )
        if lines:
            ensure_partitions(self._connection, Window(from_ms(hour), from_ms(hour + HOUR_MS)))
            with guarded():
                self._write(day, lines)
        self._sum_up(day)

    def lines(self, day: BillingDay) -> tuple[TrueUpLine, ...]:
        """Return the stored lines of a day."""
        names = (
            *("charge_id", "cluster_id", "node_id", "team_id", "namespace_id", "gpu_model_id"),
            "cost_nanos",
        )
        rows = self._connection.execute(
            select(*(CHARGES.c[name] for name in names))
            .where(CHARGES.c.cluster_id.in_(self._clusters))
            .where(CHARGES.c.window_start == day.hours.start_ms, CHARGES.c.step == _STEP)
            .order_by(CHARGES.c.cluster_id, CHARGES.c.node_id, CHARGES.c.charge_id)
        )
        return tuple(
            TrueUpLine(
                charge_id=row.charge_id,
                day_ms=day.start_ms,
                cluster_id=row.cluster_id,
                node_id=row.node_id,
                team_id=row.team_id,
                namespace_id=row.namespace_id,
                gpu_model_id=row.gpu_model_id,
                nanos=row.cost_nanos,
            )
            for row in rows
        )

    def by_team(self, days: Iterable[BillingDay]) -> Mapping[int, int]:
        """Return the nanos of the days' true-up by team."""
        hours = sorted({day.hours.start_ms for day in days})
        rows = self._connection.execute(
            select(CHARGES.c.team_id, func.sum(CHARGES.c.cost_nanos).label("nanos"))
            .where(CHARGES.c.cluster_id.in_(self._clusters), CHARGES.c.window_start.in_(hours))
            .where(CHARGES.c.step == _STEP)
            .group_by(CHARGES.c.team_id)
        )
        return {row.team_id: int(row.nanos) for row in rows}

    def posted(self, days: Iterable[BillingDay]) -> dict[tuple[tuple[int, int], int], int]:
        """Return the nanos of the days' lines by node and beginning of the day."""
        by_hour = {day.hours.start_ms: day.start_ms for day in days}
        rows = self._connection.execute(
            select(
                CHARGES.c.cluster_id,
                CHARGES.c.node_id,
                CHARGES.c.window_start,
                func.sum(CHARGES.c.cost_nanos).label("nanos"),
            )
            .where(CHARGES.c.cluster_id.in_(self._clusters))
            .where(CHARGES.c.window_start.in_(sorted(by_hour)), CHARGES.c.step == _STEP)
            .group_by(CHARGES.c.cluster_id, CHARGES.c.node_id, CHARGES.c.window_start)
        )
        return {
            ((row.cluster_id, row.node_id), by_hour[row.window_start]): int(row.nanos)
            for row in rows
        }

    def commitment_unused(self, start_ms: int, end_ms: int) -> dict[int, int]:
        """Return what commitments cost that nobody used in a span, by the lines' price identity."""
        rows = self._connection.execute(
            select(CHARGES.c.price_id, func.sum(CHARGES.c.cost_nanos).label("nanos"))
            .where(CHARGES.c.cluster_id.in_([0, *self._clusters]))
            .where(CHARGES.c.window_start >= start_ms, CHARGES.c.window_start < end_ms)
            .where(CHARGES.c.step == int(LineStep.COMMITMENT))
            .where(CHARGES.c.kind == int(ChargeKind.COMMITMENT_UNUSED))
            .group_by(CHARGES.c.price_id)
        )
        return {row.price_id: int(row.nanos) for row in rows}

    def _write(self, day: BillingDay, lines: Sequence[TrueUpLine]) -> None:
        hour, count = day.hours.start_ms, len(lines)
        same = {
            "window_start": (Kind.INSTANT, hour),
            "started_at": (Kind.INSTANT, hour),
            "ended_at": (Kind.INSTANT, day.end_ms),
            **dict.fromkeys(("hold_id", "workload_id", "price_id", "gpu_ms"), (Kind.INT8, 0)),
            "kind": (Kind.INT2, int(ChargeKind.TRUE_UP)),
            "step": (Kind.INT2, _STEP),
        }
        own = (*("charge_id", "cluster_id", "node_id", "team_id", "namespace_id", "gpu_model_id"),)
        columns = [
            *(Column(name, kind) for name, (kind, _) in same.items()),
            *(Column(name, Kind.INT8) for name in (*own, "cost_nanos")),
        ]
        arrays: dict[str, Array] = {
            name: np.full(count, value, dtype=np.int64) for name, (_, value) in same.items()
        }
        for name in own:
            arrays[name] = np.array([getattr(line, name) for line in lines], dtype=np.int64)
        arrays["cost_nanos"] = np.array([line.nanos for line in lines], dtype=np.int64)
        copy_in(self._connection, "charges", columns, arrays)

    def _sum_up(self, day: BillingDay) -> None:
        """Take the true-up out of the rollup's day, and put the stored lines into it."""
        table, name = CHARGE_DAYS, self._date(day)
        mine = (table.c.cluster_id.in_(self._clusters), table.c.day == name)
        self._connection.execute(
            update(table).where(*mine, table.c.true_up_nanos != 0).values(true_up_nanos=0)
        )
        keys = [CHARGES.c[key] for key in _ROLLUP_KEY if key != "day"]
        found = self._connection.execute(
            select(*keys, func.sum(CHARGES.c.cost_nanos).label("nanos"))
            .where(CHARGES.c.cluster_id.in_(self._clusters))
            .where(CHARGES.c.window_start == day.hours.start_ms, CHARGES.c.step == _STEP)
            .group_by(*keys)
        ).mappings()
        rows = [
            {
                **dict.fromkeys((*MS_COLUMNS, *NANO_COLUMNS), 0),
                **{key.name: row[key.name] for key in keys},
                "day": name,
                "true_up_nanos": int(row["nanos"]),
            }
            for row in found
        ]
        if rows:
            statement = upsert(table)
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[*_ROLLUP_KEY],
                    set_={"true_up_nanos": statement.excluded.true_up_nanos},
                ),
                rows,
            )
        something = or_(*(table.c[column] != 0 for column in (*MS_COLUMNS, *NANO_COLUMNS)))
        self._connection.execute(delete(table).where(*mine, ~something))

    def _date(self, day: BillingDay) -> date:
        return from_ms(day.start_ms).astimezone(self._zone).date()


def mark_true_up_of(connection: Connection, window: Window) -> None:
    """Say that something changed under the days that the window touches and bills speak of."""
    table = TRUE_UP_DAYS
    connection.execute(
        update(table)
        .where(table.c.started_at < window.end_ms, table.c.until > window.start_ms)
        .values(marks=table.c.marks + 1)
    )
