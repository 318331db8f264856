"""GET /v1/coverage over the database: who sees what of two rated hours."""

from datetime import timedelta

from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.store.keys import KeyStore
from app.web.application import create_app
from app.web.auth import new_secret, secret_sha256
from app.web.reading import Scope
from app.web.stored import dependencies_of
from app.wiring import Ledger
from app.workflows.rating import rate_window
from tests.store.builders import CLUSTER, NOON, NOON_MS
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span

URL_OF_SPAN = "/v1/coverage?start=2026-11-23T12:00:00Z&end=2026-11-23T15:00:00Z"


def test_a_key_of_a_team_sees_what_that_team_was_charged(
    database: Engine, database_url: URL
) -> None:
    collect(database, hours=2)
    prices(database)
    contract(database)
    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)
    cluster = ClusterSettings(
        name=CLUSTER,
        prometheus=PrometheusSettings(url="http://127.0.0.1:9"),
        kubernetes=KubernetesSettings(mode="off"),
    )
    settings = Settings(clusters=(cluster,))
    ledger = Ledger(settings, database_url, database, lambda: NOON + timedelta(hours=10))
    bodies = {}
    with TestClient(create_app(dependencies_of(ledger))) as client:
        for team in ("", "search", "ml"):
            secret = new_secret()
            with database.begin() as connection:
                KeyStore(connection).create(
                    f"key of {team}",
                    secret_sha256(secret),
                    scope=Scope.READ.value,
                    team=team,
                    created_ms=NOON_MS,
                )
            answer = client.get(URL_OF_SPAN, headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 200
            bodies[team] = answer.json()

    priced = {
        team: {
            (row["namespace"], row["service"]): (row["gpu_seconds"], row["cost_measured"])
            for row in body["measured"]
            if row["measure"] == "price"
        }
        for team, body in bodies.items()
    }
    assert priced == {
        "": {("", ""): ("43200", "36.00"), ("search-prod", "ranker"): ("14400", "12.00")},
        "search": {("search-prod", "ranker"): ("14400", "12.00")},
        "ml": {},
    }
    assert {hole["kind"] for hole in bodies["search"]["holes"]} == {
        "missing_hours",
        "latency_unknown",
        "cold_start_unknown",
    }
    assert bodies["ml"]["holes"] == []
