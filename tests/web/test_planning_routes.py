"""GET /v1/budgets, /v1/forecast, /v1/anomalies and /v1/what-if/break-even."""

import pytest

from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY

DAYS = "start=2026-11-01&end=2026-11-08"
QUESTIONS = (
    "/v1/budgets?period=2026-11",
    "/v1/forecast?period=2026-11",
    f"/v1/anomalies?{DAYS}",
    f"/v1/what-if/break-even?{SPAN}",
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_pages_follow_each_other_and_hold_every_row_once(question: str) -> None:
    client = a_client()

    whole = client.get(question).json()
    first = client.get(f"{question}&limit=2")
    following = client.get(f"{question}&limit=2&cursor={first.json()['next_cursor']}").json()

    assert len(whole["rows"]) == 3
    assert first.json()["rows"] + following["rows"] == whole["rows"]
    assert 'rel="next"' in first.headers["Link"]
    assert following["next_cursor"] is None


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_key_of_a_team_sees_its_own(question: str) -> None:
    rows = a_client(key=SEARCH_KEY).get(question).json()["rows"]

    assert len(rows) == 1
    assert "search" in rows[0].values()


@pytest.mark.parametrize("question", QUESTIONS)
def test_tables_are_offered_as_csv_with_plain_decimals(question: str) -> None:
    client = a_client()

    answer = client.get(question, headers={"Accept": "text/csv"})
    again = client.get(question, headers={"If-None-Match": client.get(question).headers["ETag"]})

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert len(answer.text.splitlines()) == 4
    assert again.status_code == 304


@pytest.mark.parametrize(
    "question",
    [
        "/v1/budgets?month=2026-11",
        "/v1/anomalies?start=2026-11-01",
        "/v1/anomalies?start=2026-11-08&end=2026-11-01",
        "/v1/anomalies?start=yesterday&end=2026-11-01",
        f"/v1/anomalies?{DAYS}&by=pod",
        f"/v1/what-if/break-even?{SPAN}&group_by=model",
    ],
)
def test_a_wrong_question_is_one_problem(question: str) -> None:
    answer = a_client().get(question)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
