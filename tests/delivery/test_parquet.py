"""The report as programs read it."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

from app.delivery.parquet import parquet_bytes
from tests.chargeback.builders import HOUR_MS, costs_of
from tests.chargeback.reporting import GROUPS, a_document


def read(content: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(content))


def test_money_is_exact_and_instants_are_instants() -> None:
    table = read(parquet_bytes(a_document()))

    assert table.schema.field("total_cost").type == pa.decimal128(38, 2)
    assert table["total_cost"].to_pylist() == [Decimal("3.00"), Decimal("6.00"), Decimal("9.00")]
    assert table["cost_per_gpu_hour_held"].to_pylist()[0] == Decimal(3)
    assert table["period_start"].to_pylist()[0] == datetime(2026, 11, 9, tzinfo=UTC)
    assert table["day"].to_pylist() == [date(2026, 11, 10), date(2026, 11, 9), None]
    assert table["issue"].to_pylist() == [1, 1, 1]
    assert table["complete"].to_pylist() == [True, True, True]


def test_columns_have_their_names_and_the_metadata_says_what_it_is() -> None:
    table = read(parquet_bytes(a_document()))

    assert {"team", "total_cost", "row"} <= set(table.column_names)
    metadata = table.schema.metadata
    assert metadata[b"gpuledger.report"] == b"by_team"
    assert metadata[b"gpuledger.period"] == b"2026-W46"
    assert metadata[b"gpuledger.issue"] == b"1"


def test_equal_reports_are_equal_bytes() -> None:
    assert parquet_bytes(a_document()) == parquet_bytes(a_document())


def test_money_that_nobody_knows_is_null() -> None:
    costs = costs_of(GROUPS, {"day": "2026-11-09", "used_ms": HOUR_MS, "unpriced_ms": HOUR_MS})

    table = read(parquet_bytes(a_document(costs)))

    assert table["total_cost"].to_pylist() == [None, None]


def test_a_report_without_rows_has_its_columns() -> None:
    table = read(parquet_bytes(a_document(costs_of(GROUPS))))

    assert table.num_rows == 1
    assert table["total_cost"].to_pylist() == [None]
