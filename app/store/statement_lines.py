"""What a billing period's statements are made of: its charges and its adjustments, summed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, func, select

from app.attribution.adjustments import AdjustmentType
from app.attribution.contract import Affiliation
from app.attribution.days import day_starts
from app.chargeback.billing_periods import BillingPeriod, midnight_ms
from app.chargeback.statements import ADJUSTMENTS, LINES, TeamHeader
from app.store.copying import Column, Kind, copy_out
from app.store.costs import grouped_sums
from app.store.dimensions import Coded, Labels, dimension_of
from app.store.naming import NameStore
from app.store.ownership import OwnershipStore
from app.store.tables.adjustments import ADJUSTMENT_RUNS
from app.store.tables.adjustments import ADJUSTMENTS as POSTED
from app.store.tables.ownership import TEAM_AFFILIATIONS
from app.units.window import HOUR_MS, OPEN_MS, from_ms

Int64s = npt.NDArray[np.int64]

_NAMED = {
    "team": "team_id",
    "cluster": "cluster_id",
    "namespace": "namespace_id",
    "workload": "workload_id",
    "gpu_model": "gpu_model_id",
    "kind": "kind",
}
_SUMS = ("gpu_ms", "unpriced_ms", "cost_nanos")


@dataclass(frozen=True, slots=True)
class PeriodLines:
    """A period's lines and adjustments, and an instant at which each price of them held."""

    lines: pd.DataFrame
    adjustments: pd.DataFrame
    priced_at: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Belonging:
    team: int
    from_ms: int
    to_ms: int
    header: TeamHeader


class Affiliations:
    """To which cost center and department teams belong, by a version of the contract.

    What counts is where the team is when a day of the billing zone begins.
    """

    def __init__(self, connection: Connection, contract_version: int, zone: ZoneInfo) -> None:
        table = TEAM_AFFILIATIONS
        self._zone = zone
        self._names = NameStore(connection).teams()
        self._spans: dict[int, list[_Belonging]] = {}
        for row in connection.execute(
            select(table)
            .where(table.c.contract_version == contract_version)
            .order_by(table.c.team_id, table.c.valid_from)
        ):
            header = TeamHeader(cost_center=row.cost_center, department=row.department)
            self._spans.setdefault(row.team_id, []).append(
                _Belonging(row.team_id, row.valid_from, row.valid_to, header)
            )

    def changes_ms(self, start_ms: int, end_ms: int) -> tuple[int, ...]:
        """Return the midnights inside the span from which on some team belongs elsewhere."""
        edges = {
            edge
            for spans in self._spans.values()
            for span in spans
            for edge in (span.from_ms, span.to_ms)
            if start_ms < edge < end_ms
        }
        nights = np.array([*day_starts(self._zone, start_ms, end_ms), end_ms], dtype=np.int64)
        found = {int(nights[np.searchsorted(nights, edge)]) for edge in edges}
        return tuple(sorted(found - {end_ms}))

    def at(self, team_id: int, at_ms: int) -> TeamHeader:
        """Return where the team belongs at an instant."""
        for span in self._spans.get(team_id, ()):
            if span.from_ms <= at_ms < span.to_ms or (at_ms >= OPEN_MS == span.to_ms):
                return span.header
        return TeamHeader()

    def headers(self, at_ms: int) -> dict[str, TeamHeader]:
        """Return where every team belongs at an instant, by its name."""
        return {name: self.at(key, at_ms) for key, name in self._names.items()}


def line_names(
    connection: Connection, period: BillingPeriod, identities: Mapping[str, int]
) -> dict[str, str]:
    """Return what a statement of the period calls a line's cluster, workload and so on.

    ``identities`` has the line's columns, as `cluster_id`.
    """
    labels = Labels(connection, period.window())
    names: dict[str, str] = {}
    for name, column in _NAMED.items():
        one = np.array([identities[column]], dtype=np.int64)
        coded = labels.of(dimension_of(name, (*_NAMED,)), one)
        names[name] = coded.texts[int(coded.codes[0])]
    return names


def period_lines(
    connection: Connection, period: BillingPeriod, affiliations: Affiliations, zone: ZoneInfo
) -> PeriodLines:
    """Return the charges of the period (`LINES`) and what is posted in it (`ADJUSTMENTS`)."""
    labels = Labels(connection, period.window())
    lines, priced_at = _lines(connection, period, affiliations, labels)
    adjustments = _adjustments(connection, period, labels, zone)
    return PeriodLines(lines, adjustments, priced_at)


