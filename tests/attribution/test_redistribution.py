"""Redistribution moves money and makes none: against exact fractions, by day and receiver."""

from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.redistribution import (
    BillingDay,
    DayCost,
    RedistributedLine,
    RedistributionStep,
    Share,
    billing_days,
    redistribute,
)
from app.units.window import HOUR_MS

KOLKATA = ZoneInfo("Asia/Kolkata")
# 2026-11-23T00:00:00Z.
MIDNIGHT_MS = 1_795_392_000_000
DAY = BillingDay(start_ms=MIDNIGHT_MS, end_ms=MIDNIGHT_MS + 24 * HOUR_MS)
PROVIDER, SEARCH, ADS = 11, 21, 22


def a_cost(nanos: int, *, service: int = 1, cluster: int = 7, team: int = PROVIDER) -> DayCost:
    return DayCost(
        cluster_id=cluster,
        workload_id=service,
        namespace_id=3,
        gpu_model_id=5,
        team_id=team,
        nanos=nanos,
    )


def a_share(name: str, weight: int, team: int | None = SEARCH) -> Share:
    return Share(key=("litellm", name), team_id=team, weight=weight, consumer_id=hash(name) or 1)


def lines_of(costs: list[DayCost], *shares: Share) -> tuple[RedistributedLine, ...]:
    return redistribute(RedistributionStep.CONSUMERS, DAY, costs, lambda _cost: shares)


def test_a_service_of_ten_is_split_three_to_one() -> None:
    debit, ads, search = lines_of(
        [a_cost(10_000_000_000)], a_share("search", 3), a_share("ads", 1, ADS)
    )

    assert (debit.team_id, debit.consumer_id, debit.nanos) == (PROVIDER, 0, -10_000_000_000)
    assert (ads.team_id, ads.nanos) == (ADS, 2_500_000_000)
    assert (search.team_id, search.nanos) == (SEARCH, 7_500_000_000)
    assert {debit.charge_id} == {ads.debit_id, search.debit_id, debit.debit_id}


def test_what_nobody_knows_the_sender_of_stays_with_the_provider_on_a_line_of_its_own() -> None:
    debit, known, unknown = lines_of(
        [a_cost(8)], a_share("search", 1), a_share("without a name", 3, None)
    )

    assert (known.team_id, known.nanos) == (SEARCH, 2)
    assert (unknown.team_id, unknown.nanos) == (PROVIDER, 6)
    assert debit.nanos + unknown.nanos == -2


@pytest.mark.parametrize("shares", [(), (a_share("search", 0),)])
def test_a_day_without_tokens_stays_with_the_provider(shares: tuple[Share, ...]) -> None:
    assert lines_of([a_cost(5)], *shares) == ()


def test_a_service_that_cost_nothing_has_no_lines() -> None:
    assert lines_of([a_cost(0)], a_share("search", 1)) == ()


def test_equal_remainders_go_by_the_natural_key() -> None:
    _, ads, search = lines_of([a_cost(1)], a_share("search", 1), a_share("ads", 1, ADS))

    assert (ads.nanos, search.nanos) == (1, 0)


WEIGHTS = st.lists(st.integers(0, 10**15), min_size=1, max_size=6)
COSTS = st.lists(st.integers(0, 10**16), min_size=1, max_size=6)


@given(COSTS, WEIGHTS, st.randoms(use_true_random=False))
def test_every_part_is_within_a_nano_of_its_exact_share_and_nothing_is_lost(
    nanos: list[int], weights: list[int], random: object
) -> None:
    costs = [a_cost(amount, service=number) for number, amount in enumerate(nanos, start=1)]
    shares = [
        a_share(f"key-{number}", weight, None if number % 3 == 2 else SEARCH)
        for number, weight in enumerate(weights)
    ]
    lines = lines_of(costs, *shares)
    total = sum(weights)
    by_cost = {cost.workload_id: cost.nanos for cost in costs}
    by_key = {share.consumer_id: share.weight for share in shares}

    for service, amount in by_cost.items():
        own = [line for line in lines if line.workload_id == service]
        credits_ = [line for line in own if line.consumer_id]
        assert sum(line.nanos for line in own) == 0
        if not amount or not total:
            assert own == []
            continue
        assert sum(line.nanos for line in credits_) == amount
        for line in credits_:
            exact = Fraction(amount * by_key[line.consumer_id], total)
            assert abs(line.nanos - exact) < 1
    assert len({line.charge_id for line in lines}) == len(lines)
    random.shuffle(costs)  # type: ignore[attr-defined]  # hypothesis gives a Random
    random.shuffle(shares)  # type: ignore[attr-defined]  # hypothesis gives a Random
    assert lines_of(costs, *shares) == lines


def test_a_line_keeps_its_identity_when_amounts_and_teams_change() -> None:
    before = lines_of([a_cost(10)], a_share("search", 1))
    after = lines_of([a_cost(99)], a_share("search", 5, ADS))

    assert [line.charge_id for line in before] == [line.charge_id for line in after]


def test_lines_of_two_days_and_two_clusters_have_their_own_identities() -> None:
    tomorrow = BillingDay(start_ms=DAY.end_ms, end_ms=DAY.end_ms + 24 * HOUR_MS)
    lines = [
        line
        for day in (DAY, tomorrow)
        for line in redistribute(
            RedistributionStep.CONSUMERS,
            day,
            [a_cost(4), a_cost(4, cluster=8)],
            lambda _cost: [a_share("search", 1)],
        )
    ]

    assert len({line.charge_id for line in lines}) == len(lines) == 8


def test_days_of_half_an_hour_s_offset_own_the_hours_that_begin_in_them() -> None:
    first, second = billing_days(KOLKATA, MIDNIGHT_MS + 18 * HOUR_MS, MIDNIGHT_MS + 20 * HOUR_MS)
    border_ms = MIDNIGHT_MS + 18 * HOUR_MS + HOUR_MS // 2

    assert (first.end_ms, second.start_ms) == (border_ms, border_ms)
    assert first.hours.end_ms == second.hours.start_ms == MIDNIGHT_MS + 19 * HOUR_MS
    assert second.touched.start_ms == MIDNIGHT_MS + 18 * HOUR_MS
    assert second.hours.length_ms == 24 * HOUR_MS
