"""A line of steps 1 and 2 says its policy, what was weighed, and the rounding."""

from decimal import Decimal

import pytest

from app.attribution.charges import ChargeKind
from app.attribution.contract import Policies, SharedPolicy, UnallocatedPolicy
from app.attribution.redistribution import RedistributionStep, WeightBasis
from app.attribution.redistribution_explanation import WeighedFacts, explain_weighed
from tests.attribution.day_rows import DAY


def a_line(**changes: object) -> WeighedFacts:
    values: dict[str, object] = {
        "charge_id": 2,
        "debit_id": 1,
        "day": DAY,
        "step": RedistributionStep.NOBODY,
        "kind": ChargeKind.UNALLOCATED,
        "cluster": "eu",
        "namespace": "",
        "gpu_model": "H100",
        "team": "search",
        "nanos": 3,
        "debit_nanos": 10,
        "debit_team": "platform",
        "currency": "USD",
        "basis": WeightBasis.PROPORTIONAL,
        "weight": 1,
        "weight_sum": 3,
        "policies": Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, teams=("search", "ads")),
        "first_hand": 7,
        "largest": ((9, 4),),
        "contract_version": 5,
    }
    return WeighedFacts(**(values | changes))  # type: ignore[arg-type]  # names and types as above


def test_a_credit_names_debit_share_policy_and_rounding() -> None:
    text = explain_weighed(a_line()).text()

    assert "1. Charge: a part of unallocated GPU time in eu on the billing day from" in text
    assert "2. Policy: unallocated: proportional" in text
    assert "who takes part: search, ads" in text
    assert "0.000000001 USD of 0.000000003 USD, 33.3333%" in text
    assert "rounding: -0.333 nanos" in text
    assert "7 charges; the 1 largest" in text
    assert "contract: 5" in text


@pytest.mark.parametrize(
    ("basis", "weights", "said"),
    [
        (WeightBasis.EVEN, (1, 2), "1 of 2, 50.0000%"),
        (WeightBasis.FIXED, (12_500_000, 100_000_000), "12.5 % of 100 %, 12.5000%"),
        (WeightBasis.GPU_SECONDS_HELD, (1_500, 6_000), "1.500 s of 6.000 s, 25.0000%"),
        (WeightBasis.GPU_SECONDS_ACTIVE, (0, 6_000), "0.000 s of 6.000 s, 0.0000%"),
        (WeightBasis.PODS, (3, 4), "weighed: pods that held GPUs"),
        (WeightBasis.REQUESTS, (3_000, 4_000), "3,000 of 4,000, 75.0000%"),
        (WeightBasis.PROMPT_TOKENS, (3, 4), "weighed: prompt tokens"),
        (WeightBasis.GENERATION_TOKENS, (3, 4), "weighed: tokens that its services generated"),
    ],
)
def test_weights_are_shown_in_their_unit(
    basis: WeightBasis, weights: tuple[int, int], said: str
) -> None:
    facts = a_line(
        step=RedistributionStep.PLATFORM,
        kind=None,
        namespace="monitoring",
        basis=basis,
        weight=weights[0],
        weight_sum=weights[1],
        policies=Policies(shared=SharedPolicy.FIXED, shared_percent=(("search", Decimal(100)),)),
    )

    text = explain_weighed(facts).text()

    assert said in text
    assert "what the platform held in its namespace monitoring in eu" in text
    assert "shared: fixed" in text


def test_a_debit_takes_all_from_who_paid() -> None:
    text = explain_weighed(
        a_line(
            charge_id=1,
            team="platform",
            nanos=-10,
            kind=ChargeKind.COMMITMENT_UNUSED,
            cluster="",
            gpu_model="",
            weight=3,
        )
    ).text()

    assert "a part of commitments that nobody used over all clusters" in text
    assert "is taken from platform, who paid for it: -0.000000010 USD" in text
    assert "GPU model: any" in text
    assert "all that was charged first-hand, below zero" in text
