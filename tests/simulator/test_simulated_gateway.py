from collections import defaultdict
from fractions import Fraction

import pytest

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.gateway_series import (
    CONSUMERS,
    ENVOY,
    ENVOY_FAMILIES,
    LITELLM,
    LITELLM_FAMILIES,
    Consumer,
    GatewaySeries,
)
from tests.simulator.small import small_fleet


@pytest.fixture(scope="module")
def fleets() -> dict[str, Fleet]:
    return {"eu": small_fleet(seed=3), "us": small_fleet(seed=4)}


def gateway(fleets: dict[str, Fleet], style: str = LITELLM, **options: object) -> GatewaySeries:
    return GatewaySeries(home="eu", fleets=fleets, style=style, **options)


def test_every_token_of_a_service_is_somebody_s_where_nothing_goes_past(
    fleets: dict[str, Fleet],
) -> None:
    spec = fleets["eu"].spec
    lines = gateway(fleets, past=0.0).tokens(spec.start_ms, spec.end_ms)
    served = defaultdict(int)
    for line, tokens in lines.items():
        served[line.cluster, line.service] += tokens.requests

    for cluster, fleet in fleets.items():
        complete = defaultdict(int)
        for pod in fleet.pods:
            if pod.service is not None:
                counted = dict(fleet.truth.served(pod.uid, spec.start_ms, spec.end_ms).requests)
                complete[cluster, pod.service.name] += counted["stop"] + counted["length"]
        assert {key: n for key, n in served.items() if key[0] == cluster} == complete


def test_what_goes_past_the_gateway_it_does_not_count(fleets: dict[str, Fleet]) -> None:
    spec = fleets["eu"].spec

    def requests(past: float) -> int:
        lines = gateway(fleets, past=past).tokens(spec.start_ms, spec.end_ms)
        return sum(tokens.requests for line, tokens in lines.items() if line.cluster)

    assert Fraction(requests(0.5), requests(0.0)) < Fraction(3, 5)


def test_services_in_two_clusters_and_models_elsewhere_have_consumers(
    fleets: dict[str, Fleet],
) -> None:
    spec = fleets["eu"].spec
    lines = gateway(fleets).tokens(spec.start_ms, spec.end_ms)

    assert {line.cluster for line in lines} == {"eu", "us", ""}
    assert {line.consumer for line in lines} == set(CONSUMERS)
    assert {line.model for line in lines if not line.cluster} == {"gpt-4o", "claude-sonnet-4"}
    assert not gateway(fleets, elsewhere=False).tokens(0, spec.start_ms - spec.lead_ms)


def test_the_counters_of_litellm_move_by_the_tokens(fleets: dict[str, Fleet]) -> None:
    """A counter that begins again in the middle is counted from nothing."""
    gate = gateway(fleets)
    spec = fleets["eu"].spec
    exposition = Exposition(fleets["eu"], gateways=[gate])
    grown = defaultdict(int)
    resets = 0
    for one in exposition.family("litellm_output_tokens_metric_total"):
        labels = dict(one.labels)
        before = 0.0
        for value in one.value.tolist():
            resets += value < before
            grown[labels["team_alias"], labels["api_key_alias"]] += int(
                value - before if value >= before else value
            )
            before = value

    true = defaultdict(int)
    for line, tokens in gate.tokens(spec.opens_ms, spec.closes_ms).items():
        who = (line.consumer.team or "None", line.consumer.key_alias or "None")
        true[who] += tokens.generation_tokens
    assert resets
    assert set(grown) == set(true)
    # What came between the last scrape of a process and its end was never shown.
    for who, tokens in true.items():
        assert Fraction(7, 10) * tokens < grown[who] <= tokens


def test_the_gateways_name_models_and_nobody_in_their_own_ways(fleets: dict[str, Fleet]) -> None:
    lite = Exposition(fleets["eu"], gateways=[gateway(fleets)])
    envoy = Exposition(fleets["eu"], gateways=[gateway(fleets, ENVOY)])
    litellm = [dict(one.labels) for one in lite.family(LITELLM_FAMILIES[0])]
    tokens = [dict(one.labels) for one in envoy.family(ENVOY_FAMILIES[1])]

    assert any(one["model"].startswith("hosted_vllm/") for one in litellm)
    assert any(one["team"] == one["api_key_alias"] == "None" for one in litellm)
    assert all(one["gen_ai_request_model"].islower() for one in tokens)
    assert any("team_id" not in one and "key_alias" not in one for one in tokens)
    assert {one["gen_ai_token_type"] for one in tokens} == {"input", "output", "cached_input"}
    assert Consumer("", "") in CONSUMERS


def test_the_buckets_of_envoy_end_in_its_count(fleets: dict[str, Fleet]) -> None:
    exposition = Exposition(fleets["eu"], gateways=[gateway(fleets, ENVOY)])
    bucket, _, count, _ = ENVOY_FAMILIES
    ends = {
        tuple(pair for pair in one.labels if pair[0] != "le"): one.value.tolist()
        for one in exposition.family(bucket)
        if dict(one.labels)["le"] == "+Inf"
    }

    assert ends == {one.labels: one.value.tolist() for one in exposition.family(count)}
