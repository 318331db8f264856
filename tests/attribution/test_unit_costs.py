from decimal import Decimal
from math import inf

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.contract import Contract, TokenWeights
from app.attribution.service_costs import (
    AMOUNTS,
    COUNTS,
    MODEL_COSTS,
    SERVICE_COSTS,
    SERVICE_TOKENS,
    model_costs,
)
from app.attribution.unit_costs import per, percentile, unit_costs
from tests.attribution.fleets import frame_of

LLAMA, QWEN = 11, 22
MODELS = {LLAMA: "llama-3-8b", QWEN: "qwen"}
CENT = 10**7


def tokens(**changes: object) -> dict[str, object]:
    counts = dict.fromkeys(SERVICE_TOKENS.columns)
    return {
        **counts,
        "period_ms": 0,
        "workload_id": 1,
        "model_id": LLAMA,
        "prompt_tokens": 1000,
        "cached_prompt_tokens": 0,
        "generation_tokens": 0,
        "carried": False,
        **changes,
    }


def cost(**changes: int) -> dict[str, int]:
    return {
        **dict.fromkeys(AMOUNTS, 0),
        "period_ms": 0,
        "workload_id": 1,
        "cost_nanos": 100 * CENT,
        "gpu_ms": 3_600_000,
        "measured_ms": 3_600_000,
        "active_ms": 900_000,
        **changes,
    }


def costs_of(
    served: list[dict[str, object]], paid: list[dict[str, int]], contract: Contract | None = None
) -> pd.DataFrame:
    return model_costs(
        frame_of(SERVICE_TOKENS, served),
        frame_of(SERVICE_COSTS, paid),
        MODELS,
        contract or Contract(),
    )


def row_of(frame: pd.DataFrame) -> dict[str, object]:
    (row,) = unit_costs(frame.assign(model="all"), ["model"]).to_dict("records")
    return row


def test_the_default_weights_price_generation_four_times_and_cached_a_tenth() -> None:
    served = tokens(prompt_tokens=2000, cached_prompt_tokens=1000, generation_tokens=225)

    # 1000 × 1 + 1000 × 0.1 + 225 × 4 = 2000 weighted tokens for 1.00.
    (row,) = costs_of([served], [cost()]).to_dict("records")

    assert (row["prompt_nanos"], row["generation_nanos"]) == (55 * CENT, 45 * CENT)


def test_a_service_of_two_models_is_split_by_their_weighted_tokens() -> None:
    served = [tokens(), tokens(model_id=QWEN, prompt_tokens=0, generation_tokens=750)]

    split = costs_of(served, [cost()]).set_index("model_id")

    assert split["cost_nanos"].to_dict() == {LLAMA: 25 * CENT, QWEN: 75 * CENT}
    assert split["gpu_ms"].to_dict() == {LLAMA: 900_000, QWEN: 2_700_000}


def test_weights_follow_the_contract_by_model_and_date() -> None:
    contract = Contract(
        token_weights=(
            TokenWeights(generation=Decimal(1)),
            TokenWeights(model="llama-*", generation=Decimal(2), valid_from_ms=5),
            TokenWeights(model="llama-3-8b", generation=Decimal(3), valid_from_ms=9),
        )
    )
    served = [tokens(period_ms=at, generation_tokens=1000) for at in (4, 5, 9)]

    split = costs_of(served, [cost(period_ms=at) for at in (4, 5, 9)], contract)

    shares = split["generation_nanos"] / split["prompt_nanos"]
    assert shares.round(6).tolist() == [1, 2, 3]


def test_a_period_without_tokens_is_the_only_models() -> None:
    split = costs_of([tokens()], [cost(), cost(period_ms=9)])

    assert split["model_id"].tolist() == [LLAMA, LLAMA]
    assert split["cost_nanos"].tolist() == [100 * CENT] * 2
    assert split["prompt_nanos"].tolist() == [100 * CENT, 0]


def test_a_period_without_tokens_of_two_models_keeps_a_line_of_its_own() -> None:
    served = [tokens(prompt_tokens=0), tokens(model_id=QWEN, prompt_tokens=0)]

    split = costs_of(served, [cost()]).set_index("model_id")["cost_nanos"].to_dict()

    assert split == {0: 100 * CENT, LLAMA: 0, QWEN: 0}


def test_tokens_without_a_cost_are_kept() -> None:
    (row,) = costs_of([tokens()], []).to_dict("records")

    assert (row["prompt_tokens"], row["cost_nanos"]) == (1000, 0)


