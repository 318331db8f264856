"""Binary COPY between tables and columns: rows of fixed width, packed and unpacked by numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import psycopg
from psycopg import pq, sql
from sqlalchemy import Connection

from app.store.engine import named_failures

# Signature, flags and length of the header extension of PostgreSQL's binary COPY format.
_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
_TRAILER = b"\xff\xff"
# 2000-01-01T00:00:00Z, where Postgres counts its timestamps from, in microseconds.
_POSTGRES_EPOCH_MS = 946_684_800_000
_CHUNK_BYTES = 1 << 20

Array = npt.NDArray[Any]
Parameter = int | float | str | None | Sequence[int] | Sequence[str]


class Kind(Enum):
    """How a column travels: its width on the wire and what it is on our side."""

    INT8 = (">i8", "int64")
    INT2 = (">i2", "int64")
    INT4 = (">i4", "int64")
    FLOAT8 = (">f8", "float64")
    BOOL = ("u1", "bool")
    # timestamptz on the wire (microseconds), milliseconds since the Unix epoch on our side.
    INSTANT = (">i8", "instant")
    # date on the wire (days since 2000-01-01), days since the Unix epoch on our side.
    DATE = (">i4", "date")

    @property
    def wire(self) -> str:
        """The numpy type of the value on the wire."""
        return self.value[0]


_POSTGRES_EPOCH_DAYS = _POSTGRES_EPOCH_MS // 86_400_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table and how it travels."""

    name: str
    kind: Kind


def copy_in(
    connection: Connection, table: str, columns: Sequence[Column], values: Mapping[str, Array]
) -> int:
    """Append rows to ``table`` inside the connection's transaction; return how many.

    ``values`` has one array a column; NaN in a float column and a masked pandas integer become
    null. Rows with the same columns null are sent together, so their order is kept only among them.
    """
    arrays = {column.name: values[column.name] for column in columns}
    count = len(next(iter(arrays.values())))
    if not count:
        return 0
    nulls = {
        column.name: mask
        for column in columns
        if (mask := _null_mask(arrays[column.name], column.kind)) is not None
    }
    pattern = np.zeros(count, dtype=np.int64)
    for bit, mask in enumerate(nulls.values()):
        pattern |= mask.astype(np.int64) << bit
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
    )
    with (
        named_failures(connection),
        _cursor(connection) as cursor,
        cursor.copy(statement) as copy,
    ):
        copy.write(_HEADER)
        for code in np.unique(pattern) if nulls else (0,):
            rows = np.flatnonzero(pattern == code) if nulls else slice(None)
            absent = {name for bit, name in enumerate(nulls) if int(code) >> bit & 1}
            body = memoryview(_pack(columns, arrays, rows, absent)).cast("B")
            for start in range(0, len(body), _CHUNK_BYTES):
                copy.write(body[start : start + _CHUNK_BYTES])
        copy.write(_TRAILER)
    return count


