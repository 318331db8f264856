"""GET /v1/commitments and /v1/commitments/coverage."""

from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY


def test_commitments_are_listed_with_decimals_as_text_and_paged() -> None:
    client = a_client()

    body = client.get("/v1/commitments?limit=1").json()
    following = client.get(f"/v1/commitments?cursor={body['next_cursor']}").json()

    (first,) = body["rows"]
    assert (first["commitment"], first["type"], first["unit"]) == (
        "ri-1",
        "reservation",
        "gpu_hour",
    )
    assert (first["quantity"], first["recurring_per_hour"]) == ("4", "8")
    assert first["term_start"] == "2026-11-23T10:00:00Z"
    assert [row["commitment"] for row in following["rows"]] == ["ri-2"]
    assert following["next_cursor"] is None


def test_coverage_and_utilization_are_ratios_beside_their_parts() -> None:
    row = a_client().get(f"/v1/commitments/coverage?{SPAN}").json()["rows"][0]

    assert (row["committed"], row["used"], row["utilization_ratio"]) == (
        "4.000000",
        "3.000000",
        "0.750000",
    )
    assert (row["eligible_gpu_seconds"], row["coverage_ratio"]) == ("21600", "0.500000")
    assert (row["commitment_cost"], row["unused_cost"]) == ("8.00", "2.00")


def test_a_key_of_a_team_sees_what_the_team_pays() -> None:
    client = a_client(key=SEARCH_KEY)

    listed = client.get("/v1/commitments").json()["rows"]
    covered = client.get(f"/v1/commitments/coverage?{SPAN}").json()["rows"]

    assert [row["commitment"] for row in (*listed, *covered)] == ["ri-2", "ri-2"]


def test_both_are_offered_as_csv_and_refuse_unknown_parameters() -> None:
    client = a_client()

    for path in ("/v1/commitments", f"/v1/commitments/coverage?{SPAN}"):
        csv = client.get(path, headers={"Accept": "text/csv"})
        assert csv.text.startswith("commitment,name,type,billing_account,")
    assert client.get("/v1/commitments?team=search").status_code == 422
    assert client.get("/v1/commitments/coverage").status_code == 422
