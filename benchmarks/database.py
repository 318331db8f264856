"""The benchmarks' database: emptied between runs, and read and written without any of our code."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.store.embedded import embedded_url
from app.store.engine import engine_of
from app.store.fact_frames import FACT_TABLES
from app.store.migrating import upgrade

# What a collection writes, besides names.
FACTS = (
    *(table.name for table in FACT_TABLES),
    "window_state",
    "window_evidence",
    "window_notes",
)
_CHUNK_BYTES = 1 << 20


def new_database(data_dir: Path, name: str) -> URL:
    """Make a database of the benchmarks' own server and upgrade it."""
    url = embedded_url(data_dir, database=name)
    engine = engine_of(url, role=None)
    upgrade(engine)
    engine.dispose()
    return url


def empty(url: URL, tables: Sequence[str]) -> None:
    """Forget all rows, and bring what is written so far to the disk."""
    with closing(_superuser(url)) as connection:
        names = sql.SQL(", ").join(map(sql.Identifier, tables))
        connection.execute(sql.SQL("TRUNCATE {}").format(names))
        connection.execute("CHECKPOINT")


def analyze(url: URL) -> None:
    """Tell the planner what is there, as autovacuum does in time."""
    with closing(_superuser(url)) as connection:
        connection.execute("VACUUM (ANALYZE)")


def engine(url: URL) -> Engine:
    """Return an engine as the service works."""
    return engine_of(url)


def copied_out(connection: psycopg.Connection[Any], query: sql.Composable) -> bytes:
    """Return the rows of a query in the binary format, untouched."""
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
    result = connection.pgconn.exec_(statement.as_string(connection).encode())
    assert result.status == psycopg.pq.ExecStatus.COPY_OUT, result.error_message
    rows: list[bytes] = []
    while True:
        size, row = connection.pgconn.get_copy_data(0)
        if size < 0:
            break
        rows.append(bytes(row))
    while connection.pgconn.get_result() is not None:
        pass
    return b"".join(rows)


def copied_in(connection: psycopg.Connection[Any], table: str, body: bytes) -> None:
    """Append such rows to a table of the same columns."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table))
    view = memoryview(body)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for start in range(0, len(view), _CHUNK_BYTES):
            copy.write(view[start : start + _CHUNK_BYTES])


def plain_connection(url: URL) -> psycopg.Connection[Any]:
    """Return a connection of the driver, in a transaction from its first statement."""
    return psycopg.connect(_address(url), connect_timeout=10)


def _superuser(url: URL) -> psycopg.Connection[Any]:
    return psycopg.connect(_address(url), autocommit=True, connect_timeout=10)


def _address(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
