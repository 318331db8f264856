"""A report as a Parquet file: exact decimals, instants, and what it is in its metadata."""

import io
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

from app.chargeback.report_columns import CellKind
from app.chargeback.report_tables import ReportDocument
from app.chargeback.rounding import currency_decimals
from app.chargeback.tables import Cell, plain

# As many digits as a 128-bit decimal has.
_PRECISION = 38
_TYPES = {
    CellKind.TEXT: pa.string(),
    CellKind.INSTANT: pa.timestamp("ms", tz="UTC"),
    CellKind.DAY: pa.date32(),
    CellKind.FLAG: pa.bool_(),
    CellKind.COUNT: pa.int64(),
}
_SCALES = {CellKind.HOURS: 2, CellKind.UNIT_COST: 9, CellKind.RATIO: 4}


def parquet_bytes(document: ReportDocument) -> bytes:
    """Return the report as Parquet: equal documents give equal bytes.

    Columns have their names, not their titles. Money is a decimal with the currency's minor unit,
    instants are milliseconds in UTC, nothing is null where the CSV has nothing but text.
    """
    columns = zip(document.table.columns, document.kinds, strict=True)
    fields = [pa.field(name, _type_of(kind, document.currency)) for name, kind in columns]
    metadata = {f"gpuledger.{label}": plain(cell) for label, cell in document.about}
    schema = pa.schema(fields, metadata=metadata)
    places = range(len(fields))
    arrays = [
        pa.array(_values([row[place] for row in document.table.rows], document.kinds[place]), kind)
        for place, kind in zip(places, schema.types, strict=True)
    ]
    content = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), content, compression="zstd")
    return content.getvalue()


def _type_of(kind: CellKind, currency: str) -> pa.DataType:
    if kind in _TYPES:
        return _TYPES[kind]
    scale = currency_decimals(currency) if kind is CellKind.MONEY else _SCALES[kind]
    return pa.decimal128(_PRECISION, scale)


def _values(
    cells: Sequence[Cell], kind: CellKind
) -> Sequence[str | int | bool | Decimal | date | None]:
    # The groups of the totals row are empty, which is no instant and no day.
    match kind:
        case CellKind.INSTANT:
            return [datetime.fromisoformat(cell) if cell else None for cell in map(plain, cells)]
        case CellKind.DAY:
            return [date.fromisoformat(cell) if cell else None for cell in map(plain, cells)]
        case _:
            return cells
