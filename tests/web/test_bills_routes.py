"""GET /v1/bills and GET /v1/reconciliation: JSON with decimals as text, CSV, pages, refusals."""

from tests.web.clients import a_client
from tests.web.fake_ledger import SEARCH_KEY

CSV = {"Accept": "text/csv"}


def test_every_version_of_a_bill_is_listed_page_by_page() -> None:
    client = a_client()

    first = client.get("/v1/bills?limit=1")
    second = client.get(f"/v1/bills?limit=1&cursor={first.json()['next_cursor']}").json()
    as_csv = client.get("/v1/bills", headers=CSV)

    assert [row["version"] for row in first.json()["rows"]] == [1]
    assert [(row["version"], row["superseded"]) for row in second["rows"]] == [(2, False)]
    assert second["next_cursor"] is None
    assert 'rel="next"' in first.headers["Link"]
    assert as_csv.text.splitlines()[0].startswith("provider,billing_account,period_start")
    assert len(as_csv.text.splitlines()) == 3


def test_a_months_reconciliation_has_its_bills_the_total_and_both_lists() -> None:
    body = a_client().get("/v1/reconciliation?period=2026-10").json()

    (bill,) = body["bills"]
    assert (bill["provider"], bill["true_up"], bill["complete"]) == ("AWS", "3.00", True)
    assert (body["total"]["provider"], body["total"]["provider_bill"]) == ("", "10")
    assert [row["reason"] for row in body["unmatched"]] == ["tax", "no_node"]
    assert [row["node"] for row in body["nodes"]] == ["gpu-1"]
    assert (body["period"], body["currency"]) == ("2026-10", "USD")


def test_each_part_of_a_reconciliation_is_offered_as_csv() -> None:
    client = a_client()

    heads = {
        part: client.get(f"/v1/reconciliation?period=2026-10&part={part}", headers=CSV)
        for part in ("summary", "unmatched", "nodes")
    }

    assert {part: answer.text.split(",")[0] for part, answer in heads.items()} == {
        "summary": "period",
        "unmatched": "provider",
        "nodes": "cluster",
    }
    name = 'attachment; filename="reconciliation-2026-10-nodes.csv"'
    assert heads["nodes"].headers["Content-Disposition"] == name
    again = client.get(
        "/v1/reconciliation?period=2026-10&part=nodes",
        headers={**CSV, "If-None-Match": heads["nodes"].headers["ETag"]},
    )
    assert again.status_code == 304


def test_a_list_is_cut_where_fewer_rows_are_asked_for() -> None:
    body = a_client().get("/v1/reconciliation?period=2026-10&limit=1").json()

    assert len(body["unmatched"]) == 1


def test_a_key_of_a_team_sees_no_bill() -> None:
    client = a_client(key=SEARCH_KEY)

    for path in ("/v1/bills", "/v1/reconciliation?period=2026-10"):
        assert client.get(path).status_code == 403


def test_what_cannot_be_answered_is_refused_by_its_name() -> None:
    client = a_client()

    wrong = client.get("/v1/reconciliation?period=October")
    missing = client.get("/v1/reconciliation")
    unknown = client.get("/v1/bills?team=search")

    assert [one.status_code for one in (wrong, missing, unknown)] == [422, 422, 422]
    assert "period" in wrong.text
