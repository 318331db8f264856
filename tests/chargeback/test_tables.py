"""Plain decimals, and CSV that a spreadsheet opens without harm."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.tables import Table, amount, csv_bytes, plain, seconds


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (3_000_000_000, "3.00"),
        (0, "0.00"),
        (1, "0.000000001"),
        (-1_500_000_000, "-1.50"),
        (1_230_000_000, "1.23"),
        (1_234_000_000, "1.234"),
        (10**20, "100000000000.00"),
    ],
)
def test_an_amount_is_plain_and_exact(nanos: int, text: str) -> None:
    assert plain(amount(nanos)) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(7_200_000, "7200"), (20_500, "20.5"), (1, "0.001"), (0, "0"), (-1_000, "-1")]
)
def test_seconds_have_no_trailing_zeros(ms: int, text: str) -> None:
    assert plain(seconds(ms)) == text


@given(st.integers(-(2**70), 2**70))
def test_an_amount_is_never_rounded(nanos: int) -> None:
    assert Decimal(plain(amount(nanos))) * 10**9 == nanos


def test_csv_has_crlf_quotes_and_utf8_as_rfc_4180_says() -> None:
    table = Table(("team", "note"), (("größe", 'a "b", c'), ("x", "two\nlines")))

    assert csv_bytes(table) == ('team,note\r\ngröße,"a ""b"", c"\r\nx,"two\nlines"\r\n'.encode())


def test_equal_tables_give_equal_bytes() -> None:
    table = Table(("team", "cost"), (("a", Decimal("1.00")),))

    assert csv_bytes(table) == csv_bytes(Table(table.columns, tuple(table.rows)))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_a_spreadsheet_would_run_is_made_harmless(start: str) -> None:
    table = Table(("pod",), ((f"{start}cmd",),))

    rows = list(csv.reader(io.StringIO(csv_bytes(table).decode(), newline="")))

    assert rows == [["pod"], [f"'{start}cmd"]]


def test_negative_numbers_stay_numbers() -> None:
    table = Table(("adjustment", "count"), ((Decimal("-1.50"), -2),))

    assert csv_bytes(table) == b"adjustment,count\r\n-1.50,-2\r\n"


def test_nothing_is_an_empty_cell_and_truth_a_word() -> None:
    table = Table(("cost", "complete"), ((None, False), (None, True)))

    assert csv_bytes(table) == b"cost,complete\r\n,false\r\n,true\r\n"


def test_records_name_the_cells() -> None:
    assert Table(("a", "b"), ((1, "x"),)).records() == [{"a": 1, "b": "x"}]
