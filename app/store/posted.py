"""Adjustments in sums of costs: where they are posted, or where the usage was that they are of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, select

from app.attribution.charges import ChargeKind
from app.chargeback.costs import Basis
from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.dimensions import Coded, Dimension, Labels
from app.store.ownership import OWNED, OwnedColumns, OwnershipStore
from app.store.tables.adjustments import LATE_FACTS
from app.store.tables.facts import WINDOW_STATE
from app.store.tables.ledger import MS_COLUMNS, NANO_COLUMNS
from app.units.window import Window, from_ms

Int64s = npt.NDArray[np.int64]

_SUMS = (*MS_COLUMNS, *NANO_COLUMNS)
_KEY_KINDS = {"hour": Kind.INSTANT, "day": Kind.DATE, "usage_day": Kind.DATE, "kind": Kind.INT2}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuestion:
    """By what costs are summed and filtered, over which instants, and on which basis.

    Posted, an adjustment counts at the instant at which it is posted, and moves money only; by
    usage, in the hour and day that it adjusts, with the time that it moves. Its money is that of
    adjustments on either basis, and so is its kind.
    """

    basis: Basis
    wanted: Sequence[Dimension]
    filtered: Sequence[tuple[Dimension, tuple[str, ...]]]
    start_ms: int
    end_ms: int

    @property
    def asked(self) -> tuple[Dimension, ...]:
        """All columns that are asked for."""
        return (*self.wanted, *(dimension for dimension, _ in self.filtered))


class PostedStore:
    """The adjustments of all clusters, as parts of sums."""

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._zone = billing_zone

    def with_adjustments(
        self,
        question: CostQuestion,
        labels: Labels,
        columns: Mapping[str, Coded],
        sums: Mapping[str, Int64s],
    ) -> tuple[dict[str, Coded], dict[str, Int64s]]:
        """Return columns and sums of charges with the rows of the adjustments behind them."""
        usage = self._usage_ms(question)
        if usage is None:
            return dict(columns), dict(sums)
        owned = OwnedColumns(())
        if any(dimension.name in OWNED for dimension in question.asked):
            store = OwnershipStore(self._connection, self._zone)
            owned = OwnedColumns(store.stretches(*usage))
        rows = self._read(question, labels, owned)
        of_usage = rows.rename(columns={"day": "posting_day", "usage_day": "day"})
        joined = {}
        for dimension in question.wanted:
            if dimension.name in OWNED:
                # A team's cost center is that of the usage, wherever the adjustment is booked.
                own = owned.of(dimension.name, of_usage)
            else:
                own = labels.of(dimension, rows[dimension.identity].to_numpy())
            joined[dimension.name] = _joined(columns[dimension.name], own)
        added = {name: np.concatenate([sums[name], rows[name].to_numpy()]) for name in _SUMS}
        return joined, added

    def late_hours(self, window: Window, clusters: Sequence[int]) -> int:
        """Count the hours, of some clusters or all, of which only adjusted late facts are known."""
        late, state = LATE_FACTS, WINDOW_STATE
        chosen = [late.c.cluster_id.in_(clusters)] if clusters else []
        rows = self._connection.execute(
            select(late.c.cluster_id, late.c.window_start)
            .outerjoin(
                state,
                (state.c.cluster_id == late.c.cluster_id)
                & (state.c.window_start == late.c.window_start),
            )
            .where(late.c.window_start >= window.start_ms, late.c.window_start < window.end_ms)
            .where(state.c.revision.is_(None), late.c.adjusted, ~late.c.partial, *chosen)
            .distinct()
        )
        return len(rows.all())

    def _usage_ms(self, question: CostQuestion) -> tuple[int, int] | None:
        """Return when the usage was that the adjustments of a question are of; None if none are."""
        condition, parameters = _span(question)
        row = self._connection.exec_driver_sql(
            "SELECT (extract(epoch FROM min(started_at)) * 1000)::bigint,"  # noqa: S608 names of ours only
            " (extract(epoch FROM max(ended_at)) * 1000)::bigint"
            f" FROM adjustments WHERE {condition}",
            parameters,
        ).one()
        return None if row[0] is None else (row[0], max(row[1], row[0] + 1))

    def _read(self, question: CostQuestion, labels: Labels, owned: OwnedColumns) -> pd.DataFrame:
        condition, parameters = _span(question)
        conditions = [condition]
        for number, (dimension, values) in enumerate(question.filtered):
            if dimension.name in OWNED:
                own, more = owned.condition(dimension.name, values, f"filter_{number}")
                conditions.append(own.replace("{day}", "day"))
                parameters |= more
                continue
            conditions.append(f"{self._key(dimension.identity, question)} = ANY(%(f{number})s)")
            parameters[f"f{number}"] = [*labels.identities(dimension, values)]
        keys = dict.fromkeys(dimension.identity for dimension in question.wanted)
        if any(dimension.name in OWNED for dimension in question.wanted):
            keys |= dict.fromkeys(("team_id", "usage_day"))
        chosen = [self._key(name, question) for name in keys]
        sums = [f"coalesce(sum({_term(name, question.basis)}), 0)::bigint" for name in _SUMS]
        query = (
            f"SELECT {', '.join([*chosen, *sums])} FROM adjustments"  # noqa: S608 names of ours only
            f" WHERE {' AND '.join(conditions)}"
        )
        places = ", ".join(str(place + 1) for place in range(len(keys)))
        query += f" GROUP BY {places}" if keys else " HAVING count(*) > 0"
        columns = [
            *(Column(name, _KEY_KINDS.get(name, Kind.INT8)) for name in keys),
            *(Column(name, Kind.INT8) for name in _SUMS),
        ]
        return copy_out(self._connection, query, columns, parameters)

    def _key(self, name: str, question: CostQuestion) -> str:
        posted = question.basis is Basis.POSTED
        match name:
            case "kind":
                return f"{int(ChargeKind.ADJUSTMENT)}::smallint"
            case "hour":
                return "date_trunc('hour', posted_at, 'UTC')" if posted else "window_start"
            case "day":
                zone = str(self._zone).replace("'", "")
                return f"(posted_at AT TIME ZONE '{zone}')::date" if posted else "day"
            case "usage_day":
                return "day"
            case _:
                return name


def _span(question: CostQuestion) -> tuple[str, dict[str, Parameter]]:
    column = "posted_at" if question.basis is Basis.POSTED else "started_at"
    condition = f"{column} >= %(start)s::timestamptz AND {column} < %(end)s::timestamptz"
    parameters: dict[str, Parameter] = {
        "start": from_ms(question.start_ms).isoformat(),
        "end": from_ms(question.end_ms).isoformat(),
    }
    if question.basis is Basis.USAGE:
        # A line lies within its hour or day; the window is what the index knows.
        condition += " AND window_start > %(start)s::timestamptz - interval '1 hour'"
        condition += " AND window_start < %(end)s::timestamptz"
    return condition, parameters


def _term(column: str, basis: Basis) -> str:
    """Return the part of an adjustment that counts for a column of sums."""
    if column == "adjustment_nanos":
        return "cost_nanos"
    if column == "unpriced_ms":
        return "unpriced_ms" if basis is Basis.USAGE else "0"
    kind, _, unit = column.rpartition("_")
    if unit != "ms" or basis is Basis.POSTED:
        return "0"
    return f"CASE WHEN charge_kind = {int(ChargeKind[kind.upper()])} THEN gpu_ms ELSE 0 END"


def _joined(before: Coded, behind: Coded) -> Coded:
    """Return the rows of two columns as one column."""
    texts = tuple(sorted({*before.texts, *behind.texts}))
    rank = {text: number for number, text in enumerate(texts)}
    parts = [
        np.array([rank[text] for text in one.texts], dtype=np.int64)[one.codes]
        if len(one.codes)
        else one.codes
        for one in (before, behind)
    ]
    return Coded(np.concatenate(parts).astype(np.int64), texts)
