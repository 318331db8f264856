"""Locks of a transaction, and months of facts made as they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.errors import GpuledgerError
from app.store.tables.period_guards import CLOSED_PERIOD_STATE, PERIOD_STATE
from app.units.identity import hash64
from app.units.window import Window


class ClosedPeriodError(GpuledgerError):
    """A write into a closed billing period: the database refuses it."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="A closed period keeps its lines: later facts and corrections become adjustments"
            " of an open one. The last closed one opens again by gpuledger period reopen --reason.",
        )


class PeriodStateError(GpuledgerError):
    """A billing period whose state or span does not allow what was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="gpuledger period list shows the periods and their states.")


def lock(connection: Connection, *key: str) -> None:
    """Wait until no other transaction holds the same key; keep it until this one ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": hash64(*key)})


def hold_periods(connection: Connection) -> None:
    """Wait for the writes under way; until this transaction ends no guarded row is written.

    What is read after it is what a closing pins.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('billing_periods', 0))"))


@contextmanager
def held_by_session(engine: Engine, *key: str) -> Iterator[bool]:
    """Say whether no other session holds the key; if so it is held as long as the block lasts."""
    number = {"key": hash64(*key)}
    with engine.connect() as connection:
        mine = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), number))
        connection.commit()
        try:
            yield mine
        finally:
            if mine:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), number)
                connection.commit()


def ensure_partitions(connection: Connection, window: Window) -> None:
    """Make the partitions of every month that the window touches."""
    month = window.start.date().replace(day=1)
    last = (window.end - timedelta(hours=1)).date()
    while month <= last:
        with guarded():
            connection.execute(text("SELECT ensure_fact_partitions(:month)"), {"month": month})
        month = date(month.year + month.month // 12, month.month % 12 + 1, 1)


@contextmanager
def guarded() -> Iterator[None]:
    """Name what the database refuses for the sake of billing periods."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        refusal = period_refusal(error.orig if isinstance(error, DBAPIError) else error)
        if refusal is not None:
            raise refusal from error
        raise


def period_refusal(error: BaseException | None) -> GpuledgerError | None:
    """Return a refusal of the functions around billing periods as one of ours, else None."""
    if not isinstance(error, psycopg.Error):
        return None
    said = error.diag.message_primary or "a billing period does not allow it"
    sentence = said[0].upper() + said[1:] + "."
    if error.sqlstate == CLOSED_PERIOD_STATE:
        return ClosedPeriodError(sentence)
    return PeriodStateError(sentence) if error.sqlstate == PERIOD_STATE else None
