"""Adjustments of closed periods: postings of whole runs, and what is booked for a line so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, Select, func, insert, select

from app.attribution.adjustments import (
    LEDGER_LINES,
    LINE_KEY,
    UNADJUSTED_STEPS,
    AdjustmentType,
)
from app.attribution.redistribution import BillingDay
from app.store.copying import Array, Column, Kind, Parameter, copy_in, copy_out
from app.store.locking import guarded
from app.store.naming import NameStore
from app.store.periods import PeriodStore
from app.store.tables.adjustments import ADJUSTMENT_RUNS, ADJUSTMENTS
from app.store.tables.periods import PERIOD_VERSIONS
from app.store.windows import RatingVersions
from app.units.identity import mix64
from app.units.window import Window, from_ms

_EPOCH_DAY = date(1970, 1, 1)
_KINDS = {
    "day": Kind.DATE,
    "window_start_ms": Kind.INSTANT,
    "start_ms": Kind.INSTANT,
    "end_ms": Kind.INSTANT,
    "kind": Kind.INT2,
    "step": Kind.INT2,
}
_STORED = {
    "window_start_ms": "window_start",
    "start_ms": "started_at",
    "end_ms": "ended_at",
    "kind": "charge_kind",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentRun:
    """One posting: what was adjusted, why, by whom, by which inputs, and where it is booked."""

    run_id: int
    period: str
    type: AdjustmentType
    posting_period: str
    posted_ms: int
    reason: str
    author: str
    versions: RatingVersions


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """The difference of one line of a closed period, with the posting it belongs to.

    The columns are those of a charge; ``day`` is the billing day of its usage, ``charge_id`` the
    adjusted line's.
    """

    adjustment_id: int
    run: AdjustmentRun
    day: date
    window_start_ms: int
    start_ms: int
    end_ms: int
    cluster_id: int
    node_id: int
    gpu_model_id: int
    hold_id: int
    workload_id: int
    namespace_id: int
    team_id: int
    charge_kind: int
    price_id: int
    step: int
    consumer_id: int
    charge_id: int
    gpu_ms: int
    unpriced_ms: int
    cost_nanos: int


class AdjustmentStore:
    """The adjustments of all clusters; ``zone`` is the billing zone, which says what a day is."""

    def __init__(self, connection: Connection, zone: ZoneInfo) -> None:
        self._connection = connection
        self._zone = zone

    def post(self, run: AdjustmentRun, lines: pd.DataFrame) -> int:
        """Store a run and its lines (`LEDGER_LINES`); return how many lines there are."""
        LEDGER_LINES.validate(lines)
        self._connection.execute(
            insert(ADJUSTMENT_RUNS).values(
                run_id=run.run_id,
                period=run.period,
                type=int(run.type),
                posting_period=run.posting_period,
                posted_at=run.posted_ms,
                reason=run.reason,
                author=run.author,
                rating_version=run.versions.rating,
                price_version=run.versions.prices,
                contract_version=run.versions.contract,
            )
        )
        if lines.empty:
            return 0
        columns = [Column(_STORED.get(name, name), _kind(name)) for name in LEDGER_LINES.columns]
        arrays: dict[str, Array] = {
            _STORED.get(name, name): lines[name].to_numpy() for name in LEDGER_LINES.columns
        }
        arrays["adjustment_id"] = mix64(
            run.run_id, *(lines[name].to_numpy(dtype=np.int64) for name in LINE_KEY)
        )
        for name, value in (("run_id", run.run_id), ("posted_at", run.posted_ms)):
            arrays[name] = np.full(len(lines), value, dtype=np.int64)
        columns += [
            Column("adjustment_id", Kind.INT8),
            Column("run_id", Kind.INT8),
            Column("posted_at", Kind.INSTANT),
        ]
        with guarded():
            return copy_in(self._connection, "adjustments", columns, arrays)

    def next_run_id(self) -> int:
        """Return the number of the next run; those who post keep others from it."""
        last: int | None = self._connection.scalar(select(func.max(ADJUSTMENT_RUNS.c.run_id)))
        return (last or 0) + 1

    def inputs_of(self, period: str) -> RatingVersions | None:
        """Return the inputs a closed period goes by: of its last correction, else as it was closed.

        None if it was never closed.
        """
        versions = PERIOD_VERSIONS
        pinned = self._connection.execute(
            select(versions.c.rating_version, versions.c.price_version, versions.c.contract_version)
            .where(versions.c.period == period)
            .order_by(versions.c.version.desc())
            .limit(1)
        ).one_or_none()
        runs = ADJUSTMENT_RUNS
        last = self._connection.execute(
            select(
                runs.c.type, runs.c.rating_version, runs.c.price_version, runs.c.contract_version
            )
            .where(runs.c.period == period)
            .where(runs.c.type.in_([AdjustmentType.CORRECTION, AdjustmentType.REOPENING]))
            .order_by(runs.c.run_id.desc())
            .limit(1)
        ).one_or_none()
        row = last if last is not None and last.type == AdjustmentType.CORRECTION else pinned
        if row is None:
            return None
        return RatingVersions(
            rating=row.rating_version, prices=row.price_version, contract=row.contract_version
        )

    def charged(self, day: BillingDay) -> pd.DataFrame:
        """Return the charges that start in a billing day as `LEDGER_LINES`, without documents'."""
        names = [name for name in LEDGER_LINES.columns if name not in {"day", "unpriced_ms"}]
        chosen = ", ".join(_charge_term(name) for name in names)
        found = copy_out(
            self._connection,
            f"SELECT {chosen}, CASE WHEN cost_nanos IS NULL THEN gpu_ms ELSE 0 END"  # noqa: S608 names of ours only
            " FROM charges WHERE cluster_id = ANY(%(clusters)s::bigint[])"
            " AND window_start >= %(hour)s::timestamptz AND window_start < %(until)s::timestamptz"
            " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz"
            " AND NOT step = ANY(%(without)s::bigint[])",
            [*(Column(name, _kind(name)) for name in names), Column("unpriced_ms", Kind.INT8)],
            {**self._day(day), "without": [int(step) for step in UNADJUSTED_STEPS]},
        )
        found["day"] = np.full(len(found), self._epoch_day(day), dtype=np.int64)
        return found[[*LEDGER_LINES.columns]]

    def posted(self, day: BillingDay) -> pd.DataFrame:
        """Return all that was posted to lines of a billing day, as `LEDGER_LINES`."""
        return self._posted(
            "day = %(day)s::date", {"day": (_EPOCH_DAY + self._after(day)).isoformat()}
        )

    def posted_to(self, hours: Window, runs: Sequence[AdjustmentRun]) -> pd.DataFrame:
        """Return what some runs posted to lines of some hours, as `LEDGER_LINES`."""
        return self._posted(
            "window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
            " AND run_id = ANY(%(runs)s::bigint[])",
            {
                "start": hours.start.isoformat(),
                "end": hours.end.isoformat(),
                "runs": [run.run_id for run in runs],
            },
        )

    def runs_to(self, hours: Window) -> tuple[AdjustmentRun, ...]:
        """Return the runs that posted to lines of some hours, in order."""
        found = frozenset(
            self._connection.scalars(
                select(ADJUSTMENTS.c.run_id)
                .where(ADJUSTMENTS.c.window_start >= hours.start_ms)
                .where(ADJUSTMENTS.c.window_start < hours.end_ms)
                .distinct()
            )
        )
        return tuple(run for run in self.runs() if run.run_id in found)

    def posted_in(self, period: str) -> tuple[Adjustment, ...]:
        """Return what is booked in a period, in the order of runs, usage and lines."""
        return self.find(posted_in=period)

    def find(self, period: str = "", posted_in: str = "") -> tuple[Adjustment, ...]:
        """Return what was posted to lines of one period and booked in another; '' is any.

        In the order of runs, usage and lines.
        """
        columns, statement = ADJUSTMENTS.c, select(ADJUSTMENTS)
        for name, column in ((period, columns.window_start), (posted_in, columns.posted_at)):
            if name:
                found = PeriodStore(self._connection, self._zone).by_name(name)
                statement = statement.where(column >= found.start_ms, column < found.end_ms)
        return _values(self._connection, statement)

    def runs(self, period: str = "") -> tuple[AdjustmentRun, ...]:
        """Return the runs of a period or of all, in order."""
        found = _runs(self._connection)
        return tuple(run for run in found if not period or run.period == period)

    def _posted(self, condition: str, parameters: dict[str, Parameter]) -> pd.DataFrame:
        names = [*LEDGER_LINES.columns]
        chosen = ", ".join(_STORED.get(name, name) for name in names)
        return copy_out(
            self._connection,
            f"SELECT {chosen} FROM adjustments WHERE {condition}"  # noqa: S608 names of ours only
            " ORDER BY run_id, adjustment_id",
            [Column(name, _kind(name)) for name in names],
            parameters,
        )

    def _day(self, day: BillingDay) -> dict[str, Parameter]:
        return {
            "clusters": [0, *sorted(NameStore(self._connection).clusters())],
            "hour": day.touched.start.isoformat(),
            "until": day.touched.end.isoformat(),
            "start": from_ms(day.start_ms).isoformat(),
            "end": from_ms(day.end_ms).isoformat(),
        }

    def _after(self, day: BillingDay) -> timedelta:
        return from_ms(day.start_ms).astimezone(self._zone).date() - _EPOCH_DAY

    def _epoch_day(self, day: BillingDay) -> int:
        return self._after(day).days


