"""The facts of windows: replaced as a whole, with the evidence they rest on."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.store.copying import column_arrays
from app.store.fact_frames import (
    COLD_STARTS,
    CONSUMER_USAGE,
    FACT_TABLES,
    HOLD_USAGE,
    LATENCY_USAGE,
    POOL_ENERGY,
    POOL_USAGE,
    SERVICE_MINUTES,
    TOKEN_USAGE,
    FactTable,
    in_order,
    read_facts,
    write_facts,
)
from app.store.locking import ensure_partitions, guarded, lock
from app.store.naming import NameStore
from app.store.redistribution import mark_days_of
from app.store.tables import METADATA
from app.store.tables.facts import WINDOW_EVIDENCE, WINDOW_STATE
from app.store.windows import notes_of, put_notes
from app.units.window import HOUR_MS, Window
from app.usage.evidence import less_evidence
from app.usage.facts import UsageFacts
from app.usage.identity import cluster_id

# What a rejection calls a partial answer that would replace a whole one.
PARTIAL_ANSWER = "partial answer"

_EVIDENCE_COLUMNS = ("source", "family", "expected", "seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceResult:
    """What became of a collected window.

    ``rejected`` names the families that show less evidence than is stored, as ``source/family``;
    if it is not empty nothing was written. ``revision`` is the one that is stored. ``late`` says
    that the hour's period is closed, and that these facts stand beside those of the closing.
    """

    revision: int
    changed: bool
    rejected: tuple[str, ...] = ()
    late: bool = False


class UsageStore:
    """The facts of one cluster."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._cluster_id = cluster_id(cluster)

    def replace(
        self, window: Window, facts: UsageFacts, *, forced_reason: str = ""
    ) -> ReplaceResult:
        """Store the facts of one hour in place of what is there, all or nothing.

        Facts that show less evidence than is stored are rejected and change nothing, unless
        ``forced_reason`` says why they should stand. Equal facts keep their revision; evidence,
        notes and the partial mark are those of the last collection that was not rejected.
        """
        if window.length_ms != HOUR_MS:
            message = "Facts are replaced by the hour."
            raise AssertionError(message)
        NameStore(self._connection).ensure_cluster(self._cluster)
        lock(self._connection, "window", self._cluster, str(window.start_ms))
        state = self._connection.execute(
            select(WINDOW_STATE).where(*self._at(WINDOW_STATE, window))
        ).one_or_none()
        digest = digest_of(facts)
        if state is not None and not forced_reason:
            rejected = rejections(self.evidence(window), facts, was_partial=state.partial)
            if rejected:
                return ReplaceResult(revision=state.revision, changed=False, rejected=rejected)
        self._replace_evidence(window, facts)
        if state is not None and state.content_sha256 == digest:
            self._put_state(window, state.revision, facts, digest, forced_reason)
            return ReplaceResult(revision=state.revision, changed=False)
        self._mark_redistribution(window, facts)
        self._replace_facts(window, facts)
        revision = 1 if state is None else state.revision + 1
        self._put_state(window, revision, facts, digest, forced_reason)
        return ReplaceResult(revision=revision, changed=True)

    def put_revision(
        self, window: Window, facts: UsageFacts, revision: int, *, forced_reason: str
    ) -> None:
        """Store facts of one hour as a revision that they were given elsewhere."""
        NameStore(self._connection).ensure_cluster(self._cluster)
        lock(self._connection, "window", self._cluster, str(window.start_ms))
        self._replace_evidence(window, facts)
        self._mark_redistribution(window, facts)
        self._replace_facts(window, facts)
        self._put_state(window, revision, facts, digest_of(facts), forced_reason)

    def pool_usage(self, window: Window, only: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return `frames.POOL_USAGE` of the window's hours; ``only`` limits the columns."""
        return self._read(POOL_USAGE, window, only)

    def hold_usage(self, window: Window, only: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return `frames.HOLD_USAGE` of the window's hours; ``only`` limits the columns."""
        return self._read(HOLD_USAGE, window, only)

    def token_usage(self, window: Window) -> pd.DataFrame:
        """Return `frames.TOKEN_USAGE` of the window's hours."""
        return self._read(TOKEN_USAGE, window)

    def latency_usage(self, window: Window) -> pd.DataFrame:
        """Return `frames.LATENCY_USAGE` of the window's hours."""
        return self._read(LATENCY_USAGE, window)

    def service_minutes(self, window: Window) -> pd.DataFrame:
        """Return `frames.SERVICE_MINUTES` of the window's hours."""
        return self._read(SERVICE_MINUTES, window)

    def cold_starts(self, window: Window) -> pd.DataFrame:
        """Return `frames.COLD_STARTS` of the window's hours."""
        return self._read(COLD_STARTS, window)

    def consumer_usage(self, window: Window) -> pd.DataFrame:
        """Return `CONSUMER_USAGE` of the window's hours."""
        return self._read(CONSUMER_USAGE, window)

    def pool_energy(self, window: Window) -> pd.DataFrame:
        """Return `frames.POOL_ENERGY` of the window's hours."""
        return self._read(POOL_ENERGY, window)

    def evidence(self, window: Window) -> pd.DataFrame:
        """Return `frames.EVIDENCE` of one hour."""
        table = WINDOW_EVIDENCE
        rows = self._connection.execute(
            select(table.c.source, table.c.family, table.c.expected, table.c.seen)
            .where(*self._at(table, window))
            .order_by(table.c.source, table.c.family)
        ).all()
        return pd.DataFrame(
            {
                "source": pd.Series([row.source for row in rows], dtype="str"),
                "family": pd.Series([row.family for row in rows], dtype="str"),
                "expected": pd.Series([row.expected for row in rows], dtype="int64"),
                "seen": pd.Series([row.seen for row in rows], dtype="int64"),
            }
        )

    def notes(self, window: Window) -> pd.DataFrame:
        """Return what was noted when the window's hours were collected, as `frames.NOTES`."""
        return notes_of(self._connection, self._cluster_id, window, "collect")

    def forget_minutes(self, before_ms: int) -> int:
        """Delete the minutes before an instant; return how many."""
        table = METADATA.tables["service_minutes"]
        result = self._connection.execute(
            delete(table).where(
                table.c.cluster_id == self._cluster_id,
                table.c.window_start < before_ms,
                table.c.minute_at < before_ms,
            )
        )
        return result.rowcount

    def _read(self, table: FactTable, window: Window, only: tuple[str, ...] = ()) -> pd.DataFrame:
        return read_facts(self._connection, table, self._cluster_id, window, only)

    def _replace_facts(self, window: Window, facts: UsageFacts) -> None:
        ensure_partitions(self._connection, window)
        with guarded():
            for table in FACT_TABLES:
                stored = METADATA.tables[table.name]
                self._connection.execute(delete(stored).where(*self._at(stored, window)))
                frame = in_order(table, getattr(facts, table.name))
                _assert_inside(table, frame, window)
                write_facts(self._connection, table, self._cluster_id, frame)

    def _mark_redistribution(self, window: Window, facts: UsageFacts) -> None:
        """Let the day wait for a redistribution if what gateways said of the hour may change."""
        stored = METADATA.tables[CONSUMER_USAGE.name]
        known = self._connection.scalar(
            select(stored.c.consumer_id).where(*self._at(stored, window)).limit(1)
        )
        if known is not None or len(facts.consumer_usage):
            mark_days_of(self._connection, window)

    def _replace_evidence(self, window: Window, facts: UsageFacts) -> None:
        table = WINDOW_EVIDENCE
        self._connection.execute(delete(table).where(*self._at(table, window)))
        rows = [
            {
                "cluster_id": self._cluster_id,
                "window_start": window.start_ms,
                "source": source,
                "family": family,
                "expected": expected,
                "seen": seen,
            }
            for source, family, expected, seen in zip(
                *(facts.evidence[name].tolist() for name in _EVIDENCE_COLUMNS), strict=True
            )
        ]
        if rows:
            self._connection.execute(insert(table), rows)
        put_notes(self._connection, self._cluster_id, window, "collect", facts.notes)

    def _put_state(
        self, window: Window, revision: int, facts: UsageFacts, digest: bytes, reason: str
    ) -> None:
        fresh = {
            "revision": revision,
            "partial": facts.partial,
            "content_sha256": digest,
            "forced_reason": reason,
        }
        self._connection.execute(
            upsert(WINDOW_STATE)
            .values(cluster_id=self._cluster_id, window_start=window.start_ms, **fresh)
            .on_conflict_do_update(index_elements=["cluster_id", "window_start"], set_=fresh)
        )

    def _at(self, table: Table, window: Window) -> tuple[ColumnElement[bool], ...]:
        return (
            table.c.cluster_id == self._cluster_id,
            table.c.window_start == window.start_ms,
        )


def rejections(stored: pd.DataFrame, facts: UsageFacts, *, was_partial: bool) -> tuple[str, ...]:
    """Return what a collection shows less of than is stored, as ``source/family``; () if nothing.

    ``stored`` is `frames.EVIDENCE` of the stored facts. A partial answer is less than a whole one.
    """
    lost = less_evidence(stored, facts.evidence)
    rejected = tuple(f"{one.source}/{one.family}" for one in lost)
    return (*rejected, PARTIAL_ANSWER) if facts.partial and not was_partial else rejected


def digest_of(facts: UsageFacts) -> bytes:
    """Return a hash of the facts' rows, in the order of their keys."""
    digest = hashlib.sha256()
    for table in FACT_TABLES:
        frame = in_order(table, getattr(facts, table.name))
        digest.update(f"{table.name} {len(frame)}".encode())
        for values in column_arrays(frame[[*table.schema.columns]]).values():
            if isinstance(values, np.ma.MaskedArray):
                digest.update(np.ascontiguousarray(np.ma.getmaskarray(values)).tobytes())
                digest.update(np.ascontiguousarray(values.filled(0)).tobytes())
            elif values.dtype.kind == "f":
                # One way to write nothing, and one to write zero.
                plain = np.where(np.isnan(values), np.nan, values + 0.0)
                digest.update(np.ascontiguousarray(plain).tobytes())
            else:
                digest.update(np.ascontiguousarray(values).tobytes())
    return digest.digest()


def _assert_inside(table: FactTable, frame: pd.DataFrame, window: Window) -> None:
    name = "window_start_ms" if "window_start_ms" in frame.columns else "minute_ms"
    hours = frame[name].to_numpy() // HOUR_MS * HOUR_MS
    if len(hours) and not (hours == window.start_ms).all():
        message = f"A row of {table.name} lies outside {window.start.isoformat()}."
        raise AssertionError(message)
