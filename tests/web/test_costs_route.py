"""GET /v1/costs, by a person with a calculator."""

import csv
import io
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi.testclient import TestClient

from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY, a_ledger


def problem(client: TestClient, url: str, status: int) -> dict[str, object]:
    answer = client.get(url)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert body["status"] == status
    return body


def test_three_days_by_team() -> None:
    answer = a_client().get(f"/v1/costs?{SPAN}&group_by=team")

    body = answer.json()
    assert answer.status_code == 200
    assert body["start"] == "2026-11-20T00:00:00Z"
    assert body["end"] == "2026-11-23T00:00:00Z"
    assert body["basis"] == "posted"
    assert body["currency"] == "USD"
    assert body["complete"] is False
    assert body["pending_rerating"] is False
    assert [row["team"] for row in body["rows"]] == ["free", "ml", "platform", "search", "unowned"]
    search = body["rows"][3]
    assert search["gpu_seconds_held"] == str(3 * 105 * 3600)
    assert search["used_cost"] == "216.00"
    assert search["total_cost"] == "315.00"
    assert list(search) == body["columns"]


def test_the_column_sums_to_the_whole() -> None:
    body = a_client().get(f"/v1/costs?{SPAN}&group_by=namespace,kind").json()

    assert sum(Decimal(row["total_cost"] or 0) for row in body["rows"]) == Decimal(
        body["total_cost"]
    )
    assert {row["namespace"] for row in body["rows"]} >= {"", "search-api"}


def test_team_is_what_costs_are_grouped_by_unless_said_otherwise() -> None:
    assert a_client().get(f"/v1/costs?{SPAN}").json()["group_by"] == ["team"]


def test_the_basis_is_passed_on_and_said() -> None:
    ledger = a_ledger()

    body = a_client(ledger).get(f"/v1/costs?{SPAN}&basis=usage").json()

    assert body["basis"] == "usage"
    assert ledger.asked[0].basis.value == "usage"  # type: ignore[union-attr]  # it asked for costs


def test_filters_of_one_column_are_alternatives_and_columns_narrow_each_other() -> None:
    url = f"/v1/costs?{SPAN}&group_by=team,kind&filter=team=search&filter=team=ml&filter=kind=idle"

    rows = a_client().get(url).json()["rows"]

    assert [(row["team"], row["kind"]) for row in rows] == [("ml", "idle"), ("search", "idle")]


