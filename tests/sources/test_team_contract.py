from decimal import Decimal

import pytest

from app.attribution.contract import Consumer, TokenWeights
from app.sources.team_contract import read_team_contract
from app.sources.yaml_blocks import ContractError
from app.units.window import OPEN_MS
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy

DAY_MS = 86_400_000
NOV_23 = 1_795_392_000_000  # 2026-11-23T00:00:00Z

WHOLE = """
teams:
  - name: search
    cost_center: CC-1001
    namespaces: ["search-*"]
    clusters: [prod-eu]
    labels: {team: search, tier: 1}
    budget: {monthly: "20000"}
    slack: "#search-gpu"
  - {name: ml, namespaces: [ml, "ml-*"], valid_from: 2026-11-23}
platform: {team: platform, namespaces: [gpu-operator, monitoring]}
policies:
  unallocated: platform
  shared: platform
  idle: holder
  time_slicing: slots
  mig_share: max
  token_weights:
    - {model: "llama-*", generation: 3.5}
consumers: {source: litellm, map: {"key-alias-a": search}}
"""


def read(text: str) -> object:
    return read_team_contract(text, filename="teams.yaml")


def refused(text: str) -> ContractError:
    with pytest.raises(ContractError) as caught:
        read(text)
    return caught.value


def test_a_whole_contract_is_read() -> None:
    contract = read(WHOLE)

    search, ml = contract.teams
    assert (search.name, search.cost_center, search.slack) == ("search", "CC-1001", "#search-gpu")
    assert search.namespaces == ("search-*",)
    assert search.clusters == ("prod-eu",)
    assert search.labels == (("team", "search"), ("tier", "1"))
    assert (search.monthly_budget, search.labels_override) == (Decimal(20000), False)
    assert (search.valid_from_ms, search.valid_to_ms) == (0, OPEN_MS)
    assert (ml.valid_from_ms, ml.namespaces) == (NOV_23, ("ml", "ml-*"))
    assert contract.platform[0].namespaces == ("gpu-operator", "monitoring")
    assert contract.token_weights == (TokenWeights(model="llama-*", generation=Decimal("3.5")),)
    assert contract.consumers == (Consumer(source="litellm", alias="key-alias-a", team="search"),)


def test_a_later_block_of_a_team_ends_the_earlier_one() -> None:
    contract = read("""
teams:
  - {name: ml, cost_center: CC-1, namespaces: [ml]}
  - {name: ml, cost_center: CC-2, namespaces: [ml], valid_from: 2026-11-23}
""")

    assert [team.valid_to_ms for team in contract.teams] == [NOV_23, OPEN_MS]
    centers = [contract.team_at("ml", at).cost_center for at in (NOV_23 - 1, NOV_23)]
    assert centers == ["CC-1", "CC-2"]
    assert contract.team_at("web", NOV_23) is None


def test_platform_and_policies_may_be_lists_of_dated_blocks() -> None:
    contract = read("""
platform:
  - {team: infra}
  - {team: platform, valid_from: 2026-11-23}
policies:
  - {token_weights: [{prompt: 2}]}
  - {valid_from: 2026-11-23, token_weights: [{prompt: 3}]}
""")

    assert contract.platform_at(NOV_23 - 1).team == "infra"
    assert contract.platform_at(NOV_23).team == "platform"
    weights = [contract.weights_at("any", at).prompt for at in (NOV_23 - 1, NOV_23)]
    assert weights == [2, 3]


def test_a_namespace_may_go_from_one_team_to_another() -> None:
    contract = read("""
teams:
  - {name: ml, namespaces: [ml], valid_to: 2026-11-23}
  - {name: research, namespaces: [ml], valid_from: 2026-11-23}
""")

    assert [team.name for team in contract.teams] == ["ml", "research"]


