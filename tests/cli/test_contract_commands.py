"""`gpuledger contract`: apply with what is unknown, show what counted, test who owns."""

import pytest

from tests.cli.commands import CommandLine

FIRST = """\
departments: [{ name: web, cost_center: CC-7 }]
teams:
  - { name: search, department: web, namespaces: ["search-*"], budget: { monthly: "20000" } }
  - { name: ml, namespaces: [search-ml], clusters: [prod-us] }
  - { name: lab, labels: { tier: gold } }
  - { name: ads, labels: { app: x } }
"""
SECOND = "teams:\n  - { name: search, valid_from: 2026-03-17 }\n"


@pytest.fixture
def here(empty: CommandLine) -> CommandLine:
    empty.file("gpuledger.toml", 'billing_zone = "Asia/Kolkata"\n')
    empty.file("first.yaml", FIRST)
    empty.file("second.yaml", SECOND)
    applied = empty.run("contract", "apply", "first.yaml").done()
    assert "Contract version 1 with 4 team blocks." in applied.out
    assert "no cluster 'prod-us' was ever collected" in applied.err
    return empty


def test_every_version_can_be_shown_in_the_zone_of_its_days(here: CommandLine) -> None:
    here.run("contract", "apply", "second.yaml").done()

    latest = here.run("contract", "show", "--format", "csv").done().rows()
    first = here.run("contract", "show", "--version", "1", "--format", "json").done().json()
    text = here.run("contract", "show", "--version", "1", "--text").done()

    assert [(row["team"], row["valid_from"]) for row in latest] == [
        ("search", "2026-03-16T18:30:00Z")
    ]
    shown = {str(row["team"]): row for row in first}
    assert (shown["search"]["department"], shown["search"]["cost_center"]) == ("web", "CC-7")
    assert shown["search"]["monthly_budget"] == "20000"
    assert text.out == FIRST
    assert "Asia/Kolkata" in here.run("contract", "show").done().out
    here.run("contract", "show", "--version", "9").refused("There is no version 9")


def test_the_winner_is_named_with_why_the_others_lost(here: CommandLine) -> None:
    place = ("--cluster", "prod-eu", "--at", "2026-11-23T00:00Z")

    owned = here.run("contract", "test", *place, "--namespace", "search-ml", "--label", "tier=gold")
    tied = here.run(
        *("contract", "test", *place, "--namespace", "x"),
        *("--label", "tier=gold", "--label", "app=x"),
    )
    nobody = here.run("contract", "test", *place, "--namespace", "x", "--format", "csv")

    assert owned.done().out.splitlines() == [
        "search (department web; cost center CC-7): search by namespace search-*.",
        "  not ml by namespace search-ml: counts in prod-us only",
        "  not lab by labels tier=gold: labels come after namespaces",
    ]
    assert "Contested by ads and lab." in tied.done().out
    assert nobody.done().rows()[0]["reason"] == "no rule claims it"
    here.run("contract", "test", *place, "--namespace", "x", "--label", "y").refused("has no value")


def test_without_a_contract_there_is_none_to_show(empty: CommandLine) -> None:
    empty.run("contract", "show").refused("No contract was applied")
