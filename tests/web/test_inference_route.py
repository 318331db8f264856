"""GET /v1/inference: unit costs, the weights beside them, and reasons for what is missing."""

from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY


def test_unit_costs_by_model_with_the_weights_beside_them() -> None:
    body = a_client().get(f"/v1/inference?{SPAN}").json()

    llama = body["rows"][1]
    assert llama["model"] == "llama-3-70b"
    assert llama["requests"] == 120_000
    assert llama["cost_per_request"] == "0.00075"
    assert llama["cost_per_million_tokens"] == "0.47"
    assert llama["total_cost"] == "90.00"
    assert llama["gpu_seconds"] == "324000"
    assert body["token_weights"] == [
        {
            "model": "*",
            "prompt": "1",
            "cached": "0.1",
            "generation": "4",
            "valid_from": None,
            "valid_to": None,
        }
    ]


def test_what_served_nothing_has_no_unit_cost_but_a_reason() -> None:
    row = a_client().get(f"/v1/inference?{SPAN}").json()["rows"][0]

    assert row["model"] == ""
    assert row["cost_per_million_tokens"] is None
    assert row["unit_cost_reason"] == "idle, 5.00: no tokens"
    assert row["total_cost"] == "5.00"


def test_csv_is_offered_too() -> None:
    answer = a_client().get(f"/v1/inference?{SPAN}", headers={"Accept": "text/csv, */*;q=0.1"})

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.splitlines()[0].startswith("model,requests,failed_requests,prompt_tokens")
    assert len(answer.text.splitlines()) == 4


def test_a_team_key_sees_its_own_services_only() -> None:
    body = a_client(key=SEARCH_KEY).get(f"/v1/inference?{SPAN}").json()

    assert [row["model"] for row in body["rows"]] == ["llama-3-70b"]


def test_a_team_key_may_not_ask_for_another_team() -> None:
    answer = a_client(key=SEARCH_KEY).get(f"/v1/inference?{SPAN}&filter=team=ml")

    assert answer.status_code == 403


def test_a_device_cannot_be_divided_among_tokens() -> None:
    answer = a_client().get(f"/v1/inference?{SPAN}&group_by=gpu_model")

    assert answer.status_code == 422
    assert "namespace" in answer.json()["hint"]


def test_pages_are_offered() -> None:
    body = a_client().get(f"/v1/inference?{SPAN}&group_by=model&limit=2").json()

    assert len(body["rows"]) == 2
    assert body["next_cursor"]
