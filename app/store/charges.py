"""The ledger's first-hand lines of one cluster, and the rollup of all lines by billing day."""

from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, delete, select

from app.attribution.charges import CHARGES as CHARGES_FRAME
from app.attribution.charges import ChargeKind, LineStep
from app.attribution.days import day_starts
from app.store.copying import Array, Column, Kind, copy_in, copy_out
from app.store.fact_frames import span
from app.store.locking import ensure_partitions, guarded, lock
from app.store.naming import NameStore
from app.store.successors import remember_replaced
from app.store.tables.ledger import CHARGE_DAYS, CHARGES, MS_COLUMNS, MS_KINDS, NANO_COLUMNS
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.identity import cluster_id

Int64s = npt.NDArray[np.int64]

_DAY = timedelta(days=1)
_EPOCH_DAY = date(1970, 1, 1)

# How the frame's columns travel; `priced` is whether cost_nanos is null.
CHARGE_COLUMNS = (
    Column("window_start", Kind.INSTANT),
    Column("node_id", Kind.INT8),
    Column("charge_id", Kind.INT8),
    Column("gpu_model_id", Kind.INT8),
    Column("hold_id", Kind.INT8),
    Column("workload_id", Kind.INT8),
    Column("namespace_id", Kind.INT8),
    Column("team_id", Kind.INT8),
    Column("kind", Kind.INT2),
    Column("price_id", Kind.INT8),
    Column("step", Kind.INT2),
    Column("started_at", Kind.INSTANT),
    Column("ended_at", Kind.INSTANT),
    Column("gpu_ms", Kind.INT8),
    Column("cost_nanos", Kind.INT8),
)
FRAME_NAMES = {
    "window_start": "window_start_ms",
    "started_at": "start_ms",
    "ended_at": "end_ms",
}
# No charge costs this; it stands for null on the wire.
_NO_MONEY = -(2**63)
# What a rating of a window makes: its lines, and what a rate card leaves to the platform.
FIRST_HAND_STEPS = (int(LineStep.FIRST_HAND), int(LineStep.CARD_VARIANCE))

_ROLLUP_KEY = ("team_id", "namespace_id", "gpu_model_id")


@dataclass(frozen=True, slots=True)
class _Days:
    """Days of the billing zone: day i is ``first + i`` and lasts [starts[i], starts[i + 1])."""

    first: date
    starts: Int64s

    @property
    def count(self) -> int:
        return len(self.starts) - 1

    def epoch_day(self) -> int:
        """Return the first day, counted from 1970-01-01."""
        return (self.first - _EPOCH_DAY).days


