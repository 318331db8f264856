"""Providers' FOCUS files: what is read of them, and the one error of those that are not whole."""

import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from app.attribution.provider_bills import ChargeCategory
from app.sources.focus_batches import FocusFileError
from app.sources.focus_file import FocusRow, open_focus
from app.units.window import HOUR_MS
from tests.sources.focus_files import (
    COLUMNS_1_0,
    COLUMNS_1_3,
    Row,
    a_focus_row,
    focus_csv,
    focus_table,
    write_focus,
)

# 2026-11-23T00:00:00Z.
MONDAY_MS = 1_795_392_000_000
ROWS = (
    a_focus_row(cost="24.123456789012345678", Tags='{"team": "search, or so"}'),
    a_focus_row("", "-3.50", ChargeCategory="Credit", ChargeDescription="two\nlines"),
    a_focus_row(cost="0.000000001", CommitmentDiscountStatus="Unused"),
)


def read(path: Path) -> list[FocusRow]:
    return list(open_focus(path).rows)


def said(row: FocusRow) -> tuple[object, ...]:
    values = (row.provider, row.billing_account, row.period, row.start_ms, row.end_ms)
    costs = (row.effective, row.billed, row.currency, row.category, row.unused)
    return (*values, *costs, row.service_category, row.service, row.resource_id, row.tags)


def refused(path: Path) -> str:
    with pytest.raises(FocusFileError) as caught:
        read(path)
    assert caught.value.hint
    return caught.value.message


def test_a_row_is_read_exactly(tmp_path: Path) -> None:
    path = write_focus(tmp_path / "bill.csv", ROWS)

    first, second, third = read(path)

    assert (first.start_ms, first.end_ms) == (MONDAY_MS, MONDAY_MS + 24 * HOUR_MS)
    assert first.effective == Decimal("24.123456789012345678")
    assert first.category is ChargeCategory.USAGE
    assert first.tags == (("team", "search, or so"),)
    assert (first.provider, first.billing_account, first.currency) == ("AWS", "1234", "USD")
    assert (second.category, second.effective, second.resource_id) == (
        ChargeCategory.CREDIT,
        Decimal("-3.50"),
        "",
    )
    assert (first.unused, third.unused) == (False, True)
    # The second row begins on line 3 and has two lines.
    assert json.loads(first.columns())["ChargeDescription"] == "p5.48xlarge, Linux, on demand"
    assert json.loads(first.columns())["EffectiveCost"] == "24.123456789012345678"
    assert "ChargeClass" not in json.loads(first.columns())


@pytest.mark.parametrize("columns", [COLUMNS_1_0, COLUMNS_1_3])
def test_csv_gzipped_csv_and_parquet_say_the_same(tmp_path: Path, columns: tuple[str, ...]) -> None:
    read_as = [
        [said(row) for row in read(write_focus(tmp_path / name, ROWS, columns))]
        for name in ("bill.csv", "bill.csv.gz", "bill.parquet")
    ]

    assert read_as[0] == read_as[1] == read_as[2]
    assert len(read_as[0]) == 3


def test_the_columns_tell_the_version(tmp_path: Path) -> None:
    later = tuple(name for name in COLUMNS_1_3 if name not in ("ProviderName", "PublisherName"))

    specs = [
        open_focus(write_focus(tmp_path / f"{number}.csv", ROWS, columns)).spec
        for number, columns in enumerate(
            (COLUMNS_1_0, (*COLUMNS_1_0, "SkuMeter"), (*COLUMNS_1_0, "InvoiceId"), later)
        )
    ]

    assert specs == ["1.0", "1.1", "1.2", "1.3"]
    assert read(tmp_path / "3.csv")[0].provider == "AWS"


def test_a_binary_float_is_the_shortest_decimal_that_is_this_float(tmp_path: Path) -> None:
    """Some exports have costs as doubles only: 0.1 is 0.1 then, not 0.1000000000000000055."""
    table = focus_table([a_focus_row(cost="0.1"), a_focus_row(cost="0.0000125")])
    number = table.schema.get_field_index("EffectiveCost")
    doubles = pa.array([0.1, 0.0000125], pa.float64())
    parquet.write_table(
        table.set_column(number, "EffectiveCost", doubles), tmp_path / "bill.parquet"
    )

    rows = read(tmp_path / "bill.parquet")

    assert [row.effective for row in rows] == [Decimal("0.1"), Decimal("0.0000125")]


def test_a_map_of_tags_and_instants_without_a_zone_are_read_from_parquet(tmp_path: Path) -> None:
    table = focus_table([a_focus_row()])
    tags = pa.array([[("team", "search")]], pa.map_(pa.string(), pa.string()))
    table = table.set_column(table.schema.get_field_index("Tags"), "Tags", tags)
    place = table.schema.get_field_index("ChargePeriodStart")
    naive = table.column("ChargePeriodStart").cast(pa.timestamp("ns"))
    table = table.set_column(place, "ChargePeriodStart", naive)
    parquet.write_table(table, tmp_path / "bill.parquet")

    (row,) = read(tmp_path / "bill.parquet")

    assert row.tags == (("team", "search"),)
    assert row.start_ms == MONDAY_MS


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-11-23T00:00:00Z", MONDAY_MS),
        ("2026-11-23T00:00:00.000Z", MONDAY_MS),
        ("2026-11-23 00:00:00 UTC", MONDAY_MS),
        ("2026-11-23T00:00Z", MONDAY_MS),
        ("2026-11-23T00:00:00", MONDAY_MS),
        ("2026-11-23T05:30:00+05:30", MONDAY_MS),
    ],
)
def test_instants_are_read_as_exports_write_them(tmp_path: Path, text: str, at_ms: int) -> None:
    path = write_focus(tmp_path / "bill.csv", [a_focus_row(ChargePeriodStart=text)])

    assert read(path)[0].start_ms == at_ms


