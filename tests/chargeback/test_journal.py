"""Journals: debits equal credits, and both say what the statements say."""

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.journal import (
    Accounts,
    Booking,
    Posting,
    UnbalancedError,
    journal,
    totals,
    without_cost_center,
)
from app.chargeback.statement_making import make_statements
from app.chargeback.statements import (
    ADJUSTMENTS,
    LINES,
    PeriodHeader,
    Pinned,
    Statement,
)

ACCOUNTS = Accounts(expense="6000", recovery="4000", platform_cost_center="CC-9000")
CENT = 10_000_000
HEADER = PeriodHeader(
    period="2026-10",
    version=1,
    start_ms=1_790_812_800_000,
    end_ms=1_793_491_200_000,
    closed_ms=1_793_577_600_000,
    author="finance",
    zone="UTC",
    currency="USD",
    pinned=Pinned(prices=1, contract=1, rating=1, windows=744, windows_sha256="", settings={}),
)


def statements(
    *lines: tuple[str, str, int], late: tuple[tuple[str, str, int], ...] = ()
) -> tuple[Statement, ...]:
    """Statements of (team, cost center, nanos)."""

    def frame(given_lines: tuple[tuple[str, str, int], ...], **more: object) -> pd.DataFrame:
        rows = [
            {
                **dict.fromkeys(("cluster", "namespace", "workload", "gpu_model"), ""),
                "team": team,
                "cost_center": center,
                "kind": "used",
                "cost_nanos": nanos,
                "gpu_ms": 0,
                "unpriced_ms": 0,
                **more,
            }
            for team, center, nanos in given_lines
        ]
        schema = ADJUSTMENTS if "run_id" in more else LINES
        dtypes = {name: str(column.dtype) for name, column in schema.columns.items()}
        return pd.DataFrame(rows, columns=[*dtypes]).astype(dtypes)

    return make_statements(
        HEADER,
        frame(lines, price_id=0),
        frame(late, run_id=7, usage_day="2026-09-30", type="late_facts", reason="r", author="a"),
        teams={},
        prices={},
    )


def booked(made: tuple[Statement, ...], posting: Posting = Posting.BOOKED) -> list[Booking]:
    return [Booking(statement=one, date="2026-10-31", posting=posting) for one in made]


def rows_of(bookings: list[Booking]) -> list[tuple[object, ...]]:
    return [
        (r["account"], r["cost_center"], r["debit"], r["credit"])
        for r in journal(bookings, ACCOUNTS).records()
    ]


def test_a_team_is_debited_and_the_platform_credited() -> None:
    table = journal(booked(statements(("search", "CC-1001", 1234 * CENT))), ACCOUNTS)

    first, second = table.records()
    assert dict(first) == {
        "date": "2026-10-31",
        "account": "6000",
        "cost_center": "CC-1001",
        "debit": Decimal("12.34"),
        "credit": None,
        "reference": "CB-2026-10-search v1",
        "memo": "GPU charges of search, 2026-10",
        "currency": "USD",
        "external_id": "CB-2026-10-search/v1",
    }
    assert (second["account"], second["cost_center"]) == ("4000", "CC-9000")
    assert (second["debit"], second["credit"]) == (None, Decimal("12.34"))


def test_a_negative_amount_swaps_the_sides() -> None:
    made = statements(("search", "CC-1001", -5 * CENT))

    assert rows_of(booked(made)) == [
        ("6000", "CC-1001", None, Decimal("0.05")),
        ("4000", "CC-9000", Decimal("0.05"), None),
    ]


def test_a_reversal_takes_back_what_was_booked() -> None:
    made = statements(("search", "CC-1001", 5 * CENT))

    (row, _) = journal(booked(made, Posting.REVERSED), ACCOUNTS).records()

    assert (row["debit"], row["credit"]) == (None, Decimal("0.05"))
    assert row["external_id"] == "CB-2026-10-search/v1/reversal"
    assert row["memo"] == "Reversal: GPU charges of search, 2026-10"


def test_adjustments_and_cost_centers_are_lines_of_their_own() -> None:
    made = statements(
        ("search", "CC-1001", 5 * CENT),
        ("search", "CC-2002", 7 * CENT),
        late=(("search", "CC-2002", -2 * CENT),),
    )

    assert rows_of(booked(made))[::2] == [
        ("6000", "CC-1001", Decimal("0.05"), None),
        ("6000", "CC-2002", Decimal("0.07"), None),
        ("6000", "CC-2002", None, Decimal("0.02")),
    ]


def test_lines_without_a_cost_center_are_counted() -> None:
    """A team without one is the platform's expense; only if that has none either, it is blank."""
    made = statements(("search", "", CENT), ("ml", "CC-2002", CENT))
    nameless = Accounts(expense="6000", recovery="4000", platform_cost_center="")

    assert without_cost_center(journal(booked(made), ACCOUNTS)) == 0
    assert without_cost_center(journal(booked(made), nameless)) == 3


def test_nobodys_time_is_the_platforms_expense() -> None:
    assert rows_of(booked(statements(("", "", CENT))))[0][1] == "CC-9000"


def test_a_statement_that_does_not_add_up_is_refused() -> None:
    (one,) = statements(("search", "CC-1001", 5 * CENT))
    wrong = Statement(
        number=one.number,
        version=1,
        period=one.period,
        team=one.team,
        closed_ms=0,
        currency="USD",
        total_nanos=0,
        total_minor=6,
        body=one.body,
        csv=one.csv,
    )

    with pytest.raises(UnbalancedError, match="do not sum to its total"):
        journal(booked((wrong,)), ACCOUNTS)


TEAMS = st.lists(
    st.tuples(
        st.sampled_from(["search", "ads", "", "research"]),
        st.sampled_from(["CC-1001", "CC-2002", ""]),
        st.integers(-(10**15), 10**15),
    ),
    min_size=1,
    max_size=12,
)


@given(lines=TEAMS, late=TEAMS)
def test_debits_are_credits_and_the_net_is_what_the_statements_say(
    lines: list[tuple[str, str, int]], late: list[tuple[str, str, int]]
) -> None:
    made = statements(*lines, late=tuple(late))

    table = journal(booked(made), ACCOUNTS)

    debits, credited = totals(table)
    assert debits == credited
    records = table.records()
    assert all((r["debit"] is None) != (r["credit"] is None) for r in records)
    sides = [side for r in records for side in (r["debit"], r["credit"]) if side is not None]
    assert all(isinstance(side, Decimal) and side > 0 for side in sides)
    expense = [record for record in records if record["account"] == "6000"]
    net = sum(
        (Decimal(str(r["debit"] or 0)) - Decimal(str(r["credit"] or 0)) for r in expense), Decimal()
    )
    assert net == sum((one.total for one in made), Decimal())
