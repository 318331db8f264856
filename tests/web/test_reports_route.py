"""Reports over HTTP: who may read which, and in which format."""

import io

import pyarrow.parquet as pq
import pytest

from tests.web.clients import a_client
from tests.web.fake_ledger import SEARCH_KEY

REPORT = "/v1/reports/by_team/2026-W46"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PARQUET = "application/vnd.apache.parquet"


def test_the_definitions_are_listed_with_their_next_date() -> None:
    (row,) = a_client().get("/v1/reports").json()["rows"]

    assert row["name"] == "by_team"
    assert row["audience"] == "Finance"
    assert row["formats"] == ["csv", "xlsx", "parquet"]
    assert row["next_due"] == "2026-11-30T06:00:00Z"


def test_a_report_is_rows_with_decimals_as_text() -> None:
    body = a_client().get(REPORT).json()

    assert (body["issue"], body["status"], body["basis"]) == (1, "final", "posted")
    assert body["period_start"] == "2026-11-09T00:00:00Z"
    assert [(row["team"], row["total_cost"]) for row in body["rows"]] == [
        ("ml", "3.00"),
        ("search", "6.00"),
        ("", "9.00"),
    ]
    assert body["about"]["title"] == "Costs by team and day"


def test_rows_come_in_pages_that_follow_each_other() -> None:
    client = a_client()

    first = client.get(REPORT, params={"limit": 2})
    second = client.get(first.links["next"]["url"])

    assert [row["row"] for row in first.json()["rows"]] == ["detail", "detail"]
    assert [row["row"] for row in second.json()["rows"]] == ["total"]
    assert second.json()["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "accept", "media"),
    [
        ("?format=csv", "*/*", "text/csv; charset=utf-8"),
        ("", "text/csv", "text/csv; charset=utf-8"),
        ("?format=xlsx", "application/json", XLSX),
        ("", XLSX, XLSX),
        ("?format=parquet", "*/*", PARQUET),
        ("", PARQUET, PARQUET),
        ("?format=json", "text/csv", "application/json"),
    ],
)
def test_the_format_is_that_of_the_address_else_of_the_header(
    query: str, accept: str, media: str
) -> None:
    answer = a_client().get(f"{REPORT}{query}", headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == media


def test_a_file_is_called_as_its_issue_and_not_sent_twice() -> None:
    client = a_client()

    answer = client.get(REPORT, params={"format": "csv"})
    again = client.get(
        REPORT, params={"format": "csv"}, headers={"If-None-Match": answer.headers["etag"]}
    )

    assert 'filename="by_team-2026-W46-1.csv"' in answer.headers["content-disposition"]
    assert answer.content.startswith(b"report,period,")
    assert again.status_code == 304


def test_a_key_of_a_team_reads_its_own_rows() -> None:
    answer = a_client(key=SEARCH_KEY).get(REPORT, params={"format": "parquet"})

    table = pq.read_table(io.BytesIO(answer.content))
    assert table["team"].to_pylist() == ["search", ""]


def test_a_key_of_a_team_does_not_see_what_was_sent() -> None:
    answer = a_client(key=SEARCH_KEY).get("/v1/reports/runs")

    assert answer.status_code == 403
    assert "without a team" in answer.json()["hint"]


def test_runs_are_listed_the_latest_first_and_in_pages() -> None:
    client = a_client()

    first = client.get("/v1/reports/runs", params={"name": "by_team", "limit": 1})
    second = client.get(first.links["next"]["url"])

    assert [row["issue"] for row in first.json()["rows"]] == [1]
    assert [row["issue"] for row in second.json()["rows"]] == [2]
    assert first.json()["rows"][0]["address"] == "s3://reports/by_team-2026-W46-1.csv"


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/v1/reports/nothing/2026-W46", 404, "There is no report 'nothing'"),
        ("/v1/reports/by_team/2026-W54", 422, "no ISO week 2026-W54"),
        ("/v1/reports/by_team/soon", 422, "'soon' is not a period"),
        ("/v1/reports/runs?name=%00", 422, "name"),
        (f"{REPORT}?format=pdf", 422, "format"),
        (f"{REPORT}?formats=csv", 422, "no parameter 'formats'"),
        (f"{REPORT}?cursor=abc", 422, "cursor"),
    ],
)
def test_what_cannot_be_answered_says_why(address: str, status: int, said: str) -> None:
    answer = a_client().get(address)

    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_format_that_is_not_offered_is_refused() -> None:
    answer = a_client().get(REPORT, headers={"Accept": "application/pdf"})

    assert answer.status_code == 406
    assert "text/csv" in answer.json()["hint"]


def test_without_a_key_nothing_is_told() -> None:
    assert a_client(key=None).get(REPORT).status_code == 401
