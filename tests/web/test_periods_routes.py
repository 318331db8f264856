"""Billing periods over HTTP: read, what is in the way, and closing one."""

from tests.web.clients import a_client
from tests.web.fake_ledger import ADMIN_KEY, SEARCH_KEY, WRITE_KEY, a_ledger
from tests.web.fake_periods import UNPRICED

ACCEPT = dict(
    zip(("kind", "cluster", "start", "end", "subject", "detail"), UNPRICED.cells(), strict=True)
)
KEYED = {"Idempotency-Key": "october"}


def test_periods_are_listed_with_their_states() -> None:
    body = a_client().get("/v1/periods").json()

    assert [(one["name"], one["state"], one["total"]) for one in body["rows"]] == [
        ("2026-09", "closed", "4.75"),
        ("2026-10", "open", None),
        ("2026-11", "open", None),
    ]
    assert body["rows"][0]["closed_at"] == "2026-10-01T00:00:01Z"


def test_periods_come_in_pages() -> None:
    client = a_client()

    first = client.get("/v1/periods?limit=2")
    second = client.get(first.headers["Link"].split(";")[0].strip("<>"))

    assert [one["name"] for one in second.json()["rows"]] == ["2026-11"]


def test_a_key_of_a_team_does_not_see_what_everybody_pays() -> None:
    row = a_client(key=SEARCH_KEY).get("/v1/periods").json()["rows"][0]

    assert (row["total"], row["statements"], row["version"]) == (None, None, 1)


def test_a_period_tells_what_happened_to_it() -> None:
    body = a_client().get("/v1/periods/2026-09").json()

    assert body["events"] == [
        {
            "event": "closed",
            "version": 1,
            "at": "2026-10-01T00:00:01Z",
            "author": "ada",
            "reason": "",
        }
    ]


def test_a_period_that_there_is_not_is_not_found() -> None:
    for name in ("2026-13", "march"):
        answer = a_client().get(f"/v1/periods/{name}")

        assert (answer.status_code, answer.json()["title"]) == (404, "Not found")


def test_a_week_is_told_apart() -> None:
    assert "weeks are reports" in a_client().get("/v1/periods/2026-W46").json()["detail"]


def test_what_is_in_the_way_is_listed_and_printed_as_the_file_to_accept_it_with() -> None:
    client = a_client()

    body = client.get("/v1/periods/2026-10/obstacles").json()
    text = client.get("/v1/periods/2026-10/obstacles", headers={"Accept": "text/csv"}).text

    assert body["rows"] == [ACCEPT | {"acceptable": True}]
    assert text.splitlines()[0] == "kind,cluster,start,end,subject,detail,reason"


def test_a_team_sees_no_obstacles_and_closes_nothing() -> None:
    client = a_client(key=SEARCH_KEY)

    assert client.get("/v1/periods/2026-10/obstacles").status_code == 403
    assert client.post("/v1/periods/2026-10/close", json={}, headers=KEYED).status_code == 403


def test_closing_needs_a_key_of_the_scope_admin() -> None:
    answer = a_client(key=WRITE_KEY).post("/v1/periods/2026-10/close", json={}, headers=KEYED)

    assert answer.status_code == 403


def test_a_period_with_something_in_the_way_is_not_closed() -> None:
    ledger = a_ledger()
    answer = a_client(ledger, key=ADMIN_KEY).post(
        "/v1/periods/2026-10/close", json={}, headers=KEYED
    )

    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:gpuledger:problem:not-closable",
    )
    assert ledger.closings == []


def test_a_period_is_closed_once_with_what_is_accepted() -> None:
    ledger = a_ledger()
    client = a_client(ledger, key=ADMIN_KEY)
    body = {"accept": [ACCEPT | {"reason": "the T4 is a gift"}]}

    answers = [client.post("/v1/periods/2026-10/close", json=body, headers=KEYED) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["state"] == "closed"
    (closing,) = ledger.closings
    assert (closing.author, closing.accept[0].reason) == ("admin", "the T4 is a gift")


def test_a_closing_names_its_key_and_keeps_to_it() -> None:
    client = a_client(key=ADMIN_KEY)
    body = {"accept": [ACCEPT | {"reason": "the T4 is a gift"}]}
    client.post("/v1/periods/2026-10/close", json=body, headers=KEYED)

    without = client.post("/v1/periods/2026-10/close", json=body)
    another = client.post("/v1/periods/2026-11/close", json={}, headers=KEYED)

    assert without.status_code == 400
    assert another.status_code == 422


def test_an_accepted_line_without_a_reason_is_refused() -> None:
    answer = a_client(key=ADMIN_KEY).post(
        "/v1/periods/2026-10/close", json={"accept": [ACCEPT | {"reason": ""}]}, headers=KEYED
    )

    assert answer.status_code == 422
    assert answer.json()["invalid_parameters"][0]["name"] == "accept.0.reason"


def test_a_closed_period_has_nothing_in_the_way() -> None:
    answer = a_client().get("/v1/periods/2026-09/obstacles")

    assert (answer.status_code, answer.json()["title"]) == (409, "Period in another state")
