"""Sums behind coverage: what was held and what is known of it, over all clusters, in the database.

Whole billing days come from the rollup of charges; hours that have no charges from the facts.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from sqlalchemy import Connection, or_, select, text

from app.attribution.charges import ChargeKind
from app.attribution.contract import UNOWNED
from app.findings.coverage import SERVICE_EVIDENCE, TIME_EVIDENCE
from app.findings.holes import NOTE_EVIDENCE, Hours, Samples
from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.naming import NameStore
from app.store.tables.inventory import HOLDS, WORKLOADS
from app.units.window import HOUR_MS, Window
from app.usage.identity import team_id

# Of each kind of note so many subjects are listed, those with the most first; the rest is counted.
_MOST_SUBJECTS = 20
# A workload that published tokens so shortly before is a service, whatever it publishes since.
_REMEMBERED = "interval '31 days'"
# A cluster without hours for longer than this is taken for one that is no more.
_STOPPED_TELLING = "interval '8 days'"
# Diagnostics, not holes: every question that was asked.
_NOT_HOLES = ("query",)

_WITHIN = "window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
_UNRATED_HOURS = (
    f"SELECT cluster_id, window_start FROM window_state WHERE {_WITHIN}"  # noqa: S608 names of ours only
    " AND rated_revision IS NULL"
)
_HELD = ("used", "idle", "unmeasured")
_NOBODY = ("unallocated", "stranded", "unobserved")
_SERVICE_SUMS = tuple(
    name for name in SERVICE_EVIDENCE.columns if name not in ("cluster", "namespace", "service")
)


class CoverageStore:
    """What is known of all clusters in a window; ``team`` limits it to what that team was charged.

    Hours without charges are nobody's yet: where ``team`` is given they are left out.
    """

    def __init__(self, connection: Connection, window: Window, team: str = "") -> None:
        self._connection = connection
        self._window = window
        self._team = team
        self._names = NameStore(connection)
        self._clusters = self._names.clusters()

    def unrated_time(self) -> pd.DataFrame:
        """Return `TIME_EVIDENCE` of the hours that were collected and never rated."""
        if self._team:
            return _time([])
        held = self._read(
            "SELECT cluster_id, workload_id, sum(active_ms)::bigint, sum(idle_ms)::bigint,"  # noqa: S608 names of ours only
            f" sum(unmeasured_ms)::bigint FROM hold_usage WHERE {_WITHIN}"
            f" AND (cluster_id, window_start) IN ({_UNRATED_HOURS}) GROUP BY 1, 2",
            ("cluster_id", "workload_id", "used_ms", "idle_ms", "unmeasured_ms"),
        )
        nobody = self._read(
            f"SELECT cluster_id, {', '.join(f'sum({kind}_ms)::bigint' for kind in _NOBODY)}"  # noqa: S608 names of ours only
            f" FROM pool_usage WHERE {_WITHIN}"
            f" AND (cluster_id, window_start) IN ({_UNRATED_HOURS}) GROUP BY 1",
            ("cluster_id", *(f"{kind}_ms" for kind in _NOBODY)),
        )
        places = self._workloads(held["workload_id"].tolist())
        rows = [
            {
                "cluster": self._clusters.get(record["cluster_id"], ""),
                "namespace": places.get(record["workload_id"], ("", ""))[0],
                **{f"{kind}_ms": record[f"{kind}_ms"] for kind in _HELD},
            }
            for record in held.to_dict("records")
        ]
        rows += [
            {
                "cluster": self._clusters.get(record["cluster_id"], ""),
                **{f"{kind}_ms": record[f"{kind}_ms"] for kind in _NOBODY},
            }
            for record in nobody.to_dict("records")
        ]
        return _time(rows)

    def services(self) -> pd.DataFrame:
        """Return `SERVICE_EVIDENCE`: what is known of each service, hour by hour, summed.

        Its tokens and latencies are known in an hour in which any are stored.
        """
        ids = self._serving()
        if not ids:
            return _services([])
        names = ("cluster_id", "namespace_id", "workload_id", *_SERVICE_SUMS)
        # Groups by hour and service are more than fit into the default of 4 MB.
        self._connection.exec_driver_sql("SET LOCAL work_mem = '64MB'")
        parameters: dict[str, Parameter] = {
            "ids": ids,
            "started": self._started(ids),
            "team": team_id(self._team),
        }
        found = self._read(
            _services_query(in_team=bool(self._team)),
            names,
            parameters | {"unowned": team_id(UNOWNED)},
        )
        places = self._workloads(ids)
        spaces = self._names.namespaces()
        return _services(
            [
                {
                    "cluster": self._clusters.get(record["cluster_id"], ""),
                    "namespace": spaces.get(
                        record["namespace_id"], places.get(record["workload_id"], ("", ""))[0]
                    ),
                    "service": places.get(record["workload_id"], ("", ""))[1]
                    or str(record["workload_id"]),
                    **{name: record[name] for name in _SERVICE_SUMS},
                }
                for record in found.to_dict("records")
            ]
        )

    def notes(self) -> pd.DataFrame:
        """Return `NOTE_EVIDENCE`: what was noted of the window, the largest of each kind."""
        rows = self._connection.execute(
            text(_NOTES), {**self._bounds(), "most": _MOST_SUBJECTS, "left_out": [*_NOT_HOLES]}
        )
        records = [
            (
                self._clusters.get(row.cluster_id, ""),
                row.kind,
                row.subject,
                row.detail,
                int(row.quantity),
                int(row.hours),
                int(row.subjects - _MOST_SUBJECTS)
                if row.place == _MOST_SUBJECTS and row.subjects > _MOST_SUBJECTS
                else 0,
            )
            for row in rows
        ]
        columns = ("cluster", "kind", "subject", "detail", "quantity", "hours", "others")
        frame = pd.DataFrame(records, columns=[*columns])
        dtypes = {name: str(column.dtype) for name, column in NOTE_EVIDENCE.columns.items()}
        return frame.astype(dtypes)

    def hours(self) -> tuple[Hours, ...]:
        """Return how many hours of the window each cluster lacks, from its first one on."""
        rows = self._connection.execute(
            text(
                "SELECT cluster_id, min(window_start) AS first,"  # noqa: S608 names of ours only
                " count(*) FILTER (WHERE window_start >= :start) AS inside,"
                " count(*) FILTER (WHERE window_start >= :start AND partial) AS partial,"
                " count(*) FILTER (WHERE window_start >= :start AND rated_revision IS NULL)"
                " AS unrated FROM window_state WHERE window_start < :end"
                f" GROUP BY 1 HAVING max(window_start) >= :start - {_STOPPED_TELLING} ORDER BY 1"
            ),
            self._bounds(),
        )
        found = []
        for row in rows:
            first = max(row.first, self._window.start)
            expected = int((self._window.end - first).total_seconds() * 1000) // HOUR_MS
            found.append(
                Hours(
                    cluster=self._clusters.get(row.cluster_id, ""),
                    expected=expected,
                    missing=expected - row.inside,
                    partial=row.partial,
                    unrated=row.unrated,
                )
            )
        return tuple(found)

    def samples(self) -> tuple[Samples, ...]:
        """Return expected and seen samples by cluster, source and family."""
        rows = self._connection.execute(
            text(
                "SELECT cluster_id, source, family, sum(expected) AS expected, sum(seen) AS seen"
                " FROM window_evidence WHERE window_start >= :start AND window_start < :end"
                " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            ),
            self._bounds(),
        )
        return tuple(
            Samples(
                cluster=self._clusters.get(row.cluster_id, ""),
                source=row.source,
                family=row.family,
                expected=int(row.expected),
                seen=int(row.seen),
            )
            for row in rows
        )

    def _serving(self) -> list[int]:
        found = self._read(
            "SELECT DISTINCT workload_id FROM token_usage WHERE window_start <"  # noqa: S608 names of ours only
            f" %(end)s::timestamptz AND window_start >= %(start)s::timestamptz - {_REMEMBERED}"
            " UNION SELECT h.workload_id FROM holds AS h JOIN ("
            "SELECT DISTINCT cluster_id, subject FROM window_notes"
            f" WHERE {_WITHIN} AND kind IN ('unseen_engine', 'publishes_nothing')) AS n"
            " ON h.cluster_id = n.cluster_id AND h.namespace || '/' || h.pod = n.subject",
            ("workload_id",),
        )
        return sorted(found["workload_id"].tolist())

    def _started(self, ids: Sequence[int]) -> list[int]:
        """Return the holds of services of which it is known when they were scheduled and ready."""
        table = HOLDS
        return [
            *self._connection.scalars(
                select(table.c.hold_id).where(
                    table.c.workload_id.in_(ids),
                    table.c.started_at < self._window.end_ms,
                    or_(table.c.ended_at.is_(None), table.c.ended_at > self._window.start_ms),
                    table.c.scheduled_at.is_not(None),
                    table.c.ready_at.is_not(None),
                )
            )
        ]

    def _workloads(self, ids: Sequence[int]) -> Mapping[int, tuple[str, str]]:
        table = WORKLOADS
        rows = self._connection.execute(
            table.select().where(
                table.c.cluster_id.in_(sorted(self._clusters)), table.c.workload_id.in_(ids)
            )
        )
        return {row.workload_id: (row.namespace, row.name) for row in rows}

    def _read(
        self, query: str, names: Sequence[str], parameters: Mapping[str, Parameter] | None = None
    ) -> pd.DataFrame:
        bounds = {
            "start": self._window.start.isoformat(),
            "end": self._window.end.isoformat(),
        }
        columns = [Column(name, Kind.INT8) for name in names]
        return copy_out(self._connection, query, columns, {**bounds, **(parameters or {})})

    def _bounds(self) -> dict[str, object]:
        return {"start": self._window.start, "end": self._window.end}


# A subject that is noted in every hour, such as a gap with its time in the detail, is one line.
_NOTES = """
SELECT cluster_id, kind, subject, quantity, hours, detail, place, subjects FROM (
    SELECT cluster_id, kind, subject, sum(quantity) AS quantity,
        count(DISTINCT window_start) AS hours, min(detail) AS detail,
        row_number() OVER (PARTITION BY cluster_id, kind ORDER BY sum(quantity) DESC, subject)
            AS place,
        count(*) OVER (PARTITION BY cluster_id, kind) AS subjects
    FROM window_notes WHERE window_start >= :start AND window_start < :end
        AND kind <> ALL(:left_out)
    GROUP BY 1, 2, 3) AS noted
