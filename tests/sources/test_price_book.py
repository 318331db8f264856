from decimal import Decimal

import pytest

from app.pricing.rows import PriceUnit
from app.sources.price_book import COLUMNS, PriceBookError, read_price_book
from app.units.window import OPEN_MS

HEADER = ",".join(COLUMNS)
TEN = 1_795_428_000_000  # 2026-11-23T10:00:00Z
GOOD = {
    "cluster": "prod-eu",
    "provider": "aws",
    "region": "eu-west-1",
    "instance_type": "p5.48xlarge",
    "gpu_model": "H100",
    "capacity_type": "on_demand",
    "node": "",
    "unit": "gpu_hour",
    "price": "2.4991",
    "currency": "USD",
    "valid_from": "2026-11-23",
    "valid_to": "",
    "source": "contract 7",
}


def line(**cells: str) -> str:
    return ",".join({**GOOD, **cells}.values())


def read(*lines: str, header: str = HEADER) -> object:
    text = "\n".join([header, *lines]) + "\n"
    return read_price_book(text, filename="prices.csv", billing_currency="USD")


def refused(*lines: str, header: str = HEADER) -> PriceBookError:
    with pytest.raises(PriceBookError) as caught:
        read(*lines, header=header)
    return caught.value


def test_a_line_becomes_a_price() -> None:
    (row,) = read(line())

    assert (row.unit, row.price, row.currency) == (PriceUnit.GPU_HOUR, Decimal("2.4991"), "USD")
    assert (row.gpu_model, row.node, row.source) == ("H100", "", "contract 7")
    assert (row.valid_from_ms, row.valid_to_ms) == (TEN - 10 * 3_600_000, OPEN_MS)


def test_columns_may_stand_in_any_order_with_quotes_spaces_and_windows_line_ends() -> None:
    names = [*reversed(COLUMNS)]
    cells = [f'" {GOOD[name]} "' for name in names]
    text = "\ufeff" + ",".join(names) + "\r\n\r\n" + ",".join(cells) + "\r\n"

    (row,) = read_price_book(text, filename="prices.csv", billing_currency="USD")

    assert (row.instance_type, row.price) == ("p5.48xlarge", Decimal("2.4991"))


@pytest.mark.parametrize(
    "text", ["2026-11-23T10:00:00Z", "2026-11-23T11:00:00+01:00", "2026-11-23t10:00z"]
)
def test_instants_may_have_any_offset(text: str) -> None:
    (row,) = read(line(valid_from=text))

    assert row.valid_from_ms == TEN


def test_a_blank_beginning_means_since_ever() -> None:
    (row,) = read(line(valid_from=""))

    assert row.valid_from_ms == 0


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("price", "free", '"free" is not a plain number'),
        ("price", "1,5", "cells where the header has"),
        ("price", "1e3", "not a plain number"),
        ("price", "NaN", "not a plain number"),
        ("price", "", "not a plain number"),
        ("price", "-0.01", "below zero"),
        ("price", "100000000", "a hundred million or more"),
        ("price", "0.1234567890123", "more than 12 decimals"),
        ("currency", "DOLLAR", "not a currency of ISO 4217"),
        ("currency", "", "not a currency of ISO 4217"),
        ("currency", "EUR", "in EUR but the ledger bills in USD"),
        ("unit", "gpu-hour", "units are gpu_hour, node_hour"),
        ("valid_from", "yesterday", '"yesterday" is not a date'),
        ("valid_from", "2026-02-30", "not a date"),
        ("valid_from", "2026-11-23T10:00:00", "not a date"),
        ("valid_from", "0001-01-01", "is not of the years 1970 to 9998; leave the cell blank"),
        ("valid_from", "1969-12-31T23:59:59Z", "is not of the years 1970 to 9998"),
        ("valid_from", "20261123", "not a date"),
        ("valid_to", "2026-11-23", "ends before it begins"),
        ("valid_to", "2026-11-22", "ends before it begins"),
        ("gpu_model", "NVIDIA", "names a maker, not a model"),
        ("gpu_model", "H100\u200b", "a character that cannot be seen (U+200B)"),
        ("node", "n" * 254, "longer than 253 bytes"),
        ("cluster", "ü" * 127, "longer than 253 bytes"),
    ],
)
def test_a_wrong_cell_is_refused_with_line_column_and_reason(
    column: str, text: str, reason: str
) -> None:
    error = refused(line(gpu_model="A100"), line(**{column: text}))

    assert error.line == 3
    assert reason in error.reason
    assert error.column == ("" if text == "1,5" else column)
    assert str(error).startswith("prices.csv, line 3")


@pytest.mark.parametrize("price", ["0", "0.123456789012", "99999999.99", ".5", "3."])
def test_prices_on_the_right_side_of_the_bounds_are_taken(price: str) -> None:
    (row,) = read(line(price=price))

    assert row.price == Decimal(price)


def test_overlapping_lines_for_the_same_thing_are_refused_by_both_numbers() -> None:
    first = line(valid_from="2026-01-01", valid_to="2026-06-01")
    second = line(valid_from="2026-05-31", gpu_model="nvidia h100", price="9")

    error = refused(first, line(gpu_model="A100"), second)

    assert (error.line, error.column) == (4, "valid_from")
    assert "line 2 prices the same in gpu_hour" in error.reason


def test_lines_that_touch_or_differ_in_unit_do_not_overlap() -> None:
    first = line(valid_from="2026-01-01", valid_to="2026-06-01")
    second = line(valid_from="2026-06-01")

    assert len(read(first, second, line(unit="node_hour", valid_from="2026-01-01"))) == 3


def test_a_repeated_line_is_refused() -> None:
    assert "the same as line 2" in refused(line(), line(price="2.49910")).reason


@pytest.mark.parametrize(
    ("header", "column", "reason"),
    [
        (HEADER.replace("price", "rate"), "rate", "no such column"),
        (HEADER.replace(",source", ""), "source", "is missing"),
        (HEADER + ",node", "node", "twice"),
        (HEADER + ",", "(blank)", "no such column"),
    ],
)
def test_a_wrong_header_is_refused(header: str, column: str, reason: str) -> None:
    error = refused(line(), header=header)

    assert (error.line, error.column) == (1, column)
    assert reason in error.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        (HEADER, "no prices below its header"),
        (HEADER + '\n"aws', "not CSV"),
        (HEADER + "\n" + line() + ",more", "the line has 14 cells"),
    ],
)
def test_a_file_that_is_no_price_book_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PriceBookError, match=reason):
        read_price_book(text, filename="prices.csv", billing_currency="USD")


def test_lines_are_counted_through_quoted_line_breaks() -> None:
    error = refused(line(source='"two\nlines"'), line(price="x"))

    assert error.line == 4