def test_csv_has_every_row_in_one_file() -> None:
    answer = a_client().get(f"/v1/costs?{SPAN}&group_by=team", headers={"Accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="costs-2026-11-20-2026-11-23.csv"'
    )
    assert [row["team"] for row in rows] == ["free", "ml", "platform", "search", "unowned"]
    assert rows[0]["total_cost"] == ""
    assert rows[3]["total_cost"] == "315.00"
    assert b"\r\n" in answer.content


def test_pages_follow_one_another_by_their_links() -> None:
    client = a_client()
    whole = client.get(f"/v1/costs?{SPAN}&group_by=namespace,kind").json()["rows"]
    url: str | None = f"/v1/costs?{SPAN}&group_by=namespace,kind&limit=3"
    rows: list[object] = []
    pages = 0

    while url:
        answer = client.get(url)
        rows += answer.json()["rows"]
        pages += 1
        link = answer.headers.get("link", "")
        assert bool(link) == bool(answer.json()["next_cursor"])
        url = link.partition(">")[0].removeprefix("<") if link else None

    assert rows == whole
    assert pages == -(-len(whole) // 3)


def test_the_total_is_that_of_all_pages() -> None:
    body = a_client().get(f"/v1/costs?{SPAN}&limit=1").json()

    assert len(body["rows"]) == 1
    assert body["total_cost"] == "717.00"


def test_a_csv_page_has_a_link_as_well() -> None:
    answer = a_client().get(f"/v1/costs?{SPAN}&limit=2", headers={"Accept": "text/csv"})

    query = dict(parse_qsl(urlsplit(answer.headers["link"].split(">")[0][1:]).query))
    assert query["cursor"]
    assert len(answer.text.splitlines()) == 3


def test_a_cursor_of_another_question_is_refused() -> None:
    client = a_client()
    cursor = client.get(f"/v1/costs?{SPAN}&limit=1").json()["next_cursor"]

    body = problem(client, f"/v1/costs?{SPAN}&group_by=kind&cursor={cursor}", 422)

    assert body["invalid_parameters"] == [
        {"name": "cursor", "message": "The cursor does not belong to this question."}
    ]


@pytest.mark.parametrize("cursor", ["x", "!!!", "W10", "é", "bnVsbA", "WyJhIiwxXQ", "W1tbW1tbW1s"])
def test_a_broken_cursor_is_refused(cursor: str) -> None:
    problem(a_client(), f"/v1/costs?{SPAN}&cursor={cursor}", 422)


def test_what_the_client_has_already_is_not_sent_again() -> None:
    client = a_client()
    first = client.get(f"/v1/costs?{SPAN}")
    tag = first.headers["etag"]

    same = client.get(f"/v1/costs?{SPAN}", headers={"If-None-Match": f'"other", W/{tag}'})
    other = client.get(f"/v1/costs?{SPAN}&group_by=kind", headers={"If-None-Match": tag})

    assert same.status_code == 304
    assert same.content == b""
    assert same.headers["etag"] == tag
    assert other.status_code == 200
    assert "Accept" in first.headers["vary"]
    assert first.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("start=2026-11-20&end=2026-11-23T00:00:00Z", "start"),
        ("start=2026-11-20T00:00:00&end=2026-11-23T00:00:00Z", "start"),
        ("start=2026-11-20T00:00:00+01:00&end=2026-11-23T00:00:00Z", "start"),
        ("start=2026-02-30T00:00:00Z&end=2026-11-23T00:00:00Z", "start"),
        ("start=2026-11-20T10:17:00Z&end=2026-11-23T00:00:00Z", "start"),
        ("start=2026-11-20T00:00:00Z&end=2026-11-20T00:00:00.000001Z", "end"),
        ("start=2026-11-20T00:00:00Z&end=2026-11-20T00:00:00Z", "end"),
        ("start=2026-11-23T00:00:00Z&end=2026-11-20T00:00:00Z", "end"),
        ("start=2026-11-24T00:00:00Z&end=2026-11-25T00:00:00Z", "start"),
        ("start=2024-01-01T00:00:00Z&end=2026-01-01T00:00:00Z", "end"),
        ("start=0001-01-01T00:00:00%2B14:00&end=2026-01-01T00:00:00Z", "start"),
        ("start=now&end=2026-11-23T00:00:00Z", "start"),
        ("start=&end=2026-11-23T00:00:00Z", "start"),
        ("start=%D9%A2026-11-20T00:00:00Z&end=2026-11-23T00:00:00Z", "start"),
        ("end=2026-11-23T00:00:00Z", "start"),
        (f"{SPAN}&group_by=cat", "group_by"),
        (f"{SPAN}&group_by=", "group_by"),
        (f"{SPAN}&group_by=team,team", "group_by"),
        (f"{SPAN}&group_by=team;drop", "group_by"),
        (f"{SPAN}&group_by=team,kind,namespace,pod,node,day,hour", "group_by"),
        (f"{SPAN}&filter=team", "filter"),
        (f"{SPAN}&filter=day=2026-11-20", "filter"),
        (f"{SPAN}&filter=team=a%00b", "filter"),
        (f"{SPAN}&" + "&".join(f"filter=team={n}" for n in range(101)), "filter"),
        (f"{SPAN}&limit=0", "limit"),
        (f"{SPAN}&limit=10001", "limit"),
        (f"{SPAN}&limit=99999999999999999999999", "limit"),
        (f"{SPAN}&limit=ten", "limit"),
        (f"{SPAN}&basis=both", "basis"),
        (f"{SPAN}&group_by=team&group_by=kind", "group_by"),
        (f"{SPAN}&start=2026-11-21T00:00:00Z", "start"),
        (f"{SPAN}&filters=team=search", "filters"),
        (f"{SPAN}&team=search", "team"),
        (f"{SPAN}&cursor={'a' * 4001}", "cursor"),
    ],
)
def test_a_bad_parameter_is_named(query: str, name: str) -> None:
    body = problem(a_client(), f"/v1/costs?{query}", 422)

    (invalid,) = body["invalid_parameters"]  # type: ignore[misc]  # a list of one
    assert invalid["name"] == name
    assert invalid["message"]


def test_an_instant_may_have_an_offset() -> None:
    url = "/v1/costs?start=2026-11-20T01:00:00%2B01:00&end=2026-11-23T00:00:00Z"

    assert a_client().get(url).json()["start"] == "2026-11-20T00:00:00Z"


def test_a_window_may_end_in_the_future() -> None:
    url = "/v1/costs?start=2026-11-23T00:00:00Z&end=2026-12-01T00:00:00Z"

    assert a_client().get(url).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "text/csv;q=0", "nonsense"])
def test_what_is_not_offered_is_not_acceptable(accept: str) -> None:
    answer = a_client().get(f"/v1/costs?{SPAN}", headers={"Accept": accept})

    assert answer.status_code == 406
    assert "text/csv" in answer.json()["hint"]


def test_a_team_key_sees_its_own_team_only() -> None:
    client = a_client(key=SEARCH_KEY)

    body = client.get(f"/v1/costs?{SPAN}&group_by=team").json()

    assert [row["team"] for row in body["rows"]] == ["search"]
    assert body["total_cost"] == "315.00"


@pytest.mark.parametrize("filters", ["filter=team=ml", "filter=team=search&filter=team=ml"])
def test_a_team_key_may_not_ask_for_another_team(filters: str) -> None:
    body = problem(a_client(key=SEARCH_KEY), f"/v1/costs?{SPAN}&{filters}", 403)

    assert "search only" in str(body["detail"])


def test_an_empty_ledger_answers_with_no_rows() -> None:
    ledger = a_ledger()
    ledger.empty = True

    body = a_client(ledger).get(f"/v1/costs?{SPAN}").json()

    assert body["rows"] == []
    assert body["total_cost"] == "0.00"
    assert body["next_cursor"] is None
