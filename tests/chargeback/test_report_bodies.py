"""Figures of reports: they add up, and what nobody knows is empty."""

from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.costs import NANOS_COLUMNS
from app.chargeback.inference import inference_schema
from app.chargeback.report_bodies import (
    budget_body,
    costs_body,
    coverage_facts,
    findings_body,
    inference_body,
)
from app.chargeback.report_tables import Figures
from tests.chargeback.builders import HOUR_MS, USD, costs_of

CENT = USD // 100


def figures(costs: pd.DataFrame, currency: str = "USD") -> dict[str, Figures]:
    body = costs_body(costs, ("team",), currency)
    return {str(team): line for (team,), line in zip(body.keys, body.figures, strict=True)} | {
        "total": body.total
    }


def a_team(name: str, hours: int, usd: int, **more: int) -> dict[str, str | int]:
    figures = {"used_ms": hours * HOUR_MS, "used_nanos": usd * USD} | more
    return {"team": name, **figures}


def test_shares_and_costs_per_hour_are_those_of_the_exact_figures() -> None:
    # 1 of 3 USD is a third; 1 USD for 3 hours is 0.333333 an hour.
    found = figures(costs_of(("team",), a_team("ml", 3, 1), a_team("search", 1, 2)))

    assert found["ml"]["share_of_total_ratio"] == Decimal("0.3333")
    assert found["search"]["share_of_total_ratio"] == Decimal("0.6667")
    assert found["total"]["share_of_total_ratio"] == 1
    assert found["ml"]["cost_per_gpu_hour_held"] == Decimal("0.333333")
    assert found["total"]["cost_per_gpu_hour_held"] == Decimal("0.75")


def test_a_cost_per_hour_counts_the_hours_it_is_named_after() -> None:
    row = a_team("ml", 1, 4, idle_ms=3 * HOUR_MS, idle_nanos=4 * USD)

    (line, _) = figures(costs_of(("team",), row)).values()

    assert line["cost_per_gpu_hour_held"] == 2
    assert line["cost_per_gpu_hour_active"] == 8


def test_an_hour_without_a_price_leaves_no_cost_per_hour() -> None:
    row = a_team("ml", 2, 3, unpriced_ms=HOUR_MS)

    (line, total) = figures(costs_of(("team",), row)).values()

    assert line["cost_per_gpu_hour_held"] is None
    assert total["cost_per_gpu_hour_active"] is None
    assert line["total_cost"] == Decimal("3.00")


@pytest.mark.parametrize("usd", [0, -5])
def test_of_nothing_and_of_credits_there_is_no_share(usd: int) -> None:
    found = figures(costs_of(("team",), {"team": "ml", "adjustment_nanos": usd * USD}))

    assert found["ml"]["share_of_total_ratio"] is None
    assert found["total"]["total_cost"] == usd


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=8))
def test_shares_sum_to_one_and_are_never_off_by_a_step(nanos: list[int]) -> None:
    costs = costs_of(
        ("team",), *({"team": f"t{n:02}", "used_nanos": one} for n, one in enumerate(nanos))
    )

    lines = [*figures(costs).values()][:-1]

    if not sum(nanos):
        assert {line["share_of_total_ratio"] for line in lines} == {None}
        return
    shares = [Fraction(str(line["share_of_total_ratio"])) for line in lines]
    assert sum(shares) == 1
    for one, share in zip(nanos, shares, strict=True):
        assert abs(share - Fraction(one, sum(nanos))) < Fraction(1, 10_000)


@given(
    st.lists(
        st.fixed_dictionaries({name: st.integers(-(10**12), 10**12) for name in NANOS_COLUMNS}),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["USD", "JPY", "KWD"]),
)
def test_rows_add_up_to_the_total_which_is_rounded_once(
    rows: list[dict[str, int]], currency: str
) -> None:
    costs = costs_of(("team",), *({"team": f"t{n}", **row} for n, row in enumerate(rows)))
    decimals = {"USD": 2, "JPY": 0, "KWD": 3}[currency]

    *lines, total = figures(costs, currency).values()

    assert sum(Decimal(str(line["total_cost"])) for line in lines) == total["total_cost"]
    exact = Decimal(sum(sum(row.values()) for row in rows)).scaleb(-9)
    assert total["total_cost"] == round(exact, decimals)


def test_how_much_is_known_is_said_as_ratios() -> None:
    # 10 hours: 4 held of which 1 unmeasured, 5 unallocated, 1 unobserved; 8 of 10 USD are owned.
    costs = costs_of(
        ("team",),
        a_team("ml", 3, 8, unmeasured_ms=HOUR_MS, unpriced_ms=2 * HOUR_MS),
        {"team": "unowned", "unallocated_ms": 5 * HOUR_MS, "unallocated_nanos": 2 * USD},
        {"team": "", "unobserved_ms": HOUR_MS},
    )

    assert dict(coverage_facts(costs)) == {
        "owned_cost_ratio": Decimal("0.8"),
        "measured_ratio": Decimal("0.75"),
        "observed_ratio": Decimal("0.9"),
        "priced_ratio": Decimal("0.8"),
        "unallocated_ratio": Decimal("0.5"),
    }


