"""GET /v1/adjustments: what was posted to closed periods, and who may see it."""

import csv
import io
from decimal import Decimal

import pytest

from tests.web.clients import a_client
from tests.web.fake_ledger import SEARCH_KEY

ADDRESS = "/v1/adjustments"


def test_every_difference_is_told_with_its_reason_and_author() -> None:
    body = a_client().get(f"{ADDRESS}?period=2026-10").json()

    first = body["rows"][0]
    assert (body["total_cost"], body["currency"], len(body["rows"])) == ("0.00", "USD", 4)
    assert (first["team"], first["adjustment_cost"], first["gpu_seconds"]) == (
        "search",
        "3.00",
        "3600",
    )
    assert (first["posting_period"], first["usage_start"]) == ("2026-11", "2026-10-31T23:00:00Z")
    assert (first["author"], first["reason"]) == (
        "gpuledger",
        "Late delivery of 1 hour, revision 2.",
    )


@pytest.mark.parametrize(
    ("query", "costs"),
    [
        ("team=search", ["3.00", "-0.50"]),
        ("type=correction", ["-0.50", "0.50"]),
        ("posted_in=2026-12", []),
        ("period=2026-10&type=late_facts&team=platform", ["-3.00"]),
    ],
)
def test_filters_narrow_what_is_told(query: str, costs: list[str]) -> None:
    body = a_client().get(f"{ADDRESS}?{query}").json()

    assert [row["adjustment_cost"] for row in body["rows"]] == costs


def test_pages_follow_each_other_and_csv_has_all_of_them() -> None:
    client = a_client()

    first = client.get(f"{ADDRESS}?limit=3")
    second = client.get(f"{ADDRESS}?limit=3&cursor={first.json()['next_cursor']}")
    text = client.get(ADDRESS, headers={"Accept": "text/csv"})

    assert 'rel="next"' in first.headers["link"]
    assert [len(one.json()["rows"]) for one in (first, second)] == [3, 1]
    assert second.json()["next_cursor"] is None
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert sum(Decimal(row["adjustment_cost"]) for row in rows) == 0
    assert [row["adjustment"] for row in rows] == [
        row["adjustment"] for one in (first, second) for row in one.json()["rows"]
    ]


def test_a_key_of_a_team_sees_its_own_differences_only() -> None:
    client = a_client(key=SEARCH_KEY)

    own = client.get(ADDRESS)
    other = client.get(f"{ADDRESS}?team=ml")

    assert {row["team"] for row in own.json()["rows"]} == {"search"}
    assert own.json()["total_cost"] == "2.50"
    assert other.status_code == 403


def test_another_type_is_a_problem() -> None:
    answer = a_client().get(f"{ADDRESS}?type=mistake")

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
