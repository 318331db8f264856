"""GET /v1/teams and /v1/ownership: who is charged, and by which rule."""

from tests.web.clients import a_client
from tests.web.fake_ledger import SEARCH_KEY

WHOSE = "/v1/ownership?cluster=prod-eu&at=2026-11-23T00:00:00Z&namespace="


def test_teams_are_listed_by_name_with_what_they_belong_to() -> None:
    body = a_client().get("/v1/teams").json()

    assert [(row["team"], row["clusters"]) for row in body["rows"]] == [
        ("ml", ""),
        ("ml", "prod-us"),
        ("search", ""),
    ]
    assert body["rows"][0]["monthly_budget"] == "20000"
    assert body["rows"][2] == {
        "team": "search",
        "department": "",
        "cost_center": "CC-1",
        "clusters": "",
        "namespaces": "search-*",
        "monthly_budget": None,
        "slack": "",
        "valid_from": "",
        "valid_to": "",
    }


def test_teams_are_paged_and_offered_as_csv() -> None:
    client = a_client()
    seen, cursor = [], ""
    for _ in range(3):
        page = client.get(f"/v1/teams?limit=1{cursor}").json()
        seen += [row["slack"] for row in page["rows"]]
        cursor = f"&cursor={page['next_cursor']}"
    csv = client.get("/v1/teams?at=2026-11-23T00:00:00Z", headers={"Accept": "text/csv"})

    assert (seen, cursor) == (["", "#ml", ""], "&cursor=None")
    assert len(csv.text.splitlines()) == 4
    assert csv.text.startswith("team,department,cost_center,clusters,namespaces,monthly_budget")


def test_a_team_key_sees_its_own_team_only() -> None:
    body = a_client(key=SEARCH_KEY).get("/v1/teams").json()

    assert {row["team"] for row in body["rows"]} == {"search"}


def test_the_rule_that_wins_comes_first_and_the_others_say_why_they_lost() -> None:
    body = a_client().get(f"{WHOSE}search-ml&label=tier=gold").json()

    assert (body["team"], body["cost_center"], body["contested"]) == ("search", "CC-1", [])
    assert body["because"] == "search by namespace search-*"
    assert [(rule["team"], rule["wins"], rule["reason"]) for rule in body["rules"]] == [
        ("search", True, "the strongest that counts"),
        ("ml", False, "labels come after namespaces"),
        ("ml", False, "counts in prod-us only"),
    ]


def test_rules_that_tie_leave_it_to_nobody_and_both_are_named() -> None:
    body = a_client().get(f"{WHOSE}lab&label=app=x&label=tier=gold").json()

    assert (body["team"], body["contested"]) == ("unowned", ["ml", "search"])
    assert [rule["reason"] for rule in body["rules"]] == [
        "the rules tie",
        "as strong as that of ml",
        "as strong as that of search",
    ]


def test_what_no_rule_claims_is_unowned() -> None:
    csv = a_client().get(f"{WHOSE}lab", headers={"Accept": "text/csv"})

    assert csv.text.splitlines() == [
        "cluster,namespace,at,team,rule,wins,reason,valid_from,valid_to",
        "prod-eu,lab,2026-11-23T00:00:00Z,unowned,,true,no rule claims it,,",
    ]


def test_a_team_key_is_told_of_its_own_only() -> None:
    client = a_client(key=SEARCH_KEY)

    assert client.get(f"{WHOSE}search-web").json()["team"] == "search"
    assert client.get(f"{WHOSE}lab&label=app=x&label=tier=gold").status_code == 200
    assert client.get(f"{WHOSE}monitoring").status_code == 404
    assert client.get(f"{WHOSE}lab").status_code == 404


def test_what_does_not_exist_is_refused() -> None:
    client = a_client()

    assert client.get("/v1/ownership?cluster=prod-eu").status_code == 422
    assert client.get(f"{WHOSE}lab&label=team").status_code == 422
    assert client.get("/v1/teams?at=today").status_code == 422
    assert client.get("/v1/teams?team=search").status_code == 422
    assert a_client(key=None).get("/v1/teams").status_code == 401
