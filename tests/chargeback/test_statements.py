"""Statements: totals that add up to the nano and to the cent, and bytes that are canonical."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.statement_making import make_statements
from app.chargeback.statements import (
    ADJUSTMENTS,
    LINES,
    PeriodHeader,
    Pinned,
    PriceText,
    Statement,
    TeamHeader,
)

HEADER = PeriodHeader(
    period="2026-10",
    version=1,
    start_ms=1_790_812_800_000,
    end_ms=1_793_491_200_000,
    closed_ms=1_793_500_000_000,
    author="ada",
    zone="UTC",
    currency="USD",
    pinned=Pinned(
        prices=3, contract=2, rating=1, windows=744, windows_sha256="ab", settings={"zone": "UTC"}
    ),
)
PRICES = {
    7: PriceText(
        unit="gpu_hour",
        price=Decimal("3.50"),
        currency="EUR",
        effective=Decimal("3.85"),
        source="contract 17",
    )
}


def a_line(team: str = "search", nanos: int = 10**9, **changed: object) -> dict[str, object]:
    return {
        "team": team,
        "cost_center": "CC-1",
        "cluster": "prod-eu",
        "namespace": "search-prod",
        "workload": "ranker",
        "gpu_model": "NVIDIA-L4",
        "kind": "used",
        "price_id": 7,
        "gpu_ms": 3_600_000,
        "unpriced_ms": 0,
        "cost_nanos": nanos,
    } | changed


def an_adjustment(team: str = "search", nanos: int = 10**9, **changed: object) -> dict[str, object]:
    line = a_line(team, nanos)
    del line["price_id"]
    return (
        line
        | {
            "usage_day": "2026-09-17",
            "type": "late_facts",
            "reason": "late",
            "author": "gpuledger",
            "run_id": 1,
        }
        | changed
    )


def framed(rows: list[dict[str, object]], schema: object) -> pd.DataFrame:
    assert schema in (LINES, ADJUSTMENTS)
    columns = (LINES if schema is LINES else ADJUSTMENTS).columns
    dtypes = {name: str(column.dtype) for name, column in columns.items()}
    return pd.DataFrame(rows, columns=[*dtypes]).astype(dtypes)


def made(
    lines: list[dict[str, object]],
    adjustments: list[dict[str, object]] | None = None,
    header: PeriodHeader = HEADER,
) -> tuple[Statement, ...]:
    return make_statements(
        header,
        framed(lines, LINES),
        framed(adjustments or [], ADJUSTMENTS),
        teams={"search": TeamHeader(cost_center="CC-9", department="products")},
        prices=PRICES,
    )


def test_three_thirds_of_a_dollar_are_a_dollar() -> None:
    """Three teams of 0.333333333, 0.333333333, 0.333333334: 0.33, 0.33 and 0.34."""
    third = 333_333_333
    statements = made([a_line("a", third), a_line("b", third), a_line("c", third + 1)])

    assert [str(one.total) for one in statements] == ["0.33", "0.33", "0.34"]


def test_the_lines_of_a_statement_add_up_to_its_total_with_one_rounding() -> None:
    """1.004 + 1.004 + 0.004 = 2.012: 2.01, by 1.01 + 1.00 + 0.00 and a rounding of -0.002."""
    (statement,) = made(
        [
            a_line(nanos=1_004_000_000),
            a_line(nanos=1_004_000_000, workload="sorter"),
            a_line(nanos=4_000_000, workload="tester"),
        ]
    )
    body = json.loads(statement.body)

    assert [line["amount"] for line in body["lines"]] == ["1.01", "1.00", "0.00"]
    assert (body["exact_total"], body["rounding"], body["total"]) == ("2.012", "-0.002", "2.01")


def test_a_statement_names_team_prices_versions_and_what_prices_cover() -> None:
    body = json.loads(made([a_line()])[0].body)

    assert (body["number"], body["team"]) == ("CB-2026-10-search", "search")
    assert (body["cost_center"], body["department"]) == ("CC-9", "products")
    assert body["lines"][0]["cost_center"] == "CC-1"
    assert body["prices"] == {
        "0000000000000007": {
            "unit": "gpu_hour",
            "price": "3.5",
            "currency": "EUR",
            "effective_price": "3.85",
            "source": "contract 17",
        }
    }
    assert body["pinned"]["price_version"] == 3
    assert "CPU, memory" in body["price_covers"]
    assert body["closed_at"] == "2026-11-01T02:26:40Z"


def test_lines_of_nobody_have_a_statement_of_their_own() -> None:
    numbers = [one.number for one in made([a_line(""), a_line("search")])]

    assert numbers == ["CB-2026-10", "CB-2026-10-search"]


def test_what_has_no_price_is_null_and_not_zero() -> None:
    (statement,) = made([a_line(nanos=0, price_id=0, unpriced_ms=3_600_000)])
    (line,) = json.loads(statement.body)["lines"]

    assert (line["cost"], line["amount"], line["gpu_seconds_unpriced"]) == (None, None, "3600")


def test_adjustments_stand_apart_and_count() -> None:
    (statement,) = made([a_line(nanos=5 * 10**9)], [an_adjustment(nanos=-2 * 10**9)])
    body = json.loads(statement.body)

    assert str(statement.total) == "3.00"
    (adjustment,) = body["adjustments"]
    assert (adjustment["cost"], adjustment["usage_day"]) == ("-2.00", "2026-09-17")
    assert (adjustment["type"], adjustment["author"]) == ("late_facts", "gpuledger")


def test_a_currency_without_minor_units_is_rounded_to_units() -> None:
    statements = made(
        [a_line("a", 1_400_000_000), a_line("b", 1_400_000_000)],
        header=replace(HEADER, currency="JPY"),
    )

    assert [str(one.total) for one in statements] == ["2", "1"]


money = st.integers(-(10**13), 10**13)
rows = st.builds(
    a_line,
    st.sampled_from(["", "search", "ml", "Zoë"]),
    money,
    namespace=st.sampled_from(["", "a", "b"]),
    workload=st.sampled_from(["", "x", "y"]),
    price_id=st.sampled_from([0, 7, -8]),
)
posted = st.builds(an_adjustment, st.sampled_from(["", "search", "new"]), money)


@given(
    st.lists(rows, max_size=12),
    st.lists(posted, max_size=4),
    st.sampled_from(["USD", "JPY", "KWD"]),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_and_the_order_of_the_rows_does_not_matter(
    lines: list[dict[str, object]],
    adjustments: list[dict[str, object]],
    currency: str,
    random: Random,
) -> None:
    header = replace(HEADER, currency=currency)
    statements = made(lines, adjustments, header)

    exact: Counter[str] = Counter()
    for row in (*lines, *adjustments):
        exact[str(row["team"])] += int(str(row["cost_nanos"]))
    unit = Decimal(1).scaleb(-{"USD": 2, "JPY": 0, "KWD": 3}[currency])
    whole = Decimal(exact.total()).scaleb(-9).quantize(unit, rounding=ROUND_HALF_EVEN)
    assert {one.team: one.total_nanos for one in statements} == dict(exact)
    assert sum((one.total for one in statements), Decimal(0)) == whole
    for one in statements:
        body = json.loads(one.body)
        parts = [*body["lines"], *body["adjustments"]]
        assert sum(Decimal(part["amount"]) for part in parts) == Decimal(body["total"]) == one.total
        assert sum(Decimal(part["cost"]) for part in parts) == Decimal(body["exact_total"])
        assert abs(one.total - Decimal(one.total_nanos).scaleb(-9)) < unit
        assert Decimal(body["exact_total"]) + Decimal(body["rounding"]) == one.total
    random.shuffle(lines)
    assert made(lines, adjustments, header) == statements


def test_the_csv_has_the_lines_the_rounding_and_the_total() -> None:
    (statement,) = made(
        [a_line(nanos=1_004_000_000, workload="=1+1")], [an_adjustment(nanos=-1_000_000)]
    )
    records = list(csv.DictReader(io.StringIO(statement.csv.decode(), newline="")))

    assert [one["record"] for one in records] == ["charge", "adjustment", "rounding", "total"]
    assert records[0]["workload"] == "'=1+1"
    assert records[1]["cost"] == "-0.001"
    charged = sum(Decimal(one["cost"]) for one in records[:3])
    assert charged == Decimal(records[3]["amount"]) == Decimal("1.00")


@pytest.mark.parametrize("part", ["version", "author", "zone"])
def test_another_header_gives_other_bytes(part: str) -> None:
    other = replace(HEADER, **{part: 2 if part == "version" else "Asia/Tokyo"})

    assert made([a_line()])[0].sha256 != made([a_line()], header=other)[0].sha256


def test_the_canonical_bytes_are_sorted_and_have_no_float() -> None:
    body = made([a_line(workload="Größe")])[0].body

    again = json.dumps(
        json.loads(body, parse_float=lambda text: pytest.fail(f"{text} is a float")),
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    assert again.encode() == body
    assert "Größe".encode() in body
