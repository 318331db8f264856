"""Every gateway's exposition through a real Prometheus: who sent how many tokens where."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.sources.asking import Report
from app.sources.catalogue.gateway_files import GatewayFile, load_gateways
from app.sources.gateway_harvest import GatewayHarvest, gateway_harvest
from app.sources.harvest import metric_names
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS, Window
from app.usage.consumers import ConsumerFacts, consume
from tests.real.prometheus import backfill, running_prometheus
from tests.sources.exposed import FOLDER, openmetrics

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
SCRAPE_MS = 30_000
GATEWAYS = (
    "litellm",
    "litellm_1_74",
    "envoy_ai_gateway",
    "envoy_ai_gateway_0_3",
    "opentelemetry",
    "inference_extension",
    "inference_extension_1_0",
    "kong",
    "agentgateway",
    "higress",
    "custom_gateway",
)
CUSTOM = GatewayFile.model_validate(
    {
        "gateway": "my_gateway",
        "labels": {"team": ["tenant"], "end_user": ["person"], "model": ["model"]},
        "quantities": [
            {
                "name": "prompt_tokens",
                "series": [{"name": "my_gateway_tokens_total", "where": {"direction": "in"}}],
            },
            {
                "name": "generation_tokens",
                "series": [{"name": "my_gateway_tokens_total", "where": {"direction": "out"}}],
            },
        ],
    }
)

# Gateway, who, model asked for, sent to, backend: prompt, cached, generation, reasoning, requests.
Sent = dict[tuple[str, str, str, str, str], tuple[int | None, ...]]
EXPECTED: Sent = {
    ("litellm", "search/chat-web", "chat", "llama-70b", ""): (6400, 5000, 900, 300, 12),
    ("litellm", "no identity", "chat", "llama-70b", ""): (700, None, 80, None, None),
    ("litellm", "t-2", "gpt-4o", "gpt-4o", ""): (50, None, 20, None, None),
    ("litellm", "ads/batch", "llama-70b", "llama-70b", ""): (300, None, 40, None, None),
    ("envoy_ai_gateway", "search", "chat", "qwen", ""): (440, 120, 140, 30, 4),
    ("envoy_ai_gateway", "no identity", "chat", "qwen", ""): (11, None, 9, None, None),
    ("envoy_ai_gateway", "ads", "qwen", "qwen", ""): (210, None, 70, None, 3),
    ("opentelemetry", "assist", "mistral", "mistral-7b", "serving/mistral"): (
        *(900, None, 300, None, 6),
    ),
    ("opentelemetry", "assist", "mistral", "mistral-7b", ""): (100, None, 50, None, None),
    ("inference_extension", "tenant-a", "chat", "llama-lora", ""): (500, 350, 200, None, 5),
    ("inference_extension", "no identity", "chat", "llama-lora", ""): (80, None, 40, None, 2),
    ("inference_extension", "no identity", "chat", "llama", ""): (30, None, 300, None, 3),
    ("kong", "search-app", "llama-70b", "", ""): (1000, None, 2000, None, 100),
    ("kong", "no identity", "llama-70b", "", ""): (10, None, 20, None, None),
    ("agentgateway", "search", "llama", "llama-70b", ""): (330, None, 33, None, 3),
    ("higress", "search", "qwen-turbo", "", "serving/qwen"): (240, None, 70, None, 2),
    ("higress", "no identity", "qwen-max", "", ""): (24, None, 507, None, None),
    ("my_gateway", "search", "llama-70b", "", ""): (100, None, 10, None, None),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped one pod of every gateway, and one of them twice."""
    folder = tmp_path_factory.mktemp("gateways")
    files = [
        (f"{name}.prom", {"job": name, "instance": f"{name}:1", "namespace": "gw", "pod": name})
        for name in GATEWAYS
    ]
    twice = {"job": "again", "instance": "kong:2", "namespace": "gw", "pod": "kong", "app": "kong"}
    history = folder / "gateways.om"
    history.write_text(openmetrics(WINDOW, [*files, ("kong.prom", twice)]), encoding="utf-8")
    backfill(history, folder / "data")
    with running_prometheus(folder / "data") as running:
        yield running.url


@pytest.fixture(scope="module")
def report() -> Report:
    return Report()


@pytest.fixture(scope="module")
def harvested(server: str, report: Report) -> GatewayHarvest:
    return harvest_with(server, report, CUSTOM)


