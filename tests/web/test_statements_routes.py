"""Statements over HTTP: the bytes that were written, to whom they belong."""

from app.chargeback.statements import Statement
from tests.web.clients import a_client
from tests.web.fake_ledger import SEARCH_KEY
from tests.web.fake_periods import statements_of

SEARCH = "/v1/statements/CB-2026-09-search"


def written(number: str, version: int) -> Statement:
    return next(one for one in statements_of(version) if one.number == number)


def test_a_statement_is_the_bytes_that_were_written() -> None:
    statement = written("CB-2026-09-search", 1)
    client = a_client()

    body = client.get(f"{SEARCH}/1")
    text = client.get(f"{SEARCH}/1", headers={"Accept": "text/csv"})

    assert (body.content, text.content) == (statement.body, statement.csv)
    assert body.headers["content-type"] == "application/json"
    assert "CB-2026-09-search-1.csv" in text.headers["content-disposition"]


def test_a_version_may_be_kept_for_ever_and_the_latest_may_not() -> None:
    client = a_client()

    assert "immutable" in client.get(f"{SEARCH}/1").headers["cache-control"]
    assert client.get(SEARCH).headers["cache-control"] == "private, no-cache"


def test_the_latest_version_is_answered_without_one() -> None:
    answer = a_client().get(SEARCH)

    assert answer.content == written("CB-2026-09-search", 2).body


def test_a_client_that_has_it_is_told_so() -> None:
    client = a_client()
    tag = client.get(SEARCH).headers["etag"]

    assert client.get(SEARCH, headers={"If-None-Match": tag}).status_code == 304


def test_a_team_sees_its_own_statements_only() -> None:
    client = a_client(key=SEARCH_KEY)

    rows = client.get("/v1/statements").json()["rows"]

    assert {one["team"] for one in rows} == {"search"}
    assert client.get(SEARCH).status_code == 200
    for number in ("CB-2026-09-ml", "CB-2026-09", "CB-2026-09-nobody"):
        for address in (f"/v1/statements/{number}", f"/v1/statements/{number}/1"):
            answer = client.get(address)
            assert (answer.status_code, answer.json()["title"]) == (404, "Not found")
    assert client.get("/v1/statements?team=ml").json()["rows"] == []


def test_statements_are_listed_by_number_and_version() -> None:
    client = a_client()

    body = client.get("/v1/statements?team=ml").json()
    text = client.get("/v1/statements?period=2026-09", headers={"Accept": "text/csv"}).text

    assert [(one["number"], one["version"], one["total"]) for one in body["rows"]] == [
        ("CB-2026-09-ml", 1, "1.50"),
        ("CB-2026-09-ml", 2, "1.50"),
    ]
    assert len(text.splitlines()) == 9
    assert client.get("/v1/statements?period=2026-08").json()["rows"] == []


def test_statements_come_in_pages() -> None:
    client = a_client()

    first = client.get("/v1/statements?limit=5")
    second = client.get(first.headers["Link"].split(";")[0].strip("<>"))

    numbers = [one["number"] for answer in (first, second) for one in answer.json()["rows"]]
    assert len(numbers) == 8
    assert numbers == sorted(numbers)


def test_a_version_that_was_never_written_is_not_found() -> None:
    assert a_client().get(f"{SEARCH}/3").status_code == 404
    assert a_client().get(f"{SEARCH}/0").status_code == 422


def test_a_team_whose_name_has_a_slash_has_addresses_too() -> None:
    answers = [
        a_client().get(f"/v1/statements/CB-2026-09-labs{slash}vision{version}").status_code
        for slash in ("/", "%2F")
        for version in ("", "/1")
    ]

    assert answers == [200] * 4


def test_what_no_name_has_is_refused_and_not_asked_for() -> None:
    client = a_client()

    for address in (
        "/v1/statements?team=%00",
        "/v1/statements?period=%00",
        "/v1/statements/CB%00",
        "/v1/statements/CB%00/1",
    ):
        answer = client.get(address)
        assert (answer.status_code, answer.json()["title"]) == (422, "Invalid request")