class ChargeStore:
    """The charges of one cluster; ``billing_zone`` says where the rollup's days begin."""

    def __init__(self, connection: Connection, cluster: str, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._cluster = cluster
        self._cluster_id = cluster_id(cluster)
        self._zone = billing_zone

    def replace(self, window: Window, charges: pd.DataFrame) -> int:
        """Store first-hand charges of the window's hours in place of those there; return how many.

        The days of the billing zone that the window touches are summed up again in the same
        transaction, from these charges and from the stored ones of their other hours. Lines of
        other steps are left alone, and are part of the days.
        """
        CHARGES_FRAME.validate(charges)
        if not charges["step"].isin(FIRST_HAND_STEPS).all():
            message = "Lines of other steps are not stored with first-hand charges."
            raise AssertionError(message)
        hours = charges["window_start_ms"].to_numpy()
        if len(hours) and not (window.start_ms <= hours.min() <= hours.max() < window.end_ms):
            message = f"A charge lies outside {window.start.isoformat()}."
            raise AssertionError(message)
        NameStore(self._connection).ensure_cluster(self._cluster)
        days = self._days(window)
        for number in range(days.count):
            day = days.first + number * _DAY
            lock(self._connection, "charge day", self._cluster, day.isoformat())
        ensure_partitions(self._connection, window)
        with guarded():
            remember_replaced(
                self._connection,
                "cluster_id = %(cluster)s AND window_start >= %(start)s::timestamptz"
                " AND window_start < %(end)s::timestamptz AND step = 0",
                span(self._cluster_id, window),
                charges["charge_id"].to_numpy(),
            )
            self._connection.execute(
                delete(CHARGES).where(
                    CHARGES.c.cluster_id == self._cluster_id,
                    CHARGES.c.window_start >= window.start_ms,
                    CHARGES.c.window_start < window.end_ms,
                    CHARGES.c.step.in_(FIRST_HAND_STEPS),
                )
            )
            others = self._stored_hours(days, but=window)
            self._write(charges)
        self._write_days(pd.concat([charges[[*others.columns]], others]), days)
        return len(charges)

    def within(self, window: Window) -> pd.DataFrame:
        """Return first-hand charges of the window's hours, ordered by hour, node and identity."""
        selected = ", ".join(
            f"coalesce(cost_nanos, {_NO_MONEY})" if column.name == "cost_nanos" else column.name
            for column in CHARGE_COLUMNS
        )
        query = (
            f"SELECT {selected} FROM charges WHERE cluster_id = %(cluster)s AND step IN (0, 13)"  # noqa: S608 names of ours only
            " AND window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
        )
        found = copy_out(self._connection, query, CHARGE_COLUMNS, span(self._cluster_id, window))
        found = found.rename(columns=FRAME_NAMES)
        found["priced"] = found["cost_nanos"] != _NO_MONEY
        found["cost_nanos"] = found["cost_nanos"].where(found["priced"], 0).astype("int64")
        order = np.lexsort(
            [found[name].to_numpy() for name in ("charge_id", "node_id", "window_start_ms")]
        )
        return found.iloc[order].reset_index(drop=True)[[*CHARGES_FRAME.columns]]

    def append(self, charges: pd.DataFrame) -> None:
        """Add lines to those there and leave the rollup alone."""
        CHARGES_FRAME.validate(charges)
        self._write(charges)

    def rebuild_days(self, window: Window) -> None:
        """Sum up again every day of the billing zone that the window touches."""
        days = self._days(window)
        for number in range(days.count):
            day = days.first + number * _DAY
            lock(self._connection, "charge day", self._cluster, day.isoformat())
        self._write_days(self._stored_hours(days), days)

    def days(self, window: Window) -> pd.DataFrame:
        """Return the rollup of the days that the window touches, one row a key, in order."""
        days = self._days(window)
        table = CHARGE_DAYS
        last = days.first + days.count * _DAY
        rows = self._connection.execute(
            select(table)
            .where(table.c.cluster_id == self._cluster_id)
            .where(table.c.day >= days.first, table.c.day < last)
            .order_by(table.c.day, *(table.c[name] for name in _ROLLUP_KEY))
        ).all()
        return pd.DataFrame(rows, columns=[column.name for column in table.columns])

    def _days(self, window: Window) -> _Days:
        starts = day_starts(self._zone, window.start_ms, window.end_ms)
        first = from_ms(starts[0]).astimezone(self._zone).date()
        after = first + len(starts) * _DAY
        end = day_starts(self._zone, starts[-1], starts[-1] + 3 * 24 * HOUR_MS)[1]
        assert from_ms(end).astimezone(self._zone).date() == after
        return _Days(first, np.array([*starts, end], dtype=np.int64))

    def _stored_hours(self, days: _Days, *, but: Window | None = None) -> pd.DataFrame:
        """Return what the rollup needs of the stored charges of those days' hours.

        ``but`` are hours of which nothing first-hand is stored.
        """
        first_ms = int(days.starts[0]) // HOUR_MS * HOUR_MS
        last_ms = -(-int(days.starts[-1]) // HOUR_MS) * HOUR_MS
        whole = Window(from_ms(first_ms), from_ms(last_ms))
        columns = (
            Column("start_ms", Kind.INSTANT),
            *(Column(name, Kind.INT8) for name in _ROLLUP_KEY),
            Column("kind", Kind.INT2),
            Column("gpu_ms", Kind.INT8),
            Column("cost_nanos", Kind.INT8),
            Column("priced", Kind.BOOL),
        )
        query = (
            "SELECT started_at, team_id, namespace_id, gpu_model_id, kind, gpu_ms,"
            " coalesce(cost_nanos, 0), cost_nanos IS NOT NULL"
            " FROM charges WHERE cluster_id = %(cluster)s"
            " AND window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
        )
        parameters = dict(span(self._cluster_id, whole))
        if but is not None and but.start <= whole.start and whole.end <= but.end:
            # Only lines of other steps are left, which have an index of their own.
            query += " AND step <> 0 AND step <> 13"
        return copy_out(self._connection, query, columns, parameters)

    def _write(self, charges: pd.DataFrame) -> None:
        ordered = charges.iloc[
            np.lexsort(
                [charges[name].to_numpy() for name in ("charge_id", "node_id", "window_start_ms")]
            )
        ]
        arrays: dict[str, Array] = {
            column.name: ordered[FRAME_NAMES.get(column.name, column.name)].to_numpy()
            for column in CHARGE_COLUMNS
        }
        arrays["cluster_id"] = np.full(len(ordered), self._cluster_id, dtype=np.int64)
        arrays["cost_nanos"] = np.ma.MaskedArray(
            arrays["cost_nanos"], mask=~ordered["priced"].to_numpy(dtype=bool)
        )
        copy_in(
            self._connection, "charges", (Column("cluster_id", Kind.INT8), *CHARGE_COLUMNS), arrays
        )

    def _write_days(self, charges: pd.DataFrame, days: _Days) -> None:
        table = CHARGE_DAYS
        self._connection.execute(
            delete(table).where(
                table.c.cluster_id == self._cluster_id,
                table.c.day >= days.first,
                table.c.day < days.first + days.count * _DAY,
            )
        )
        sums = day_sums(charges, days.starts)
        arrays: dict[str, Array] = dict(sums)
        arrays["day"] = sums["day"] + days.epoch_day()
        arrays["cluster_id"] = np.full(len(sums["day"]), self._cluster_id, dtype=np.int64)
        columns = (
            Column("cluster_id", Kind.INT8),
            Column("day", Kind.DATE),
            *(Column(name, Kind.INT8) for name in (*_ROLLUP_KEY, *MS_COLUMNS, *NANO_COLUMNS)),
        )
        copy_in(self._connection, "charge_days", columns, arrays)


def day_sums(charges: pd.DataFrame, starts_ms: Int64s) -> dict[str, Int64s]:
    """Sum charges by day, team, namespace and GPU model, one column a kind, in key order.

    ``day`` counts from the first of the days that begin at ``starts_ms`` (one more than days); a
    charge belongs to the day in which it starts, and charges outside all days are left out.
    """
    day = np.searchsorted(starts_ms, charges["start_ms"].to_numpy(), side="right") - 1
    inside = (day >= 0) & (day < len(starts_ms) - 1)
    charges, day = charges[inside], day[inside].astype(np.int64)
    keys: list[Int64s] = [day, *(charges[name].to_numpy() for name in _ROLLUP_KEY)]
    order = np.lexsort(keys[::-1])
    sorted_keys = [key[order] for key in keys]
    changes = np.zeros(max(len(order) - 1, 0), dtype=bool)
    for key in sorted_keys:
        changes |= np.diff(key) != 0
    fresh = np.concatenate([np.ones(min(len(order), 1), dtype=bool), changes])
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(fresh) - 1
    sums = {name: key[fresh] for name, key in zip(("day", *_ROLLUP_KEY), sorted_keys, strict=True)}
    kind, count = charges["kind"].to_numpy(), int(fresh.sum())
    for names, quantity in ((MS_COLUMNS[: len(MS_KINDS)], "gpu_ms"), (NANO_COLUMNS, "cost_nanos")):
        table = np.zeros((count, len(ChargeKind) + 1), dtype=np.int64)
        np.add.at(table, (group, kind), charges[quantity].to_numpy())
        sums |= {name: table[:, number] for number, name in enumerate(names, start=1)}
    unpriced = ~charges["priced"].to_numpy(dtype=bool)
    sums["unpriced_ms"] = np.zeros(count, dtype=np.int64)
    np.add.at(sums["unpriced_ms"], group[unpriced], charges["gpu_ms"].to_numpy()[unpriced])
    return sums
