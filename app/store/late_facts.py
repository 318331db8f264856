"""Facts that came after their hour's period was closed: kept beside those of the closing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from pandera.pandas import DataFrameSchema
from pyarrow import ipc
from sqlalchemy import Connection, Row, func, insert, select, update

from app.store.fact_frames import FACT_TABLES, in_order
from app.store.locking import lock
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.tables.adjustments import LATE_FACTS, LATE_FRAMES
from app.store.tables.facts import WINDOW_STATE
from app.store.usage import ReplaceResult, UsageStore, digest_of, rejections
from app.units.window import HOUR_MS, Window, from_ms
from app.usage import frames
from app.usage.facts import UsageFacts
from app.usage.identity import cluster_id

_SCHEMAS: Mapping[str, DataFrameSchema] = {
    **{table.name: table.schema for table in FACT_TABLES},
    "evidence": frames.EVIDENCE,
    "notes": frames.NOTES,
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LateHour:
    """The newest facts of a closed hour of one cluster, where they are not those of the closing."""

    window_start_ms: int
    cluster_id: int
    revision: int

    @property
    def window(self) -> Window:
        """The hour."""
        return Window(from_ms(self.window_start_ms), from_ms(self.window_start_ms + HOUR_MS))


def put_facts(
    connection: Connection,
    cluster: str,
    window: Window,
    facts: UsageFacts,
    *,
    forced_reason: str = "",
) -> ReplaceResult:
    """Store the facts of one hour: in place of what is there, or beside it if that is closed."""
    if window.start_ms < closed_before_ms(connection):
        return LateFactsStore(connection).put(cluster, window, facts, forced_reason=forced_reason)
    return UsageStore(connection, cluster).replace(window, facts, forced_reason=forced_reason)


class LateFactsStore:
    """The late facts of all clusters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(
        self, cluster: str, window: Window, facts: UsageFacts, *, forced_reason: str = ""
    ) -> ReplaceResult:
        """Store the facts of a closed hour as its next revision.

        Facts that show less evidence than the newest ones are rejected and change nothing, unless
        ``forced_reason`` says why they should stand. Equal facts make no revision.
        """
        NameStore(self._connection).ensure_cluster(cluster)
        lock(self._connection, "window", cluster, str(window.start_ms))
        newest = self._newest(cluster, window)
        revision = newest.revision if newest is not None else 0
        if newest is not None:
            if not forced_reason:
                rejected = rejections(
                    self._evidence(cluster, window, newest), facts, was_partial=newest.partial
                )
                if rejected:
                    return ReplaceResult(
                        revision=revision, changed=False, rejected=rejected, late=True
                    )
            if newest.content_sha256 == digest_of(facts):
                return ReplaceResult(revision=revision, changed=False, late=True)
        self._connection.execute(
            insert(LATE_FACTS).values(
                cluster_id=cluster_id(cluster),
                window_start=window.start_ms,
                revision=revision + 1,
                partial=facts.partial,
                content_sha256=digest_of(facts),
                forced_reason=forced_reason,
                adjusted=False,
                **_frames_of(facts),
            )
        )
        return ReplaceResult(revision=revision + 1, changed=True, late=True)

    def newest(self, window: Window) -> tuple[LateHour, ...]:
        """Return the window's hours whose newest facts are late ones, in order of time."""
        return self._hours(window, only_unadjusted=False)

    def to_adjust(self, window: Window) -> tuple[LateHour, ...]:
        """Return those of `newest` that no adjustment was made from."""
        return self._hours(window, only_unadjusted=True)

    def facts(self, hour: LateHour) -> UsageFacts:
        """Return what was collected."""
        row = self._connection.execute(
            select(LATE_FACTS).where(
                LATE_FACTS.c.cluster_id == hour.cluster_id,
                LATE_FACTS.c.window_start == hour.window_start_ms,
                LATE_FACTS.c.revision == hour.revision,
            )
        ).one()
        return UsageFacts(partial=row.partial, **{name: _frame(name, row) for name in LATE_FRAMES})

    def mark_adjusted(self, hours: Iterable[LateHour]) -> None:
        """Say that an adjustment was made from these facts, and so from all before them."""
        for hour in hours:
            self._connection.execute(
                update(LATE_FACTS)
                .where(LATE_FACTS.c.cluster_id == hour.cluster_id)
                .where(LATE_FACTS.c.window_start == hour.window_start_ms)
                .where(LATE_FACTS.c.revision <= hour.revision, ~LATE_FACTS.c.adjusted)
                .values(adjusted=True)
            )

    def merge(self, window: Window) -> tuple[LateHour, ...]:
        """Make the newest late facts of the window's hours, which must be open, their facts."""
        clusters = NameStore(self._connection).clusters()
        hours = self.newest(window)
        for hour in hours:
            UsageStore(self._connection, clusters[hour.cluster_id]).put_revision(
                hour.window, self.facts(hour), hour.revision, forced_reason=self._reason(hour)
            )
        self.mark_adjusted(hours)
        return hours

    def _hours(self, window: Window, *, only_unadjusted: bool) -> tuple[LateHour, ...]:
        late, state = LATE_FACTS, WINDOW_STATE
        chosen = [~late.c.adjusted] if only_unadjusted else []
        rows = self._connection.execute(
            select(
                late.c.cluster_id, late.c.window_start, func.max(late.c.revision).label("revision")
            )
            .outerjoin(
                state,
                (state.c.cluster_id == late.c.cluster_id)
                & (state.c.window_start == late.c.window_start),
            )
            .where(late.c.window_start >= window.start_ms, late.c.window_start < window.end_ms)
            .where(late.c.revision > func.coalesce(state.c.revision, 0), *chosen)
            .group_by(late.c.cluster_id, late.c.window_start)
        )
        hours = (
            LateHour(
                window_start_ms=row.window_start, cluster_id=row.cluster_id, revision=row.revision
            )
            for row in rows
        )
        return tuple(sorted(hours))

    def _newest(self, cluster: str, window: Window) -> Row[Any, Any, Any] | None:
        """Return the newest facts of an hour: revision, partial, content_sha256, late or not."""
        found: list[Row[Any, Any, Any]] = []
        for table in (LATE_FACTS, WINDOW_STATE):
            rows = self._connection.execute(
                select(table.c.revision, table.c.partial, table.c.content_sha256)
                .where(table.c.cluster_id == cluster_id(cluster))
                .where(table.c.window_start == window.start_ms)
            )
            found.extend(rows)
        return max(found, key=lambda row: row.revision, default=None)

    def _evidence(self, cluster: str, window: Window, newest: Row[Any, Any, Any]) -> pd.DataFrame:
        identity = cluster_id(cluster)
        row = self._connection.execute(
            select(LATE_FACTS.c.evidence)
            .where(LATE_FACTS.c.cluster_id == identity)
            .where(LATE_FACTS.c.window_start == window.start_ms)
            .where(LATE_FACTS.c.revision == newest.revision)
        ).one_or_none()
        if row is None:
            return UsageStore(self._connection, cluster).evidence(window)
        return _frame("evidence", row)

    def _reason(self, hour: LateHour) -> str:
        reason: str = self._connection.execute(
            select(LATE_FACTS.c.forced_reason)
            .where(LATE_FACTS.c.cluster_id == hour.cluster_id)
            .where(LATE_FACTS.c.window_start == hour.window_start_ms)
            .where(LATE_FACTS.c.revision == hour.revision)
        ).scalar_one()
        return reason


def _frames_of(facts: UsageFacts) -> dict[str, bytes]:
    ordered = {
        table.name: in_order(table, getattr(facts, table.name))[[*table.schema.columns]]
        for table in FACT_TABLES
    }
    return {
        name: _arrow(frame)
        for name, frame in {**ordered, "evidence": facts.evidence, "notes": facts.notes}.items()
    }


def _arrow(frame: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with ipc.new_stream(
        sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")
    ) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def _frame(name: str, row: Row[Any]) -> pd.DataFrame:
    """Return a frame with the dtypes that its stage declares; integers never pass a float."""
    table = ipc.open_stream(getattr(row, name)).read_all()
    found = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    dtypes = {key: str(column.dtype) for key, column in _SCHEMAS[name].columns.items()}
    frame: pd.DataFrame = found[[*dtypes]].astype(
        {key: "str" if dtype.startswith("str") else dtype for key, dtype in dtypes.items()}
    )
    return frame