def copy_out(
    connection: Connection,
    query: str,
    columns: Sequence[Column],
    parameters: Mapping[str, Parameter] | None = None,
) -> pd.DataFrame:
    """Return the rows of a SELECT as a frame; the query must give ``columns`` in order, no null.

    ``parameters`` are written ``%(name)s``; instants are given to it as the query casts them.
    """
    with named_failures(connection):
        body = _fetch(connection, query, parameters or {})
    record = _record(columns, frozenset())
    size = len(body) - len(_HEADER) - len(_TRAILER)
    if size % record.itemsize:
        message = f"The query gives a null or another type than {[c.name for c in columns]}."
        raise AssertionError(message)
    rows = np.frombuffer(body, dtype=record, count=size // record.itemsize, offset=len(_HEADER))
    if len(rows) and not _as_declared(rows, columns):
        message = f"The query gives other columns than {[c.name for c in columns]}."
        raise AssertionError(message)
    return pd.DataFrame({column.name: _unpack(rows, column) for column in columns}, copy=False)


def _fetch(connection: Connection, query: str, parameters: Mapping[str, Parameter]) -> bytes:
    """Return the whole binary answer, read through libpq.

    The driver's own loop over a COPY takes about five times as long: it makes a Python generator
    step of every row.
    """
    driver = _cursor(connection).connection
    wrapped = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(sql.SQL(cast("Any", query)))
    statement = psycopg.ClientCursor(driver).mogrify(wrapped, parameters)
    if driver.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        driver.execute("SELECT 1")  # the driver's transaction begins with its own first statement
    result = driver.pgconn.exec_(statement.encode())
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    rows, broken = _rows(driver.pgconn)
    # The server's own words say more than the broken transfer does.
    while (final := driver.pgconn.get_result()) is not None:
        if final.status != pq.ExecStatus.COMMAND_OK:
            broken = psycopg.errors.error_from_result(final)
    if broken is not None:
        raise broken
    return b"".join(rows)


def _rows(connection: pq.abc.PGconn) -> tuple[list[bytes], psycopg.Error | None]:
    """Return the rows that arrive, and the error that ended them, unless it was their end."""
    rows: list[bytes] = []
    while True:
        try:
            size, row = connection.get_copy_data(0)
        except psycopg.OperationalError as error:
            return rows, error
        if size < 0:
            return rows, None
        rows.append(bytes(row))


def _as_declared(rows: Array, columns: Sequence[Column]) -> bool:
    """Say whether every row has our number of fields, each of its declared width."""
    fits = bool((rows["fields"] == len(columns)).all())
    return fits and all(
        bool((rows[f"length {c.name}"] == np.dtype(c.kind.wire).itemsize).all()) for c in columns
    )


def _record(columns: Sequence[Column], absent: set[str] | frozenset[str]) -> np.dtype[Any]:
    fields = [("fields", ">i2")]
    for column in columns:
        fields.append((f"length {column.name}", ">i4"))
        if column.name not in absent:
            fields.append((column.name, column.kind.wire))
    return np.dtype(fields)


def _pack(
    columns: Sequence[Column], arrays: Mapping[str, Array], rows: Array | slice, absent: set[str]
) -> bytes:
    taken = {name: array[rows] for name, array in arrays.items()}
    record = np.empty(len(next(iter(taken.values()))), dtype=_record(columns, absent))
    record["fields"] = len(columns)
    for column in columns:
        if column.name in absent:
            record[f"length {column.name}"] = -1
            continue
        record[f"length {column.name}"] = np.dtype(column.kind.wire).itemsize
        record[column.name] = _to_wire(taken[column.name], column.kind)
    return record.tobytes()


def _to_wire(values: Array, kind: Kind) -> Array:
    if kind is Kind.INSTANT:
        return (values.astype(np.int64) - _POSTGRES_EPOCH_MS) * 1000
    if kind is Kind.DATE:
        return values.astype(np.int64) - _POSTGRES_EPOCH_DAYS
    if kind is Kind.INT2 and len(values) and int(np.abs(values).max()) > np.iinfo(np.int16).max:
        message = "A value does not fit into two bytes."
        raise AssertionError(message)
    return values


def _unpack(rows: Array, column: Column) -> Array:
    values = rows[column.name]
    match column.kind:
        case Kind.FLOAT8:
            return values.astype(np.float64)
        case Kind.BOOL:
            return values.astype(np.bool_)
        case Kind.INSTANT:
            return values.astype(np.int64) // 1000 + _POSTGRES_EPOCH_MS
        case Kind.DATE:
            return values.astype(np.int64) + _POSTGRES_EPOCH_DAYS
        case _:
            return values.astype(np.int64)


def _null_mask(values: Array, kind: Kind) -> Array | None:
    """Return which values are null, or None where none is."""
    if isinstance(values, np.ma.MaskedArray):
        mask: Array = np.ma.getmaskarray(values)
    elif kind is Kind.FLOAT8:
        mask = np.isnan(values)
    else:
        return None
    return mask if mask.any() else None


def column_arrays(frame: pd.DataFrame) -> dict[str, Array]:
    """Return the frame's columns as arrays; a nullable integer column becomes a masked array."""
    arrays: dict[str, Array] = {}
    for name in frame.columns:
        series = frame[name]
        if isinstance(series.dtype, pd.Int64Dtype):
            absent = series.isna().to_numpy()
            arrays[str(name)] = np.ma.MaskedArray(
                series.fillna(0).to_numpy(dtype=np.int64), mask=absent
            )
        else:
            arrays[str(name)] = series.to_numpy()
    return arrays


def _cursor(connection: Connection) -> psycopg.Cursor[Any]:
    # Without this SQLAlchemy would not know of the transaction and roll it back on close.
    if not connection.in_transaction():
        connection.begin()
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    return driver.cursor()
