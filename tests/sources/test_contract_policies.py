"""Policies and departments of the team contract: read with their dates, refused with their line."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from app.attribution.contract import (
    Affiliation,
    Contract,
    Department,
    Policies,
    RatingPolicy,
    SharedMetric,
    SharedPolicy,
    UnallocatedPolicy,
)
from app.sources.team_contract import read_team_contract
from app.sources.yaml_blocks import ContractError
from app.units.window import OPEN_MS, to_ms

KOLKATA = ZoneInfo("Asia/Kolkata")
TEAMS = "teams: [{name: search}, {name: ads}]\nplatform: {team: infra}\n"
NOV_23 = 1_795_392_000_000  # 2026-11-23T00:00:00Z


def read(text: str) -> Contract:
    return read_team_contract(TEAMS + text, filename="teams.yaml")


def refused(text: str) -> ContractError:
    with pytest.raises(ContractError) as caught:
        read(text)
    return caught.value


def test_every_policy_is_read() -> None:
    contract = read(
        "policies:\n"
        "  - {rating: rate_card, unallocated: proportional, shared: fixed,\n"
        "     shared_percent: {search: 60, infra: 12.5, ads: 27.5}}\n"
        "  - {shared: metric, shared_metric: prompt_tokens, teams: [ads], valid_from: 2026-11-23}\n"
    )

    first, second = contract.policies
    assert (first.rating, first.unallocated) == (
        RatingPolicy.RATE_CARD,
        UnallocatedPolicy.PROPORTIONAL,
    )
    assert first.shared_percent == (
        ("ads", Decimal("27.5")),
        ("infra", Decimal("12.5")),
        ("search", Decimal(60)),
    )
    assert (second.shared, second.shared_metric) == (
        SharedPolicy.METRIC,
        SharedMetric.PROMPT_TOKENS,
    )
    assert (second.teams, second.unallocated) == (("ads",), UnallocatedPolicy.PLATFORM)
    assert (first.valid_to_ms, second.valid_from_ms) == (NOV_23, NOV_23)


def test_a_cluster_s_block_wins_and_takes_the_rest_from_the_block_for_all() -> None:
    contract = read(
        "policies:\n"
        "  - {unallocated: proportional, shared: fixed, shared_percent: {search: 100}}\n"
        "  - {shared: even, valid_from: 2026-11-23}\n"
        "  - {clusters: [eu, us], rating: rate_card}\n"
        "  - {clusters: [us], shared: proportional, valid_from: 2026-11-23}\n"
    )

    def at(cluster: str, at_ms: int) -> tuple[str, ...]:
        found = contract.policies_at(at_ms, cluster)
        return found.rating.value, found.unallocated.value, found.shared.value

    assert at("ap", 0) == at("", 0) == ("actual", "proportional", "fixed")
    assert at("eu", 0) == at("us", 0) == ("rate_card", "proportional", "fixed")
    assert contract.policies_at(0, "eu").shared_percent == (("search", Decimal(100)),)
    assert at("ap", NOV_23) == ("actual", "platform", "even")
    assert at("eu", NOV_23) == ("rate_card", "platform", "even")
    assert contract.policies_at(NOV_23, "eu").shared_percent == ()
    # The later block for us ends the earlier one, which said by which prices to rate.
    assert at("us", NOV_23) == ("actual", "platform", "proportional")


def test_a_cluster_s_block_may_end_before_the_block_for_all() -> None:
    contract = read(
        "policies:\n  - {clusters: [eu], unallocated: proportional, valid_to: 2026-11-23}"
    )

    assert contract.policies_at(NOV_23 - 1, "eu").unallocated is UnallocatedPolicy.PROPORTIONAL
    assert contract.policies_at(NOV_23, "eu") == Policies()


def test_policies_of_shares_know_no_cluster() -> None:
    contract = read(
        "policies:\n  - {mig_share: compute}\n  - {clusters: [eu], valid_from: 2026-11-23}\n"
    )

    assert [one.from_ms for one in contract.share_policies()] == [0, OPEN_MS]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("policies: {shared: fixed}", 3, "policies has no shared_percent"),
        ("policies: {shared: metric}", 3, "policies has no shared_metric"),
        (
            "policies:\n  shared: fixed\n  shared_percent: {search: 60, ads: 39.9}",
            5,
            "policies.shared_percent must sum to 100, and sums to 99.9",
        ),
        (
            "policies: {shared: fixed, shared_percent: {search: 110, ads: -10}}",
            3,
            "not negative",
        ),
        ("policies: {shared: fixed, shared_percent: {web: 100}}", 3, 'the team "web", which the'),
        ("policies: {shared: fixed, shared_percent: {}}", 3, "must sum to 100, and sums to 0"),
        (
            "policies: {shared: fixed, teams: [ads], shared_percent: {search: 100}}",
            3,
            "not among the teams of the block",
        ),
        ("policies: {shared: even, shared_percent: {ads: 100}}", 3, "beside shared: fixed alone"),
        ("policies: {shared_metric: pods}", 3, "beside shared: metric alone"),
        (
            "policies: {shared: metric, shared_metric: coffee}",
            3,
            "supported: gpu_seconds_held, gpu_seconds_active, pods, requests, prompt_tokens",
        ),
        ("policies: {unallocated: even}", 3, "supported: platform, proportional"),
        ("policies: {rating: list}", 3, "supported: actual, rate_card"),
        ("policies: {teams: [web]}", 3, 'names the team "web", which the contract does not have'),
        (
            "policies:\n  - {clusters: [eu]}\n  - {clusters: [us, eu]}",
            5,
            "stands there twice for the same time",
        ),
        ("policies: {clusters: [eu], mig_share: compute}", 3, "counts in every cluster"),
        ("policies: {clusters: [eu], token_weights: [{prompt: 2}]}", 3, "counts in every cluster"),
    ],
)
def test_policies_that_cannot_be_taken_are_refused_with_their_line(
    text: str, line: int, reason: str
) -> None:
    error = refused(text)

    assert reason in error.reason
    assert error.line == line


HOUSE = """
departments:
  - {name: house, cost_center: CC-1}
  - {name: web, parent: house}
  - {name: web, cost_center: CC-2, valid_from: 2026-11-23}
