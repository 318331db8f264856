"""Locks of a transaction, and months of facts made as they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.errors import GpuledgerError
from app.store.tables.guards import CLOSED_PERIOD_STATE
from app.units.identity import hash64
from app.units.window import Window


class ClosedPeriodError(GpuledgerError):
    """A write into a closed billing period: the database refuses it."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="A closed period keeps its lines; later truth is a dated adjustment."
        )


def lock(connection: Connection, *key: str) -> None:
    """Wait until no other transaction holds the same key; keep it until this one ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": hash64(*key)})


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
    """Raise `ClosedPeriodError` where the database refuses a write for that reason."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(origin, psycopg.Error) and origin.sqlstate == CLOSED_PERIOD_STATE:
            said = origin.diag.message_primary or "a billing period is closed"
            raise ClosedPeriodError(said[0].upper() + said[1:] + ".") from error
        raise