TWO = """
teams:
  - name: a
    {first}
  - name: b
    {second}
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("namespaces: [ml]", "namespaces: [web, ml]"),
        ('namespaces: ["ml-*"]', 'namespaces: ["ml-*"]'),
        ('namespaces: ["ml-*"]', 'namespaces: ["ml-*-prod"]'),
        ('namespaces: ["ml-?"]', 'namespaces: ["ml-*"]'),
        ("labels: {team: a}", "labels: {team: a, tier: gold}"),
        ("{namespaces: [ml], clusters: [x, y]}", "{namespaces: [ml], clusters: [y]}"),
    ],
)
def test_two_teams_for_one_thing_are_refused_by_both_lines(first: str, second: str) -> None:
    indented = [text.strip("{}") if "clusters" in text else text for text in (first, second)]
    block = [text.replace(", clusters", "\n    clusters") for text in indented]

    error = refused(TWO.format(first=block[0], second=block[1]))

    assert error.line in (3, 5, 6)
    assert " to a" in error.reason
    assert " to b" in error.reason
    assert "line " in error.reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("namespaces: [ml]", 'namespaces: ["ml*"]'),
        ('namespaces: ["ml-*"]', 'namespaces: ["ml-eu-*"]'),
        ('namespaces: ["*-ml"]', 'namespaces: ["*-web"]'),
        ("namespaces: [ml]", "labels: {team: a}"),
        ("labels: {team: a}", "labels: {app: a}"),
        ("labels: {team: a}", "labels: {team: a}\n    labels_override: true"),
        ("namespaces: [ml]\n    clusters: [x]", "namespaces: [ml]\n    clusters: [y]"),
        (
            "namespaces: [ml]\n    valid_to: 2026-11-23",
            "namespaces: [ml]\n    valid_from: 2026-11-23",
        ),
    ],
)
def test_rules_that_differ_in_strength_place_or_time_are_taken(first: str, second: str) -> None:
    assert len(read(TWO.format(first=first, second=second)).teams) == 2


def test_the_platform_cannot_take_a_teams_namespace() -> None:
    error = refused(
        "teams: [{name: a, namespaces: [monitoring]}]\n"
        "platform: {team: infra, namespaces: [monitoring]}"
    )

    assert error.line == 2
    assert "line 1 gives namespace monitoring to a" in error.reason


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "the file is empty"),
        ("- a", 1, "must be a mapping"),
        ("teams:\n  - [", 2, "not YAML"),
        ("teams: 5", 1, "teams must be a list"),
        ("teams:\n  - search", 2, "teams[0] must be a mapping"),
        ("owners: []", 1, "owners is not known here; known are teams"),
        ("teams:\n  - {name: a}\n  - {nam: b}", 3, "teams[1].nam is not known here"),
        ("teams:\n  - {cost_center: a}", 2, "teams[0] has no name"),
        ("teams:\n  - {name: 5}", 2, 'teams[0].name must be a text; write "5" in quotes'),
        ("teams:\n  - {name: ' '}", 2, "must not be empty"),
        ("teams:\n  - {name: unowned}", 2, 'must not be "unowned"'),
        ("teams:\n  - {name: a, namespaces: ml}", 2, "teams[0].namespaces must be a list"),
        ("teams:\n  - {name: a, namespaces: [[]]}", 2, "namespaces[0] must be a plain value"),
        ("teams:\n  - {name: a, labels: [b]}", 2, "teams[0].labels must be a mapping"),
        ("teams:\n  - {name: a, labels_override: 1}", 2, "must be true or false"),
        ("teams:\n  - {name: a, budget: {monthly: much}}", 2, 'number, and "much" is none'),
        ("teams:\n  - {name: a, budget: {monthly: -1}}", 2, "not negative"),
        ("teams:\n  - {name: a, budget: {}}", 2, "has no monthly"),
        ("teams:\n  - {name: a, valid_from: soon}", 2, '"soon" is none'),
        ("teams:\n  - {name: a, valid_to: 1969-01-01}", 2, "not of the years 1970 to 9998"),
        ("teams:\n  - name: a\n    name: b", 3, 'has the key "name" twice'),
        ("teams:\n  - {name: a}\n  - {name: a}", 3, "twice for the same time"),
        ("platform: {namespaces: [a]}", 1, "platform has no team"),
        ("policies: {unallocated: split}", 1, '"split" is not supported'),
        ("policies: {time_slicing: fair}", 1, "supported: slots, present"),
        ("policies: {mig_share: memory}", 1, "supported: max, compute"),
        ("policies: [{mig_share: max}, {mig_share: compute}]", 1, "twice for the same time"),
        ("policies: {token_weights: [{prompt: -1}]}", 1, "not negative"),
        ("policies: {token_weights: [{prompt: 0.0000001}]}", 1, "at most 6 decimals"),
        ("policies: {token_weights: [{prompt: 0, cached: 0, generation: 0}]}", 1, "above zero"),
        ("consumers: {source: litellm, map: {key: web}}", 1, 'names the team "web"'),
        ("teams: [{name: " + "n" * 254 + ", namespaces: [x]}]", 1, "longer than 253 bytes"),
        ('teams: [{name: "sea\u200brch", namespaces: [x]}]', 1, "cannot be seen (U+200B)"),
        ("teams: [{name: web, valid_from: 0001-01-01}]", 1, "not of the years 1970 to 9998"),
    ],
)
def test_a_contract_that_cannot_be_taken_is_refused_with_its_line(
    text: str, line: int, reason: str
) -> None:
    error = refused(text)

    assert reason in error.reason
    assert error.line == line
    assert str(error).startswith("teams.yaml, line")


def test_policies_of_shares_are_read_with_their_dates() -> None:
    contract = read(
        "policies:\n"
        "  - {mig_share: compute, time_slicing: slots}\n"
        "  - {time_slicing: present, valid_from: 2026-11-23}\n"
    )

    assert contract.share_policies() == (
        SharePolicy(from_ms=0, mig_share=MigSharePolicy.COMPUTE),
        SharePolicy(from_ms=NOV_23, time_slicing=TimeSlicingPolicy.PRESENT),
        SharePolicy(from_ms=OPEN_MS),
    )


def test_without_policies_the_defaults_count() -> None:
    assert read("teams:\n").share_policies() == (SharePolicy(from_ms=0),)


def test_an_empty_block_is_taken_as_absent() -> None:
    contract = read("teams:\nplatform:\npolicies: {token_weights: }\nconsumers:\n")

    assert (contract.teams, contract.platform, contract.consumers) == ((), (), ())


def test_tags_build_nothing() -> None:
    with pytest.raises(ContractError, match="line 1: teams must be a list"):
        read("teams: !!python/object/apply:os.getpid []")
