"""Sums over charges: from the rollup for whole billing days, from the lines for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta, tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection

from app.attribution.charges import ChargeKind
from app.attribution.days import day_starts
from app.chargeback.costs import Basis
from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.dimensions import (
    TIMES,
    Coded,
    Dimension,
    Filters,
    Labels,
    dimension_of,
    identities,
)
from app.store.ownership import OWNED, OwnedColumns, OwnershipStore
from app.store.posted import CostQuestion, PostedStore
from app.store.tables.ledger import MS_COLUMNS, NANO_COLUMNS
from app.units.window import HOUR_MS, Window, from_ms

Int64s = npt.NDArray[np.int64]

COST_GROUPS = (
    "cluster",
    "node",
    "gpu_model",
    "namespace",
    "workload",
    "pod",
    "service",
    "model",
    "team",
    "department",
    "cost_center",
    "consumer",
    "charge",
    "kind",
    "hour",
    "day",
    "week",
    "month",
)

_SUMS = (*MS_COLUMNS, *NANO_COLUMNS)
_ROLLUP_IDENTITIES = frozenset({"cluster_id", "team_id", "namespace_id", "gpu_model_id", "day"})
_DAY = timedelta(days=1)
# A cluster without hours for longer than this is taken for one that is no more.
_STOPPED_TELLING = timedelta(days=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncompleteHours:
    """How many hours of a window are partial, wait for a rating, or were never collected.

    ``collected`` says how many there are, ``unrated`` how many of them have no charges yet.
    """

    partial: int
    pending: int
    missing: int
    collected: int
    unrated: int

    @property
    def complete(self) -> bool:
        """Say whether nothing is lacking; what waits to be rated again is there, but may change."""
        return not self.partial and not self.missing and not self.unrated


@dataclass(frozen=True, slots=True)
class CostSums:
    """One row a group (`app.chargeback.costs.costs_schema`), and what the window lacks."""

    rows: pd.DataFrame
    hours: IncompleteHours


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of time and the table its sums are read from."""

    table: str
    condition: str
    parameters: Mapping[str, Parameter]


