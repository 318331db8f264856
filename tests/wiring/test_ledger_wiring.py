from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import (
    ClusterSettings,
    KubernetesSettings,
    PrometheusSettings,
    Settings,
    SettingsError,
    load_settings,
)
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec
from app.sources.prometheus import PrometheusUnreachable
from app.store.runs import Outcome, RunStore
from app.store.usage import UsageStore
from app.units.window import to_ms
from app.wiring import FutureWindowError, Ledger
from app.wiring.clients import kubernetes_source, prometheus_source
from app.wiring.examining import examine
from tests.sources.scripted_server import json_reply, scripted_server
from tests.store.builders import CLUSTER, NOON, an_hour, facts
from tests.workflows.stored import collect

NOW = NOON + timedelta(hours=10)


def _cluster(**changes: object) -> ClusterSettings:
    given: dict[str, object] = {
        "name": CLUSTER,
        "prometheus": PrometheusSettings(url="http://127.0.0.1:9", timeout_seconds=1),
        "kubernetes": KubernetesSettings(mode="off"),
        "settle_minutes": 180,
    }
    return ClusterSettings.model_validate(given | changes)


def _ledger(engine: Engine, url: URL, *clusters: ClusterSettings) -> Ledger:
    return Ledger(Settings(clusters=clusters or (_cluster(),)), url, engine, lambda: NOW)


def _start(hour: int) -> datetime:
    return NOON + timedelta(hours=hour)


def test_settled_hours_after_the_first_are_due_the_oldest_first(
    database: Engine, database_url: URL
) -> None:
    collect(database, hours=2)
    ledger = _ledger(database, database_url)

    due = ledger.windows_to_collect(CLUSTER, NOW)

    # It is 22:00 and hours settle in three: 14:00 to 18:00 are due, 19:00 is not.
    assert [window.start for window in due] == [_start(hour) for hour in range(2, 7)]


def test_a_partial_hour_is_due_again_after_the_missing_ones(
    database: Engine, database_url: URL
) -> None:
    collect(database, hours=3, partial_hour=1)
    ledger = _ledger(database, database_url)

    due = ledger.windows_to_collect(CLUSTER, NOON + timedelta(hours=7))

    assert [window.start for window in due] == [_start(3), _start(1)]


def test_a_ledger_without_an_hour_begins_where_prometheus_does(
    database: Engine, database_url: URL
) -> None:
    fleet = Fleet.build(FleetSpec(start_ms=to_ms(NOON), hours=10, nodes=1, services=1))
    with SimulatedPrometheus(fleet, lambda: to_ms(NOW)) as prometheus:
        cluster = _cluster(prometheus=PrometheusSettings(url=prometheus.url))

        due = _ledger(database, database_url, cluster).windows_to_collect(CLUSTER, NOW)

    # The fleet is scraped from ten minutes before noon.
    assert [window.start for window in due] == [_start(hour) for hour in range(-1, 7)]


def test_a_ledger_without_an_hour_waits_for_a_prometheus_with_a_sample(
    database: Engine, database_url: URL
) -> None:
    fleet = Fleet.build(FleetSpec(start_ms=to_ms(NOON), hours=1, nodes=1, services=1))
    with SimulatedPrometheus(fleet, lambda: to_ms(NOW)) as prometheus:
        prometheus.oldest_ms = to_ms(NOW)
        cluster = _cluster(prometheus=PrometheusSettings(url=prometheus.url))

        assert _ledger(database, database_url, cluster).windows_to_collect(CLUSTER, NOW) == ()


def test_a_partial_hour_is_not_tried_twice_within_an_hour(
    database: Engine, database_url: URL
) -> None:
    collect(database, hours=2, partial_hour=1)
    with database.begin() as connection:
        RunStore(connection).begin(
            uuid4(), "collect", started_ms=to_ms(_start(4)), cluster=CLUSTER, window=an_hour(1)
        )
    ledger = _ledger(database, database_url)

    def retried(minutes: int) -> bool:
        at = _start(4) + timedelta(minutes=minutes)
        return an_hour(1) in ledger.windows_to_collect(CLUSTER, at)

    assert not retried(59)
    assert retried(61)


def test_minutes_are_kept_for_35_days(database: Engine, database_url: URL) -> None:
    minutes = pd.DataFrame(
        {
            "minute_ms": [to_ms(NOON)],
            "workload_id": [1],
            "model_id": [1],
            "requests": [1],
            "prompt_tokens": [1],
            "cached_prompt_tokens": [0],
            "generation_tokens": [1],
            "running": [1.0],
            "waiting": [0.0],
            "cache_use": [0.0],
        }
    )
    collect(database, hours=1)
    with database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(an_hour(), facts(an_hour(), minutes=minutes))
    ledger = _ledger(database, database_url)

    assert ledger.forget_minutes(NOON + timedelta(days=35)) == 0
    assert ledger.forget_minutes(NOON + timedelta(days=35, minutes=1)) == 1


