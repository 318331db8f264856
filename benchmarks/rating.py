"""Rating a month, next to copying out the rows that it reads and copying in those it writes."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from psycopg import sql
from sqlalchemy.engine import URL

from app.store.engine import engine_of
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.identity import cluster_id
from app.workflows.rating import RateCounts, rate_window
from benchmarks.database import copied_in, copied_out, empty, plain_connection
from benchmarks.measuring import Stopwatch
from benchmarks.month import ZONE
from benchmarks.scale import CLUSTER

# What a rating writes, besides marks and notes.
_LINES = ("charges", "charge_days")
_DAY_MS = 24 * HOUR_MS
# The columns that a rating needs, as the tables call them.
_READ = {
    "pool_usage": (
        *("window_start", "node_id", "gpu_model_id", "started_at", "ended_at", "devices"),
        *("held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms", "claimed_ms"),
    ),
    "hold_usage": (
        *("window_start", "node_id", "gpu_model_id", "hold_id", "workload_id", "started_at"),
        *("ended_at", "share_num", "share_den", "held_ms", "active_ms", "idle_ms"),
        "unmeasured_ms",
    ),
}


def rate(stopwatch: Stopwatch, url: URL, month: Window) -> RateCounts:
    """Rate the month as the command does, into a ledger without charges."""
    empty(url, _LINES)
    with stopwatch:
        return rate_window(CLUSTER, month, engine=engine_of(url), billing_zone=ZONE)


def keep_charges(stopwatch: Stopwatch, url: URL, month: Window, folder: Path) -> int:
    """Keep the charges of each day, as they travel, in ``folder``; return how many bytes."""
    count = 0
    with stopwatch, closing(plain_connection(url)) as connection:
        for day in _days(month):
            body = copied_out(connection, _rows("charges", (), day))
            (folder / f"charges-{day.start_ms}").write_bytes(body)
            count += len(body)
    return count


def copy_out_and_in(stopwatch: Stopwatch, url: URL, month: Window, folder: Path) -> int:
    """Do what no rating can avoid; return how many bytes went either way."""
    empty(url, _LINES)
    count = 0
    for day in _days(month):
        body = (folder / f"charges-{day.start_ms}").read_bytes()
        with stopwatch, closing(plain_connection(url)) as connection:
            count += sum(
                len(copied_out(connection, _rows(table, columns, day)))
                for table, columns in _READ.items()
            )
            copied_in(connection, "charges", body)
            connection.commit()
        count += len(body)
    return count


def _days(month: Window) -> list[Window]:
    return [
        Window(from_ms(start_ms), from_ms(start_ms + _DAY_MS))
        for start_ms in range(month.start_ms, month.end_ms, _DAY_MS)
    ]


def _rows(table: str, columns: Sequence[str], day: Window) -> sql.Composable:
    """Return the query for some columns, or all, of a day's rows."""
    return sql.SQL(
        "SELECT {columns} FROM {table} WHERE cluster_id = {cluster}"
        " AND window_start >= {start}::timestamptz AND window_start < {end}::timestamptz"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)) if columns else sql.SQL("*"),
        table=sql.Identifier(table),
        cluster=sql.Literal(cluster_id(CLUSTER)),
        start=sql.Literal(day.start.isoformat()),
        end=sql.Literal(day.end.isoformat()),
    )
