"""Lines of money only, of all clusters or of none, and their part of the rollup by billing day."""

from collections.abc import Collection
from datetime import date, tzinfo

import pandas as pd
from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.redistribution import BillingDay
from app.store.charges import CHARGE_COLUMNS, FRAME_NAMES
from app.store.copying import Array, Column, Kind, copy_in, copy_out
from app.store.locking import ensure_partitions, guarded, lock
from app.store.naming import NameStore
from app.store.tables.ledger import CHARGE_DAYS, CHARGES, MS_COLUMNS, NANO_COLUMNS
from app.units.window import HOUR_MS, Window, from_ms

_KEY = ("cluster_id", "day", "team_id", "namespace_id", "gpu_model_id")


class MoneyLineStore:
    """Lines of steps that no rating of a window makes; cluster 0 is "no single cluster"."""

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._zone = billing_zone

    def lock(self, clusters: Collection[int], days: Collection[BillingDay]) -> None:
        """Wait until nobody else writes the days of the clusters."""
        names = NameStore(self._connection).clusters()
        for cluster in sorted(names.get(one, "") for one in clusters):
            for day in sorted(days, key=lambda one: one.start_ms):
                lock(self._connection, "charge day", cluster, self._date(day).isoformat())

    def has_any(self, step: LineStep, clusters: Collection[int], window: Window) -> bool:
        """Say whether the window has lines of the step."""
        found = self._connection.scalar(
            select(CHARGES.c.charge_id).where(*self._those(step, clusters, window)).limit(1)
        )
        return found is not None

    def by_team(self, step: LineStep, hours: Collection[int]) -> dict[int, int]:
        """Return what lines of a step sum to in some hours, by team, over all clusters."""
        clusters = [0, *sorted(NameStore(self._connection).clusters())]
        rows = self._connection.execute(
            select(CHARGES.c.team_id, func.sum(CHARGES.c.cost_nanos).label("nanos"))
            .where(
                CHARGES.c.cluster_id.in_(clusters),
                CHARGES.c.window_start.in_(sorted(hours)),
                CHARGES.c.step == int(step),
            )
            .group_by(CHARGES.c.team_id)
        )
        return {row.team_id: int(row.nanos) for row in rows}

    def replace(
        self,
        step: LineStep,
        hours: Collection[int],
        clusters: Collection[int],
        charges: pd.DataFrame,
        *,
        price_ids: Collection[int] | None = None,
    ) -> None:
        """Store lines of a step in place of those in some hours of the clusters.

        Where ``price_ids`` are given, only lines of those are replaced. ``charges`` are as
        `money_charges` gives them. The caller sums up the days after that.
        """
        starts = sorted(hours)
        if not starts:
            return
        ensure_partitions(
            self._connection, Window(from_ms(starts[0]), from_ms(starts[-1] + HOUR_MS))
        )
        gone = delete(CHARGES).where(
            CHARGES.c.cluster_id.in_(sorted(clusters)),
            CHARGES.c.window_start.in_(starts),
            CHARGES.c.step == int(step),
        )
        if price_ids is not None:
            gone = gone.where(CHARGES.c.price_id.in_(sorted(price_ids)))
        with guarded():
            self._connection.execute(gone)
            self.append(charges)

    def append(self, charges: pd.DataFrame) -> None:
        """Add lines to those there; the rollup is left alone."""
        arrays: dict[str, Array] = {
            column.name: charges[FRAME_NAMES.get(column.name, column.name)].to_numpy()
            for column in CHARGE_COLUMNS
        }
        arrays["cluster_id"] = charges["cluster_id"].to_numpy()
        columns = (Column("cluster_id", Kind.INT8), *CHARGE_COLUMNS)
        copy_in(self._connection, "charges", columns, arrays)

    def sum_up(
        self, kind: ChargeKind, clusters: Collection[int], days: Collection[BillingDay]
    ) -> None:
        """Write what charges of a kind sum to into the rollup of the days."""
        column = f"{kind.name.lower()}_nanos"
        table, wanted = CHARGE_DAYS, sorted(clusters)
        for day in days:
            mine = (table.c.cluster_id.in_(wanted), table.c.day == self._date(day))
            self._connection.execute(
                update(table).where(*mine, table.c[column] != 0).values({column: 0})
            )
            rows = [
                {
                    **dict.fromkeys((*MS_COLUMNS, *NANO_COLUMNS), 0),
                    **{key: row[key] for key in _KEY if key != "day"},
                    "day": self._date(day),
                    column: row["nanos"],
                }
                for row in self._sums(kind, wanted, day).to_dict("records")
            ]
            if rows:
                statement = upsert(table)
                self._connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=[*_KEY], set_={column: statement.excluded[column]}
                    ),
                    rows,
                )
            something = or_(*(table.c[name] != 0 for name in (*MS_COLUMNS, *NANO_COLUMNS)))
            self._connection.execute(delete(table).where(*mine, ~something))

    def _sums(self, kind: ChargeKind, clusters: list[int], day: BillingDay) -> pd.DataFrame:
        keys = ("cluster_id", "team_id", "namespace_id", "gpu_model_id")
        return copy_out(
            self._connection,
            f"SELECT {', '.join(keys)}, sum(cost_nanos)::bigint FROM charges"  # noqa: S608 names of ours only
            " WHERE cluster_id = ANY(%(clusters)s::bigint[]) AND kind = %(kind)s"
            " AND window_start >= %(hour)s::timestamptz AND window_start < %(end)s::timestamptz"
            " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz"
            " AND cost_nanos IS NOT NULL GROUP BY 1, 2, 3, 4",
            [*(Column(name, Kind.INT8) for name in keys), Column("nanos", Kind.INT8)],
            {
                "clusters": clusters,
                "kind": int(kind),
                "hour": day.touched.start.isoformat(),
                "start": from_ms(day.start_ms).isoformat(),
                "end": from_ms(day.end_ms).isoformat(),
            },
        )

    def _those(
        self, step: LineStep, clusters: Collection[int], window: Window
    ) -> tuple[ColumnElement[bool], ...]:
        return (
            CHARGES.c.cluster_id.in_(sorted(clusters)),
            CHARGES.c.window_start >= window.start_ms,
            CHARGES.c.window_start < window.end_ms,
            CHARGES.c.step == int(step),
        )

    def _date(self, day: BillingDay) -> date:
        return from_ms(day.start_ms).astimezone(self._zone).date()
