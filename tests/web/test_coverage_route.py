"""GET /v1/coverage: what is measured in a span, and the holes."""

import csv
import io

import pytest

from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY, a_ledger

URL = f"/v1/coverage?{SPAN}"


def test_without_a_span_only_the_hours_are_told() -> None:
    ledger = a_ledger()
    body = a_client(ledger).get("/v1/coverage").json()

    assert len(body["rows"]) == 2
    assert (body["start"], body["end"], body["measured"], body["holes"]) == (None, None, [], [])
    assert ledger.measured_of == []


def test_each_measure_has_its_time_and_its_money() -> None:
    body = a_client().get(URL).json()

    assert body["group_by"] == ["cluster", "namespace", "service"]
    assert body["measured"][:2] == [
        {
            "cluster": "prod-eu",
            "namespace": "sandbox",
            "service": "",
            "measure": "gpu_utilization",
            "gpu_seconds": "3600",
            "gpu_seconds_measured": "3600",
            "time_ratio": "1.0000",
            "cost": "0.00",
            "cost_measured": "0.00",
            "cost_ratio": None,
            "complete": False,
        },
        {
            "cluster": "prod-eu",
            "namespace": "sandbox",
            "service": "",
            "measure": "ownership",
            "gpu_seconds": "3600",
            "gpu_seconds_measured": "0",
            "time_ratio": "0.0000",
            "cost": "0.00",
            "cost_measured": "0.00",
            "cost_ratio": None,
            "complete": False,
        },
    ]
    used = next(row for row in body["measured"] if row["namespace"] == "search-api")
    assert (used["time_ratio"], used["cost_ratio"]) == ("0.7500", "0.7500")


def test_a_hole_says_what_to_do() -> None:
    (hole,) = a_client().get(URL).json()["holes"]

    assert (hole["kind"], hole["weight"], hole["namespace"]) == ("unowned", "missing", "sandbox")
    assert (hole["quantity"], hole["unit"]) == (3_600_000, "GPU ms")
    assert "team contract" in hole["what_to_do"]


def test_rows_are_added_up_by_what_is_asked_for() -> None:
    body = a_client().get(f"{URL}&group_by=cluster").json()

    prices = [row for row in body["measured"] if row["measure"] == "price"]
    assert [(row["cluster"], row["gpu_seconds"], row["time_ratio"]) for row in prices] == [
        ("prod-eu", "32400", "0.8888")
    ]
    assert "namespace" not in prices[0]


@pytest.mark.parametrize(("part", "column"), [("measured", "time_ratio"), ("holes", "what_to_do")])
def test_either_table_is_offered_as_csv(part: str, column: str) -> None:
    answer = a_client().get(f"{URL}&part={part}", headers={"Accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert rows
    assert rows[0][column]


def test_the_team_of_a_key_is_asked_for_and_no_other() -> None:
    ledger = a_ledger()
    a_client(ledger, key=SEARCH_KEY).get(URL)
    a_client(ledger).get(URL)

    assert [question.team for question in ledger.measured_of] == ["search", ""]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("start=2026-11-20T00:00:00Z", "no end"),
        ("end=2026-11-20T00:00:00Z", "no start"),
        (f"{SPAN}&group_by=team", "no group column"),
        (f"{SPAN}&team=ml", "no parameter"),
        ("start=2026-11-20T00:30:00Z&end=2026-11-21T00:00:00Z", "hour"),
    ],
)
def test_what_cannot_be_answered_is_refused(query: str, word: str) -> None:
    answer = a_client().get(f"/v1/coverage?{query}")

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


def test_a_table_of_no_span_is_refused() -> None:
    answer = a_client().get("/v1/coverage", headers={"Accept": "text/csv"})

    assert answer.status_code == 422
    assert "needs a span" in answer.json()["detail"]


def test_a_restricted_key_does_not_make_an_empty_ledger_fail() -> None:
    ledger = a_ledger()
    ledger.empty = True

    body = a_client(ledger, key=SEARCH_KEY).get(URL).json()

    assert (body["measured"], body["holes"]) == ([], [])
