"""A fleet with a gateway: services in two clusters, models elsewhere, missing identities."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.gateway_series import CONSUMERS, ENVOY, LITELLM, GatewaySeries
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.workflows.collecting import Collected, CollectFrom, collect_hour
from app.workflows.imports import apply_contract, import_prices
from app.workflows.rating import rate_window
from tests.workflows.stored import PRICES
from tests.workflows.worlds import ENDS_MS, SCRAPE_MS, WINDOW, a_spec

CONTRACT = """\
teams:
  - { name: search, namespaces: ["nothing-of-search"] }
  - { name: ml, namespaces: ["nothing-of-ml"] }
  - { name: ads, namespaces: ["nothing-of-ads"] }
  - { name: serving, namespaces: ["*"] }
platform: { team: platform }
consumers: { source: GATEWAY, map: { search: search, ml-evals: ml, ads: ads } }
"""
SOURCES = {LITELLM: "litellm", ENVOY: "envoy_ai_gateway"}


@dataclass(frozen=True, slots=True)
class Rated:
    """A ledger of two clusters, collected and rated, and the gateway in front of them."""

    engine: Engine
    gateway: GatewaySeries
    source: str

    def rows(self, query: str) -> list[dict[str, object]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]


def collected(cluster: str, server: SimulatedPrometheus, engine: Engine) -> Collected:
    """Collect the hour of one cluster, without a watch."""
    given = CollectFrom(
        cluster=cluster,
        source=PrometheusSource(PrometheusSettings(url=server.url)),
        catalogue=load_catalogue(),
        scrape_ms=SCRAPE_MS,
        counter_lookback_ms=24 * HOUR_MS,
        watched=False,
    )
    return collect_hour(given, WINDOW, engine=engine)


@pytest.fixture(params=[LITELLM, ENVOY])
def rated(request: pytest.FixtureRequest, database: Engine) -> Iterator[Rated]:
    """One hour in which two clusters serve the same models, one gateway in front of both."""
    fleets = {name: Fleet.build(a_spec(seed)) for name, seed in (("eu", 5), ("us", 6))}
    gateway = GatewaySeries(home="eu", fleets=fleets, style=request.param)
    options = {
        "engine": database,
        "billing_zone": ZoneInfo("UTC"),
        "at_ms": ENDS_MS,
        "dry_run": False,
    }
    with ExitStack() as servers:
        for name, fleet in fleets.items():
            exposition = Exposition(fleet, gateways=[gateway] if name == "eu" else [])
            server = servers.enter_context(
                SimulatedPrometheus(
                    fleet, lambda fleet=fleet: fleet.spec.closes_ms, exposition=exposition
                )
            )
            collected(name, server, database)
    any_model = PRICES.replace("H100", "")
    import_prices(any_model, file_name="prices.csv", currency="USD", **options)
    source = SOURCES[request.param]
    apply_contract(CONTRACT.replace("GATEWAY", source), file_name="teams.yaml", **options)
    for name in fleets:
        rate_window(name, WINDOW, engine=database, billing_zone=UTC)
    return Rated(database, gateway, source)


def test_consumers_pay_what_the_services_cost_to_the_nano(rated: Rated) -> None:
    credits_ = {
        row["workload_id"]: int(str(row["nanos"]))
        for row in rated.rows(
            "SELECT workload_id, sum(cost_nanos) AS nanos FROM charges"
            " WHERE step = 3 AND consumer_id <> 0 GROUP BY 1"
        )
    }
    first_hand = {
        row["workload_id"]: int(str(row["nanos"]))
        for row in rated.rows(
            "SELECT workload_id, sum(cost_nanos) AS nanos FROM charges WHERE step = 0"
            " AND workload_id IN (SELECT workload_id FROM token_usage) GROUP BY 1"
        )
    }
    (total,) = rated.rows("SELECT sum(cost_nanos) AS nanos FROM charges WHERE step = 3")

    assert credits_ == {key: nanos for key, nanos in first_hand.items() if nanos}
    assert len(credits_) >= 2
    assert total["nanos"] == 0


def test_every_share_is_that_of_the_weighted_tokens_of_both_clusters(rated: Rated) -> None:
    weights: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for row in rated.rows(
        "SELECT lower(split_part(r.target_model, 'hosted_vllm/', 2)) AS said,"
        " lower(r.target_model) AS target, c.team, c.key_alias,"
        " sum(u.prompt_tokens) AS p, sum(u.cached_prompt_tokens) AS c,"
        " sum(u.generation_tokens) AS g FROM consumer_usage AS u"
        " JOIN consumers AS c USING (consumer_id) JOIN gateway_routes AS r USING (route_id)"
        " GROUP BY 1, 2, 3, 4"
    ):
        prompt, cached, made = (int(str(row[name] or 0)) for name in ("p", "c", "g"))
        weight = prompt - cached + Fraction(cached, 10) + 4 * made
        model = str(row["said"] or row["target"])
        weights[model, f"{row['team']}/{row['key_alias']}"] += weight
    lines = rated.rows(
        "SELECT l.cost_nanos AS nanos, -d.cost_nanos AS debit, c.team, c.key_alias,"
        " lower(m.name) AS model FROM charges AS l"
        " JOIN reassignments AS r ON r.charge_id = l.charge_id"
        " JOIN charges AS d ON d.charge_id = r.debit_id"
        " JOIN consumers AS c ON c.consumer_id = l.consumer_id"
        " JOIN token_usage AS t ON t.workload_id = l.workload_id"
        " JOIN models AS m ON m.model_id = t.model_id WHERE l.step = 3"
    )

    assert lines
    for line in lines:
        own = weights[str(line["model"]), f"{line['team']}/{line['key_alias']}"]
        whole = sum(weight for (model, _), weight in weights.items() if model == line["model"])
        exact = Fraction(int(str(line["debit"]))) * own / whole
        assert abs(int(str(line["nanos"])) - exact) < 1


def test_everybody_who_sent_tokens_stands_on_a_line_and_no_model_from_elsewhere(
    rated: Rated,
) -> None:
    lines = rated.rows(
        "SELECT DISTINCT c.team, c.key_alias, t.name AS payer FROM charges AS l"
        " JOIN consumers AS c USING (consumer_id) JOIN teams AS t USING (team_id)"
        " WHERE l.step = 3"
    )
    payers = {(row["team"], row["key_alias"]): row["payer"] for row in lines}
    notes = rated.rows("SELECT subject FROM window_notes WHERE kind = 'model_elsewhere'")

    assert set(payers) == {(one.team, one.key_alias) for one in CONSUMERS}
    assert payers["", ""] == "serving"
    assert payers["ml", "ml-evals"] == "ml"
    assert payers["", "support-bot"] == "unowned"
    assert {payers["search", "search-web"], payers["search", "search-batch"]} == {"search"}
    assert len(notes) == 2


def test_the_ratio_to_the_engines_is_that_of_the_two_clusters(rated: Rated) -> None:
    ratios = rated.rows("SELECT DISTINCT gateway_tokens, engine_tokens FROM reassignments")

    for row in ratios:
        ratio = int(str(row["gateway_tokens"])) / int(str(row["engine_tokens"]))
        # Requests go past the gateway or are aborted; what an engine counted after the last scrape
        # before a restart nobody saw.
        assert 0.7 < ratio < 1.1


def test_tokens_are_nearly_all_that_the_gateway_counted(rated: Rated) -> None:
    truth = rated.gateway.tokens(WINDOW.start_ms, WINDOW.end_ms).values()
    (seen,) = rated.rows(
        "SELECT sum(prompt_tokens) AS p, sum(generation_tokens) AS g FROM consumer_usage"
    )

    for name, told in (
        ("p", sum(one.prompt_tokens for one in truth)),
        ("g", sum(one.generation_tokens for one in truth)),
    ):
        # What was counted before the restart and after the last scrape before it nobody saw.
        assert 0.85 * told < int(str(seen[name])) <= told


def test_an_hour_in_which_the_gateway_is_gone_does_not_replace_one_that_has_it(
    rated: Rated,
) -> None:
    fleet = rated.gateway.fleets["eu"]
    with SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms) as server:
        again = collected("eu", server, rated.engine)

    families = {name.removeprefix("prometheus/") for name in again.result.rejected}
    assert families >= {f"{rated.source}.prompt_tokens", f"{rated.source}.generation_tokens"}
    assert rated.rows("SELECT count(*) AS rows FROM consumer_usage")[0]["rows"] != 0