def _lines(
    connection: Connection, period: BillingPeriod, affiliations: Affiliations, labels: Labels
) -> tuple[pd.DataFrame, dict[int, int]]:
    changes = affiliations.changes_ms(period.start_ms, period.end_ms)
    keys = (*_NAMED.values(), "price_id", "epoch")
    columns = (
        *(Column(name, Kind.INT2 if name == "kind" else Kind.INT8) for name in keys[:-1]),
        Column("epoch", Kind.INT4),
        Column("first_ms", Kind.INSTANT),
        *(Column(name, Kind.INT8) for name in _SUMS),
    )
    epoch = "width_bucket(started_at, %(changes)s::timestamptz[])" if changes else "0"
    query = (
        f"SELECT {', '.join(keys[:-1])}, {epoch} AS epoch, min(started_at),"  # noqa: S608 names of ours only
        " sum(gpu_ms)::bigint,"
        " coalesce(sum(gpu_ms) FILTER (WHERE cost_nanos IS NULL), 0)::bigint,"
        " coalesce(sum(cost_nanos), 0)::bigint FROM charges"
        " WHERE window_start >= %(hour)s::timestamptz AND window_start < %(end)s::timestamptz"
        " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz"
        f" GROUP BY {', '.join(str(place + 1) for place in range(len(keys)))}"
    )
    parameters = {
        "changes": [from_ms(one).isoformat() for one in changes],
        "hour": from_ms(period.start_ms // HOUR_MS * HOUR_MS).isoformat(),
        "start": from_ms(period.start_ms).isoformat(),
        "end": from_ms(period.end_ms).isoformat(),
    }
    read = copy_out(connection, query, columns, parameters)
    begins = np.array([period.start_ms, *changes], dtype=np.int64)[read["epoch"].to_numpy()]
    moments = list(zip(read["team_id"].tolist(), begins.tolist(), strict=True))
    centers = {moment: affiliations.at(*moment).cost_center for moment in {*moments}}
    priced_at = read.groupby("price_id", as_index=False)["first_ms"].min()
    return (
        _named(read, labels, [centers[one] for one in moments], ("price_id",), (*LINES.columns,)),
        dict(zip(priced_at["price_id"].tolist(), priced_at["first_ms"].tolist(), strict=True)),
    )


def _adjustments(
    connection: Connection, period: BillingPeriod, labels: Labels, zone: ZoneInfo
) -> pd.DataFrame:
    keys = (*_NAMED, "usage_day", "run_id")
    table, runs = POSTED, ADJUSTMENT_RUNS
    chosen = {
        **{name: table.c[column] for name, column in _NAMED.items() if name != "kind"},
        "kind": table.c.charge_kind,
        "usage_day": table.c.day,
        "run_id": table.c.run_id,
    }
    rows = connection.execute(
        select(
            *(chosen[name].label(name) for name in keys),
            *(func.sum(table.c[name]).label(name) for name in _SUMS),
        )
        .where(table.c.posted_at >= period.start_ms, table.c.posted_at < period.end_ms)
        .group_by(*(chosen[name] for name in keys))
    ).all()
    told = (
        {
            row.run_id: (AdjustmentType(row.type).name.lower(), row.reason, row.author)
            for row in connection.execute(select(runs))
        }
        if rows
        else {}
    )
    read = pd.DataFrame(
        {
            **{
                column: pd.Series([getattr(row, name) for row in rows], dtype="int64")
                for name, column in _NAMED.items()
            },
            "run_id": pd.Series([row.run_id for row in rows], dtype="int64"),
            "usage_day": pd.Series([row.usage_day.isoformat() for row in rows], dtype="str"),
            **{
                name: pd.Series([told[row.run_id][place] for row in rows], dtype="str")
                for place, name in enumerate(("type", "reason", "author"))
            },
            **{
                name: pd.Series([int(getattr(row, name)) for row in rows], dtype="int64")
                for name in _SUMS
            },
        }
    )
    # Cost centers of a closed period's days are those of the contract that its closing pinned.
    ownership = OwnershipStore(connection, zone)
    owners = {day: ownership.owners(midnight_ms(day, zone)) for day in {r.usage_day for r in rows}}
    nowhere = Affiliation(department="", cost_center="")
    centers = [owners[row.usage_day].get(row.team, nowhere).cost_center for row in rows]
    extra = ("usage_day", "type", "reason", "author", "run_id")
    return _named(read, labels, centers, extra, (*ADJUSTMENTS.columns,))


def _named(
    read: pd.DataFrame,
    labels: Labels,
    centers: Sequence[str],
    extra: Sequence[str],
    wanted: Sequence[str],
) -> pd.DataFrame:
    """Sum up by names instead of identities: two workloads of one name are one line."""
    columns = {
        name: labels.of(dimension_of(name, (*_NAMED,)), read[column].to_numpy())
        for name, column in _NAMED.items()
    }
    columns["cost_center"] = _coded(centers)
    columns |= {name: _coded([str(one) for one in read[name].tolist()]) for name in extra}
    sums = {name: read[name].to_numpy() for name in _SUMS}
    named = grouped_sums(columns, sums, len(read))
    for name in {"price_id", "run_id"} & {*extra}:
        named[name] = named[name].astype("int64")
    return named[[*wanted]]


def _coded(texts: Sequence[str]) -> Coded:
    ordered = sorted(set(texts))
    rank = {text: number for number, text in enumerate(ordered)}
    return Coded(np.array([rank[text] for text in texts], dtype=np.int64), tuple(ordered))
