from decimal import Decimal

import pytest

from app.chargeback.commitments import COMMITMENT_COLUMNS, commitments_table
from app.chargeback.tables import csv_bytes
from app.pricing.commitments import AllotmentRule, CommitmentKind, CommitmentUnit
from app.sources.commitment_file import COLUMNS, read_commitments
from app.sources.price_lines import PriceBookError
from app.units.window import HOUR_MS

FILLED = {
    "commitment": "ri-1",
    "type": "reservation",
    "unit": "gpu_hour",
    "quantity": "8",
    "upfront": "1000",
    "recurring_per_hour": "2.5",
    "currency": "USD",
    "term_start": "2026-11-23T11:30:00Z",
    "term_end": "2026-12-23T11:30:00Z",
}


def a_file(*lines: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    rows = [",".join((FILLED | line).get(name, "") for name in columns) for line in lines]
    return "\n".join([",".join(columns), *rows])


def read(text: str) -> object:
    return read_commitments(text, filename="c.csv", billing_currency="USD")


def test_a_line_is_a_commitment() -> None:
    text = a_file(
        {
            "type": "savings_plan",
            "unit": "spend_hour",
            "quantity": "12.5",
            "discount_percent": "27.5",
            "clusters": "prod-eu; prod us",
            "gpu_model": "H100",
            "payer": "ml",
            "allotment": "priority",
        }
    )

    (one,) = read_commitments(text, filename="c.csv", billing_currency="USD")

    assert (one.kind, one.unit) == (CommitmentKind.SAVINGS_PLAN, CommitmentUnit.SPEND_HOUR)
    assert (one.quantity, one.discount_ratio) == (Decimal("12.5"), Decimal("0.275"))
    assert one.clusters == ("prod-eu", "prod us")
    assert one.allotment is AllotmentRule.PRIORITY
    assert one.term_end_ms - one.term_start_ms == 30 * 24 * HOUR_MS


def test_columns_that_are_usually_blank_may_be_left_out() -> None:
    left_out = ("name", "payer", "allotment", "source", "billing_account", "discount_percent")
    columns = tuple(name for name in COLUMNS if name not in left_out)

    (one,) = read_commitments(a_file({}, columns=columns), filename="c.csv", billing_currency="USD")

    assert one.allotment is AllotmentRule.BLENDED


def test_a_listed_table_is_a_file_that_says_the_same() -> None:
    text = a_file({"clusters": "a;b", "discount_percent": "0"})
    found = read_commitments(text, filename="c.csv", billing_currency="USD")

    again = csv_bytes(commitments_table(found)).decode()

    assert COMMITMENT_COLUMNS == COLUMNS
    assert read_commitments(again, filename="c.csv", billing_currency="USD") == found


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ({"commitment": ""}, "commitment", "has no id"),
        ({"type": "lease"}, "type", "not known"),
        ({"unit": "month"}, "unit", "not known"),
        ({"quantity": "-1"}, "quantity", "below zero"),
        ({"quantity": "0"}, "quantity", "is zero"),
        ({"quantity": "2.5"}, "quantity", "not a whole number"),
        ({"upfront": "-5"}, "upfront", "below zero"),
        ({"upfront": "0.0000000001"}, "upfront", "more than 9 decimals"),
        ({"upfront": "", "recurring_per_hour": ""}, "upfront", "neither"),
        ({"recurring_per_hour": "1e3"}, "recurring_per_hour", "not a plain number"),
        ({"discount_percent": "20"}, "discount_percent", "of a spend_hour"),
        ({"unit": "spend_hour", "discount_percent": "100"}, "discount_percent", "or more"),
        ({"unit": "spend_hour", "discount_percent": "-1"}, "discount_percent", "below zero"),
        ({"currency": "DOLLAR"}, "currency", "not a currency"),
        ({"currency": "EUR"}, "currency", "bills in USD"),
        ({"term_start": ""}, "term_start", "has a term"),
        ({"term_end": "soon"}, "term_end", "not a date"),
        ({"term_end": "2026-11-23T11:30:00Z"}, "term_end", "ends before it begins"),
        ({"gpu_model": "NVIDIA"}, "gpu_model", "names a maker"),
        ({"allotment": "fair"}, "allotment", "not known"),
    ],
)
def test_one_clear_error_names_the_line_and_the_column(
    line: dict[str, str], column: str, words: str
) -> None:
    with pytest.raises(PriceBookError, match=words) as error:
        read(a_file({"commitment": "fine"}, line))

    assert (error.value.line, error.value.column) == (3, column)


def test_an_unknown_column_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PriceBookError, match="no such column"):
        read(a_file({}, columns=(*COLUMNS, "discount")))


def test_two_terms_of_one_id_may_follow_each_other_and_not_overlap() -> None:
    follows = {"term_start": "2026-12-23T11:30:00Z", "term_end": "2027-01-01"}
    overlaps = follows | {"term_start": "2026-12-23T11:29:59Z"}

    assert len(read_commitments(a_file({}, follows), filename="c", billing_currency="USD")) == 2
    with pytest.raises(PriceBookError, match="line 2 has the same commitment"):
        read(a_file({}, overlaps))


def test_a_file_without_lines_is_refused() -> None:
    with pytest.raises(PriceBookError, match="no commitments"):
        read(a_file())
