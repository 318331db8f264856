"""The weekly chargeback as the finance department gets it."""

from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.costs import COST_COLUMNS
from app.chargeback.periods import parse_period
from app.chargeback.report_bodies import costs_body
from app.chargeback.report_tables import (
    ReportDocument,
    ReportIssue,
    ReportStatus,
    report_document,
)
from app.chargeback.reports import ReportDefinition, parse_report
from app.chargeback.tables import Cell, Table
from tests.chargeback.builders import HOUR_MS, USD, costs_of

TEXT = (Path(__file__).parents[2] / "reports" / "weekly_chargeback.toml").read_text(
    encoding="utf-8"
)
WEEK = parse_period("2026-W46", ZoneInfo("UTC"))
FIRST = ReportIssue(period=WEEK, number=1, status=ReportStatus.PROVISIONAL)
GROUPS = ["cost_center", "team", "gpu_model"]
NANOS = st.integers(-(10**13), 10**13)


def weekly() -> ReportDefinition:
    return parse_report("weekly_chargeback", TEXT)


def a_document(
    costs: pd.DataFrame, issue: ReportIssue = FIRST, currency: str = "USD"
) -> ReportDocument:
    body = costs_body(costs, GROUPS, currency)
    return report_document(weekly(), issue, body, currency=currency)


def a_week() -> pd.DataFrame:
    return costs_of(
        GROUPS,
        {
            "cost_center": "CC-1002",
            "team": "search",
            "gpu_model": "H100",
            "used_ms": 2 * HOUR_MS,
            "idle_ms": HOUR_MS,
            "used_nanos": 6 * USD,
            "idle_nanos": 3 * USD,
        },
        {"cost_center": "CC-1001", "team": "ml", "gpu_model": "L4", "idle_ms": 5, "idle_nanos": 5},
        {
            "team": "unowned",
            "gpu_model": "L4",
            "used_ms": HOUR_MS,
            "unpriced_ms": HOUR_MS,
            "complete": False,
        },
        {
            "team": "platform",
            "gpu_model": "H100",
            "unallocated_ms": HOUR_MS,
            "unallocated_nanos": 3 * USD,
        },
    )


def records(table: Table) -> list[dict[str, Cell]]:
    return [dict(record) for record in table.records()]


def test_every_row_says_what_it_belongs_to() -> None:
    table = a_document(a_week()).table

    for row in records(table):
        assert row["report"] == "weekly_chargeback"
        assert row["period"] == "2026-W46"
        assert row["period_start"] == "2026-11-09T00:00:00Z"
        assert row["period_end"] == "2026-11-16T00:00:00Z"
        assert row["issue"] == 1
        assert row["status"] == "provisional"
        assert row["basis"] == "posted"
        assert row["currency"] == "USD"
        assert row["price_covers"] == "whole node: GPU, CPU, memory, disk"


def test_rows_are_ordered_and_the_last_is_their_sum() -> None:
    table = a_document(a_week()).table

    rows = records(table)
    assert [(row["row"], row["cost_center"], row["team"]) for row in rows] == [
        ("detail", "", "platform"),
        ("detail", "", "unowned"),
        ("detail", "CC-1001", "ml"),
        ("detail", "CC-1002", "search"),
        ("total", "", ""),
    ]
    assert rows[-1]["total_cost"] == Decimal("12.00")
    assert rows[-1]["gpu_hours_held"] == Decimal("4.00")
    assert rows[-1]["complete"] is False
    assert rows[3]["total_cost"] == Decimal("9.00")
    assert rows[3]["gpu_hours_idle"] == Decimal("1.00")


def test_what_no_price_covers_is_empty_and_not_zero() -> None:
    row = records(a_document(a_week()).table)[1]

    assert row["team"] == "unowned"
    assert row["total_cost"] is None
    assert row["gpu_hours_unpriced"] == Decimal("1.00")
    assert row["complete"] is False


def test_a_week_in_which_nothing_has_a_price_has_no_total() -> None:
    costs = costs_of(GROUPS, {"used_ms": HOUR_MS, "unpriced_ms": HOUR_MS})

    assert records(a_document(costs).table)[-1]["total_cost"] is None


def test_an_empty_week_is_a_header_and_an_empty_total() -> None:
    table = a_document(costs_of(GROUPS)).table

    (row,) = records(table)
    assert row["row"] == "total"
    assert row["total_cost"] is None
    assert row["complete"] is False


@given(
    st.lists(st.tuples(NANOS, NANOS, NANOS), min_size=1, max_size=6),
    st.sampled_from(["USD", "JPY"]),
)
def test_cents_add_up_across_and_down(lines: list[tuple[int, int, int]], currency: str) -> None:
    costs = costs_of(
        GROUPS,
        *(
            {
                "team": f"team-{number}",
                "used_nanos": used,
                "idle_nanos": idle,
                "redistributed_nanos": moved,
            }
            for number, (used, idle, moved) in enumerate(lines)
        ),
    )

    *rows, total = records(a_document(costs, currency=currency).table)

    for name in (*COST_COLUMNS, "total_cost"):
        assert sum(Decimal(str(row[name])) for row in rows) == total[name]
    for row in (*rows, total):
        assert sum(Decimal(str(row[name])) for name in COST_COLUMNS) == row["total_cost"]
    exact = Decimal(sum(map(sum, lines))).scaleb(-9)
    assert total["total_cost"] == round(exact, 2 if currency == "USD" else 0)


def test_the_order_of_the_ledgers_rows_does_not_change_the_file() -> None:
    costs = a_week()
    shuffled = costs.iloc[[2, 0, 3, 1]]

    first = a_document(costs).csv()

    assert a_document(shuffled).csv() == first


def test_the_file_as_it_is_sent() -> None:
    costs = a_week().iloc[[0]]
    issue = ReportIssue(period=WEEK, number=2, status=ReportStatus.FINAL)

    content = a_document(costs, issue).csv().decode()

    assert issue.file_name("weekly_chargeback", "csv") == "weekly_chargeback-2026-W46-2.csv"
    assert content.splitlines()[1] == (
        "weekly_chargeback,2026-W46,2026-11-09T00:00:00Z,2026-11-16T00:00:00Z,2,final,posted,"
        "detail,CC-1002,search,H100,3.00,2.00,1.00,0.00,0.00,0.00,0.00,0.00,"
        "6.00,3.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00,9.00,USD,"
        '"whole node: GPU, CPU, memory, disk",true'
    )


@pytest.mark.parametrize("team", ["=SUM(A1)", "@cmd", "-1+1"])
def test_a_team_with_a_formula_for_a_name_is_harmless(team: str) -> None:
    costs = costs_of(GROUPS, {"team": team, "used_nanos": USD})

    content = a_document(costs).csv().decode()

    assert f",'{team}," in content
