"""POST and GET /v1/prices over the database."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.store.keys import KeyStore
from app.store.windows import WindowStore
from app.web.application import create_app
from app.web.auth import new_secret, secret_sha256
from app.web.reading import Scope
from app.web.stored import dependencies_of
from app.wiring import Ledger
from app.workflows.rating import rate_window
from tests.store.builders import CLUSTER, NOON, NOON_MS
from tests.workflows.stored import CONTRACT, PRICES, UTC_ZONE, collect, contract, span

DEARER = PRICES.replace("3.00", "4.00")


@pytest.fixture
def client(database: Engine, database_url: URL) -> Iterator[TestClient]:
    """A client with a key that writes, on two rated hours without prices."""
    collect(database, hours=2)
    contract(database, CONTRACT)
    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)
    cluster = ClusterSettings(
        name=CLUSTER,
        prometheus=PrometheusSettings(url="http://127.0.0.1:9"),
        kubernetes=KubernetesSettings(mode="off"),
    )
    settings = Settings(clusters=(cluster,))
    ledger = Ledger(settings, database_url, database, lambda: NOON + timedelta(hours=10))
    secret = new_secret()
    with database.begin() as connection:
        KeyStore(connection).create(
            "finance",
            secret_sha256(secret),
            scope=Scope.WRITE.value,
            team="",
            created_ms=NOON_MS,
        )
    with TestClient(create_app(dependencies_of(ledger))) as opened:
        opened.headers["Authorization"] = f"Bearer {secret}"
        opened.headers["Content-Type"] = "text/csv"
        yield opened


def taken(client: TestClient, text: str, key: str, query: str = "") -> dict[str, object]:
    answer = client.post(
        f"/v1/prices?{query}", content=text.encode(), headers={"Idempotency-Key": key}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


def prices_of(client: TestClient, query: str = "") -> list[str]:
    return [row["price"] for row in client.get(f"/v1/prices?{query}").json()["rows"]]


def pending(database: Engine) -> int:
    with database.connect() as connection:
        return len(WindowStore(connection, CLUSTER).pending())


def test_a_dry_run_says_the_money_and_stores_nothing(client: TestClient, database: Engine) -> None:
    body = taken(client, PRICES, "dry", "dry_run=true")

    # 2 GPUs × 2 h × 3.00 are held by search, 6 × 2 × 3.00 by nobody.
    assert body["moved"] == [
        {"team": "platform", "before": "0.00", "after": "36.00", "moved": "36.00"},
        {"team": "search", "before": "0.00", "after": "12.00", "moved": "12.00"},
    ]
    assert (body["hours"], prices_of(client), pending(database)) == (2, [], 0)


def test_an_import_marks_what_it_touches_and_is_signed_by_its_key(
    client: TestClient, database: Engine
) -> None:
    body = taken(client, PRICES, "one")

    assert (body["version"], body["added"], pending(database)) == (1, 1, 2)
    (version,) = client.get("/v1/prices/versions").json()["rows"]
    assert (version["author"], version["kind"]) == ("finance", "prices")


def test_the_same_request_again_does_not_undo_what_came_after_it(client: TestClient) -> None:
    taken(client, PRICES, "one")
    taken(client, DEARER, "two", "reason=mistyped")

    again = taken(client, PRICES, "one")

    assert (again["version"], again["added"], again["moved"]) == (1, 1, [])
    assert prices_of(client) == ["4"]
    assert prices_of(client, "version=1") == ["3"]
    other = client.post("/v1/prices", content=DEARER, headers={"Idempotency-Key": "one"})
    assert other.status_code == 422


def test_a_correction_without_a_reason_is_refused_and_nothing_is_taken(
    client: TestClient,
) -> None:
    taken(client, PRICES, "one")

    refused = client.post("/v1/prices", content=DEARER, headers={"Idempotency-Key": "two"})

    assert refused.status_code == 422
    assert "corrects 1 rows" in refused.json()["detail"]
    assert prices_of(client) == ["3"]
    assert client.get("/v1/prices?version=2").status_code == 404


def test_a_wrong_file_names_line_and_column(client: TestClient) -> None:
    bad = PRICES.replace("3.00", "-3")

    refused = client.post("/v1/prices", content=bad, headers={"Idempotency-Key": "bad"})

    assert refused.status_code == 422
    assert "line 2, column price: the price -3 is below zero" in refused.json()["detail"]
