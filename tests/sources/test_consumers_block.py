"""The block of consumers in the team contract: sources, aliases, dates."""

import pytest

from app.attribution.contract import Consumer, ConsumerSource, Contract
from app.sources.team_contract import read_team_contract
from app.sources.yaml_blocks import ContractError
from app.units.window import OPEN_MS

TEAMS = "teams: [{ name: search }, { name: ads }]\n"
# 2026-11-23T00:00:00Z.
MONDAY_MS = 1_795_392_000_000


def read(block: str) -> Contract:
    return read_team_contract(TEAMS + block, filename="teams.yaml")


def test_a_source_without_a_map_divides_costs_among_consumers_of_nobody() -> None:
    contract = read("consumers: { source: kong }\n")

    assert contract.consumer_sources == (ConsumerSource(source="kong"),)
    assert contract.consumers == ()


def test_two_gateways_have_a_block_each() -> None:
    contract = read(
        "consumers:\n"
        "  - { source: litellm, map: { key-a: search } }\n"
        "  - { source: kong, map: { app: ads } }\n"
    )

    assert [one.source for one in contract.consumer_sources] == ["litellm", "kong"]
    assert contract.consumers == (
        Consumer(source="litellm", alias="key-a", team="search"),
        Consumer(source="kong", alias="app", team="ads"),
    )


def test_a_later_block_of_a_gateway_ends_the_earlier_one_and_its_map() -> None:
    contract = read(
        "consumers:\n"
        "  - { source: litellm, map: { key-a: search } }\n"
        "  - { source: litellm, map: { key-a: ads }, valid_from: 2026-11-23T00:00:00Z }\n"
    )

    assert [(one.team, one.valid_from_ms, one.valid_to_ms) for one in contract.consumers] == [
        ("search", 0, MONDAY_MS),
        ("ads", MONDAY_MS, OPEN_MS),
    ]


@pytest.mark.parametrize(
    ("block", "line", "reason"),
    [
        ("consumers: { map: { a: search } }\n", 2, "source"),
        ("consumers: { source: kong, map: { a: nobody } }\n", 2, 'names the team "nobody"'),
        ("consumers:\n  - { source: kong }\n  - { source: kong }\n", 4, "twice for the same time"),
        ("consumers: { source: kong, keys: {} }\n", 2, "keys"),
    ],
)
def test_a_wrong_block_is_refused_with_its_line(block: str, line: int, reason: str) -> None:
    with pytest.raises(ContractError) as refused:
        read(block)

    assert f"line {line}" in str(refused.value) or f":{line}" in str(refused.value)
    assert reason in str(refused.value)
