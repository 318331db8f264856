"""What is known about windows: collected, partial, rated, waiting to be rated again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, update

from app.store.periods import closed_before_ms
from app.store.tables.adjustments import LATE_FACTS
from app.store.tables.facts import WINDOW_NOTES, WINDOW_STATE
from app.units.window import HOUR_MS, OPEN_MS, Window, from_ms
from app.usage.identity import cluster_id
from app.usage.notes import Note, notes_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowState:
    """One collected hour of a cluster.

    ``revision`` is that of its facts, ``marks`` how often an input of its rating changed; the
    charges that are stored were made from ``rated_revision`` and ``rated_marks``, None before the
    first rating.
    """

    window: Window
    revision: int
    partial: bool
    forced_reason: str
    marks: int
    rated_revision: int | None
    rated_marks: int | None
    rating_version: int | None
    price_version: int | None
    contract_version: int | None

    @property
    def pending(self) -> bool:
        """Say whether the stored charges are not those of the stored facts and inputs."""
        return (self.rated_revision, self.rated_marks) != (self.revision, self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingVersions:
    """By which version of the code, of the prices and of the contract charges were made."""

    rating: int
    prices: int
    contract: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which hours of a cluster there are. ``watermark_ms`` ends the first unbroken run of them."""

    cluster: str
    first_ms: int | None
    watermark_ms: int | None
    hours: int
    partial_hours: int
    pending_hours: int


class WindowStore:
    """The windows of one cluster."""

    def __init__(self, connection: Connection, cluster: str) -> None:
        self._connection = connection
        self._cluster = cluster
        self._cluster_id = cluster_id(cluster)

    def within(self, window: Window) -> tuple[WindowState, ...]:
        """Return the collected hours inside the window, in order."""
        return self._states(
            (WINDOW_STATE.c.window_start >= window.start_ms)
            & (WINDOW_STATE.c.window_start < window.end_ms)
        )

    def open_within(self, window: Window) -> tuple[WindowState, ...]:
        """Return those of `within` whose period is not closed."""
        closed_ms = closed_before_ms(self._connection)
        return tuple(one for one in self.within(window) if one.window.start_ms >= closed_ms)

    def pending(self) -> tuple[WindowState, ...]:
        """Return the collected hours that wait for a rating, in order; closed ones never do."""
        return self._states(_PENDING & self._is_open())

    def partial(self) -> tuple[WindowState, ...]:
        """Return the hours of which a source answered only in part, in order.

        A closed hour with late facts is partial if the newest of those are.
        """
        late = self._late(0, OPEN_MS)
        return tuple(
            state
            for state in self._states(WINDOW_STATE.c.partial)
            if late.get(state.window.start_ms, True)
        )

    def first_and_last_ms(self) -> tuple[int, int] | None:
        """Return the beginnings of the first and the last collected hour; None without any."""
        table = WINDOW_STATE
        row = self._connection.execute(
            select(
                func.min(table.c.window_start).label("first"),
                func.max(table.c.window_start).label("last"),
            ).where(table.c.cluster_id == self._cluster_id)
        ).one()
        return None if row.first is None else (row.first, row.last)

    def coverage(self) -> Coverage:
        """Return which hours there are."""
        states = self._states(WINDOW_STATE.c.revision > 0)
        starts = [state.window.start_ms for state in states]
        unbroken = next(
            (
                place
                for place in range(1, len(starts))
                if starts[place] - starts[place - 1] > HOUR_MS
            ),
            len(starts),
        )
        return Coverage(
            cluster=self._cluster,
            first_ms=starts[0] if starts else None,
            watermark_ms=starts[unbroken - 1] + HOUR_MS if starts else None,
            hours=len(starts),
            partial_hours=sum(state.partial for state in states),
            pending_hours=sum(state.pending for state in states),
        )

    def missing(self, window: Window) -> tuple[Window, ...]:
        """Return the hours of the window that were never collected, also not late, in order."""
        late = self._late(window.start_ms, window.end_ms)
        have = {state.window.start_ms for state in self.within(window)} | {*late}
        return tuple(hour for hour in window.hours() if hour.start_ms not in have)

    def are_rated(self, window: Window) -> bool:
        """Say whether every hour of the window is collected and was rated."""
        states = self.within(window)
        return len(states) == window.length_ms // HOUR_MS and all(
            state.rated_revision is not None for state in states
        )

    def mark(self, start_ms: int, end_ms: int) -> int:
        """Say that an input of rating changed for the hours that touch the span; return how many.

        Use it in the transaction that changes the input. Hours of closed periods keep the inputs
        that their closing pinned.
        """
        table = WINDOW_STATE
        result = self._connection.execute(
            update(table)
            .where(table.c.cluster_id == self._cluster_id)
            .where(table.c.window_start > from_clamped(start_ms - HOUR_MS))
            .where(table.c.window_start < from_clamped(end_ms), self._is_open())
            .values(input_marks=table.c.input_marks + 1)
        )
        return result.rowcount

    def is_whole(self, window: Window) -> bool:
        """Say whether every hour is collected, and by its newest facts not only in part."""
        late = self._late(window.start_ms, window.end_ms)
        states = {one.window.start_ms: one.partial for one in self.within(window)} | late
        return len(states) == window.length_ms // HOUR_MS and not any(states.values())

    def mark_rated(self, states: Collection[WindowState], versions: RatingVersions) -> None:
        """Say that the charges of these hours were made from these states."""
        table = WINDOW_STATE
        for state in states:
            self._connection.execute(
                update(table)
                .where(table.c.cluster_id == self._cluster_id)
                .where(table.c.window_start == state.window.start_ms)
                .values(
                    rated_revision=state.revision,
                    rated_marks=state.marks,
                    rating_version=versions.rating,
                    price_version=versions.prices,
                    contract_version=versions.contract,
                )
            )

    def put_rating_notes(self, window: Window, notes: pd.DataFrame) -> None:
        """Store what rating noted about the window, under its first hour."""
        put_notes(self._connection, self._cluster_id, window, "rate", notes)

    def rating_notes(self, window: Window) -> pd.DataFrame:
        """Return what rating noted about the window's hours, as `frames.NOTES`."""
        return notes_of(self._connection, self._cluster_id, window, "rate")

    def _is_open(self) -> ColumnElement[bool]:
        return WINDOW_STATE.c.window_start >= closed_before_ms(self._connection)

    def _late(self, start_ms: int, end_ms: int) -> dict[int, bool]:
        """Return the hours whose newest facts are late ones, and whether those are partial."""
        late, state = LATE_FACTS, WINDOW_STATE
        rows = self._connection.execute(
            select(late.c.window_start, late.c.partial)
            .outerjoin(
                state,
                (state.c.cluster_id == late.c.cluster_id)
                & (state.c.window_start == late.c.window_start),
            )
            .where(late.c.cluster_id == self._cluster_id)
            .where(late.c.window_start >= start_ms, late.c.window_start < end_ms)
            .where(late.c.revision > func.coalesce(state.c.revision, 0))
            .order_by(late.c.window_start, late.c.revision)
        )
        return {row.window_start: row.partial for row in rows}

    def _states(self, condition: ColumnElement[bool]) -> tuple[WindowState, ...]:
        table = WINDOW_STATE
        rows = self._connection.execute(
            select(table)
            .where(table.c.cluster_id == self._cluster_id, condition)
            .order_by(table.c.window_start)
        )
        return tuple(
            WindowState(
                window=Window(from_ms(row.window_start), from_ms(row.window_start + HOUR_MS)),
                revision=row.revision,
                partial=row.partial,
                forced_reason=row.forced_reason,
                marks=row.input_marks,
                rated_revision=row.rated_revision,
                rated_marks=row.rated_marks,
                rating_version=row.rating_version,
                price_version=row.price_version,
                contract_version=row.contract_version,
            )
            for row in rows
        )


