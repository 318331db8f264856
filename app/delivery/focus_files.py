"""A FOCUS export as a file: CSV, compressed CSV or Parquet, there whole or not at all."""

import gzip
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from app.chargeback.focus_cells import (
    EXACT,
    Columns,
    DecimalColumn,
    FocusCells,
    InstantColumn,
    TextColumn,
    csv_blocks,
)
from app.chargeback.focus_columns import FocusColumn, FocusType, Profile
from app.delivery.files import DestinationError
from app.errors import InputError

SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Digits of a 128-bit decimal. Quantities and products have up to 27 of them after the point.
_PRECISION = 38
_TEXT_BUFFER_BYTES = 1 << 20
# File systems have room for 255; what is written beside a file has up to 20 more.
_LONGEST_NAME_BYTES = 200


class FileKindError(InputError):
    """A path that no export can be written to: of no known kind, or in no folder."""


def check_suffix(path: Path) -> str:
    """Return the suffix that says the kind of file; refuse any other."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    message = f"{path.name!r} does not say what kind of file it is."
    raise FileKindError(message, hint=f"End it in {', '.join(SUFFIXES)}.")


def check_folder(path: Path) -> None:
    """Refuse a path whose folder is not there, since a misspelled one must not be made.

    Refuses names that leave no room for those of the files beside it, too.
    """
    if len(path.name.encode()) > _LONGEST_NAME_BYTES:
        message = f"The name {path.name[:40]}… is too long."
        raise FileKindError(message, hint=f"Use at most {_LONGEST_NAME_BYTES} bytes.")
    if not path.parent.is_dir():
        message = f"There is no folder {path.parent}."
        raise FileKindError(message, hint="Make it, or correct the path.")
    if path.is_dir():
        message = f"{path} is a folder."
        raise FileKindError(message, hint="Give the name of a file in it.")


def write_focus(path: Path, profile: Profile, columns: Columns) -> None:
    """Write an export to ``path`` by its suffix: readers see the old file or all of the new.

    Equal columns give equal bytes.
    """
    suffix = check_suffix(path)
    with _whole(path) as file:
        if suffix == ".parquet":
            pq.write_table(_table(profile, columns), file, compression="zstd")
            return
        # The compressed file bears no time and no name, so that equal exports are equal bytes.
        packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if suffix == ".csv.gz" else None
        for block in csv_blocks(profile.names, columns):
            (packed or file).write(block.encode())
        if packed is not None:
            packed.close()


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path``, which takes its place only after all went well."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        try:
            with beside.open("xb", buffering=_TEXT_BUFFER_BYTES) as file:
                yield file
                file.flush()
                # Without this a power cut can leave the new name with none of the content.
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        message = f"The file {path} could not be written: {error.strerror or error}."
        raise DestinationError(
            message, hint="Check the folder, its rights and the disk."
        ) from error


def _table(profile: Profile, columns: Columns) -> pa.Table:
    count = max((len(cells) for cells in columns.values()), default=0)
    arrays = [_array(column, columns.get(column.name), count) for column in profile.all]
    return pa.Table.from_arrays(arrays, names=[*profile.names])


def _array(column: FocusColumn, cells: FocusCells | None, count: int) -> pa.Array:
    match cells:
        case None:
            return pa.nulls(count, _type_of(column))
        case TextColumn(codes, texts):
            return pa.array([*texts], pa.string()).take(pa.array(codes))
        case DecimalColumn(codes, amounts):
            scale = max((-_exponent(one) for one in amounts if one is not None), default=1)
            kind = pa.decimal128(_PRECISION, max(scale, 1))
            return pa.array([*amounts], kind).take(pa.array(codes))
        case InstantColumn(values_ms):
            return pa.array(values_ms).cast(pa.timestamp("ms", tz="UTC"))


def _exponent(value: Decimal) -> int:
    exponent = value.normalize(EXACT).as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _type_of(column: FocusColumn) -> pa.DataType:
    match column.type:
        case FocusType.DECIMAL:
            return pa.decimal128(_PRECISION, 9)
        case FocusType.INSTANT:
            return pa.timestamp("ms", tz="UTC")
        case _:
            return pa.string()
