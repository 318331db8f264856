"""Reports over HTTP from a real ledger: reads number nothing, and teams see their own."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import ProgrammingError

from app.settings import Settings
from app.store.keys import KeyStore
from app.store.tables.report_runs import REPORT_RUNS
from app.web.application import create_app
from app.web.auth import secret_sha256
from app.web.stored import dependencies_of
from app.wiring import Ledger
from tests.house import ROOT
from tests.store.builders import CLUSTER, NOON_MS
from tests.workflows.stored import collect, contract, prices, span

SECRETS = {"": "glk_all-teams-of-the-tests-00", "search": "glk_search-team-of-the-tests"}
WEEK = "/v1/reports/weekly_chargeback/2026-W48"


@pytest.fixture
def ledger(database: Engine, database_url: URL, tmp_path: Path) -> Ledger:
    collect(database, hours=2)
    prices(database)
    contract(database)
    with database.begin() as connection:
        for team, secret in SECRETS.items():
            KeyStore(connection).create(
                team or "all",
                secret_sha256(secret),
                scope="read",
                team=team,
                created_ms=NOON_MS,
            )
    settings = Settings(reports_dir=ROOT / "reports", report_out=tmp_path / "out")
    made = Ledger(settings, database_url, database, lambda: datetime(2026, 11, 30, tzinfo=UTC))
    made.rate(CLUSTER, span(2))
    return made


def client_of(ledger: Ledger, team: str = "") -> TestClient:
    client = TestClient(create_app(dependencies_of(ledger)))
    client.headers["Authorization"] = f"Bearer {SECRETS[team]}"
    return client


def test_a_read_has_no_issue_and_a_published_report_has_its_number(ledger: Ledger) -> None:
    client = client_of(ledger)

    before = client.get(WEEK).json()["issue"]
    published = ledger.publish("weekly_chargeback", "2026-W48")
    after = client.get(WEEK).json()["issue"]
    csv = client.get(WEEK, params={"format": "csv"})
    (run,) = client.get("/v1/reports/runs").json()["rows"]

    assert (before, after) == (None, 1)
    assert csv.content == published.files[0].content
    assert run["sha256"] == published.files[0].sha256


def test_a_team_reads_its_rows_and_no_report_that_is_of_none(ledger: Ledger) -> None:
    client = client_of(ledger, "search")

    rows = client.get(WEEK).json()["rows"]
    bills = client.get("/v1/reports/reconciliation/2026-11")

    assert {row["team"] for row in rows} == {"search", ""}
    assert rows[-1]["total_cost"] == "12.00"
    assert bills.status_code == 403
    assert client.get("/v1/reports").status_code == 200


def test_every_report_that_ships_is_answered_in_every_format(ledger: Ledger) -> None:
    client = client_of(ledger)

    for row in client.get("/v1/reports").json()["rows"]:
        period = "2026-W48" if row["grain"] == "week" else "2026-11"
        for form in ("json", "csv", "xlsx", "parquet"):
            answer = client.get(f"/v1/reports/{row['name']}/{period}", params={"format": form})
            assert answer.status_code == 200, answer.text


def test_what_was_written_can_only_be_added_to(ledger: Ledger) -> None:
    ledger.publish("weekly_chargeback", "2026-W48")

    for change in (REPORT_RUNS.delete(), REPORT_RUNS.update().values(sha256="")):
        with (
            ledger.engine.begin() as connection,
            pytest.raises(ProgrammingError, match="permission denied"),
        ):
            connection.execute(change)