WHERE place <= :most ORDER BY cluster_id, kind, place
"""


def _services_query(*, in_team: bool) -> str:
    """Return the sums of services: charges and, of hours without any, facts, beside what is known.

    Each kind of facts is summed by hour and service before it meets another.
    """
    held = _held(
        "charges",
        (
            *(
                f"sum({unit}) FILTER (WHERE kind = {int(ChargeKind[kind.upper()])})"
                for unit in ("gpu_ms", "cost_nanos")
                for kind in _HELD
            ),
            "sum(gpu_ms) FILTER (WHERE cost_nanos IS NULL)",
            "0",
            *(
                f"sum({unit}) FILTER (WHERE team_id = %(unowned)s::bigint)"
                for unit in ("gpu_ms", "cost_nanos")
            ),
            *(
                f"sum({unit}) FILTER (WHERE hold_id = ANY(%(started)s::bigint[]))"
                for unit in ("gpu_ms", "cost_nanos")
            ),
        ),
        " AND step = 0 AND kind IN"
        f" ({', '.join(str(int(ChargeKind[kind.upper()])) for kind in _HELD)})"
        f"{' AND team_id = %(team)s::bigint' if in_team else ''}",
    )
    facts = _held(
        "hold_usage",
        (
            *("sum(active_ms)", "sum(idle_ms)", "sum(unmeasured_ms)", "0", "0", "0", "0"),
            *("sum(held_ms)", "0", "0"),
            *("sum(held_ms) FILTER (WHERE hold_id = ANY(%(started)s::bigint[]))", "0"),
        ),
        f" AND (cluster_id, window_start) IN ({_UNRATED_HOURS})",
    )
    both = held if in_team else f"{held} UNION ALL {facts}"
    known, slow = "(t.prompt OR t.generation)", "l.workload_id IS NOT NULL"
    silent = "(t.quiet AND l.workload_id IS NULL)"
    named = ", ".join(("cluster_id, window_start, namespace_id, workload_id", *_PLAIN))
    return f"""WITH held ({named}, starts_ms, starts_nanos) AS ({both}),
