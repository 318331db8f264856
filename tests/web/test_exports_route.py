"""GET /v1/exports/focus: a CSV file, its parameters, and whose rows it has."""

import pytest

from app.chargeback.focus_columns import View, profile
from tests.chargeback.focus_rules import read
from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY

PATH = f"/v1/exports/focus?{SPAN}"


@pytest.mark.parametrize("spec", ["1.2", "1.3"])
def test_a_window_is_a_csv_file_of_the_version(spec: str) -> None:
    answer = a_client().get(f"{PATH}&spec={spec}&grain=hour")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    name = f'attachment; filename="focus-{spec}-statement-2026-11-20-2026-11-23.csv"'
    assert answer.headers["content-disposition"] == name
    assert answer.headers["gpuledger-unpriced-rows"] == "1"
    rows = read(answer.text)
    assert tuple(rows[0]) == profile(spec, View.STATEMENT).names
    assert len(rows) > 10


def test_a_teams_key_sees_its_rows_only() -> None:
    answer = a_client(key=SEARCH_KEY).get(PATH)

    assert {row["SubAccountId"] for row in read(answer.text)} == {"search"}


def test_a_teams_key_sees_no_providers_bill() -> None:
    answer = a_client(key=SEARCH_KEY).get(f"{PATH}&view=split")

    assert answer.status_code == 403
    assert "sees the team search only" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("spec=1.9", 422),
        ("view=both", 422),
        ("grain=minute", 422),
        ("sepc=1.2", 422),
    ],
)
def test_what_is_not_offered_is_refused(query: str, status: int) -> None:
    answer = a_client().get(f"{PATH}&{query}")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_end_before_the_start_is_refused() -> None:
    backwards = "start=2026-11-20T00:00:00Z&end=2026-11-19T00:00:00Z"

    answer = a_client().get(f"/v1/exports/focus?{backwards}")

    assert answer.status_code == 422
    assert "is not after the start" in answer.json()["detail"]


def test_only_csv_is_offered_and_only_with_a_key() -> None:
    assert a_client().get(PATH, headers={"Accept": "application/json"}).status_code == 406
    assert a_client(key=None).get(PATH).status_code == 401
