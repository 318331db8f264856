"""Which table keeps which frame of the usage stage, and how each column travels there."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sqlalchemy import Connection

from app.store.copying import Column, Kind, Parameter, column_arrays, copy_in, copy_out
from app.units.window import HOUR_MS, Window
from app.usage import frames
from app.usage.consumers import CONSUMER_USAGE as CONSUMER_USAGE_FRAME

# An integer that no fact has, sent in place of null.
_NO_INTEGER = -(2**63)

_CODES = frozenset({"activity_basis", "activity_scope", "source", "metric", "sharing"})


@dataclass(frozen=True, slots=True)
class FactTable:
    """A partitioned table and the frame it keeps; ``key`` orders a window's rows."""

    name: str
    schema: pa.DataFrameSchema
    key: tuple[str, ...]

    def columns(self) -> tuple[Column, ...]:
        """Return the frame's columns as the table calls them, in the frame's order."""
        return tuple(
            Column(_stored(name), _kind(name, str(column.dtype)))
            for name, column in self.schema.columns.items()
        )


POOL_USAGE = FactTable(
    "pool_usage", frames.POOL_USAGE, ("window_start_ms", "node_id", "gpu_model_id", "start_ms")
)
HOLD_USAGE = FactTable("hold_usage", frames.HOLD_USAGE, ("window_start_ms", "node_id", "hold_id"))
TOKEN_USAGE = FactTable(
    "token_usage", frames.TOKEN_USAGE, ("window_start_ms", "workload_id", "model_id")
)
LATENCY_USAGE = FactTable(
    "latency_usage",
    frames.LATENCY_USAGE,
    ("window_start_ms", "workload_id", "model_id", "metric", "le"),
)
SERVICE_MINUTES = FactTable(
    "service_minutes", frames.SERVICE_MINUTES, ("minute_ms", "workload_id", "model_id")
)
COLD_STARTS = FactTable(
    "cold_starts", frames.COLD_STARTS, ("window_start_ms", "workload_id", "hold_id")
)
CONSUMER_USAGE = FactTable(
    "consumer_usage", CONSUMER_USAGE_FRAME, ("window_start_ms", "consumer_id", "route_id")
)

POOL_ENERGY = FactTable(
    "pool_energy", frames.POOL_ENERGY, ("window_start_ms", "node_id", "gpu_model_id")
)

FACT_TABLES = (
    POOL_USAGE,
    HOLD_USAGE,
    TOKEN_USAGE,
    LATENCY_USAGE,
    SERVICE_MINUTES,
    COLD_STARTS,
    CONSUMER_USAGE,
    POOL_ENERGY,
)


def in_order(table: FactTable, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame in the order of its key, so that equal contents are equal bytes."""
    order = np.lexsort([frame[name].to_numpy() for name in reversed(table.key)])
    return frame.iloc[order].reset_index(drop=True)


def write_facts(connection: Connection, table: FactTable, cluster: int, frame: pd.DataFrame) -> int:
    """Append the frame's rows to its table."""
    arrays = {_stored(name): values for name, values in column_arrays(frame).items()}
    arrays["cluster_id"] = np.full(len(frame), cluster, dtype=np.int64)
    columns = (Column("cluster_id", Kind.INT8), *table.columns())
    if "window_start" not in arrays:
        minutes = frame["minute_ms"].to_numpy()
        arrays["window_start"] = minutes // HOUR_MS * HOUR_MS
        columns = (*columns, Column("window_start", Kind.INSTANT))
    return copy_in(connection, table.name, columns, arrays)


def read_facts(
    connection: Connection,
    table: FactTable,
    cluster: int,
    window: Window,
    only: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return the rows of the window's hours, in the order of the key.

    ``only`` names the frame's columns that are wanted, beside the key; empty means all.
    """
    wanted = [name for name in table.schema.columns if not only or name in (*only, *table.key)]
    columns = [
        Column(_stored(name), _kind(name, str(table.schema.columns[name].dtype))) for name in wanted
    ]
    nullable = {
        name for name, column in table.schema.columns.items() if str(column.dtype) == "Int64"
    }
    selected = ", ".join(
        _without_null(column, nullable=name in nullable)
        for name, column in zip(wanted, columns, strict=True)
    )
    query = (
        f"SELECT {selected} FROM {table.name} WHERE cluster_id = %(cluster)s"  # noqa: S608 names of ours only
        " AND window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
    )
    found = copy_out(connection, query, columns, span(cluster, window))
    found.columns = pd.Index(wanted)
    for name in nullable & set(wanted):
        values = found[name]
        found[name] = values.astype("Int64").mask(values == _NO_INTEGER)
    return in_order(table, found)


def span(cluster: int, window: Window) -> Mapping[str, Parameter]:
    """Return the parameters that select a cluster's window."""
    return {
        "cluster": cluster,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
    }


def _without_null(column: Column, *, nullable: bool) -> str:
    if column.kind is Kind.FLOAT8:
        return f"coalesce({column.name}, 'NaN'::float8)"
    return f"coalesce({column.name}, {_NO_INTEGER})" if nullable else column.name


def _stored(name: str) -> str:
    """Return what the table calls a column of a frame."""
    renamed = {
        "window_start_ms": "window_start",
        "start_ms": "started_at",
        "end_ms": "ended_at",
        "minute_ms": "minute_at",
    }
    return renamed.get(name, name)


def _kind(name: str, dtype: str) -> Kind:
    if _stored(name) != name:
        return Kind.INSTANT
    if dtype == "float64":
        return Kind.FLOAT8
    if dtype == "bool":
        return Kind.BOOL
    if name in _CODES:
        return Kind.INT2
    return Kind.INT4 if name == "flags" else Kind.INT8
