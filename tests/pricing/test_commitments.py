from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pricing.commitments import Commitment, CommitmentKind, CommitmentUnit
from app.pricing.rows import PricedPool
from app.units.money import to_nanos
from app.units.window import HOUR_MS

# 2026-11-23T10:00:00Z.
TEN = 1_795_428_000_000
MINUTE = 60_000


def a_commitment(**changes: object) -> Commitment:
    defaults: dict[str, object] = {
        "commitment": "ri-1",
        "kind": CommitmentKind.RESERVATION,
        "unit": CommitmentUnit.GPU_HOUR,
        "quantity": Decimal(4),
        "currency": "USD",
        "term_start_ms": TEN,
        "term_end_ms": TEN + 10 * HOUR_MS,
        "recurring_per_hour": Decimal(8),
    }
    return Commitment(**(defaults | changes))


def a_pool(**changes: str) -> PricedPool:
    defaults = {
        "cluster": "prod-eu",
        "provider": "aws",
        "region": "eu-west-1",
        "instance_type": "p5.48xlarge",
        "capacity_type": "on_demand",
        "node": "node-1",
        "gpu_model": "NVIDIA-H100-80GB-HBM3",
    }
    return PricedPool(**(defaults | changes), on_node=())


@given(
    upfront=st.decimals(min_value=0, max_value=10**8, places=9),
    start=st.integers(0, HOUR_MS),
    length=st.integers(1, 100 * HOUR_MS),
)
def test_the_upfront_of_all_hours_is_the_upfront(upfront: Decimal, start: int, length: int) -> None:
    commitment = a_commitment(
        upfront=upfront,
        recurring_per_hour=Decimal(0),
        term_start_ms=TEN + start,
        term_end_ms=TEN + start + length,
    )
    hours = range(TEN - HOUR_MS, TEN + 103 * HOUR_MS, HOUR_MS)

    assert sum(commitment.cost_nanos(hour) for hour in hours) == to_nanos(upfront)


def test_a_block_from_half_past_costs_and_promises_half_in_its_first_hour() -> None:
    block = a_commitment(
        kind=CommitmentKind.CAPACITY_BLOCK,
        upfront=Decimal(240),
        term_start_ms=TEN + 90 * MINUTE,
        term_end_ms=TEN + 90 * MINUTE + 24 * HOUR_MS,
    )

    first, second = TEN + HOUR_MS, TEN + 2 * HOUR_MS

    assert [block.cost_nanos(at) for at in (TEN, first, second)] == [
        0,
        to_nanos(Decimal(9)),
        to_nanos(Decimal(18)),
    ]
    assert [block.committed(at) for at in (TEN, first, second)] == [
        0,
        4 * 30 * MINUTE,
        4 * HOUR_MS,
    ]


def test_a_spend_commitment_promises_money() -> None:
    plan = a_commitment(unit=CommitmentUnit.SPEND_HOUR, quantity=Decimal("12.5"))

    assert plan.committed(TEN) == to_nanos(Decimal("12.5"))


@pytest.mark.parametrize(
    ("filled", "fits"),
    [
        ({}, True),
        ({"clusters": ("prod-us", "prod-eu")}, True),
        ({"clusters": ("prod-us",)}, False),
        ({"gpu_model": "H100"}, True),
        ({"gpu_model": "A100"}, False),
        ({"provider": "AWS", "region": "EU-west-1", "instance_type": "P5.48xlarge"}, True),
        ({"region": "us-east-1"}, False),
        ({"capacity_type": "On-Demand"}, True),
        ({"capacity_type": "capacity-block"}, False),
    ],
)
def test_every_filled_column_has_to_match(filled: dict[str, object], fits: bool) -> None:  # noqa: FBT001 - a column of the table
    assert a_commitment(**filled).fits(a_pool()) is fits


def test_spot_capacity_is_covered_only_by_who_names_it() -> None:
    assert not a_commitment().fits(a_pool(capacity_type="spot"))
    assert a_commitment(capacity_type="preemptible").fits(a_pool(capacity_type="spot"))


def test_blocks_cover_before_reservations_before_committed_use_before_savings_plans() -> None:
    kinds = [
        CommitmentKind.SAVINGS_PLAN,
        CommitmentKind.RESERVATION,
        CommitmentKind.COMMITTED_USE,
        CommitmentKind.CAPACITY_BLOCK,
    ]
    given_order = [a_commitment(kind=kind, commitment=f"c-{kind}") for kind in kinds]

    assert [one.kind for one in sorted(given_order, key=lambda one: one.order)] == [
        CommitmentKind.CAPACITY_BLOCK,
        CommitmentKind.RESERVATION,
        CommitmentKind.COMMITTED_USE,
        CommitmentKind.SAVINGS_PLAN,
    ]


def test_the_more_specific_covers_first_then_the_id_decides() -> None:
    wide, narrow = a_commitment(commitment="a"), a_commitment(commitment="b", gpu_model="H100")
    same = replace(wide, commitment="c")

    assert sorted([same, wide, narrow], key=lambda one: one.order) == [narrow, wide, same]


def test_what_a_charge_names_changes_with_the_amounts_and_not_with_words() -> None:
    one = a_commitment()

    assert replace(one, name="block for search", source="order 7").price_id == one.price_id
    assert replace(one, recurring_per_hour=Decimal(9)).price_id != one.price_id
    assert replace(one, recurring_per_hour=Decimal("8.00")).price_id == one.price_id