def test_an_hour_that_has_not_ended_is_refused(database: Engine, database_url: URL) -> None:
    ledger = _ledger(database, database_url)

    with pytest.raises(FutureWindowError, match="not come"):
        ledger.collect(CLUSTER, an_hour(10))


def test_a_failed_run_is_in_the_journal_with_its_reason(
    database: Engine, database_url: URL
) -> None:
    ledger = _ledger(database, database_url)

    with pytest.raises(PrometheusUnreachable):
        ledger.collect(CLUSTER, an_hour())

    with database.connect() as connection:
        (run,) = RunStore(connection).latest("collect")
    assert run.outcome is Outcome.FAILED
    assert "127.0.0.1" in run.message


def test_the_doctor_names_what_does_not_answer(database: Engine, database_url: URL) -> None:
    del database_url
    settings = Settings(
        clusters=(_cluster(kubernetes=KubernetesSettings(mode="url", url="http://127.0.0.1:9")),)
    )

    found = {one.name: one for one in examine(settings, database)}

    assert found["database"].ok
    assert not found[f"{CLUSTER} Prometheus"].ok
    assert not found[f"{CLUSTER} Kubernetes"].ok
    assert "127.0.0.1" in found[f"{CLUSTER} Prometheus"].detail


def test_a_cluster_without_kubernetes_has_no_client_for_it() -> None:
    with pytest.raises(SettingsError, match="switched off"):
        kubernetes_source(_cluster())


def test_a_secret_that_is_not_set_is_named_not_guessed() -> None:
    cluster = _cluster(
        prometheus=PrometheusSettings(
            url="http://127.0.0.1:9", bearer_token_env="GPULEDGER_TEST_TOKEN_THAT_IS_NOT_SET"
        )
    )

    with pytest.raises(SettingsError, match="GPULEDGER_TEST_TOKEN_THAT_IS_NOT_SET"):
        prometheus_source(cluster)


def test_headers_tokens_and_certificates_reach_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPULEDGER_TEST_API_KEY", "k3y")
    token = tmp_path / "token"
    token.write_text("t0ken", encoding="utf-8")
    data = {"resultType": "matrix", "result": []}
    with scripted_server(lambda _: json_reply({"status": "success", "data": data})) as server:
        cluster = _cluster(
            prometheus=PrometheusSettings(
                url=server.url,
                headers={"X-Scope-OrgID": "a"},
                headers_env={"X-Api-Key": "GPULEDGER_TEST_API_KEY"},
                bearer_token_file=token,
            )
        )
        prometheus_source(cluster).query("up", 0)

    sent = server.asked[-1].headers
    assert (sent["X-Scope-OrgID"], sent["X-Api-Key"]) == ("a", "k3y")
    assert sent["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    "wrong",
    [
        {"bearer_token_env": "A", "username": "b"},
        {"bearer_token_env": "A", "bearer_token_file": "b"},
        {"key_file": "client.key"},
        {"headers_env": {"a b": "C"}},
    ],
)
def test_access_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PrometheusSettings.model_validate({"url": "http://127.0.0.1:9", **wrong})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("currency = 'dollars'", "currency"),
        ("billing_zone = 'Mars/Olympus'", "IANA"),
        ("clustres = []", "clustres"),
        ("[[clusters]]\nname = 'a'", "prometheus"),
        ("[[clusters]]\nname = 'a'\nprometheus = { url = 'prometheus:9090' }", "http"),
        ("database_url = 'postgresql://x'", "GPULEDGER_DATABASE_URL"),
        ("currency = ", "TOML"),
    ],
)
def test_a_bad_configuration_says_where_and_what(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "gpuledger.toml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match=word) as caught:
        load_settings(file)

    assert str(file) in str(caught.value)


def test_a_configuration_is_read_with_its_clusters(tmp_path: Path) -> None:
    file = tmp_path / "gpuledger.toml"
    file.write_text(
        "billing_zone = 'Asia/Kolkata'\n[[clusters]]\nname = 'prod-eu'\nsettle_minutes = 60\n"
        "prometheus = { url = 'http://prometheus:9090/', scrape_interval_seconds = 15 }\n"
        "kubernetes = { mode = 'kubeconfig', context = 'prod-eu' }\n",
        encoding="utf-8",
    )

    settings = load_settings(file)

    cluster = settings.cluster("prod-eu")
    assert cluster.prometheus.url == "http://prometheus:9090"
    assert cluster.kubernetes.context == "prod-eu"
    assert settings.zone.utcoffset(datetime(2026, 11, 23, tzinfo=UTC)) == timedelta(
        hours=5, minutes=30
    )