_PENDING = or_(
    WINDOW_STATE.c.rated_revision.is_distinct_from(WINDOW_STATE.c.revision),
    WINDOW_STATE.c.rated_marks.is_distinct_from(WINDOW_STATE.c.input_marks),
)


def from_clamped(ms: int) -> int:
    """Return an instant that Postgres can hold, for spans that begin since ever."""
    return max(ms, 0)


def put_notes(
    connection: Connection, cluster: int, window: Window, stage: str, notes: pd.DataFrame
) -> None:
    """Replace what one stage noted about the window, under its first hour."""
    table = WINDOW_NOTES
    connection.execute(
        delete(table).where(
            table.c.cluster_id == cluster,
            table.c.window_start >= window.start_ms,
            table.c.window_start < window.end_ms,
            table.c.stage == stage,
        )
    )
    rows = [
        {
            "cluster_id": cluster,
            "window_start": window.start_ms,
            "stage": stage,
            "line": line,
            "kind": kind,
            "subject": subject,
            "quantity": quantity,
            "detail": detail,
        }
        for line, (kind, subject, quantity, detail) in enumerate(
            zip(
                *(notes[name].tolist() for name in ("kind", "subject", "quantity", "detail")),
                strict=True,
            )
        )
    ]
    if rows:
        connection.execute(insert(table), rows)


def notes_of(connection: Connection, cluster: int, window: Window, stage: str) -> pd.DataFrame:
    """Return what one stage noted about the window's hours, equal notes once, summed."""
    table = WINDOW_NOTES
    rows: Sequence[tuple[str, str, int, str]] = [
        (row.kind, row.subject, int(row.quantity), row.detail)
        for row in connection.execute(
            select(
                table.c.kind,
                table.c.subject,
                func.sum(table.c.quantity).label("quantity"),
                table.c.detail,
            )
            .where(
                table.c.cluster_id == cluster,
                table.c.window_start >= window.start_ms,
                table.c.window_start < window.end_ms,
                table.c.stage == stage,
            )
            .group_by(table.c.kind, table.c.subject, table.c.detail)
        )
    ]
    return notes_frame(Note(*row) for row in rows)
