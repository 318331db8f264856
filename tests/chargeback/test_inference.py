"""The inference table: names, order, and nulls with a reason."""

from decimal import Decimal

import pandas as pd

from app.chargeback.inference import (
    GOODPUT_COLUMNS,
    MORE_UNIT_COST_COLUMNS,
    USED_UNIT_COST_COLUMNS,
    inference_schema,
    inference_table,
)


def an_inference() -> pd.DataFrame:
    """One model that served, and one that did not."""
    nothing = pd.array([1_000, pd.NA], dtype="Int64")
    frame = pd.DataFrame(
        {
            "model": pd.Series(["llama", "idle"], dtype="str"),
            "requests": pd.array([2_000, 0], dtype="Int64"),
            "failed_requests": pd.array([10, 0], dtype="Int64"),
            "prompt_tokens": pd.array([3_000_000, 0], dtype="Int64"),
            "cached_prompt_tokens": nothing,
            "generation_tokens": pd.array([1_000_000, 0], dtype="Int64"),
            "gpu_ms": [3_600_000, 3_600_000],
            "total_nanos": pd.array([4 * 10**9, pd.NA], dtype="Int64"),
            "cost_per_request": pd.Series([Decimal("0.002"), None], dtype="object"),
            "cost_per_million_prompt_tokens": pd.Series([Decimal(1) / 3, None], dtype="object"),
            "cost_per_million_generation_tokens": pd.Series([Decimal(3), None], dtype="object"),
            "cost_per_million_tokens": pd.Series([Decimal(1), None], dtype="object"),
            "active_ratio": [0.123456, float("nan")],
            "ttft_p50_seconds": [0.1, float("nan")],
            "ttft_p95_seconds": [0.5, float("nan")],
            "e2e_p95_seconds": [2.0, float("nan")],
            "cold_start_p50_seconds": [float("nan"), float("nan")],
            "complete": [True, False],
            "unit_cost_reason": pd.Series(["", "unpriced"], dtype="str"),
            "reasoning_tokens": pd.array([400_000, pd.NA], dtype="Int64"),
            "inter_token_p50_seconds": [0.02, float("nan")],
            "inter_token_p95_seconds": [0.04, float("nan")],
            "queue_p95_seconds": [0.0, float("nan")],
            "used_nanos": pd.array([10**9, pd.NA], dtype="Int64"),
            **{
                name: pd.Series([Decimal("0.5"), None], dtype="object")
                for name in (
                    *MORE_UNIT_COST_COLUMNS,
                    *USED_UNIT_COST_COLUMNS,
                    *GOODPUT_COLUMNS[3:],
                )
            },
            "objective": pd.Series(["end_to_end ≤ 2 s", ""], dtype="str"),
            "requests_within_objective": pd.array([1_900, pd.NA], dtype="Int64"),
            "within_objective_ratio": [0.95, float("nan")],
        }
    )
    return inference_schema(["model"]).validate(frame)


def test_the_columns_have_the_names_and_the_order_of_the_interface() -> None:
    table = inference_table(an_inference(), ["model"])

    assert ",".join(table.columns) == (
        "model,requests,failed_requests,prompt_tokens,cached_prompt_tokens,generation_tokens,"
        "gpu_seconds,total_cost,cost_per_request,cost_per_million_prompt_tokens,"
        "cost_per_million_generation_tokens,cost_per_million_tokens,active_ratio,ttft_p50_seconds,"
        "ttft_p95_seconds,e2e_p95_seconds,cold_start_p50_seconds,complete,unit_cost_reason,"
        "reasoning_tokens,inter_token_p50_seconds,inter_token_p95_seconds,queue_p95_seconds,"
        "used_cost,cost_per_million_cached_prompt_tokens,cost_per_active_gpu_hour,"
        "used_cost_per_request,used_cost_per_million_prompt_tokens,"
        "used_cost_per_million_cached_prompt_tokens,used_cost_per_million_generation_tokens,"
        "used_cost_per_million_tokens,used_cost_per_active_gpu_hour,"
        "objective,requests_within_objective,within_objective_ratio,"
        "cost_per_request_within_objective,used_cost_per_request_within_objective"
    )


def test_unit_costs_are_decimals_to_a_nano() -> None:
    row = inference_table(an_inference(), ["model"]).records()[0]

    assert row["total_cost"] == Decimal("4.00")
    assert row["cost_per_request"] == Decimal("0.002")
    assert row["cost_per_million_prompt_tokens"] == Decimal("0.333333333")
    assert row["active_ratio"] == Decimal("0.1235")
    assert row["cold_start_p50_seconds"] is None
    assert row["cached_prompt_tokens"] == 1_000
    assert (row["reasoning_tokens"], row["queue_p95_seconds"]) == (400_000, Decimal(0))
    assert (row["total_cost"], row["used_cost"]) == (Decimal("4.00"), Decimal("1.00"))
    assert (row["requests_within_objective"], row["within_objective_ratio"]) == (
        1_900,
        Decimal("0.95"),
    )


def test_what_nobody_can_say_is_empty_and_has_a_reason() -> None:
    row = inference_table(an_inference(), ["model"]).records()[1]

    assert row["total_cost"] is None
    assert row["cost_per_million_tokens"] is None
    assert row["cached_prompt_tokens"] is None
    assert row["requests"] == 0
    assert row["unit_cost_reason"] == "unpriced"
