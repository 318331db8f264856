"""Batches of rows of a CSV, gzipped CSV or Parquet file, every value as exact text."""

import csv
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.csv as arrow_csv
from pyarrow import parquet

from app.errors import InputError

_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 22
_ROWS_AT_ONCE = 16_384
# What Arrow says of a row that it cannot read; the header is row 1.
_ARROW_ROW = re.compile(r"Row #(\d+)")
_NOTHING_TAKEN = "Nothing was taken; "


class FocusFileError(InputError):
    """A file that is no whole FOCUS file; the message names it and, if it is a row's, the line."""


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows as texts by column, '' for null.

    ``first`` is the number of the first of them, in CSV with the header as 1.
    """

    first: int
    count: int
    columns: Mapping[str, list[str]]

    def texts(self, name: str) -> list[str]:
        """Return a column; texts that are all '' where the file has no such column."""
        return self.columns.get(name) or [""] * self.count

    def json_of(self, place: int) -> str:
        """Return a row's columns that are not null, as a JSON object of texts in their order."""
        row = ((name, texts[place]) for name, texts in self.columns.items())
        return orjson.dumps({name: text for name, text in row if text}).decode()


def batches_of(path: Path) -> tuple[tuple[str, ...], Iterator[RowBatch]]:
    """Return a file's columns and its rows; what it is is told by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise FocusFileError(message, hint="Check the path.") from error
    if start == _PARQUET_MAGIC:
        return _parquet(path)
    packed = start[:2] == _GZIP_MAGIC
    columns = _header(path, packed=packed)
    return columns, _csv_batches(path, columns, packed=packed)


def line_of_row(path: Path, row: int) -> int:
    """Return the line on which a row of a CSV file begins: quoted texts may have several lines.

    The rows of a Parquet file have no lines; there it is the row.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == _PARQUET_MAGIC:
        return row
    packed = start[:2] == _GZIP_MAGIC
    # Only lines are counted: whatever is no UTF-8 stays what it is.
    with (gzip.open if packed else open)(
        path, "rt", encoding="utf-8", errors="replace", newline=""
    ) as text:
        reader = csv.reader(text)
        try:
            for _ in range(row - 1):
                next(reader)
        except (StopIteration, EOFError, csv.Error):
            return row
        return reader.line_num + 1


def _parquet(path: Path) -> tuple[tuple[str, ...], Iterator[RowBatch]]:
    try:
        file = parquet.ParquetFile(path)
        columns = tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    _refuse_doubles(path, columns)

    def rows() -> Iterator[RowBatch]:
        first = 1
        try:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                yield _texts(first, batch)
                first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _broken(path, error) from error

    return columns, rows()


def _header(path: Path, *, packed: bool) -> tuple[str, ...]:
    """Return the columns of a CSV file; refuse one whose quotes or bytes break off."""
    quotes, first = 0, b""
    try:
        with _stream(path, packed=packed) as stream:
            while block := stream.read(_BLOCK_BYTES):
                quotes += block.count(b'"')
                if b"\n" not in first:
                    first += block
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    if quotes % 2:
        message = f"{path.name} ends inside a quoted text: it is cut off."
        raise FocusFileError(message, hint=f"{_NOTHING_TAKEN}fetch the file again, whole.")
    try:
        text = first.partition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, 1) from error
    if "\x00" in text:
        raise _not_utf8(path, 1)
    columns = tuple(next(csv.reader([text]), []))
    if not columns:
        message = f"{path.name}, line 1: the file is empty."
        raise FocusFileError(message, hint="A FOCUS file begins with the names of its columns.")
    _refuse_doubles(path, columns)
    return columns


def _csv_batches(path: Path, columns: tuple[str, ...], *, packed: bool) -> Iterator[RowBatch]:
    first = 2
    try:
        with _stream(path, packed=packed) as stream:
            reader = arrow_csv.open_csv(
                stream,
                # One thread: only then Arrow knows which row is at fault.
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
                ),
            )
            for batch in reader:
                yield _texts(first, batch)
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _stream(path: Path, *, packed: bool) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="gzip" if packed else None)


def _refuse_doubles(path: Path, columns: tuple[str, ...]) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        message = f"{path.name}, line 1: the column {twice[0]} is there twice."
        raise FocusFileError(message, hint="Export the file again with each column once.")


def _broken(path: Path, error: Exception) -> FocusFileError:
    """Return what a failure of Arrow means to a person."""
    said = str(error)
    row = _ARROW_ROW.search(said)
    line = line_of_row(path, int(row[1])) if row else 0
    if "UTF8" in said:
        return _not_utf8(path, line)
    where = f"{path.name}, line {line}" if line else path.name
    trouble = said.partition("\n")[0].rpartition("Row #")[2].partition(": ")[2] if row else said
    message = f"{where}: the file is damaged or cut off: {trouble.strip()[:200].rstrip('.')}."
    return FocusFileError(message, hint=f"{_NOTHING_TAKEN}fetch the file again, whole.")


def _not_utf8(path: Path, line: int) -> FocusFileError:
    message = f"{path.name}, line {line}: the text is not UTF-8."
    return FocusFileError(message, hint=f"{_NOTHING_TAKEN}save the file as UTF-8.")


def _texts(first: int, batch: pa.RecordBatch) -> RowBatch:
    columns = {
        name: _column_texts(batch.column(number)) for number, name in enumerate(batch.schema.names)
    }
    return RowBatch(first, int(batch.num_rows), columns)


def _column_texts(column: pa.Array) -> list[str]:
    if pa.types.is_string(column.type):
        return [value or "" for value in column.to_pylist()]
    return [_plain(value) for value in _exact(column).to_pylist()]


def _exact(column: pa.Array) -> pa.Array:
    """Return a column whose values Python shows without loss."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        # FOCUS' instants are whole seconds in UTC, with or without a zone in the file's schema.
        return column.cast(pa.timestamp("ms", tz=kind.tz), safe=False)
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    return column


def _plain(value: object) -> str:
    """Return a value as text; a binary float as the shortest decimal that is this float."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal() | float():
            return format(Decimal(str(value)), "f")
        case date():
            return _instant(value)
        case list() | dict():
            # A map comes from Arrow as pairs.
            return json.dumps(dict(value), ensure_ascii=False)
        case _:
            return str(value)


def _instant(value: date) -> str:
    if not isinstance(value, datetime):
        return f"{value:%Y-%m-%d}T00:00:00Z"
    at = value.astimezone(UTC) if value.tzinfo else value
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"
