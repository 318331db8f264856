"""Series of gateways that look alike: copies of one scrape, and programs behind one address."""

from datetime import UTC, datetime, timedelta

import pytest

from app.sources.asking import Report
from app.sources.catalogue.gateway_files import load_gateways
from app.sources.gateway_harvest import gateway_harvest
from app.sources.harvest import metric_names
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS, Window
from app.usage.consumers import consume
from tests.real.prometheus import backfill, running_prometheus

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
SCRAPE_MS = 30_000
PROXY = (
    'job="litellm",instance="10.0.0.1:4000",namespace="gw",pod="litellm-0",model="m",'
    'requested_model="m",team_alias="'
)
COLLECTOR = (
    'job="otel",instance="10.0.0.2:8889",namespace="gw",pod="collector-0",'
    'gen_ai_token_type="output",gen_ai_request_model="m",'
)
LITELLM = "litellm_output_tokens_metric_total"
OTEL = "gen_ai_client_token_usage_sum"
# Name, labels, how much later than on the half minute it is scraped, tokens a scrape.
SERIES = (
    (LITELLM, PROXY + 'copied",ha_replica="a"', 0, 10),
    (LITELLM, PROXY + 'copied",ha_replica="b"', 7_000, 10),
    (LITELLM, PROXY + 'told-apart",feature="chat"', 0, 10),
    (LITELLM, PROXY + 'told-apart",feature="search"', 0, 100),
    (OTEL, COLLECTOR + 'team="upgraded",exported_job="shop"', 0, 10),
    (OTEL.replace("_sum", "_token_sum"), COLLECTOR + 'team="old",exported_job="web"', 0, 10),
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Generation tokens of the hour by team, read from a real Prometheus."""
    folder = tmp_path_factory.mktemp("alike")
    lines = []
    for name, labels, later_ms, step in sorted(SERIES):
        instants = range(WINDOW.start_ms - 60_000 + later_ms, WINDOW.end_ms, SCRAPE_MS)
        lines += [
            f"{name}{{{labels}}} {number * step} {at_ms / 1000:.3f}"
            for number, at_ms in enumerate(instants)
        ]
    history = folder / "alike.om"
    history.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    backfill(history, folder / "data")
    with running_prometheus(folder / "data") as running:
        source = PrometheusSource(PrometheusSettings(url=running.url))
        found = gateway_harvest(
            source,
            load_gateways(),
            metric_names(source, WINDOW, SCRAPE_MS),
            WINDOW,
            scrape_ms=SCRAPE_MS,
            report=Report(),
            counter_lookback_ms=24 * HOUR_MS,
        )
    facts = consume(
        WINDOW, found.counters, found.births, scrape_ms=SCRAPE_MS, lookback_ms=24 * HOUR_MS
    )
    teams = {one.consumer_id: one.team for one in facts.consumers}
    counted = facts.usage[["consumer_id", "generation_tokens"]].to_numpy().tolist()
    return {teams[key]: int(count) for key, count in counted}


def test_a_second_prometheus_counts_nothing_again_whatever_its_label_is_called(
    tokens: dict[str, int],
) -> None:
    assert tokens["copied"] == 120 * 10


def test_labels_in_which_series_of_one_instant_differ_are_the_gateways_own(
    tokens: dict[str, int],
) -> None:
    assert tokens["told-apart"] == 120 * 110


def test_programs_behind_one_collector_have_each_the_names_of_its_release(
    tokens: dict[str, int],
) -> None:
    assert (tokens["upgraded"], tokens["old"]) == (1_200, 1_200)