@pytest.mark.parametrize(
    ("column", "text", "trouble"),
    [
        ("EffectiveCost", "1,234.50", "EffectiveCost '1,234.50' is no decimal"),
        ("EffectiveCost", "NaN", "EffectiveCost 'NaN' is no decimal"),
        ("EffectiveCost", "1_0", "EffectiveCost '1_0' is no decimal"),
        ("EffectiveCost", "", "EffectiveCost is empty"),
        ("EffectiveCost", "9000000001", "EffectiveCost 9000000001 is above 9000000000"),
        ("BillingAccountId", "null", "BillingAccountId is empty"),
        ("ChargePeriodStart", "23.11.2026", "ChargePeriodStart '23.11.2026' is no instant"),
        (
            "ChargePeriodEnd",
            "2026-11-23T00:00:00Z",
            "ChargePeriodEnd 2026-11-23T00:00:00Z is not after ChargePeriodStart",
        ),
        ("ChargeCategory", "Refund", "ChargeCategory is 'Refund'"),
        ("CommitmentDiscountStatus", "Spare", "CommitmentDiscountStatus is 'Spare'"),
        ("Tags", "team=search", "Tags 'team=search' is no JSON object"),
        ("Tags", "[1]", "Tags '[1]' is no JSON object"),
        ("Tags", '{"team": "a\\u0000"}', "Tags has a character that no text has (U+0000)"),
        ("Tags", '{"\\ud800": "a"}', "Tags has a character that no text has (U+D800)"),
        ("ResourceName", "node\x00-1", "ResourceName has a character that no text has (U+0000)"),
        (
            "ChargeDescription",
            "\x00",
            "ChargeDescription has a character that no text has (U+0000)",
        ),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(
    tmp_path: Path, column: str, text: str, trouble: str
) -> None:
    """The row before has two lines, so the wrong one begins on line 4."""
    rows: list[Row] = [a_focus_row(ChargeDescription="two\nlines"), {**a_focus_row(), column: text}]

    assert refused(write_focus(tmp_path / "bill.csv", rows)) == f"bill.csv, line 4: {trouble}."


@pytest.mark.parametrize("name", ["EffectiveCost", "ChargePeriodStart", "ProviderName"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_missing_column_is_named(tmp_path: Path, name: str, suffix: str) -> None:
    columns = tuple(one for one in COLUMNS_1_0 if one != name)
    path = write_focus(tmp_path / f"bill.{suffix}", ROWS, columns)

    assert name in refused(path)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_focus(tmp_path / "bill.csv", ROWS, (*COLUMNS_1_0, "BilledCost"))

    assert refused(path) == "bill.csv, line 1: the column BilledCost is there twice."


def test_files_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    for name in ("bill.csv.gz", "bill.parquet"):
        path = write_focus(tmp_path / name, [a_focus_row(cost=str(cost)) for cost in range(500)])
        path.write_bytes(path.read_bytes()[:-20])
        assert "damaged or cut off" in refused(path)
    body = focus_csv(ROWS)
    (tmp_path / "fields.csv").write_bytes(body[: body.rindex(b"Compute")])
    (tmp_path / "quotes.csv").write_bytes(body[: body.index(b"or so")])

    assert refused(tmp_path / "fields.csv").startswith("fields.csv, line 5: the file is damaged")
    assert refused(tmp_path / "quotes.csv") == (
        "quotes.csv ends inside a quoted text: it is cut off."
    )


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "bill.csv, line 1: the file is empty."),
        (b"\n1,2\n", "bill.csv, line 1: the file is empty."),
        ("BilledCost,Ä\n".encode("latin-1"), "bill.csv, line 1: the text is not UTF-8."),
        ("BilledCost,x\n".encode("utf-16"), "bill.csv, line 1: the text is not UTF-8."),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, trouble: str) -> None:
    (tmp_path / "bill.csv").write_bytes(content)

    assert refused(tmp_path / "bill.csv") == trouble


def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [a_focus_row(ChargeDescription="two\nlines"), a_focus_row(ChargeDescription="Gerat")]
    body = focus_csv(rows).replace(b"Gerat", "Gerät".encode("latin-1"))
    (tmp_path / "bill.csv").write_bytes(body)

    assert refused(tmp_path / "bill.csv") == "bill.csv, line 4: the text is not UTF-8."


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "none.csv")


@given(
    costs=st.lists(
        st.decimals(-(10**9), 10**9, places=18, allow_nan=False), min_size=1, max_size=20
    ),
    suffix=st.sampled_from(["csv", "csv.gz", "parquet"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_no_digit_of_any_cost_is_lost(tmp_path: Path, costs: list[Decimal], suffix: str) -> None:
    rows = [a_focus_row(cost=format(cost, "f")) for cost in costs]

    found = read(write_focus(tmp_path / f"bill.{suffix}", rows))

    assert [row.effective for row in found] == costs
