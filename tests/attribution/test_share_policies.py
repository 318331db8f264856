"""Charges under dated policies of shares: the money follows, and nothing is lost or gained."""

from dataclasses import replace
from datetime import UTC
from fractions import Fraction
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings

from app.attribution.capacity import UsageMismatchError
from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Policies, Team
from app.attribution.owners import Ownership
from app.attribution.rating import RatingInput, rate
from app.pricing.book import PriceBook
from app.units.money import from_nanos
from app.units.window import OPEN_MS
from app.usage.policies import DividedUsage
from app.usage.share_policies import MigSharePolicy, TimeSlicingPolicy
from tests.attribution.fleets import H100
from tests.pricing.builders import a_price
from tests.usage.builders import MINUTE, T0, a_pool
from tests.usage.companies import FIRST, LIFE, Company, companies, inside
from tests.usage.dividing import Row, an_instance, facts_of, slots, what_may_be_held

HALF_PAST = T0 + 30 * MINUTE
PRICES = PriceBook([a_price("4")])
TEAMS = (
    Team(name="search", namespaces=("search",)),
    Team(name="ml", namespaces=("ml",)),
)
PRESENT = Policies(time_slicing=TimeSlicingPolicy.PRESENT)
COMPUTE = Policies(mig_share=MigSharePolicy.COMPUTE)


def given_of(facts: DividedUsage, holds: tuple[Row, ...], *policies: Policies) -> RatingInput:
    """Rating of facts whose holds name their namespaces; every device costs 4 USD an hour."""
    nodes = facts.pool_usage["node_id"].unique().tolist()
    contract = Contract(teams=TEAMS, platform=(Platform(team="platform"),), policies=policies)
    return RatingInput(
        cluster="prod-eu",
        pool_usage=facts.pool_usage,
        hold_usage=facts.hold_usage,
        nodes=pd.DataFrame(
            {
                "node_id": nodes,
                "node_name": [f"node-{one}" for one in nodes],
                **dict.fromkeys(("provider", "region", "instance_type", "capacity_type"), ""),
            }
        ),
        gpu_models={7: H100},
        holds=pd.DataFrame(
            {
                "hold_id": [one["hold_id"] for one in holds],
                "namespace": [one["namespace"] for one in holds],
                "labels": [() for _ in holds],
                "workload_id": 0,
            }
        ),
        price_book=PRICES,
        ownership=Ownership(contract),
        billing_zone=UTC,
    )


def dollars(facts: DividedUsage, holds: tuple[Row, ...], *policies: Policies) -> dict[str, str]:
    """Return the money of every namespace, and of what nobody held by its state."""
    charges = rate(given_of(facts, holds, *policies)).charges
    names = {one["hold_id"]: str(one["namespace"]) for one in holds}
    subjects = [
        names.get(hold_id, ChargeKind(kind).name.lower())
        for hold_id, kind in zip(charges["hold_id"], charges["kind"], strict=True)
    ]
    sums = charges.groupby(subjects)["cost_nanos"].sum()
    return {name: f"{from_nanos(nanos):.4f}" for name, nanos in sums.items()}


def two_slots_of_four() -> tuple[DividedUsage, tuple[Row, ...]]:
    """One GPU with four slots: search holds one for the hour, ml one from half past on."""
    holds = (slots(1), slots(2, namespace="ml", start_ms=HALF_PAST))
    pools, counts = [a_pool(devices=1)], [what_may_be_held(default=1)]
    return facts_of(*holds, pools=pools, counts=counts), holds


def test_slots_by_default_leave_the_rest_to_the_platform() -> None:
    assert dollars(*two_slots_of_four()) == {
        "search": "1.0000",
        "ml": "0.5000",
        "unallocated": "2.5000",
    }


def test_those_present_pay_for_the_whole_device() -> None:
    assert dollars(*two_slots_of_four(), PRESENT) == {"search": "3.0000", "ml": "1.0000"}


def test_a_policy_from_half_past_on_moves_the_money_of_the_second_half_hour() -> None:
    """A quarter of 2 USD for search alone; then half of 2 USD for each."""
    policies = (replace(PRESENT, valid_from_ms=HALF_PAST),)

    assert dollars(*two_slots_of_four(), *policies) == {
        "search": "1.5000",
        "ml": "1.0000",
        "unallocated": "1.5000",
    }


