"""Cells of a FOCUS file: exact decimals, instants, and CSV that strict readers understand."""

import csv
import io
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.focus_cells import (
    BLOCK_ROWS,
    DecimalColumn,
    TextColumn,
    csv_blocks,
    decimal_text,
    instant_text,
    json_text,
)
from app.chargeback.focus_columns import COLUMNS, SPECS, SpecError, View, _profile, profile
from tests.chargeback.focus_building import NOVEMBER_MS


def texts(values: list[str | None]) -> TextColumn:
    return TextColumn(np.arange(len(values), dtype=np.int64), tuple(values))


def decimals(values: list[Decimal]) -> DecimalColumn:
    return DecimalColumn(np.arange(len(values), dtype=np.int64), tuple(values))


_NEW_IN_1_3 = {
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
    "ContractApplied",
    "HostProviderName",
    "ServiceProviderName",
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1", "1.0"),
        ("1.50", "1.5"),
        ("-0.000000007", "-0.000000007"),
        ("1E+3", "1000.0"),
        ("0", "0.0"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    ],
)
def test_a_decimal_has_a_fraction_and_no_exponent(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


def test_an_instant_is_utc_and_of_whole_seconds() -> None:
    assert instant_text(NOVEMBER_MS) == "2026-11-01T00:00:00Z"


def test_json_has_one_form() -> None:
    assert json_text({"b": 1, "a": "é"}) == '{"a":"é","b":1}'


def test_a_column_that_is_not_given_is_null_and_blocks_join_to_one_file() -> None:
    count = BLOCK_ROWS + 3
    column = texts([f"n{number % 7}" for number in range(count)])

    blocks = list(csv_blocks(("a", "b"), {"b": column}))

    assert len(blocks) == 3
    lines = "".join(blocks).split("\r\n")
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("a,b", ",n0", f",n{(count - 1) % 7}", "")


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(max_size=6).filter(lambda one: "\x00" not in one)),
            st.decimals(allow_nan=False, allow_infinity=False, places=9),
        ),
        min_size=1,
    )
)
def test_any_text_and_any_amount_come_back(rows: list[tuple[str | None, Decimal]]) -> None:
    columns = {"t": texts([text for text, _ in rows]), "d": decimals([d for _, d in rows])}

    text = "".join(csv_blocks(("t", "d"), columns))

    header, *found = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["t", "d"]
    for (given_text, amount), (cell, number) in zip(rows, found, strict=True):
        harmless = cell.removeprefix("'") if given_text != cell else cell
        assert harmless == (given_text or "")
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert Decimal(number) == amount


def test_the_versions_differ_by_the_columns_that_1_3_brought() -> None:
    older, newer = (profile(spec, View.STATEMENT).columns for spec in SPECS)

    assert {one.name for one in newer} - {one.name for one in older} == _NEW_IN_1_3
    assert {one.name for one in older} <= {one.name for one in newer}
    assert len(newer) == len(COLUMNS) == 65


def test_the_columns_of_the_split_are_ours_before_1_3() -> None:
    own = [column.name for column in profile("1.2", View.SPLIT).own]

    assert own == [
        "x_AllocatedMethodDetails",
        "x_AllocatedMethodId",
        "x_AllocatedResourceId",
        "x_AllocatedResourceName",
        "x_AllocatedTags",
        "x_OriginKey",
    ]


@pytest.mark.parametrize("spec", ["1.1", "1.4", "", "1"])
def test_another_version_is_refused(spec: str) -> None:
    with pytest.raises(SpecError, match="There is no export of FOCUS"):
        profile(spec, View.STATEMENT)


def test_a_later_version_is_a_matter_of_data() -> None:
    later = [column.name for column in _profile("1.4", (1, 4), View.STATEMENT).columns]

    assert {"ProviderName", "PublisherName"} & {*later} == set()
    assert "ServiceProviderName" in later
