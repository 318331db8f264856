"""Latencies are the same where a server has histograms as native ones only."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec
from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.growth import growth
from tests.sources.native_server import native_server
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

# 2026-11-02T10:00:00Z.
TEN_MS = 1_793_613_600_000
WINDOW = Window(from_ms(TEN_MS), from_ms(TEN_MS) + timedelta(hours=1))
SCRAPE_MS = 30_000
HISTOGRAMS = ("vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds")


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """An hour of replicas that restart often."""
    return Fleet.build(
        FleetSpec(
            seed=3,
            start_ms=TEN_MS,
            hours=1,
            nodes=2,
            services=2,
            replicas=2,
            restarts_per_replica_day=48.0,
            prometheus_outages=0,
            target_outages=1,
        )
    )


@pytest.fixture(scope="module")
def simulated(fleet: Fleet) -> Iterator[str]:
    with SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms) as prometheus:
        yield prometheus.url


def harvested(url: str) -> Harvest:
    source = PrometheusSource(PrometheusSettings(url=url))
    return harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)


def observations(found: Harvest) -> dict[tuple[str, str, str], int]:
    """Return how many observations fell into each bucket, by pod, quantity and bound."""
    rows = growth(WINDOW, found.buckets, found.births, SCRAPE_MS, 24 * HOUR_MS)
    summed: Counter[tuple[str, str, float]] = Counter()
    columns = (rows[name].tolist() for name in ("pod", "quantity", "le", "growth"))
    for pod, quantity, le, grown in zip(*columns, strict=True):
        summed[pod, quantity, float(le)] += grown
    inside: dict[tuple[str, str, str], int] = {}
    before = ("", "", 0)
    for (pod, quantity, bound), up_to in sorted(summed.items()):
        below = before[2] if before[:2] == (pod, quantity) else 0
        if up_to != below:
            inside[pod, quantity, f"{bound:g}"] = up_to - below
        before = (pod, quantity, up_to)
    return inside


def test_native_histograms_give_the_observations_of_the_classic_ones(simulated: str) -> None:
    expected = harvested(simulated)

    with native_server(simulated, HISTOGRAMS) as (server, asked):
        found = harvested(server.url)

    assert not found.partial
    assert observations(found) == observations(expected)
    assert len(observations(found)) > 20
    assert any(query.startswith("resets({__name__=~") for query in asked.questions)
    assert {name for name, _ in found.aliases} == {name for name, _ in expected.aliases}


def test_a_target_that_is_scraped_both_ways_counts_once(simulated: str) -> None:
    expected = harvested(simulated)
    pods = sorted(set(expected.buckets.labels["pod"]))

    with native_server(simulated, HISTOGRAMS, frozenset(pods[:2])) as (server, _):
        found = harvested(server.url)

    assert observations(found) == observations(expected)


def test_tokens_that_only_a_native_histogram_has_are_its_sum() -> None:
    """TGI counts tokens in histograms alone: prompts of 100 tokens, answers of 40, one a scrape."""

    def points(tokens: int, low_ms: int, high_ms: int) -> list[object]:
        return [
            [at_ms / 1000, {"count": str(count), "sum": str(count * tokens), "buckets": []}]
            for count, at_ms in enumerate(range(TEN_MS - 60_000, TEN_MS + HOUR_MS, SCRAPE_MS))
            if low_ms < at_ms <= high_ms
        ]

    tokens = {"tgi_request_input_length": 100, "tgi_request_generated_tokens": 40}

    def answer(request: Request) -> Reply:
        if request.path.endswith("/buildinfo"):
            return json_reply({"status": "success", "data": {"version": "3.5.0", "revision": "r"}})
        if request.path.endswith("/label/__name__/values"):
            return json_reply({"status": "success", "data": ["tgi_request_success", *tokens]})
        query = request.form.get("query", "")
        high_ms = round(float(request.form.get("time", 0)) * 1000)
        length = re.search(r"\[(\d+)ms\]", query)
        result = [
            {
                "metric": {"__name__": name, "namespace": "chat", "pod": "tgi-0", "job": "tgi"},
                "histograms": points(each, high_ms - int(length[1]), high_ms),
            }
            for name, each in tokens.items()
            if length is not None and f'|{name}"' in query
        ]
        data = {"resultType": "matrix", "result": result}
        return json_reply({"status": "success", "data": data})

    with scripted_server(answer) as server:
        found = harvested(server.url)

    rows = growth(WINDOW, found.counters, found.births, SCRAPE_MS, 24 * HOUR_MS)
    grown = dict(zip(rows["quantity"], rows["growth"], strict=True))
    # 120 scrapes in the hour, and a sample before it from which the first of them grows.
    assert grown == {"PROMPT_TOKENS": 120 * 100, "GENERATION_TOKENS": 120 * 40}
    assert set(rows["pod"]) == {"tgi-0"}
