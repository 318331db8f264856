"""What is read of consumers: every line explained, listed with its ratio, and doubted."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from app.chargeback.consumers import consumers_table
from app.findings.gateway_ratio import detect_gateway_ratios
from app.findings.values import WastePolicy
from app.store.waste import WasteStore
from app.workflows.consumers import consumer_sums
from app.workflows.reading import explanation
from tests.workflows.gateway_days import DAY, Days, in_two_clusters


@pytest.fixture
def two_clusters(database: Engine) -> Days:
    return in_two_clusters(Days(database, UTC))


def test_every_redistributed_line_explains_itself(two_clusters: Days) -> None:
    two_clusters.redistribute()
    texts = {}
    with two_clusters.engine.connect() as connection:
        for line in two_clusters.lines():
            team, explained = explanation(connection, int(str(line[4])), "USD")
            assert team == line[1]
            texts[line[:3]] = explained.text()

    search = texts["llama-us", "search", "search-key"]
    assert "is given to search-key, who sent tokens to it" in search
    assert "the contract's map of litellm gives it this consumer" in search
    assert "for every service of it, in all clusters" in search
    assert "2270 of 3750 weighted tokens, 60.5333%" in search
    assert "gateways counted 0.750 times what the engines did" in search
    assert "first-hand cost: 2.000000001 USD" in search
    assert "1 charge" in search
    debit = texts["llama-us", "provider", "-"]
    assert "is taken from who paid for it" in debit
    assert "-2.000000001 USD" in debit
    assert "knows no identity" in texts["llama-us", "provider", ""]
    assert "map of litellm has none" in texts["llama-us", "unowned", "nobody-s-key"]


def test_a_service_whose_tokens_mostly_go_around_the_gateway_is_a_finding(
    two_clusters: Days,
) -> None:
    two_clusters.redistribute()

    with two_clusters.engine.connect() as connection:
        evidence = WasteStore(connection, "us").gateway_ratios(DAY)
    (finding,) = detect_gateway_ratios(evidence, DAY, WastePolicy()).findings

    assert (finding.subject.workload, finding.subject.team) == ("llama-us", "provider")
    assert finding.evidence[0].value == 0.75


def test_consumers_are_listed_with_their_tokens_their_money_and_the_ratio(
    two_clusters: Days,
) -> None:
    two_clusters.redistribute()

    with two_clusters.engine.connect() as connection:
        found = consumer_sums(
            connection, DAY, (("team", ("search", "provider")),), zone=ZoneInfo("UTC")
        )
    rows = consumers_table(found.rows, "USD").records()

    assert [(row["cluster"], row["consumer"]) for row in rows] == [
        ("eu", "no identity"),
        ("eu", "search-key"),
        ("us", "no identity"),
        ("us", "search-key"),
    ]
    search = rows[3]
    assert search["day"] == "2026-11-23"
    assert (search["service"], search["matched_by"]) == ("llama-us", "model")
    assert (search["prompt_tokens"], search["cached_prompt_tokens"]) == (600, 500)
    assert (search["generation_tokens"], str(search["weighted_tokens"])) == (530, "2270")
    assert str(search["gateway_to_engine_ratio"]) == "0.7500"
    assert str(search["reassigned_cost"]) == "1.210666667"
