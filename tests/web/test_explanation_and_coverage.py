"""One charge explained, and what the ledger has."""

import pytest

from app.units.identity import id_of_text, id_text
from tests.web.clients import a_client
from tests.web.fake_ledger import CHARGE_ID, SEARCH_KEY, a_ledger

CHARGE = f"/v1/charges/{id_text(CHARGE_ID)}/explanation"


def test_a_charge_is_explained_step_by_step() -> None:
    assert a_client().get(CHARGE).json() == {
        "charge_id": "00ab54a98ceb1f0a",
        "team": "search",
        "replaced": None,
        "successors": [],
        "adjustment": None,
        "steps": [
            {
                "title": "Price",
                "text": "The node costs 3.00 USD an hour.",
                "figures": [{"name": "price_per_node_hour", "value": "3.00"}],
            }
        ],
    }


def test_an_adjustment_names_the_line_that_it_adjusts() -> None:
    ledger = a_ledger()
    ledger.adjustment = 2

    found = a_client(ledger).get("/v1/charges/0000000000000002/explanation").json()

    assert (found["charge_id"], found["adjustment"]) == ("00ab54a98ceb1f0a", "0000000000000002")


def test_a_team_key_sees_its_own_charge() -> None:
    assert a_client(key=SEARCH_KEY).get(CHARGE).status_code == 200


def test_a_charge_that_is_not_there_and_one_of_another_team_look_alike() -> None:
    ledger = a_ledger()
    ledger.charge_team = "ml"
    client = a_client(ledger, key=SEARCH_KEY)

    missing = client.get("/v1/charges/ffffffffffffffff/explanation")
    foreign = client.get(CHARGE)

    assert missing.status_code == foreign.status_code == 404
    assert missing.json()["detail"] == "There is no charge ffffffffffffffff."
    assert foreign.json()["detail"] == "There is no charge 00ab54a98ceb1f0a."


@pytest.mark.parametrize("text", ["1", "-1", "00AB54A98CEB1F0A", "g" * 16, "0" * 17])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert a_client().get(f"/v1/charges/{text}/explanation").status_code == 422


@pytest.mark.parametrize("number", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_ids_are_typed_without_a_minus_and_read_back(number: int) -> None:
    text = id_text(number)

    assert len(text) == 16
    assert id_of_text(text) == number


def test_coverage_says_from_when_to_when() -> None:
    rows = a_client().get("/v1/coverage").json()["rows"]

    assert rows == [
        {
            "cluster": "prod-eu",
            "first_hour": "2026-11-11T07:00:00Z",
            "watermark": "2026-11-23T07:00:00Z",
            "partial_hours": 1,
            "stale_hours": 0,
        },
        {
            "cluster": "prod-us",
            "first_hour": None,
            "watermark": None,
            "partial_hours": 0,
            "stale_hours": 0,
        },
    ]