def harvest_with(server: str, report: Report, *custom: GatewayFile) -> GatewayHarvest:
    source = PrometheusSource(PrometheusSettings(url=server))
    return gateway_harvest(
        source,
        load_gateways(custom),
        metric_names(source, WINDOW, SCRAPE_MS),
        WINDOW,
        scrape_ms=SCRAPE_MS,
        report=report,
        counter_lookback_ms=24 * HOUR_MS,
    )


def consumed(found: GatewayHarvest) -> ConsumerFacts:
    return consume(
        WINDOW, found.counters, found.births, scrape_ms=SCRAPE_MS, lookback_ms=24 * HOUR_MS
    )


def told(facts: ConsumerFacts) -> Sent:
    consumers = {one.consumer_id: one for one in facts.consumers}
    routes = {one.route_id: one for one in facts.routes}
    found: Sent = {}
    for row in facts.usage.itertuples(index=False):
        consumer, route = consumers[row.consumer_id], routes[row.route_id]
        backend = "/".join(part for part in (route.backend_namespace, route.backend) if part)
        key = (consumer.gateway, consumer.name, route.model, route.target_model, backend)
        counts = (
            *(row.prompt_tokens, row.cached_prompt_tokens, row.generation_tokens),
            *(row.reasoning_tokens, row.requests),
        )
        assert key not in found
        found[key] = tuple(None if str(count) == "<NA>" else int(count) for count in counts)
    return found


def test_every_exposition_of_a_gateway_is_expected() -> None:
    there = {path.stem for path in FOLDER.glob("*.prom")}

    assert there == {*GATEWAYS}


def test_tokens_are_read_exactly_and_no_part_is_added(harvested: GatewayHarvest) -> None:
    facts = consumed(harvested)

    assert told(facts) == EXPECTED
    assert not facts.usage["carried"].any()
    assert facts.notes.empty


def test_people_are_dropped_at_the_source_unless_an_entry_allows_them(
    server: str, harvested: GatewayHarvest
) -> None:
    allowing = CUSTOM.model_copy(update={"end_users": True})
    people = told(consumed(harvest_with(server, Report(), allowing)))

    assert set(harvested.counters.labels["end_user"]) == {""}
    assert people[("my_gateway", "search/u1@example.com", "llama-70b", "", "")] == (
        *(77, None, 10, None, None),
    )
    assert not {name for gateway, name, *_ in people if gateway != "my_gateway" and "@" in name}


def test_a_shipped_entry_takes_labels_of_one_s_own(server: str) -> None:
    entry = GatewayFile.model_validate(
        {"gateway": "kong", "labels": {"team": ["workspace"]}, "nobody": ["default"]}
    )
    plain = GatewayFile.model_validate({"gateway": "kong", "labels": {"team": ["workspace"]}})

    assert ("kong", "default/search-app", "llama-70b", "", "") in told(
        consumed(harvest_with(server, Report(), plain))
    )
    assert ("kong", "search-app", "llama-70b", "", "") in told(
        consumed(harvest_with(server, Report(), entry))
    )


def test_the_report_says_what_was_seen_and_under_which_names(
    harvested: GatewayHarvest, report: Report
) -> None:
    assert len(harvested.counters.labels)
    families = {row.family for row in report.evidence}
    aliases = {(note.subject, note.detail) for note in report.notes if note.kind == "alias"}
    copied = {note.subject for note in report.notes if note.kind == "duplicate_series"}

    assert {"litellm.prompt_tokens", "kong.generation_tokens"} <= families
    assert all(row.seen >= row.expected - 2 for row in report.evidence)
    assert ("litellm.prompt_tokens", "Read as litellm_input_tokens_total.") in aliases
    assert ("litellm.prompt_tokens", "Read as litellm_input_tokens_metric_total.") in aliases
    assert {"kong.prompt_tokens", "kong.generation_tokens", "kong.requests"} == copied
    assert not report.partial


def test_a_server_without_gateways_is_asked_nothing(server: str) -> None:
    report = Report()
    source = PrometheusSource(PrometheusSettings(url=server))
    found = gateway_harvest(
        source,
        load_gateways(),
        frozenset({"up"}),
        WINDOW,
        scrape_ms=SCRAPE_MS,
        report=report,
        counter_lookback_ms=24 * HOUR_MS,
    )

    assert (report.questions, len(found.counters.labels)) == (0, 0)
    assert consumed(found).usage.empty