def test_nothing_served_and_nothing_spent_is_empty() -> None:
    assert list(costs_of([], []).columns) == list(MODEL_COSTS.columns)
    assert unit_costs(costs_of([], []), []).empty


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([LLAMA, QWEN]), st.integers(0, 10**15)),
        unique_by=lambda one: one[:2],
        max_size=5,
    ),
    st.lists(st.integers(0, 10**17), min_size=3, max_size=3),
)
def test_a_services_cost_is_conserved(
    served: list[tuple[int, int, int]], amounts: list[int]
) -> None:
    split = costs_of(
        [tokens(period_ms=at, model_id=model, generation_tokens=n) for at, model, n in served],
        [cost(period_ms=at, cost_nanos=nanos) for at, nanos in enumerate(amounts)],
    )

    totals = split.groupby("period_ms")["cost_nanos"].agg(lambda column: sum(column.tolist()))
    assert {at: total for at, total in totals.items() if total} == {
        at: nanos for at, nanos in enumerate(amounts) if nanos
    }
    weighted = split[split["prompt_nanos"] + split["generation_nanos"] > 0]
    parts = weighted["prompt_nanos"] + weighted["generation_nanos"]
    assert (parts == weighted["cost_nanos"]).all()


def test_unit_costs_are_money_by_count() -> None:
    served = tokens(
        prompt_tokens=1_000_000,
        generation_tokens=250_000,
        requests_stop=7,
        requests_length=1,
        requests_abort=1,
        requests_error=1,
    )

    row = row_of(costs_of([served], [cost()]))

    assert (row["requests"], row["failed_requests"], row["gpu_ms"]) == (10, 2, 3_600_000)
    assert row["total_nanos"] == 100 * CENT
    assert row["cost_per_request"] == Decimal("0.1")
    assert row["cost_per_million_prompt_tokens"] == Decimal("0.5")
    assert row["cost_per_million_generation_tokens"] == Decimal(2)
    assert row["cost_per_million_tokens"] == Decimal("0.8")
    assert row["active_ratio"] == 0.25
    assert (row["complete"], row["unit_cost_reason"]) == (True, "")


def test_zero_tokens_are_idle_and_never_free() -> None:
    row = row_of(costs_of([tokens(prompt_tokens=0, requests_stop=0)], [cost()]))

    assert row["total_nanos"] == 100 * CENT
    assert row["cost_per_million_tokens"] is None
    assert row["cost_per_request"] is None
    assert row["unit_cost_reason"].startswith("idle, 1.00:")


def test_a_counter_that_nobody_publishes_is_null_and_said() -> None:
    row = row_of(costs_of([tokens(cached_prompt_tokens=None)], [cost()]))

    assert pd.isna(row["requests"])
    assert pd.isna(row["cached_prompt_tokens"])
    assert row["cost_per_million_prompt_tokens"] == Decimal(1000)
    assert "uncounted" in row["unit_cost_reason"]


@pytest.mark.parametrize(
    ("served", "paid", "reason"),
    [
        ({}, {"unpriced_ms": 1}, "unpriced"),
        ({}, {"unobserved_ms": 1}, "unobserved"),
        ({"carried": True}, {}, "carried"),
    ],
)
def test_what_is_not_known_makes_the_unit_cost_null_with_its_reason(
    served: dict[str, object], paid: dict[str, int], reason: str
) -> None:
    row = row_of(costs_of([tokens(requests_stop=1, **served)], [cost(**paid)]))

    assert row["cost_per_request"] is None
    assert row["cost_per_million_tokens"] is None
    assert row["complete"] is False
    assert row["unit_cost_reason"].startswith(reason)


def test_what_no_known_gpu_served_is_not_free() -> None:
    row = row_of(costs_of([tokens(requests_stop=1)], []))

    assert row["cost_per_million_tokens"] is None
    assert row["cost_per_request"] is None
    assert row["complete"] is False
    assert row["unit_cost_reason"].startswith("unheld")


def test_an_engine_that_counts_nothing_is_neither_free_nor_cheap() -> None:
    row = row_of(costs_of([tokens(prompt_tokens=None, generation_tokens=None)], [cost()]))

    assert row["total_nanos"] == 100 * CENT
    assert row["cost_per_million_tokens"] is None
    assert row["cost_per_request"] is None
    assert row["complete"] is False
    assert row["unit_cost_reason"].startswith("silent")


def test_the_money_of_a_silent_engine_is_not_divided_by_what_others_counted() -> None:
    silent = tokens(
        workload_id=2, prompt_tokens=None, cached_prompt_tokens=None, generation_tokens=None
    )
    asked = {**silent, "workload_id": 3, "requests_stop": 4}
    paid = [cost(), cost(workload_id=2), cost(workload_id=3)]

    both = row_of(costs_of([tokens(requests_stop=4), asked], [paid[0], paid[2]]))
    assert both["cost_per_million_prompt_tokens"] is None
    assert both["cost_per_million_tokens"] is None
    assert both["cost_per_request"] == Decimal("0.25")
    three = row_of(costs_of([tokens(requests_stop=4), silent, asked], paid))
    assert three["cost_per_request"] is None
    assert three["total_nanos"] == 300 * CENT


