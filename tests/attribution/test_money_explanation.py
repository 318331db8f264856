"""Lines of money only say what they rest on, also where less is stored of it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.attribution.commitment_explanation import (
    CommittedHour,
    CommittedPrice,
    UnusedFacts,
    commitment_step,
    covered_money_step,
    explain_unused,
)
from app.attribution.explanation import Versions
from app.attribution.money_explanation import (
    BilledRow,
    CreditFacts,
    TrueUpFacts,
    explain_credit,
    explain_true_up,
)
from app.attribution.redistribution import BillingDay
from app.attribution.true_up import DayState
from app.pricing.commitments import (
    AllotmentRule,
    Commitment,
    CommitmentKind,
    CommitmentUnit,
)
from app.pricing.credits import Credit
from app.units.money import NANOS_PER_UNIT
from app.units.window import HOUR_MS

DAY_MS = 24 * HOUR_MS
DAY = BillingDay(start_ms=DAY_MS, end_ms=2 * DAY_MS)
VERSIONS = Versions(revision=0, rating_version=1, price_version=3, contract_version=2)
PLAN = Commitment(
    commitment="sp-1",
    name="GPU plan",
    kind=CommitmentKind.SAVINGS_PLAN,
    unit=CommitmentUnit.SPEND_HOUR,
    quantity=Decimal(12),
    currency="USD",
    term_start_ms=0,
    term_end_ms=10 * DAY_MS,
    recurring_per_hour=Decimal(12),
    allotment=AllotmentRule.PRIORITY,
)
HOUR = CommittedHour(
    committed=12 * NANOS_PER_UNIT,
    used=9 * NANOS_PER_UNIT,
    eligible_ms=4 * HOUR_MS,
    covered_ms=3 * HOUR_MS,
    cost_nanos=12 * NANOS_PER_UNIT,
    used_nanos=9 * NANOS_PER_UNIT,
)
UNUSED = UnusedFacts(
    charge_id=7,
    commitment=PLAN,
    price_id=PLAN.price_id,
    window_ms=DAY_MS,
    start_ms=DAY_MS,
    end_ms=DAY_MS + HOUR_MS,
    cluster="eu",
    team="platform",
    nanos=3 * NANOS_PER_UNIT,
    currency="USD",
    hour=HOUR,
    versions=VERSIONS,
)


def test_a_spend_commitment_says_what_of_its_spend_is_used() -> None:
    text = explain_unused(UNUSED).text()

    assert "what nobody used of the savings plan sp-1 (GPU plan) in eu" in text
    assert "12 USD an hour are promised to be spent" in text
    assert "used of the promise: 9 of 12 USD" in text
    assert "fraction covered: 75.0000%, cluster after cluster" in text
    assert "platform, since the platform team pays for what nobody used" in text
    assert "unused cost: 3.000000000 USD" in text
    assert "facts revision" not in text


def test_an_hour_of_two_billing_days_says_that_they_divide_it() -> None:
    text = explain_unused(replace(UNUSED, end_ms=DAY_MS + HOUR_MS // 3, nanos=10**9)).text()

    assert "two billing days share the hour" in text
    assert "rounding: +0.000 nanos" in text


def test_an_unused_line_of_which_nothing_else_is_stored_is_explained_too() -> None:
    text = explain_unused(replace(UNUSED, commitment=None, hour=None, team="")).text()

    assert f"what nobody used of the commitment {PLAN.price_id & (2**64 - 1):016x}" in text
    assert "nobody, since" in text
    assert "charged: 3.000000000 USD" in text


@pytest.mark.parametrize(("quantity", "said"), [(1, "1 node is bought"), (3, "3 nodes are bought")])
def test_a_commitment_of_nodes_counts_nodes(quantity: int, said: str) -> None:
    nodes = replace(PLAN, unit=CommitmentUnit.NODE_HOUR, quantity=Decimal(quantity))
    price = CommittedPrice(commitment=nodes, window_ms=DAY_MS, hour=None, pool_ms=0, pool_nanos=0)

    assert said in dict(commitment_step(price, "USD").figures)["promised"]
    assert covered_money_step(price, HOUR_MS, ("charged", "1 USD")).figures == (
        ("charged", "1 USD"),
    )


def test_a_credit_is_given_by_the_days_time_in_its_span() -> None:
    """100 over ten days, of which the last half of the day is in the span: 5.00."""
    credit = Credit(
        name="gift",
        team="",
        amount=Decimal(100),
        currency="USD",
        valid_from_ms=DAY_MS + DAY_MS // 2,
        valid_to_ms=11 * DAY_MS + DAY_MS // 2,
    )
    facts = CreditFacts(
        charge_id=7,
        credit=credit,
        day=DAY,
        team="platform",
        nanos=-5 * NANOS_PER_UNIT,
        currency="USD",
        versions=VERSIONS,
    )

    text = explain_credit(facts).text()

    assert "exact: -5.000000000000 USD" in text
    assert "time in the span: 5.000000%" in text
    assert "a credit of no team is the platform team's" in text
    unknown = explain_credit(replace(facts, credit=None)).text()
    assert "a credit that no version has gives back" in unknown
    assert "charged: -5.000000000 USD" in unknown


TRUE_UP = TrueUpFacts(
    charge_id=7,
    day=DAY,
    cluster="eu",
    node="gpu-1",
    namespace="search-prod",
    gpu_model="H100",
    team="search",
    nanos=4 * NANOS_PER_UNIT,
    currency="USD",
    policy="spread",
    provider_nanos=300 * NANOS_PER_UNIT,
    pool_nanos=288 * NANOS_PER_UNIT,
    state=DayState.DUE,
    weight=96 * NANOS_PER_UNIT,
    weight_sum=288 * NANOS_PER_UNIT,
    rows=(
        BilledRow(
            bill="AWS 1234 2026-11 version 2",
            number=3,
            resource="",
            service="EC2",
            start_ms=DAY_MS,
            end_ms=2 * DAY_MS,
            nanos=300 * NANOS_PER_UNIT,
        ),
    ),
    row_count=2,
    agrees=True,
    versions=VERSIONS,
)


def test_a_spread_difference_says_both_sides_and_the_weights() -> None:
    text = explain_true_up(TRUE_UP).text()

    assert "EffectiveCost of 2 rows of the provider's usage of the node; the 1 largest" in text
    assert "AWS 1234 2026-11 version 2, row 3: 300.000000000 USD for EC2" in text
    assert "difference: 12.000000000 USD" in text
    assert "spread by: 96.000000000 USD of 288.000000000 USD" in text
    assert "rounding: +0.000 nanos" in text
    assert "namespace: search-prod" in text


def test_a_difference_of_the_platform_is_not_weighed() -> None:
    facts = replace(TRUE_UP, policy="platform", team="platform", weight=0, weight_sum=0)

    text = explain_true_up(facts).text()

    assert "differences are the platform team's" in text
    assert "spread" not in text


def test_a_line_without_its_bill_says_so() -> None:
    text = explain_true_up(
        replace(TRUE_UP, rows=(), row_count=0, agrees=False, state=DayState.UNCOVERED)
    ).text()

    assert "no bill that is stored charges the node for the day" in text
    assert "state: uncovered" in text
    assert "charged: 4.000000000 USD" in text