def test_of_an_empty_period_nothing_is_known() -> None:
    assert set(dict(coverage_facts(costs_of(("team",)))).values()) == {None}


def inference(*rows: tuple[str, int | None, int | None]) -> pd.DataFrame:
    """Models with their cost and what of it is of active time, an hour each; nothing was served."""
    schema = inference_schema(("model",))
    blank = {"string[pyarrow]": "", "bool": True, "int64": HOUR_MS}
    frame = pd.DataFrame(
        {
            name: pd.Series([blank.get(str(column.dtype))] * len(rows), dtype=str(column.dtype))
            for name, column in schema.columns.items()
        }
    )
    frame["model"] = pd.Series([row[0] for row in rows], dtype="str")
    for place, name in ((1, "total_nanos"), (2, "used_nanos")):
        frame[name] = pd.array([row[place] for row in rows], dtype="Int64")
    return schema.validate(frame)


def test_what_active_time_cost_is_a_part_of_the_cost() -> None:
    # 1.005 and 0.995 are 2.00: the cents of the rows add up to it, and the used part to its own.
    rows = inference(("a", 1_005_000_000, 1_005_000_000), ("b", 995_000_000, 0), ("c", None, None))

    body = inference_body(rows, inference(("", 2 * USD, USD))[:1], ("model",), "USD")

    assert [line["total_cost"] for line in body.figures] == [Decimal("1.01"), Decimal("0.99"), None]
    assert [line["used_cost"] for line in body.figures] == [Decimal("1.01"), Decimal("0.00"), None]
    assert body.total["total_cost"] == Decimal("2.00")
    assert body.total["gpu_hours"] == Decimal("3.00")


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=5))
def test_a_used_part_is_never_more_than_the_cost(costs: list[tuple[int, int]]) -> None:
    rows = inference(*((f"m{n}", used + rest, used) for n, (used, rest) in enumerate(costs)))

    body = inference_body(rows, inference(), ("model",), "JPY")

    for line in (*body.figures, body.total):
        assert 0 <= Decimal(str(line["used_cost"])) <= Decimal(str(line["total_cost"]))
    every = Decimal(sum(used + rest for used, rest in costs)).scaleb(-9)
    assert body.total["total_cost"] == round(every, 0)


def test_a_month_in_which_nothing_served_is_an_empty_total() -> None:
    body = inference_body(inference(), inference(), ("model",), "USD")

    assert (body.keys, body.figures) == ([], [])
    assert body.total["requests"] is None
    assert body.total["total_cost"] is None


def findings(*rows: tuple[str, int, int | None]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["team", "wasted_gpu_ms", "wasted_nanos"])
    frame["per_day_nanos"] = frame["wasted_nanos"]
    dtypes = {"team": "str", "wasted_gpu_ms": "int64"}
    return frame.astype(dtypes | dict.fromkeys(("wasted_nanos", "per_day_nanos"), "Int64"))


def test_findings_are_counted_and_summed_by_group() -> None:
    rows = findings(("ml", HOUR_MS, 3 * USD), ("ml", HOUR_MS, USD), ("search", HOUR_MS, None))

    body = findings_body(rows, ("team",), "USD")

    assert body.keys == [("ml",), ("search",)]
    assert body.figures[0]["findings"] == 2
    assert body.figures[0]["wasted_cost"] == Decimal("4.00")
    assert body.figures[1]["wasted_cost"] is None
    assert body.complete == [True, False]
    assert body.total["wasted_gpu_hours"] == Decimal("3.00")
    assert body.total["wasted_cost"] == Decimal("4.00")


def test_findings_round_so_that_they_add_up() -> None:
    rows = findings(*((name, 0, CENT // 3) for name in ("a", "b", "c")))

    body = findings_body(rows, ("team",), "USD")

    assert sorted(str(line["wasted_cost"]) for line in body.figures) == ["0.00", "0.00", "0.01"]
    assert body.total["wasted_cost"] == Decimal("0.01")


def test_a_budget_that_is_overspent_has_less_than_nothing_left() -> None:
    costs = costs_of(("team",), a_team("ml", 1, 15), a_team("search", 1, 1))

    body = budget_body(costs, {"ml": 10 * USD, "new": 5 * USD}, {"ml": "spent 100%"}, "USD")

    lines = dict(zip(body.keys, body.figures, strict=True))
    assert lines["ml",]["remaining"] == Decimal(-5)
    assert lines["ml",]["used_ratio"] == Decimal("1.5")
    assert lines["ml",]["thresholds_reached"] == "spent 100%"
    assert lines["search",]["remaining"] is None
    assert lines["new",]["spent_cost"] == 0
    assert body.total["budget"] == Decimal(15)
    # Of the teams with a budget: 15 of 15 are spent; all teams together spent 16.
    assert (body.total["remaining"], body.total["spent_cost"]) == (Decimal(0), Decimal(16))