def test_two_3g_instances_pay_for_six_sevenths_by_compute() -> None:
    share, compute = Fraction(1, 2), Fraction(3, 7)
    holds = (
        an_instance(1, share, compute),
        an_instance(2, share, compute, namespace="ml"),
    )
    facts = facts_of(
        *holds,
        pools=[a_pool(devices=1)],
        counts=[what_may_be_held(default=1, compute=Fraction(6, 7))],
    )

    assert dollars(facts, holds) == {"search": "2.0000", "ml": "2.0000"}
    assert dollars(facts, holds, COMPUTE) == {
        "search": "1.7143",
        "ml": "1.7143",
        "stranded": "0.5714",
    }


@pytest.mark.parametrize("policies", [(), (PRESENT,)])
def test_facts_that_contradict_themselves_are_refused_under_every_policy(
    policies: tuple[Policies, ...],
) -> None:
    facts, holds = two_slots_of_four()
    longer = facts.hold_usage.assign(held_ms=facts.hold_usage["held_ms"] + 1)

    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        rate(given_of(replace(facts, hold_usage=longer), holds, *policies))


def policies_of(company: Company) -> tuple[Policies, ...]:
    """Return the company's policies as the blocks of a contract."""
    ends = [one.from_ms for one in company.policies[1:]]
    return tuple(
        Policies(
            mig_share=one.mig_share,
            time_slicing=one.time_slicing,
            valid_from_ms=one.from_ms,
            valid_to_ms=end,
        )
        for one, end in zip(company.policies, [*ends, OPEN_MS], strict=True)
    )


def charges_of(company: Company) -> pd.DataFrame:
    given = given_of(company.facts(), company.holds, *policies_of(company))
    return rate(given).charges.sort_values("charge_id", ignore_index=True)


@given(companies())
@settings(max_examples=40, deadline=None)
def test_every_policy_sums_to_the_price_of_the_pools(company: Company) -> None:
    charges = charges_of(company)

    spans = len(company.usage().pool_usage)
    for pool in company.pools:
        mine = charges.loc[charges["node_id"] == pool["node_id"]]
        device_ms = pool["devices"] * LIFE
        assert mine["gpu_ms"].sum() == device_ms
        # Each segment rounds its cost once, by half a nano.
        exact = Fraction(4 * 10**9 * device_ms, 3_600_000)
        assert abs(int(mine["cost_nanos"].sum()) - exact) <= Fraction(spans, 2)


@given(companies())
@settings(max_examples=40, deadline=None)
def test_charges_have_the_time_that_the_holds_have_under_the_policies(company: Company) -> None:
    charges, usage = charges_of(company), company.usage()

    for kind, column in (
        (ChargeKind.USED, "active_ms"),
        (ChargeKind.IDLE, "idle_ms"),
        (ChargeKind.UNMEASURED, "unmeasured_ms"),
    ):
        found = charges.loc[charges["kind"] == kind].groupby("hold_id")["gpu_ms"].sum().to_dict()
        rows = usage.hold_usage.loc[usage.hold_usage[column] > 0]
        assert found == dict(zip(rows["hold_id"], rows[column], strict=True))
    for kind, column in (
        (ChargeKind.UNALLOCATED, "unallocated_ms"),
        (ChargeKind.STRANDED, "stranded_ms"),
        (ChargeKind.UNOBSERVED, "unobserved_ms"),
    ):
        total = charges.loc[charges["kind"] == kind, "gpu_ms"].sum()
        assert total == usage.pool_usage[column].sum()


@given(companies())
@settings(max_examples=25, deadline=None)
def test_what_one_pool_holds_moves_no_line_of_another(company: Company) -> None:
    alone = replace(company, holds=tuple(one for one in company.holds if one["node_id"] == 1))

    first, second = (
        one.loc[one["node_id"] == 1].reset_index(drop=True)
        for one in (charges_of(company), charges_of(alone))
    )

    pd.testing.assert_frame_equal(second, first)


@given(companies(), inside)
@settings(max_examples=25, deadline=None)
def test_a_block_that_changes_nothing_moves_no_line(company: Company, at: int) -> None:
    blocks = policies_of(company)
    cut = [
        replace(one, valid_from_ms=low, valid_to_ms=high)
        for one in blocks
        for low, high in pairwise(sorted({one.valid_from_ms, at, one.valid_to_ms}))
        if one.valid_from_ms <= low and high <= one.valid_to_ms
    ]

    first = charges_of(company)
    given = given_of(company.facts(), company.holds, *cut)
    second = rate(given).charges.sort_values("charge_id", ignore_index=True)

    assert FIRST < at < FIRST + LIFE
    pd.testing.assert_frame_equal(second, first)