def adjustments_of(connection: Connection, charge_id: int) -> tuple[Adjustment, ...]:
    """Return what was posted to a line, in the order of runs."""
    return _values(connection, select(ADJUSTMENTS).where(ADJUSTMENTS.c.charge_id == charge_id))


def adjustment_by_id(connection: Connection, adjustment_id: int) -> Adjustment | None:
    """Return the adjustment with this identity, None if there is none."""
    wanted = ADJUSTMENTS.c.adjustment_id == adjustment_id
    found = _values(connection, select(ADJUSTMENTS).where(wanted).limit(1))
    return found[0] if found else None


def in_closed_hours(lines: pd.DataFrame, closed_before_ms: int) -> pd.DataFrame:
    """Return the lines whose window begins before an instant."""
    result: pd.DataFrame = lines.loc[lines["window_start_ms"] < closed_before_ms]
    return result.reset_index(drop=True)


def united(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return frames of `LEDGER_LINES` as one."""
    filled: Sequence[pd.DataFrame] = [part for part in parts if len(part)]
    if not filled:
        dtypes = {name: pd.Series([], dtype="int64") for name in LEDGER_LINES.columns}
        return pd.DataFrame(dtypes)
    return pd.concat(filled, ignore_index=True)


def _runs(connection: Connection) -> tuple[AdjustmentRun, ...]:
    rows = connection.execute(select(ADJUSTMENT_RUNS).order_by(ADJUSTMENT_RUNS.c.run_id))
    return tuple(_run_of(row) for row in rows)


def _values(connection: Connection, statement: Select[Any]) -> tuple[Adjustment, ...]:
    runs = {run.run_id: run for run in _runs(connection)}
    columns = ADJUSTMENTS.c
    ordered = statement.order_by(
        columns.run_id, columns.window_start, columns.cluster_id, columns.adjustment_id
    )
    same = [
        name for name in Adjustment.__dataclass_fields__ if name in columns and name != "run_id"
    ]
    return tuple(
        Adjustment(
            run=runs[row.run_id],
            window_start_ms=row.window_start,
            start_ms=row.started_at,
            end_ms=row.ended_at,
            **{name: getattr(row, name) for name in same},
        )
        for row in connection.execute(ordered)
    )


def _run_of(row: Row[Any]) -> AdjustmentRun:
    return AdjustmentRun(
        run_id=row.run_id,
        period=row.period,
        type=AdjustmentType(row.type),
        posting_period=row.posting_period,
        posted_ms=row.posted_at,
        reason=row.reason,
        author=row.author,
        versions=RatingVersions(
            rating=row.rating_version, prices=row.price_version, contract=row.contract_version
        ),
    )


def _kind(name: str) -> Kind:
    return _KINDS.get(name, Kind.INT8)


def _charge_term(name: str) -> str:
    if name == "cost_nanos":
        return "coalesce(cost_nanos, 0)"
    return {"window_start_ms": "window_start", "start_ms": "started_at", "end_ms": "ended_at"}.get(
        name, name
    )
