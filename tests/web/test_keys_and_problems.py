"""Who may ask at all, and how every failure is told."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi.testclient import TestClient
from inline_snapshot import snapshot

from app.chargeback.costs import COST_GROUPS
from app.errors import GpuledgerError
from app.store.engine import DatabaseUnavailableError
from app.web.application import create_app
from app.web.auth import new_secret, secret_sha256
from app.web.reading import ApiKey, ClusterCoverage, Ledger, Scope
from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import READ_KEY, FakeLedger, a_dependencies, a_ledger

PROTECTED = (
    f"/v1/costs?{SPAN}",
    f"/v1/inference?{SPAN}",
    "/v1/findings",
    "/v1/charges/00ab54a98ceb1f0a/explanation",
    "/v1/coverage",
)


@pytest.mark.parametrize("url", PROTECTED)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer glk_unknown-key-of-nobody-0000",
        f"Basic {READ_KEY}",
        f"Bearer {READ_KEY} ",
        f"Bearer {READ_KEY}x",
        READ_KEY,
        "Bearer " + "glk_" + "a" * 5_000,
    ],
)
def test_without_a_known_key_nothing_is_told(url: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = a_client(key=None).get(url, headers=headers)

    if header == f"Bearer {READ_KEY} ":
        # The space at the end belongs to the header and not to the key.
        assert answer.status_code in (200, 404)
        return
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="gpuledger"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert READ_KEY not in answer.text


def test_a_key_opens_every_read() -> None:
    assert [a_client().get(url).status_code for url in PROTECTED] == [200] * len(PROTECTED)


def test_a_new_secret_opens_what_its_hash_is_stored_for() -> None:
    secret = new_secret()
    ledger = a_ledger()
    ledger.keys[secret_sha256(secret)] = ApiKey(name="new", scope=Scope.READ)

    assert a_client(ledger, key=secret).get("/v1/findings").status_code == 200
    assert new_secret() != secret


def test_scopes_include_those_before_them() -> None:
    assert Scope.ADMIN.includes(Scope.READ)
    assert Scope.WRITE.includes(Scope.WRITE)
    assert not Scope.READ.includes(Scope.WRITE)


def test_a_problem_says_what_where_and_what_to_do() -> None:
    body = a_client().get(f"/v1/costs?{SPAN}&group_by=cat").json()

    assert body == {
        "type": "urn:gpuledger:problem:invalid-request",
        "title": "Invalid request",
        "status": 422,
        "detail": "There is no group column 'cat'.",
        "instance": "/v1/costs",
        "hint": f"Known are {', '.join(COST_GROUPS)}.",
        "invalid_parameters": [{"name": "group_by", "message": "There is no group column 'cat'."}],
    }


def test_an_unknown_address_is_a_problem() -> None:
    answer = a_client().get("/v1/nothing")

    assert answer.status_code == 404
    assert answer.json() == snapshot(
        {
            "type": "urn:gpuledger:problem:not-found",
            "title": "Not Found",
            "status": 404,
            "detail": "There is nothing at /v1/nothing.",
            "instance": "/v1/nothing",
            "hint": "",
            "invalid_parameters": [],
        }
    )


def test_an_address_with_a_slash_too_many_leads_nowhere() -> None:
    answer = a_client().get("/v1/costs/", headers={"Host": "elsewhere.example"})

    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize("url", PROTECTED)
def test_a_parameter_that_nobody_reads_is_refused(url: str) -> None:
    answer = a_client().get(url, params={**dict(parse_qsl(urlsplit(url).query)), "tema": "ml"})

    assert answer.status_code == 422
    assert answer.json()["invalid_parameters"][0]["name"] == "tema"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "TRACE"])
def test_a_method_that_is_not_there_is_a_problem_that_names_those_that_are(method: str) -> None:
    answer = a_client().request(method, "/v1/costs")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.headers["content-type"] == "application/problem+json"


@dataclass
class BrokenLedger(FakeLedger):
    """A ledger whose first read fails."""

    failure: Exception = field(default_factory=ValueError)

    def coverage(self) -> Sequence[ClusterCoverage]:
        raise self.failure


def broken(failure: Exception) -> TestClient:
    return a_client(BrokenLedger(failure=failure))


def test_a_defect_tells_nothing_of_the_inside() -> None:
    answer = broken(ValueError("secret detail")).get("/v1/coverage")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


def test_a_failed_request_commits_nothing() -> None:
    ledger = BrokenLedger()

    a_client(ledger).get("/v1/coverage")

    assert ledger.commits == 0


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (DatabaseUnavailableError("The database does not answer.", hint="Start it."), 503),
        (GpuledgerError("It failed.", hint="Mend it."), 500),
    ],
)
def test_a_failure_of_ours_is_told_and_logged(
    failure: GpuledgerError, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = broken(failure).get("/v1/coverage")

    assert answer.status_code == status
    assert answer.json()["detail"] == failure.message
    assert answer.json()["hint"] == failure.hint
    assert failure.message in caplog.text


def test_a_database_that_cannot_be_reached_is_told_before_anything_else() -> None:
    @contextmanager
    def refuse() -> Iterator[Ledger]:
        message = "The database does not answer."
        raise DatabaseUnavailableError(message, hint="Start it.")
        yield a_ledger()

    deps = replace(a_dependencies(a_ledger()), open_ledger=refuse)

    answer = TestClient(create_app(deps), raise_server_exceptions=False).get("/v1/coverage")

    assert answer.status_code == 503


@pytest.mark.parametrize("url", ["/", "/healthz", "/v1/coverage", "/v1/nothing", "/openapi.json"])
def test_every_answer_keeps_browsers_careful(url: str) -> None:
    answer = a_client().get(url)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