def test_reasoning_tokens_are_shown_and_weigh_nothing() -> None:
    plain = costs_of([tokens(), tokens(model_id=QWEN, generation_tokens=750)], [cost()])
    thinking = costs_of(
        [tokens(), tokens(model_id=QWEN, generation_tokens=750, reasoning_tokens=700)], [cost()]
    )

    assert thinking["cost_nanos"].tolist() == plain["cost_nanos"].tolist()
    assert row_of(thinking)["reasoning_tokens"] == 700


def test_tokens_without_a_gpu_do_not_make_those_of_others_cheaper() -> None:
    rows = costs_of([tokens(), tokens(workload_id=2)], [cost()])

    assert row_of(rows)["cost_per_million_tokens"] is None


def test_a_service_that_served_nothing_and_held_nothing_is_no_secret() -> None:
    assert not costs_of([tokens(prompt_tokens=0)], [])["unheld"].any()


def test_money_is_null_where_no_price_covers_anything() -> None:
    row = row_of(costs_of([tokens()], [cost(cost_nanos=0, unpriced_ms=3_600_000)]))

    assert pd.isna(row["total_nanos"])


def test_groups_sum_apart_and_keep_their_columns() -> None:
    served = [tokens(), tokens(model_id=QWEN, workload_id=2)]
    split = costs_of(served, [cost(), cost(workload_id=2)])

    rows = unit_costs(
        split.assign(model=split["model_id"].map(MODELS), team="t"), ["model", "team"]
    )

    assert rows[["model", "team"]].to_numpy().tolist() == [["llama-3-8b", "t"], ["qwen", "t"]]
    assert {str(rows[name].dtype) for name in COUNTS} == {"Int64"}


BOUNDS = [0.1, 0.5, 1.0, inf]


@pytest.mark.parametrize(
    ("increments", "quantile", "expected"),
    [
        ([10, 20, 20, 20], 0.5, 0.1),
        ([10, 20, 20, 20], 0.75, 0.3),
        ([0, 0, 10, 10], 0.5, 0.75),
        ([0, 0, 10, 10], 1.0, 1.0),
        ([10, 10, 10, 10], 0.5, 0.05),
        ([0, 0, 0, 10], 0.5, None),
        ([0, 0, 5, 10], 0.95, None),
        ([0, 0, 0, 0], 0.5, None),
        ([], 0.5, None),
    ],
)
def test_percentiles_come_from_summed_buckets(
    increments: list[int], quantile: float, expected: float | None
) -> None:
    found = percentile(BOUNDS[: len(increments)], increments, quantile)

    assert found == (expected if expected is None else pytest.approx(expected))


def test_buckets_may_come_in_any_order() -> None:
    assert percentile([inf, 1.0, 0.1], [4, 4, 0], 0.5) == pytest.approx(0.55)


def test_both_bases_stand_side_by_side() -> None:
    # 1.00 for an hour of which a quarter was active: 0.25 of it is used.
    served = tokens(prompt_tokens=600, generation_tokens=100, requests_stop=10)
    row = row_of(costs_of([served], [cost(used_nanos=25 * CENT)]))

    assert (row["cost_per_request"], row["used_cost_per_request"]) == (
        Decimal("0.1"),
        Decimal("0.025"),
    )
    # 600 × 1 + 100 × 4 = 1,000 weighted tokens: 0.60 for prompt tokens, 0.40 for generated ones.
    assert row["cost_per_million_prompt_tokens"] == Decimal(1000)
    assert row["used_cost_per_million_prompt_tokens"] == Decimal(250)
    assert row["used_cost_per_million_generation_tokens"] == Decimal(1000)


def test_cached_tokens_carry_their_own_part_of_the_money_of_prompt_tokens() -> None:
    # 900 uncached × 1 + 1,000 cached × 0.1 = 1,000 weighted tokens for 1.00.
    served = tokens(prompt_tokens=1900, cached_prompt_tokens=1000)
    row = row_of(costs_of([served], [cost()]))

    assert row["cost_per_million_cached_prompt_tokens"] == Decimal(100)
    assert row["cost_per_million_prompt_tokens"] == per(100 * CENT, 1900, 10**6)


def test_an_active_gpu_hour_costs_what_idling_around_it_costs_as_well() -> None:
    row = row_of(costs_of([tokens()], [cost(used_nanos=25 * CENT)]))

    # A quarter of an hour was active: 1.00 ÷ 0.25 reserved, 0.25 ÷ 0.25 used.
    assert row["cost_per_active_gpu_hour"] == Decimal(4)
    assert row["used_cost_per_active_gpu_hour"] == Decimal(1)


def test_without_any_measured_time_no_active_hour_is_known() -> None:
    row = row_of(costs_of([tokens()], [cost(measured_ms=0, active_ms=0)]))

    assert row["cost_per_active_gpu_hour"] is None
    assert "unmeasured" in str(row["unit_cost_reason"])
    assert row["cost_per_million_tokens"] == Decimal(1000)
