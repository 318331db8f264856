from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest

from app.pricing.credits import Credit
from app.pricing.exchange import ExchangeRate
from app.pricing.terms import PriceTerm, TermKind
from app.sources.price_book import COLUMNS, PriceBookError, read_price_book
from app.sources.price_terms import (
    CREDIT_COLUMNS,
    RATE_COLUMNS,
    TERM_COLUMNS,
    read_credits,
    read_exchange_rates,
    read_terms,
)
from app.sources.starter_book import starter_book
from app.units.window import OPEN_MS
from tests.pricing.inputs import JAN_2026, JAN_2027, a_rate


def rates(*lines: str) -> tuple[ExchangeRate, ...]:
    text = "\n".join([",".join(RATE_COLUMNS), *lines])
    return read_exchange_rates(text, filename="rates.csv", billing_currency="USD")


def terms(*lines: str) -> tuple[PriceTerm, ...]:
    return read_terms("\n".join([",".join(TERM_COLUMNS), *lines]), filename="terms.csv")


def gifts(*lines: str) -> tuple[Credit, ...]:
    text = "\n".join([",".join(CREDIT_COLUMNS), *lines])
    known = [a_rate("1.25", valid_from_ms=JAN_2026)]
    return read_credits(text, filename="credits.csv", billing_currency="USD", rates=known)


def test_a_rate_is_dated_to_the_second() -> None:
    (one,) = rates("eur,1.0842,2026-01-01,2026-12-31T23:59:59Z,central bank")

    assert (one.currency, one.rate, one.source) == ("EUR", Decimal("1.0842"), "central bank")
    assert (one.valid_from_ms, one.valid_to_ms) == (JAN_2026, JAN_2027 - 1_000)


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ("USD,1,,,", "currency", "is the billing currency and needs no rate"),
        ("EURO,1,,,", "currency", "not a currency of ISO 4217"),
        ("EUR,0,,,", "rate", "the rate is zero"),
        ("EUR,-1,,,", "rate", "below zero"),
        ("EUR,1e3,,,", "rate", "not a plain number"),
        ("EUR,NaN,,,", "rate", "not a plain number"),
        ('EUR,"1,000.5",,,', "rate", "not a plain number"),
        ("EUR,١,,,", "rate", "not a plain number"),
        ("EUR,1,2026-01-01,2026-01-01,", "valid_to", "ends before it begins"),
        ("EUR,1,2026-01-01T00:00:00.5Z,,", "valid_from", "finer than a second"),
        ("EUR,1,2026-01-01T00:00:00.0004Z,,", "valid_from", "finer than a second"),
    ],
)
def test_a_wrong_rate_is_refused_with_line_column_and_reason(
    line: str, column: str, reason: str
) -> None:
    with pytest.raises(PriceBookError) as refused:
        rates("GBP,1.3,,,", line)

    assert (refused.value.line, refused.value.column) == (3, column)
    assert reason in refused.value.reason


def test_rates_of_one_currency_that_overlap_are_refused_by_both_lines() -> None:
    with pytest.raises(PriceBookError, match="line 4, column valid_from: line 2 is for the same"):
        rates("EUR,1,2026-06-01,,", "GBP,1,,,", "EUR,1.1,2026-01-01,2026-06-02,")
    assert len(rates("EUR,1,2026-06-01,,", "EUR,1.1,2026-01-01,2026-06-01,")) == 2


def test_a_term_has_a_kind_a_percentage_and_what_it_is_for() -> None:
    (one,) = terms("discount,12.5,prod,aws,,,H100,spot,,2026-01-01,,our contract")

    assert (one.kind, one.percent, one.reason) == (
        TermKind.DISCOUNT,
        Decimal("12.5"),
        "our contract",
    )
    assert (one.cluster, one.provider, one.gpu_model, one.capacity_type) == (
        "prod",
        "aws",
        "H100",
        "spot",
    )
    assert (one.valid_from_ms, one.valid_to_ms) == (JAN_2026, OPEN_MS)


@pytest.mark.parametrize(
    ("kind", "percent", "column", "reason"),
    [
        ("rebate", "1", "kind", "kinds are discount, markup"),
        ("discount", "100.01", "percent", "more than 100 percent"),
        ("discount", "-1", "percent", "below zero"),
        ("markup", "-1", "percent", "below zero"),
        ("markup", "10000", "percent", "10000 or more"),
        ("markup", "10%", "percent", "not a plain number"),
        ("markup", "", "percent", "not a plain number"),
    ],
)
def test_a_wrong_term_is_refused(kind: str, percent: str, column: str, reason: str) -> None:
    with pytest.raises(PriceBookError) as refused:
        terms(f"{kind},{percent},,,,,,,,,,")

    assert (refused.value.line, refused.value.column) == (2, column)
    assert reason in refused.value.reason


@pytest.mark.parametrize(("kind", "percent"), [("discount", "100"), ("markup", "9999.99")])
def test_terms_on_the_right_side_of_the_bounds_are_taken(kind: str, percent: str) -> None:
    (one,) = terms(f"{kind},{percent},,,,,,,,,,")

    assert one.percent == Decimal(percent)


