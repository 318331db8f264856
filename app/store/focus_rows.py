"""Charges and late changes summed to the rows of a FOCUS export, and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection, select

from app.attribution.charges import LineStep
from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.focus_lines import FOCUS_LINES, ExportGrain, FocusNode, Invoice
from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.naming import NameStore
from app.store.tables.adjustments import ADJUSTMENT_RUNS
from app.store.tables.inventory import NODES, WORKLOADS
from app.store.tables.periods import PERIOD_VERSIONS, STATEMENTS
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from app.usage.identity import team_id

_EPOCH_DAY = date(1970, 1, 1)
_DAY = timedelta(days=1)
# What a node is looked up by; few enough at a time for one statement.
_IDENTITIES_AT_A_TIME = 5_000
# Lines of these steps are of their own hour; all others are of the whole billing day.
_OF_AN_HOUR = (LineStep.FIRST_HAND, LineStep.COMMITMENT, LineStep.CARD_VARIANCE)
_KEYS = (
    *("team_id", "cluster_id", "node_id", "namespace_id", "workload_id", "gpu_model_id"),
    *("kind", "step", "price_id", "consumer_id"),
)
_GROUPED = (
    Column("hour_ms", Kind.INSTANT),
    Column("day", Kind.DATE),
    Column("period", Kind.INT8),
    *(Column(name, Kind.INT8) for name in (*_KEYS[:6], "kind", "step", *_KEYS[8:], "run_id")),
    Column("unpriced", Kind.BOOL),
    Column("lines", Kind.INT8),
    Column("gpu_ms", Kind.INT8),
    Column("cost_nanos", Kind.INT8),
    Column("first_ms", Kind.INSTANT),
)


@dataclass(frozen=True, slots=True)
class FocusRows:
    """Lines of the file, and time that no price covers (`FOCUS_LINES`, its money 0).

    ``priced_at`` has for every price an instant at which some line was charged by it.
    """

    lines: pd.DataFrame
    unpriced: pd.DataFrame
    priced_at: Mapping[int, int]


class FocusStore:
    """What a FOCUS export reads; ``billing_zone`` says where days begin."""

    def __init__(self, connection: Connection, billing_zone: ZoneInfo) -> None:
        self._connection = connection
        self.zone = billing_zone

    def rows(
        self,
        window: Window,
        grain: ExportGrain,
        periods: Sequence[BillingPeriod],
        *,
        team: str = "",
    ) -> FocusRows:
        """Return the charges of the window's hours, and the late changes posted in it.

        ``periods`` tile the window, in order. A row is of one price or of none at all.
        ``team`` narrows them to one team's.
        """
        charges = self._charges(window, grain, periods)
        late = self._late(window, grain, periods)
        found = pd.concat([charges, late], ignore_index=True)
        if team:
            found = found[found["team_id"] == team_id(team)].reset_index(drop=True)
        lines = self._dated(found, window, grain, periods)
        unpriced = found["unpriced"].to_numpy(dtype=bool)
        first = found.groupby("price_id", as_index=False)["first_ms"].min()
        return FocusRows(
            lines[~unpriced].reset_index(drop=True),
            lines[unpriced].reset_index(drop=True),
            dict(zip(first["price_id"].tolist(), first["first_ms"].tolist(), strict=True)),
        )

    def _charges(
        self, window: Window, grain: ExportGrain, periods: Sequence[BillingPeriod]
    ) -> pd.DataFrame:
        hour = self._hour_of("window_start", grain)
        keys = ", ".join(f"{name}::bigint" for name in _KEYS)
        query = (
            f"SELECT {hour}, {self._day_of()},"  # noqa: S608 names of ours only
            " width_bucket(started_at, %(borders)s::timestamptz[])::bigint,"
            f" {keys}, 0::bigint, cost_nanos IS NULL, count(*), sum(gpu_ms)::bigint,"
            " coalesce(sum(cost_nanos), 0)::bigint, min(started_at) FROM charges"
            " WHERE window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
            f" GROUP BY {_places(15)}"
        )
        return copy_out(self._connection, query, _GROUPED, self._span(window, periods))

    def _late(
        self, window: Window, grain: ExportGrain, periods: Sequence[BillingPeriod]
    ) -> pd.DataFrame:
        """Return late changes by the period they are posted in, each at the time of its use."""
        hour = self._hour_of("window_start", grain)
        keys = ", ".join(f"{'charge_kind' if name == 'kind' else name}::bigint" for name in _KEYS)
        query = (
            f"SELECT {hour}, {self._day_of()},"  # noqa: S608 names of ours only
            " width_bucket(posted_at, %(borders)s::timestamptz[])::bigint,"
            f" {keys}, run_id, false, count(*), sum(gpu_ms)::bigint, sum(cost_nanos)::bigint,"
            " min(started_at) FROM adjustments WHERE posted_at >= %(start)s::timestamptz"
            f" AND posted_at < %(end)s::timestamptz GROUP BY {_places(15)}"
        )
        return copy_out(self._connection, query, _GROUPED, self._span(window, periods))

    def _hour_of(self, column: str, grain: ExportGrain) -> str:
        if grain is ExportGrain.DAY:
            return "to_timestamp(0)"
        steps = ", ".join(str(int(step)) for step in _OF_AN_HOUR)
        return f"CASE WHEN step IN ({steps}) THEN {column} ELSE to_timestamp(0) END"

    def _day_of(self) -> str:
        zone = str(self.zone).replace("'", "")
        return f"(started_at AT TIME ZONE '{zone}')::date"

    def _span(self, window: Window, periods: Sequence[BillingPeriod]) -> Mapping[str, Parameter]:
        # A line lies inside one day of the billing zone, and so inside one period.
        borders = [from_ms(one.start_ms) for one in periods]
        return {
            "start": window.start.isoformat(),
            "end": window.end.isoformat(),
            "borders": [border.isoformat() for border in borders],
        }

    def _dated(
        self,
        found: pd.DataFrame,
        window: Window,
        grain: ExportGrain,
        periods: Sequence[BillingPeriod],
    ) -> pd.DataFrame:
        """Return the rows with their charge and billing periods in place of day and numbers."""
        days = np.unique(found["day"].to_numpy())
        starts = np.array([self._midnight_ms(int(day)) for day in days], dtype=np.int64)
        ends = np.array([self._midnight_ms(int(day) + 1) for day in days], dtype=np.int64)
        place = np.searchsorted(days, found["day"].to_numpy())
        start, end = starts[place], ends[place]
        late = found["run_id"].to_numpy() != 0
        # A window that begins or ends inside a day has only a part of it.
        begins = np.where(late, start, np.maximum(start, window.start_ms))
        until = np.where(late, end, np.minimum(end, window.end_ms))
        if grain is ExportGrain.HOUR:
            hour = found["hour_ms"].to_numpy()
            of_hour = hour != 0
            begins = np.where(of_hour, np.maximum(start, hour), begins)
            until = np.where(of_hour, np.minimum(end, hour + HOUR_MS), until)
        number = np.clip(found["period"].to_numpy() - 1, 0, len(periods) - 1)
        dated = {
            "start_ms": begins,
            "end_ms": until,
            "day_ms": start,
            "period_start_ms": np.array([one.start_ms for one in periods])[number],
            "period_end_ms": np.array([one.end_ms for one in periods])[number],
        }
        frame = found.assign(**dated)[[*FOCUS_LINES.columns]]
        return frame.astype("int64")

    def _midnight_ms(self, epoch_day: int) -> int:
        day = _EPOCH_DAY + epoch_day * _DAY
        return to_ms(datetime(day.year, day.month, day.day, tzinfo=self.zone))

    def nodes(self, ids: Sequence[int]) -> dict[int, FocusNode]:
        """Return what is known of nodes, by identity."""
        table = NODES
        columns = ("name", "provider", "region", "zone", "instance_type", "capacity_type")
        clusters = sorted(NameStore(self._connection).clusters())
        found: dict[int, FocusNode] = {}
        for some in _parts(ids):
            rows = self._connection.execute(
                select(table.c.node_id, *(table.c[name] for name in columns)).where(
                    table.c.cluster_id.in_(clusters), table.c.node_id.in_(some)
                )
            )
            found |= {row[0]: FocusNode(**dict(zip(columns, row[1:], strict=True))) for row in rows}
        return found

    def workloads(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return the kinds and names of workloads, by identity."""
        table = WORKLOADS
        clusters = sorted(NameStore(self._connection).clusters())
        found: dict[int, tuple[str, str]] = {}
        for some in _parts(ids):
            rows = self._connection.execute(
                select(table.c.workload_id, table.c.kind, table.c.name).where(
                    table.c.cluster_id.in_(clusters), table.c.workload_id.in_(some)
                )
            )
            found |= {row[0]: (row[1], row[2]) for row in rows}
        return found

    def invoices(self, periods: Sequence[BillingPeriod]) -> dict[tuple[int, int], Invoice]:
        """Return the statements of the closed ones among the periods, by team and beginning."""
        table = STATEMENTS
        found: dict[tuple[int, int], Invoice] = {}
        for period in periods:
            if not period.is_closed:
                continue
            rows = self._connection.execute(
                select(table.c.number, table.c.team, table.c.version, table.c.total_minor).where(
                    table.c.period == period.name, table.c.version == period.version
                )
            )
            for row in rows:
                key = (team_id(row.team) if row.team else 0, period.start_ms)
                found[key] = Invoice(
                    number=row.number, version=row.version, total_minor=row.total_minor
                )
        return found

    def pinned_contract(self, period: BillingPeriod) -> int | None:
        """Return the version of the contract that a closed period was closed with."""
        table = PERIOD_VERSIONS
        version: int | None = self._connection.scalar(
            select(table.c.contract_version).where(
                table.c.period == period.name, table.c.version == period.version
            )
        )
        return version

    def reasons(self, runs: Sequence[int]) -> dict[int, str]:
        """Return why late changes were posted, and by whom."""
        table = ADJUSTMENT_RUNS
        rows = self._connection.execute(
            select(table.c.run_id, table.c.reason, table.c.author).where(
                table.c.run_id.in_([*runs])
            )
        )
        return {row.run_id: f"{row.reason} ({row.author})" for row in rows}


def _parts(ids: Sequence[int]) -> list[list[int]]:
    wanted = sorted({int(one) for one in ids} - {0})
    return [
        wanted[at : at + _IDENTITIES_AT_A_TIME]
        for at in range(0, len(wanted), _IDENTITIES_AT_A_TIME)
    ]


def _places(count: int) -> str:
    return ", ".join(str(place + 1) for place in range(count))