teams:
  - {name: search, department: web}
  - {name: ml, department: web, cost_center: CC-9}
  - {name: free}
"""


def test_a_team_has_the_cost_center_of_the_nearest_department_that_has_one() -> None:
    contract = read_team_contract(HOUSE, filename="teams.yaml")

    assert contract.departments[1] == Department(name="web", parent="house", valid_to_ms=NOV_23)
    found = [
        contract.affiliation_at(team, at)
        for team in ("search", "ml", "free")
        for at in (NOV_23 - 1, NOV_23)
    ]
    assert found == [
        Affiliation(department="web", cost_center="CC-1"),
        Affiliation(department="web", cost_center="CC-2"),
        Affiliation(department="web", cost_center="CC-9"),
        Affiliation(department="web", cost_center="CC-9"),
        Affiliation(department="", cost_center=""),
        Affiliation(department="", cost_center=""),
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (
            (
                "departments:\n  - {name: a, parent: b}\n  - {name: b, parent: c}\n"
                "  - {name: c, parent: a}"
            ),
            2,
            "departments[0] belongs to itself: a → b → c → a",
        ),
        ("departments: [{name: a, parent: a}]", 1, "belongs to itself: a → a"),
        ("departments: [{name: a, parent: z}]", 1, '"z", which the contract does not have'),
        ("teams: [{name: t, department: z}]", 1, '"z", which the contract does not have'),
        (
            "departments: [{name: a, valid_to: 2026-11-23}]\nteams: [{name: t, department: a}]",
            2,
            '"a", which is not there for all of its time',
        ),
        (
            (
                "departments:\n  - {name: a}\n  - {name: b, parent: a, valid_from: 2026-01-01}\n"
                "  - {name: a, parent: b, valid_from: 2026-11-23}"
            ),
            3,
            "belongs to itself: b → a → b",
        ),
        ("departments:\n  - {name: a}\n  - {name: a}", 3, "twice for the same time"),
        ("departments: [{parent: a}]", 1, "has no name"),
        ("departments: [{name: a, boss: b}]", 1, "is not known here"),
    ],
)
def test_a_hierarchy_that_does_not_hold_is_refused_with_its_line(
    text: str, line: int, reason: str
) -> None:
    with pytest.raises(ContractError) as caught:
        read_team_contract(text, filename="teams.yaml")

    assert reason in caught.value.reason
    assert caught.value.line == line


def test_a_day_begins_at_midnight_of_the_billing_zone() -> None:
    text = "teams:\n  - {name: a, valid_from: 2026-03-17, valid_to: 2026-03-18T00:00:00Z}\n"

    (in_zone,) = read_team_contract(text, filename="teams.yaml", zone=KOLKATA).teams
    (in_utc,) = read_team_contract(text, filename="teams.yaml").teams

    assert in_zone.valid_from_ms == to_ms(datetime(2026, 3, 17, tzinfo=KOLKATA))
    assert in_utc.valid_from_ms - in_zone.valid_from_ms == 5.5 * 3_600_000
    assert in_zone.valid_to_ms == in_utc.valid_to_ms


def test_where_clocks_skip_midnight_a_day_begins_at_the_change() -> None:
    zone = ZoneInfo("America/Asuncion")
    text = "teams:\n  - {name: a, valid_from: 2023-10-01}\n"

    (team,) = read_team_contract(text, filename="teams.yaml", zone=zone).teams

    assert team.valid_from_ms == to_ms(datetime(2023, 10, 1, 1, tzinfo=zone))
