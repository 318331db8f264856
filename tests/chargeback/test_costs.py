"""The costs table: names, order, sums, and what has no price."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.errors import SchemaError

from app.chargeback.costs import costs_schema, costs_table, total_nanos
from tests.chargeback.builders import HOUR_MS, USD, costs_of


def test_two_gpus_for_an_hour_at_three_dollars() -> None:
    costs = costs_of(
        ["team"],
        {
            "team": "search",
            "used_ms": HOUR_MS,
            "idle_ms": HOUR_MS,
            "used_nanos": 3 * USD,
            "idle_nanos": 3 * USD,
        },
    )

    (row,) = costs_table(costs, ["team"], "USD").records()

    assert row["gpu_seconds_held"] == Decimal(7200)
    assert row["gpu_seconds_active"] == Decimal(3600)
    assert row["used_cost"] == Decimal("3.00")
    assert row["total_cost"] == Decimal("6.00")
    assert row["currency"] == "USD"
    assert row["complete"] is True


def test_the_columns_have_the_names_and_the_order_of_the_interface() -> None:
    table = costs_table(costs_of(["namespace", "gpu_model"]), ["namespace", "gpu_model"], "USD")

    assert ",".join(table.columns) == (
        "namespace,gpu_model,gpu_seconds_held,gpu_seconds_active,gpu_seconds_idle,"
        "gpu_seconds_unmeasured,gpu_seconds_unallocated,gpu_seconds_stranded,"
        "gpu_seconds_unobserved,gpu_seconds_unpriced,used_cost,idle_cost,unmeasured_cost,"
        "unallocated_cost,stranded_cost,unobserved_cost,commitment_unused_cost,redistributed_cost,"
        "adjustment_cost,total_cost,currency,complete"
    )
    assert table.rows == ()


def test_the_total_is_the_sum_of_the_other_costs() -> None:
    nanos = {
        "used_nanos": 1,
        "idle_nanos": 2,
        "unmeasured_nanos": 4,
        "unallocated_nanos": 8,
        "stranded_nanos": 16,
        "unobserved_nanos": 32,
        "commitment_unused_nanos": 64,
        "redistributed_nanos": -128,
        "true_up_nanos": 256,
        "adjustment_nanos": 512,
        "rounding_nanos": -1024,
    }

    (row,) = costs_table(costs_of(["team"], nanos), ["team"], "USD").records()

    costs = [value for name, value in row.items() if name.endswith("_cost")]
    assert sum(Decimal(str(value)) for value in costs[:-1]) == costs[-1]
    assert row["total_cost"] == Decimal(sum(nanos.values())).scaleb(-9)
    assert row["adjustment_cost"] == Decimal(256 + 512 - 1024).scaleb(-9)


def test_what_no_price_covers_has_no_money_and_not_zero() -> None:
    costs = costs_of(["team"], {"used_ms": HOUR_MS, "unpriced_ms": HOUR_MS, "complete": False})

    (row,) = costs_table(costs, ["team"], "USD").records()

    assert row["total_cost"] is None
    assert row["used_cost"] is None
    assert row["gpu_seconds_unpriced"] == Decimal(3600)
    assert row["complete"] is False


def test_what_is_free_of_charge_costs_zero() -> None:
    (row,) = costs_table(costs_of(["team"], {"used_ms": HOUR_MS}), ["team"], "USD").records()

    assert row["total_cost"] == Decimal("0.00")


def test_what_is_priced_in_part_shows_the_priced_part() -> None:
    costs = costs_of(
        ["team"],
        {"used_ms": 2 * HOUR_MS, "unpriced_ms": HOUR_MS, "used_nanos": USD, "complete": False},
    )

    (row,) = costs_table(costs, ["team"], "USD").records()

    assert row["total_cost"] == Decimal("1.00")
    assert row["complete"] is False


def test_sums_that_became_floats_are_refused() -> None:
    costs = costs_of(["team"], {"used_ms": HOUR_MS})

    with pytest.raises(SchemaError):
        costs_schema(["team"]).validate(costs.astype({"used_nanos": "float64"}))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8))
def test_the_whole_is_exact_beyond_64_bits(nanos: list[int]) -> None:
    costs = costs_of(["team"], *({"team": f"{n}", "used_nanos": n} for n in nanos))

    assert total_nanos(costs) == sum(nanos)