told AS (
    SELECT cluster_id, window_start, workload_id,
        bool_or(prompt_tokens IS NOT NULL) AS prompt,
        bool_or(generation_tokens IS NOT NULL) AS generation,
        coalesce(sum({_REQUESTS}) = 0 AND bool_and(({_REQUESTS}) IS NOT NULL), false) AS quiet
    FROM token_usage WHERE {_WITHIN} GROUP BY 1, 2, 3),
slow AS (SELECT DISTINCT cluster_id, window_start, workload_id FROM latency_usage
    WHERE {_WITHIN} AND metric IN (1, 2))
SELECT s.cluster_id, s.namespace_id, s.workload_id,
    {", ".join(f"sum(s.{name})::bigint" for name in _PLAIN)},
    {_filtered(_MS, known)}, {_filtered(_NANOS, known)},
    {_filtered(_MS, "t.prompt <> t.generation")},
    {_filtered(_MS, slow)}, {_filtered(_NANOS, slow)},
    {_filtered(_MS, silent)}, {_filtered(_NANOS, silent)},
    sum(s.starts_ms)::bigint, sum(s.starts_nanos)::bigint
FROM held AS s LEFT JOIN told AS t USING (cluster_id, window_start, workload_id)
LEFT JOIN slow AS l USING (cluster_id, window_start, workload_id) GROUP BY 1, 2, 3
ORDER BY 1, 2, 3"""  # noqa: S608 names of ours only


def _held(table: str, sums: Sequence[str], condition: str) -> str:
    """Return the sums of a table's lines of services by hour, namespace and workload."""
    namespace = "namespace_id" if table == "charges" else "0::bigint"
    return (
        f"SELECT cluster_id, window_start, {namespace}, workload_id,"  # noqa: S608 names of ours only
        f" {', '.join(f'coalesce({one}, 0)' for one in sums)} FROM {table} WHERE {_WITHIN}"
        f" AND workload_id = ANY(%(ids)s::bigint[]){condition} GROUP BY 1, 2, 3, 4"
    )


_PLAIN = _SERVICE_SUMS[:10]
_MS = "s.used_ms + s.idle_ms + s.unmeasured_ms"
_NANOS = "s.used_nanos + s.idle_nanos + s.unmeasured_nanos"
_REQUESTS = "requests_stop + requests_length + requests_abort + requests_error + requests_other"


def _filtered(amount: str, condition: str) -> str:
    return f"coalesce(sum({amount}) FILTER (WHERE {condition}), 0)::bigint"


def _time(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return `TIME_EVIDENCE` of unrated hours: nobody's, without money."""
    columns = {
        name: pd.Series(
            [row.get(name, "" if str(column.dtype) == "str" else 0) for row in rows],
            dtype=str(column.dtype),
        )
        for name, column in TIME_EVIDENCE.columns.items()
    }
    return pd.DataFrame(columns)


def _services(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series([row[name] for row in rows], dtype=str(column.dtype))
            for name, column in SERVICE_EVIDENCE.columns.items()
        }
    )
