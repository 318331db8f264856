"""Closing over HTTP on the database: an admin closes, a team reads its statement, twice is once."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import Settings
from app.store.keys import KeyStore
from app.units.window import from_ms
from app.web.application import create_app
from app.web.auth import new_secret, secret_sha256
from app.web.reading import Scope
from app.web.stored import dependencies_of
from app.wiring import Ledger
from tests.store.builders import a_charge
from tests.workflows.closing_world import (
    DECEMBER_MS,
    LAST_HOURS,
    counted,
    put_hour,
    put_names,
    put_november,
)

CLOSE = "/v1/periods/2026-11/close"


@pytest.fixture
def client(database: Engine, database_url: URL) -> TestClient:
    """A client of a ledger whose present is a day after November."""
    now = from_ms(DECEMBER_MS) + timedelta(days=1)
    ledger = Ledger(Settings(), database_url, database, lambda: now)
    return TestClient(create_app(dependencies_of(ledger)))


def keyed(database: Engine, scope: Scope, team: str = "") -> dict[str, str]:
    """Headers with a fresh key."""
    secret = new_secret()
    with database.begin() as connection:
        KeyStore(connection).create(
            f"{scope.value} {team}",
            secret_sha256(secret),
            scope=scope.value,
            team=team,
            created_ms=DECEMBER_MS,
        )
    return {"Authorization": f"Bearer {secret}", "Idempotency-Key": "november"}


def test_a_period_is_closed_once_and_read_by_its_teams(
    client: TestClient, database: Engine
) -> None:
    put_november(database)
    admin, team = keyed(database, Scope.ADMIN), keyed(database, Scope.READ, "search")

    answers = [client.post(CLOSE, json={}, headers=admin) for _ in range(2)]
    own = client.get("/v1/statements/CB-2026-11-search/1", headers=team)
    other = client.get("/v1/statements/CB-2026-11-ml/1", headers=team)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json() == answers[0].json()
    assert (answers[0].json()["total"], answers[0].json()["closed_by"]) == ("12.00", "admin ")
    assert counted(database, "period_versions") == 1
    assert (own.status_code, own.json()["exact_total"]) == (200, "9.003")
    assert other.status_code == 404


def test_what_is_in_the_way_is_handed_back_with_a_reason(
    client: TestClient, database: Engine
) -> None:
    first, _, third = LAST_HOURS
    with database.begin() as connection:
        put_names(connection)
        put_hour(connection, first, a_charge(first), partial=True)
        put_hour(connection, third, a_charge(third))
    admin = keyed(database, Scope.ADMIN)

    refused = client.post(CLOSE, json={}, headers=admin)
    rows = client.get("/v1/periods/2026-11/obstacles", headers=admin).json()["rows"]
    accept = [{**row, "reason": "known"} for row in rows]
    for row in accept:
        assert row.pop("acceptable") is True
    closed = client.post(CLOSE, json={"accept": accept}, headers=admin)

    assert (refused.status_code, counted(database, "requests")) == (409, 1)
    assert [row["kind"] for row in rows] == ["missing", "partial"]
    assert (closed.status_code, closed.json()["accepted"]) == (200, 2)