def test_a_discount_and_a_markup_for_the_same_do_not_overlap_but_two_discounts_do() -> None:
    assert len(terms("discount,1,,,,,,,,,,", "markup,1,,,,,,,,,,")) == 2
    with pytest.raises(PriceBookError, match="line 3, column valid_from: line 2 is for the same"):
        terms("discount,1,,,,,H100,,,,,", "discount,2,,,,,nvidia h100,,,,,")


def test_a_credit_is_money_over_a_span_exchanged_at_its_beginning() -> None:
    (one,) = gifts("launch,80,EUR,search,2026-01-01,2026-02-01,a gift")

    assert (one.name, one.team, one.reason) == ("launch", "search", "a gift")
    assert one.nanos == 100 * 10**9


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (",1,USD,,2026-01-01,2026-02-01,", "name", "has no name"),
        ("a,-1,USD,,2026-01-01,2026-02-01,", "amount", "below zero"),
        ("a,1000000000,USD,,2026-01-01,2026-02-01,", "amount", "1000000000 or more"),
        ("a,1,USD,,,2026-02-01,", "valid_from", "needs both ends"),
        ("a,1,USD,,2026-01-01,,", "valid_to", "needs both ends"),
        ("a,1,GBP,,2026-01-01,2026-02-01,", "currency", "no exchange rate of GBP"),
        ("a,1,EUR,,2025-01-01,2026-02-01,", "valid_from", "no exchange rate of EUR at that"),
    ],
)
def test_a_wrong_credit_is_refused(line: str, column: str, reason: str) -> None:
    with pytest.raises(PriceBookError) as refused:
        gifts(line)

    assert (refused.value.line, refused.value.column) == (2, column)
    assert reason in refused.value.reason


@pytest.mark.parametrize("read", [rates, terms, gifts])
def test_a_file_without_lines_is_refused(read: Callable[[], object]) -> None:
    with pytest.raises(PriceBookError, match="below its header"):
        read()


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        (RATE_COLUMNS, partial(read_exchange_rates, filename="f", billing_currency="USD")),
        (TERM_COLUMNS, partial(read_terms, filename="f")),
        (CREDIT_COLUMNS, partial(read_credits, filename="f", billing_currency="USD")),
    ],
)
def test_wrong_columns_are_refused(columns: tuple[str, ...], read: Callable[[str], object]) -> None:
    header = ",".join(columns)
    for wrong, reason in (
        (header + ",more", "line 1, column more: there is no such column"),
        (",".join(columns[1:]), f"line 1, column {columns[0]}: the column is missing"),
        (header.replace(",", ";"), "line 1: the cells are separated by semicolons"),
        (f"{header}\n{header},more", "line 2: the line has"),
        ("", "line 1: the file is empty"),
    ):
        with pytest.raises(PriceBookError, match=reason):
            read(wrong)


def test_a_price_may_be_of_a_currency_that_has_a_rate_and_have_a_list_price() -> None:
    header = ",".join((*COLUMNS, "list_price"))
    text = f"{header}\n,,,,H100,,,gpu_hour,2,EUR,2026-01-01T10:37:01Z,,contract,2.5\n"

    (row,) = read_price_book(text, filename="p.csv", billing_currency="USD", exchanged={"EUR"})

    assert (row.currency, row.list_price) == ("EUR", Decimal("2.5"))
    assert row.valid_from_ms % 60_000 == 1_000


@pytest.mark.parametrize(
    ("listed", "valid_from", "reason"),
    [
        ("-1", "", "column list_price: the price -1 is below zero"),
        ("free", "", 'column list_price: "free" is not a plain number'),
        ("1", "2026-01-01T00:00:00.250Z", "column valid_from: .* finer than a second"),
    ],
)
def test_a_wrong_list_price_or_a_fraction_of_a_second_is_refused(
    listed: str, valid_from: str, reason: str
) -> None:
    header = ",".join((*COLUMNS, "list_price"))
    text = f"{header}\n,,,,H100,,,gpu_hour,2,USD,{valid_from},,contract,{listed}\n"

    with pytest.raises(PriceBookError, match=reason):
        read_price_book(text, filename="p.csv", billing_currency="USD")


def test_the_starter_book_is_a_price_book_of_dated_list_prices() -> None:
    rows = read_price_book(starter_book(), filename="starter", billing_currency="USD")

    assert len(rows) == 158
    assert all(row.source.startswith("list price, 20") for row in rows)
    assert all(row.price == row.list_price and row.price > 0 for row in rows)
    # Never a price for whatever comes along: each row names one instance type.
    assert all(row.instance_type and row.unit == "node_hour" for row in rows)
    by_type = {row.instance_type: row.price for row in rows}
    assert by_type["g4dn.xlarge"] == Decimal("0.526")
    assert "p5e.48xlarge" not in by_type
