"""Findings: the list, and decisions that count once."""

from collections.abc import Mapping

import pytest
from fastapi.testclient import TestClient

from app.findings.values import FindingState
from app.units.identity import id_text
from tests.findings.builders import a_finding, a_pool_finding
from tests.web.clients import a_client
from tests.web.fake_ledger import READ_KEY, SEARCH_KEY, WRITE_KEY, a_ledger

SEARCH_ID = id_text(a_finding().finding_id)
POOL_ID = id_text(a_pool_finding().finding_id)


def post(
    client: TestClient,
    path: str,
    body: Mapping[str, object] | None = None,
    *,
    key: str | None = "a-key",
) -> tuple[int, dict[str, object]]:
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.post(f"/v1/findings/{path}", json=dict(body or {}), headers=headers)
    return answer.status_code, answer.json()


def test_open_findings_are_listed_the_worst_first() -> None:
    body = a_client().get("/v1/findings").json()

    assert [row["wasted_cost"] for row in body["rows"]] == ["144.00", "96.00", "23.00"]
    worst = body["rows"][0]
    assert worst["id"] == POOL_ID
    assert worst["kind"] == "unallocated_pool"
    assert worst["state"] == "open"
    assert worst["subject"]["node"] == "gpu-2"
    assert worst["since"] == "2026-11-22T07:00:00Z"
    assert worst["wasted_gpu_seconds"] == str(144 * 3600)
    assert {"name": "unallocated_ratio", "value": "0.75"} in worst["evidence"]


def test_other_states_are_listed_when_asked_for() -> None:
    body = a_client().get("/v1/findings?state=resolved&state=open").json()

    assert {row["state"] for row in body["rows"]} == {"open", "resolved"}
    assert len(body["rows"]) == 4


def test_pages_follow_one_another() -> None:
    client = a_client()
    first = client.get("/v1/findings?limit=2").json()

    second = client.get(f"/v1/findings?limit=2&cursor={first['next_cursor']}").json()

    assert [row["wasted_cost"] for row in first["rows"]] == ["144.00", "96.00"]
    assert [row["wasted_cost"] for row in second["rows"]] == ["23.00"]
    assert second["next_cursor"] is None


def test_a_team_key_sees_its_own_findings_only() -> None:
    body = a_client(key=SEARCH_KEY).get("/v1/findings").json()

    assert [row["id"] for row in body["rows"]] == [SEARCH_ID]


def test_an_acknowledged_finding_says_by_whom_and_why() -> None:
    ledger = a_ledger()

    status, body = post(a_client(ledger, key=WRITE_KEY), f"{POOL_ID}/ack", {"reason": "planned"})

    assert status == 200
    assert body["state"] == "acknowledged"
    assert body["decided_by"] == "writer"
    assert body["reason"] == "planned"
    assert ledger.commits == 1


def test_a_snooze_has_an_end() -> None:
    client = a_client(key=WRITE_KEY)

    status, body = post(client, f"{POOL_ID}/snooze", {"until": "2026-11-30T10:00:00+01:00"})

    assert status == 200
    assert body["state"] == "snoozed"
    assert body["snoozed_until"] == "2026-11-30T09:00:00Z"


@pytest.mark.parametrize("body", [{}, {"until": "2026-11-23T10:30:00Z"}, {"until": None}])
def test_a_snooze_without_an_end_in_the_future_is_refused(body: dict[str, object]) -> None:
    status, answer = post(a_client(key=WRITE_KEY), f"{POOL_ID}/snooze", body)

    assert status == 422
    assert "future" in str(answer["detail"])


def test_the_same_key_again_decides_nothing_twice() -> None:
    client = a_client(key=WRITE_KEY)

    first = post(client, f"{POOL_ID}/dismiss", {"reason": "spare"})

    assert post(client, f"{POOL_ID}/dismiss", {"reason": "spare"}) == first
    assert first[1]["state"] == "dismissed"


def test_the_same_key_for_something_else_is_refused() -> None:
    ledger = a_ledger()
    client = a_client(ledger, key=WRITE_KEY)
    post(client, f"{POOL_ID}/dismiss", {"reason": "spare"})

    status, body = post(client, f"{SEARCH_ID}/dismiss", {"reason": "spare"})

    assert status == 422
    assert "a-key" in str(body["detail"])
    assert ledger.commits == 1
    assert ledger.tracked[a_finding().finding_id].state is FindingState.OPEN


@pytest.mark.parametrize("key", [None, " ", "with space", "x" * 201])
def test_a_decision_needs_a_usable_idempotency_key(key: str | None) -> None:
    status, body = post(a_client(key=WRITE_KEY), f"{POOL_ID}/ack", key=key)

    assert status == 400
    assert "Idempotency-Key" in str(body["detail"])


def test_a_read_key_may_not_decide() -> None:
    ledger = a_ledger()

    status, body = post(a_client(ledger, key=READ_KEY), f"{POOL_ID}/ack")

    assert status == 403
    assert "write" in str(body["hint"])
    assert ledger.tracked[a_pool_finding().finding_id].state is FindingState.OPEN


def test_a_team_key_decides_on_its_own_findings_and_knows_of_no_others() -> None:
    client = a_client(key=SEARCH_KEY)

    assert post(client, f"{SEARCH_ID}/ack")[0] == 200
    assert post(client, f"{POOL_ID}/ack")[0] == 404
    assert post(client, "0000000000000001/ack")[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (f"{POOL_ID}/ack", {"reason": "x" * 501}, "reason"),
        (f"{POOL_ID}/ack", {"reason": "nul \x00"}, "reason"),
        (f"{POOL_ID}/ack", {"reason": 7}, "reason"),
        (f"{POOL_ID}/ack", {"why": "?"}, "why"),
        (f"{POOL_ID}/snooze", {"until": "tomorrow"}, "until"),
        (f"{POOL_ID}/snooze", {"until": "2026-11-30T10:00:00"}, "until"),
        (f"{POOL_ID}/explode", {}, "action"),
        ("17/ack", {}, "finding_id"),
        (f"{POOL_ID.upper()}x/ack", {}, "finding_id"),
    ],
)
def test_a_bad_part_is_named(path: str, body: dict[str, object], name: str) -> None:
    status, answer = post(a_client(key=WRITE_KEY), path, body)

    assert status == 422
    (invalid,) = answer["invalid_parameters"]  # type: ignore[misc]  # a list of one
    assert invalid["name"] == name


def test_only_a_snooze_takes_an_end() -> None:
    body = {"until": "2026-11-30T10:00:00Z"}

    assert post(a_client(key=WRITE_KEY), f"{POOL_ID}/ack", body)[0] == 422


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"\xff\xfe", b'{"reason": NaN', b"[" * 5_000],
    ids=lambda body: repr(body[:9]),
)
def test_a_body_that_is_no_json_is_a_problem_and_no_defect(content: bytes) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}

    answer = a_client(key=WRITE_KEY).post(
        f"/v1/findings/{POOL_ID}/ack", content=content, headers=headers
    )

    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_megabytes_is_not_read() -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}

    answer = a_client(key=WRITE_KEY).post(
        f"/v1/findings/{POOL_ID}/ack", content=b" " * 65_537, headers=headers
    )

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