class CostStore:
    """Sums of all clusters' charges; ``billing_zone`` says where days, weeks and months begin."""

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._zone = billing_zone

    def costs(
        self,
        window: Window,
        group_by: Sequence[str],
        filters: Filters = (),
        *,
        span_ms: tuple[int, int] | None = None,
        basis: Basis = Basis.POSTED,
    ) -> CostSums:
        """Return sums by kind, one row a group, in the order of the group columns.

        Adjustments of closed periods are among them by ``basis`` (`app.store.posted`). '' stands
        for lines without such a value. A row is complete if a price covers all of its time, none of
        it is unobserved, and the window lacks no hour and no sample. ``span_ms`` narrows the sums
        to a part of the window whose edges are borders of billing days, which may lie inside an
        hour.
        """
        wanted = [dimension_of(name, COST_GROUPS) for name in dict.fromkeys(group_by)]
        filtered = [
            (dimension_of(name, _without_time(COST_GROUPS)), values) for name, values in filters
        ]
        labels = Labels(self._connection, window)
        start_ms, end_ms = span_ms or (window.start_ms, window.end_ms)
        asked = [*wanted, *(dimension for dimension, _ in filtered)]
        owned = self._owned(asked, start_ms, end_ms)
        conditions, parameters = _conditions(filtered, labels, owned)
        used, keys = _identities(asked, owned), _identities(wanted, owned)
        found = [
            self._read(part, keys, conditions, parameters)
            for part in self._parts(start_ms, end_ms, used)
        ]
        read = pd.concat(found, ignore_index=True)
        columns = {
            dimension.name: owned.of(dimension.name, read)
            if dimension.name in OWNED
            else labels.of(dimension, read[dimension.identity].to_numpy())
            for dimension in wanted
        }
        question = CostQuestion(
            basis=basis, wanted=wanted, filtered=filtered, start_ms=start_ms, end_ms=end_ms
        )
        columns, sums = PostedStore(self._connection, self._zone).with_adjustments(
            question, labels, columns, {name: read[name].to_numpy() for name in _SUMS}
        )
        rows = grouped_sums(columns, sums, len(sums["adjustment_nanos"]))
        clusters = _clusters(filtered, labels)
        hours = self.incomplete_hours(window, clusters)
        if basis is Basis.USAGE and hours.missing:
            late = PostedStore(self._connection, self._zone).late_hours(window, clusters)
            hours = replace(hours, missing=hours.missing - late, collected=hours.collected + late)
        unknown = (rows["unpriced_ms"] > 0) | (rows["unobserved_ms"] > 0)
        rows["complete"] = ~unknown & hours.complete
        return CostSums(rows, hours)

    def _owned(self, asked: Sequence[Dimension], start_ms: int, end_ms: int) -> OwnedColumns:
        """Return what departments and cost centers are made from, where they are asked for."""
        if not any(dimension.name in OWNED for dimension in asked):
            return OwnedColumns(())
        return OwnedColumns(
            OwnershipStore(self._connection, self._zone).stretches(start_ms, end_ms)
        )

    def incomplete_hours(self, window: Window, clusters: Sequence[int] = ()) -> IncompleteHours:
        """Count what is lacking in the given clusters, or in all that have any hour.

        A cluster that had hours until shortly before the window lacks all of it: whoever stopped
        telling is not gone.
        """
        row = self._connection.exec_driver_sql(
            # Mostly no day waits, and then no hour has to be compared with any.
            "WITH waiting AS MATERIALIZED (SELECT started_at, until FROM redistributed_days"
            " WHERE done_marks < marks)"
            " SELECT count(*) FILTER (WHERE inside AND partial),"
            " count(*) FILTER (WHERE inside AND ((rated_revision, rated_marks)"
            " IS DISTINCT FROM (revision, input_marks) OR EXISTS ("
            "SELECT FROM waiting AS d WHERE hours.window_start < d.until"
            " AND hours.window_start > d.started_at - interval '1 hour'))),"
            " count(*) FILTER (WHERE inside), count(DISTINCT cluster_id),"
            " count(*) FILTER (WHERE inside AND rated_revision IS NULL)"
            " FROM (SELECT *, window_start >= %(start)s AS inside FROM window_state"
            " WHERE window_start >= %(since)s AND window_start < %(end)s"
            " AND (%(all)s OR cluster_id = ANY(%(clusters)s))) AS hours",
            {
                "since": window.start - _STOPPED_TELLING,
                "start": window.start,
                "end": window.end,
                "all": not clusters,
                "clusters": [*clusters],
            },
        ).one()
        expected = (len(clusters) or max(row[3], 1)) * (window.length_ms // HOUR_MS)
        return IncompleteHours(
            partial=row[0],
            pending=row[1],
            missing=expected - row[2],
            collected=row[2],
            unrated=row[4],
        )

    def _parts(self, start_ms: int, end_ms: int, used: Sequence[str]) -> list[_Part]:
        """Return where to read: whole billing days from the rollup, what sticks out from lines."""
        lines = [_lines(start_ms, end_ms)]
        if not {*used} <= _ROLLUP_IDENTITIES:
            return lines
        starts = [
            start
            for start in day_starts(self._zone, start_ms, end_ms + 26 * HOUR_MS)
            if start_ms <= start <= end_ms
        ]
        if len(starts) < 2:  # noqa: PLR2004 one whole day has two borders
            return lines
        first, last = starts[0], starts[-1]
        whole = _Part(
            "charge_days",
            "day >= %(first_day)s::date AND day < %(last_day)s::date",
            {
                "first_day": self._date(first).isoformat(),
                "last_day": self._date(last).isoformat(),
            },
        )
        before = [_lines(start_ms, first)] if start_ms < first else []
        after = [_lines(last, end_ms)] if last < end_ms else []
        return [*before, whole, *after]

    def _read(
        self,
        part: _Part,
        keys: Sequence[str],
        conditions: Sequence[str],
        parameters: Mapping[str, Parameter],
    ) -> pd.DataFrame:
        lines = part.table == "charges"
        # Where nearly every row of the rollup is a group of its own, grouping in the database as
        # well takes twice as long as reading them all.
        grouped = lines or not {"namespace_id", "day"} <= {*keys}
        sums = [
            f"coalesce(sum({_line_term(name) if lines else name}), 0)::bigint" if grouped else name
            for name in _SUMS
        ]
        day = self._key("day", lines=lines)
        where = " AND ".join([part.condition, *(one.replace("{day}", day) for one in conditions)])
        chosen = ", ".join([*(self._key(name, lines=lines) for name in keys), *sums])
        query = f"SELECT {chosen} FROM {part.table} WHERE {where}"  # noqa: S608 names of ours only
        if grouped:
            places = ", ".join(str(place + 1) for place in range(len(keys)))
            query += f" GROUP BY {places}" if keys else " HAVING count(*) > 0"
        columns = [
            *(Column(name, _KEY_KINDS.get(name, Kind.INT8)) for name in keys),
            *(Column(name, Kind.INT8) for name in _SUMS),
        ]
        return copy_out(self._connection, query, columns, {**parameters, **part.parameters})

    def _key(self, name: str, *, lines: bool) -> str:
        if name == "day" and lines:
            zone = str(self._zone).replace("'", "")
            return f"(started_at AT TIME ZONE '{zone}')::date"
        return "window_start" if name == "hour" else name

    def _date(self, at_ms: int) -> date:
        return from_ms(at_ms).astimezone(self._zone).date()


_KEY_KINDS = {"hour": Kind.INSTANT, "day": Kind.DATE, "kind": Kind.INT2}


def grouped_sums(
    columns: Mapping[str, Coded], sums: Mapping[str, Int64s], count: int
) -> pd.DataFrame:
    """Add up rows with equal texts, in the order of the texts, column by column."""
    if not count:
        texts = {name: pd.Series([], dtype="str") for name in columns}
        return pd.DataFrame(texts | {name: pd.Series([], dtype="int64") for name in sums})
    codes = [coded.codes for coded in columns.values()]
    order = np.lexsort(codes[::-1]) if codes else np.arange(count)
    changes = np.zeros(count, dtype=bool)
    changes[0] = True
    for code in codes:
        changes[1:] |= np.diff(code[order]) != 0
    first = np.flatnonzero(changes)
    texts = {
        name: Coded(coded.codes[order[first]], coded.texts).values()
        for name, coded in columns.items()
    }
    added = {name: np.add.reduceat(values[order], first) for name, values in sums.items()}
    return pd.DataFrame(texts | added)


def _conditions(
    filtered: Sequence[tuple[Dimension, tuple[str, ...]]], labels: Labels, owned: OwnedColumns
) -> tuple[list[str], dict[str, Parameter]]:
    """Return conditions, in which ``{day}`` stands for the billing day, and their parameters."""
    conditions: list[str] = []
    parameters: dict[str, Parameter] = {}
    for number, (dimension, values) in enumerate(filtered):
        if dimension.name in OWNED:
            condition, own = owned.condition(dimension.name, values, f"filter_{number}")
            conditions.append(condition)
            parameters |= own
            continue
        conditions.append(f"{dimension.identity} = ANY(%(filter_{number})s::bigint[])")
        parameters[f"filter_{number}"] = [*labels.identities(dimension, values)]
    return conditions, parameters


def _identities(dimensions: Sequence[Dimension], owned: OwnedColumns) -> tuple[str, ...]:
    """Return the identities that the dimensions are made from, each once."""
    of_owners = any(dimension.name in OWNED for dimension in dimensions)
    own = owned.identities if of_owners else ()
    return tuple(dict.fromkeys((*identities(dimensions), *own)))


def _clusters(
    filtered: Sequence[tuple[Dimension, tuple[str, ...]]], labels: Labels
) -> tuple[int, ...]:
    for dimension, values in filtered:
        if dimension.name == "cluster":
            return labels.identities(dimension, values)
    return ()


def _lines(start_ms: int, end_ms: int) -> _Part:
    # A line starts and ends inside one billing day, so its start says on which side it is; the hour
    # is what the partitions and the index know.
    return _Part(
        "charges",
        "window_start >= %(hour)s::timestamptz AND window_start < %(end)s::timestamptz"
        " AND started_at >= %(start)s::timestamptz AND started_at < %(end)s::timestamptz",
        {
            "hour": from_ms(start_ms // HOUR_MS * HOUR_MS).isoformat(),
            "start": from_ms(start_ms).isoformat(),
            "end": from_ms(end_ms).isoformat(),
        },
    )


def _line_term(column: str) -> str:
    """Return the part of a charge that counts for a column of sums."""
    if column == "unpriced_ms":
        return "CASE WHEN cost_nanos IS NULL THEN gpu_ms ELSE 0 END"
    kind, _, unit = column.rpartition("_")
    number = int(ChargeKind[kind.upper()])
    quantity = "gpu_ms" if unit == "ms" else "coalesce(cost_nanos, 0)"
    return f"CASE WHEN kind = {number} THEN {quantity} ELSE 0 END"


def _without_time(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in {*TIMES, "week", "month"})
