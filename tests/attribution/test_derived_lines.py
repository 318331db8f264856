"""Each policy of redistribution and their order, in figures that a person checks by hand."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import pytest

from app.attribution.charges import ChargeKind
from app.attribution.contract import (
    ConsumerSource,
    Contract,
    Platform,
    Policies,
    SharedMetric,
    SharedPolicy,
    Team,
    UnallocatedPolicy,
)
from app.attribution.derived_lines import DayFacts, derived_lines, redistributes
from app.attribution.redistribution import RedistributedLine, RedistributionStep, WeightBasis
from app.units.window import HOUR_MS
from app.usage.identity import team_id
from tests.attribution.day_rows import (
    DAY,
    MIDNIGHT_MS,
    TEAMS,
    a_cost,
    a_day,
    consumed,
    measured_by,
)

NAMES = {team_id(name): name for name in TEAMS} | {0: ""}
PROPORTIONAL = Policies(unallocated=UnallocatedPolicy.PROPORTIONAL)
NAMESPACES = ("monitoring", "gpu-*")
# Search used 60; ads used 30 and idled 10. The platform paid 20 for monitoring and 40 for nobody.
ROWS = [
    a_cost("search", 60, namespace="search-prod"),
    a_cost("ads", 30, namespace="ads-prod"),
    a_cost("ads", 10, ChargeKind.IDLE, namespace="ads-prod"),
    a_cost("platform", 20, namespace="monitoring"),
    a_cost("platform", 40, ChargeKind.UNALLOCATED),
]


def a_contract(*policies: Policies, namespaces: tuple[str, ...] = NAMESPACES) -> Contract:
    return Contract(
        teams=(Team(name="search"), Team(name="ads"), Team(name="lab")),
        platform=(Platform(team="platform", namespaces=namespaces),),
        policies=policies,
        consumer_sources=(ConsumerSource(source="litellm"),),
    )


def moved(
    facts: DayFacts, contract: Contract, step: RedistributionStep | None = None
) -> dict[str, int]:
    """Return what every team receives, less what is taken from it."""
    found: dict[str, int] = defaultdict(int)
    for line in derived_lines(facts, contract):
        if step in (None, line.step):
            found[NAMES[line.team_id]] += line.nanos
    return dict(found)


def lines_of(rows: Sequence[dict[str, int]], *policies: Policies) -> tuple[RedistributedLine, ...]:
    return derived_lines(a_day(rows), a_contract(*policies))


def test_by_default_the_platform_pays_and_nothing_moves() -> None:
    assert lines_of(ROWS) == ()
    assert lines_of(ROWS, Policies()) == ()


def test_what_nobody_held_goes_by_first_hand_cost() -> None:
    # Search had 60 of 100, ads 40 of 100; the platform's own 20 are no weight.
    assert moved(a_day(ROWS), a_contract(PROPORTIONAL)) == {
        "platform": -40,
        "search": 24,
        "ads": 16,
    }


@pytest.mark.parametrize(
    "kind",
    [
        ChargeKind.UNALLOCATED,
        ChargeKind.STRANDED,
        ChargeKind.UNOBSERVED,
        ChargeKind.COMMITMENT_UNUSED,
    ],
)
def test_every_kind_of_what_nobody_used_is_a_debit_of_its_own(kind: ChargeKind) -> None:
    rows = [*ROWS[:-1], a_cost("platform", 50, kind)]

    debit, ads, search = lines_of(rows, PROPORTIONAL)

    assert (debit.step, debit.kind, debit.basis) == (
        RedistributionStep.NOBODY,
        int(kind),
        WeightBasis.PROPORTIONAL,
    )
    assert (debit.nanos, ads.nanos, search.nanos) == (-50, 20, 30)
    assert (ads.weight, search.weight, ads.weight_sum, debit.weight) == (40, 60, 100, 100)
    assert {debit.charge_id} == {ads.debit_id, search.debit_id}
    assert (debit.gpu_model_id, debit.cluster_id) == (ads.gpu_model_id, ads.cluster_id)


def test_a_commitment_that_a_team_bought_for_itself_stays_with_it() -> None:
    rows = [*ROWS[:-1], a_cost("lab", 50, ChargeKind.COMMITMENT_UNUSED)]

    assert lines_of(rows, PROPORTIONAL) == ()


def test_weights_are_those_of_the_same_cluster_and_gpu_model() -> None:
    rows = [
        *ROWS,
        a_cost("lab", 1_000, gpu_model="L4"),
        a_cost("lab", 1_000, cluster="us"),
        a_cost("platform", 7, ChargeKind.STRANDED, gpu_model="L4"),
    ]

    assert moved(a_day(rows), a_contract(PROPORTIONAL)) == {
        "platform": -47,
        "search": 24,
        "ads": 16,
        "lab": 7,
    }


def test_what_lies_in_no_cluster_goes_by_the_model_over_all_of_them() -> None:
    rows = [
        a_cost("search", 60),
        a_cost("ads", 40, cluster="us"),
        a_cost("lab", 900, gpu_model="L4"),
        a_cost("platform", 50, ChargeKind.COMMITMENT_UNUSED, cluster=""),
    ]

    assert moved(a_day(rows), a_contract(PROPORTIONAL)) == {
        "platform": -50,
        "search": 30,
        "ads": 20,
    }


def test_without_a_model_it_goes_by_everything() -> None:
    rows = [
        a_cost("search", 60),
        a_cost("lab", 40, cluster="us", gpu_model="L4"),
        a_cost("platform", 50, ChargeKind.COMMITMENT_UNUSED, cluster="", gpu_model=""),
    ]

    assert moved(a_day(rows), a_contract(PROPORTIONAL))["lab"] == 20


def test_a_pool_of_which_nobody_had_any_stays_with_the_platform() -> None:
    rows = [*ROWS, a_cost("platform", 9, ChargeKind.UNALLOCATED, gpu_model="L4")]

    assert moved(a_day(rows), a_contract(PROPORTIONAL))["platform"] == -40


def test_money_without_an_owner_takes_no_part() -> None:
    rows = [*ROWS, a_cost("unowned", 900), a_cost("", 900)]

    assert moved(a_day(rows), a_contract(PROPORTIONAL)) == {
        "platform": -40,
        "search": 24,
        "ads": 16,
    }


def test_teams_that_are_not_named_keep_out() -> None:
    policies = Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, teams=("search", "platform"))

    # Search had 60, the platform itself 20: of 40 these are 30 and 10.
    assert moved(a_day(ROWS), a_contract(policies)) == {"platform": -40 + 10, "search": 30}


@pytest.mark.parametrize(
    ("policies", "expected", "basis"),
    [
        (Policies(shared=SharedPolicy.EVEN), {"search": 10, "ads": 10}, WeightBasis.EVEN),
        (
            Policies(shared=SharedPolicy.PROPORTIONAL),
            {"search": 12, "ads": 8},
            WeightBasis.PROPORTIONAL,
        ),
        (
            Policies(
                shared=SharedPolicy.FIXED,
                shared_percent=(("ads", Decimal("12.5")), ("lab", Decimal("87.5"))),
            ),
            # 2.5 and 17.5: the half goes to ads, which is first by name.
            {"ads": 3, "lab": 17},
            WeightBasis.FIXED,
        ),
        (
            Policies(
                shared=SharedPolicy.FIXED,
                shared_percent=(("platform", Decimal(25)), ("search", Decimal(75))),
            ),
            {"platform": 5, "search": 15},
            WeightBasis.FIXED,
        ),
        (
            Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.GPU_SECONDS_HELD),
            {"search": 5, "ads": 15},
            WeightBasis.GPU_SECONDS_HELD,
        ),
        (
            Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.GPU_SECONDS_ACTIVE),
            {"search": 10, "ads": 10},
            WeightBasis.GPU_SECONDS_ACTIVE,
        ),
        (
            Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.PODS),
            {"search": 16, "ads": 4},
            WeightBasis.PODS,
        ),
        (
            Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.REQUESTS),
            {"ads": 20},
            WeightBasis.REQUESTS,
        ),
        (
            Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.PROMPT_TOKENS),
            {"search": 15, "ads": 5},
            WeightBasis.PROMPT_TOKENS,
        ),
        (
            Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.GENERATION_TOKENS),
            {},
            WeightBasis.GENERATION_TOKENS,
        ),
    ],
)
def test_the_platform_s_namespaces_are_shared_by_the_policy(
    policies: Policies, expected: dict[str, int], basis: WeightBasis
) -> None:
    rows = [
        a_cost("search", 60, namespace="search-prod", gpu_ms=100),
        a_cost("ads", 30, namespace="ads-prod", gpu_ms=100),
        a_cost("ads", 10, ChargeKind.IDLE, namespace="ads-prod", gpu_ms=200),
        a_cost("platform", 20, namespace="monitoring", gpu_ms=999),
        a_cost("lab", 77, cluster="us", gpu_ms=999),
    ]
    metrics = measured_by(
        # Four pods of search, one of ads, which was charged in two hours.
        [("eu", 0, 1, pod, "search", 25) for pod in (1, 2, 3, 4)]
        + [("eu", 0, 2, 5, "ads", 25), ("eu", 1, 2, 5, "ads", 25)],
        [("eu", 0, 1, 0, 300, 0), ("eu", 0, 2, 7, 60, 0), ("eu", 1, 2, 3, 40, 0)],
    )

    lines = derived_lines(a_day(rows, metrics=metrics), a_contract(policies))

    credits_ = {NAMES[line.team_id]: line.nanos for line in lines if line.nanos > 0}
    assert credits_ == expected
    assert sum(line.nanos for line in lines) == 0
    assert {line.basis for line in lines} == ({basis} if expected else set())
    assert {line.step for line in lines} <= {RedistributionStep.PLATFORM}


def test_only_what_the_platform_paid_for_its_own_namespaces_is_shared() -> None:
    rows = [
        *ROWS,
        a_cost("platform", 500, namespace="search-prod"),
        # A pod of a team, by a label, in a namespace of the platform.
        a_cost("lab", 100, namespace="monitoring", gpu_model="L4"),
        a_cost("platform", 6, ChargeKind.IDLE, namespace="gpu-operator"),
    ]

    even = Policies(shared=SharedPolicy.EVEN)
    assert moved(a_day(rows), a_contract(even)) == {
        "platform": -26,
        # 20 by three: the larger parts go by name; 6 by three.
        "ads": 7 + 2,
        "lab": 7 + 2,
        "search": 6 + 2,
    }


def test_what_a_cluster_s_block_says_counts_there_alone() -> None:
    policies = (
        PROPORTIONAL,
        Policies(unallocated=UnallocatedPolicy.PLATFORM, clusters=("eu",)),
    )
    rows = [
        *ROWS,
        a_cost("lab", 5, cluster="us"),
        a_cost("platform", 8, ChargeKind.UNALLOCATED, cluster="us"),
    ]

    assert moved(a_day(rows), a_contract(*policies)) == {"platform": -8, "lab": 8}


def test_the_policy_at_the_day_s_beginning_counts_for_the_day() -> None:
    noon = MIDNIGHT_MS + 12 * HOUR_MS
    until_noon = Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, valid_to_ms=noon)
    from_noon = Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, valid_from_ms=noon)

    assert len(lines_of(ROWS, until_noon)) == 3
    assert lines_of(ROWS, from_noon) == ()


def test_a_platform_that_changes_during_the_day_receives_nothing() -> None:
    noon = MIDNIGHT_MS + 12 * HOUR_MS
    contract = Contract(
        platform=(
            Platform(team="infra", namespaces=("monitoring",), valid_to_ms=noon),
            Platform(team="platform", valid_from_ms=noon),
        ),
        policies=(Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, shared=SharedPolicy.EVEN),),
    )
    rows = [*ROWS, a_cost("infra", 8, namespace="monitoring")]

    # Monitoring is the platform's all day, whichever team that is: 20 + 8, and 40 of nobody.
    assert moved(a_day(rows), contract) == {
        "platform": -60,
        "infra": -8,
        "search": 24 + 10 + 4,
        "ads": 16 + 10 + 4,
    }


def test_all_steps_weigh_first_hand_cost_and_no_step_passes_on() -> None:
    policies = Policies(
        unallocated=UnallocatedPolicy.PROPORTIONAL, shared=SharedPolicy.PROPORTIONAL
    )
    rows = [*ROWS, a_cost("lab", 100, workload=5, namespace="search-prod")]
    facts = a_day(rows, shares=consumed(5, search=3, ads=1))

    # Weights are search 60, ads 40, lab 100 in both steps, although lab's 100 are passed on in the
    # third, and although each of them has got something in the first.
    assert moved(facts, a_contract(policies), RedistributionStep.NOBODY) == {
        "platform": -40,
        "search": 12,
        "ads": 8,
        "lab": 20,
    }
    assert moved(facts, a_contract(policies), RedistributionStep.PLATFORM) == {
        "platform": -20,
        "search": 6,
        "ads": 4,
        "lab": 10,
    }
    assert moved(facts, a_contract(policies), RedistributionStep.CONSUMERS) == {
        "lab": -100,
        "search": 75,
        "ads": 25,
    }


def test_a_service_whose_consumers_are_known_is_debited_once() -> None:
    rows = [*ROWS, a_cost("platform", 100, workload=5, namespace="monitoring")]
    even = a_contract(Policies(shared=SharedPolicy.EVEN))

    by_tokens = moved(a_day(rows, shares=consumed(5, search=3, ads=1)), even)
    without_tokens = moved(a_day(rows, shares=consumed(5, search=0)), even)

    assert by_tokens == {"platform": -120, "search": 75 + 10, "ads": 25 + 10}
    assert without_tokens == {"platform": -120, "search": 60, "ads": 60}


def test_lines_keep_their_identity_when_amounts_change() -> None:
    policies = Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, shared=SharedPolicy.EVEN)
    more = [row | {"nanos": row["nanos"] * 3} for row in ROWS]

    first, second = lines_of(ROWS, policies), lines_of(more, policies)

    assert [line.charge_id for line in first] == [line.charge_id for line in second]
    assert len({line.charge_id for line in first}) == len(first) == 6


def test_a_contract_that_leaves_all_with_the_platform_redistributes_nothing() -> None:
    assert not redistributes(Contract(policies=(Policies(),)))
    assert redistributes(Contract(policies=(PROPORTIONAL,)))
    assert redistributes(Contract(policies=(Policies(shared=SharedPolicy.EVEN),)))
    assert redistributes(Contract(consumer_sources=(ConsumerSource(source="litellm"),)))


def test_the_day_of_the_facts_is_the_day_of_the_lines() -> None:
    other = a_day(ROWS, day=type(DAY)(start_ms=DAY.end_ms, end_ms=DAY.end_ms + 24 * HOUR_MS))

    today, tomorrow = lines_of(ROWS, PROPORTIONAL), derived_lines(other, a_contract(PROPORTIONAL))

    assert {line.charge_id for line in today}.isdisjoint(line.charge_id for line in tomorrow)
