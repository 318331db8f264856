"""Runs, findings, messages, reports and keys."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.findings.states import TrackedFinding
from app.findings.values import Figure, Finding, FindingKind, FindingState, Subject
from app.store.findings import FindingStore
from app.store.keys import KeyNameError, KeyStore
from app.store.messages import MessageStore
from app.store.reports import ReportStore
from app.store.runs import Outcome, RunStore
from tests.store.builders import CLUSTER, NOON_MS, an_hour

RUN = UUID(int=1)


def a_finding(pod: str = "ranker-0", *, hold_id: int = 5, team: str = "search") -> TrackedFinding:
    subject = Subject(
        cluster=CLUSTER,
        node_id=-1,
        node="gpu-1",
        gpu_model_id=2,
        gpu_model="H100",
        hold_id=hold_id,
        namespace="search-prod",
        pod=pod,
        workload="ranker",
        team=team,
    )
    finding = Finding(
        kind=FindingKind.IDLE_HOLD,
        subject=subject,
        window=an_hour(),
        since_ms=NOON_MS,
        wasted_gpu_ms=3_600_000,
        wasted_nanos=3_000_000_000,
        per_day_nanos=None,
        evidence=(Figure("low_activity_ratio", 0.95), Figure("held_gpus", 2)),
    )
    return TrackedFinding(
        finding=finding,
        state=FindingState.OPEN,
        episode=1,
        first_seen_ms=NOON_MS,
        last_seen_ms=NOON_MS,
    )


def test_a_run_is_running_until_it_is_finished(ledger: Connection) -> None:
    store = RunStore(ledger)
    store.begin(RUN, "collect", started_ms=NOON_MS, cluster=CLUSTER, window=an_hour())
    begun = store.latest()[0]

    store.finish(
        RUN, Outcome.REJECTED, finished_ms=NOON_MS + 5, counts={"holds": 2}, message="less"
    )

    done = store.latest("collect")[0]
    assert (begun.outcome, begun.finished_ms, begun.window) == (Outcome.RUNNING, None, an_hour())
    assert (done.outcome, done.finished_ms, done.message) == (Outcome.REJECTED, NOON_MS + 5, "less")
    assert done.counts == {"holds": 2}


def test_the_latest_run_comes_first_and_runs_of_other_workflows_do_not(ledger: Connection) -> None:
    store = RunStore(ledger)
    for number, workflow in enumerate(["rate", "collect", "rate"]):
        store.begin(UUID(int=number + 1), workflow, started_ms=NOON_MS + number)

    assert [run.run_id.int for run in store.latest("rate")] == [3, 1]
    assert [run.run_id.int for run in store.latest(limit=2)] == [3, 2]
    assert store.latest("notify") == ()


def test_a_finding_comes_back_as_it_was_put(ledger: Connection) -> None:
    store = FindingStore(ledger)
    tracked = a_finding()
    store.put([tracked])
    decided = replace(
        tracked,
        state=FindingState.SNOOZED,
        snoozed_until_ms=NOON_MS + 9,
        decided_by="ana",
        reason="a demo runs",
    )

    store.put([decided])

    assert store.by_id(tracked.finding.finding_id) == decided
    assert store.by_id(1) is None


def test_findings_are_filtered_by_state_kind_team_and_cluster(ledger: Connection) -> None:
    store = FindingStore(ledger)
    mine, theirs = a_finding(), a_finding(hold_id=6, team="ml")
    over = replace(a_finding(hold_id=7), state=FindingState.RESOLVED)
    store.put([mine, theirs, over])

    assert {*store.within()} == {mine, theirs, over}
    assert {*store.within(states=[FindingState.OPEN])} == {mine, theirs}
    assert {*store.within(team="ml")} == {theirs}
    assert store.within(kinds=[FindingKind.UNALLOCATED_POOL]) == ()
    assert store.within(cluster="prod-us") == ()


def test_a_request_is_remembered_by_its_key(ledger: Connection) -> None:
    store = FindingStore(ledger)
    assert store.carried_out("key") is None

    store.remember("key", "hash", at_ms=NOON_MS)

    assert store.carried_out("key") == "hash"


def test_a_message_is_claimed_once(ledger: Connection) -> None:
    store = MessageStore(ledger)

    first = store.claim({2: "b", 1: "a"}, channel="#gpu", at_ms=NOON_MS)
    second = store.claim({1: "a", 3: "c"}, channel="#gpu", at_ms=NOON_MS)

    assert (first, second) == ((1, 2), (3,))
    assert store.claim({}, channel="#gpu", at_ms=NOON_MS) == ()


def test_a_message_that_failed_is_claimed_again_until_it_is_sent(ledger: Connection) -> None:
    store = MessageStore(ledger)
    store.claim({1: "a"}, channel="#gpu", at_ms=NOON_MS)
    store.failed(1, "no_service")

    again = store.claim({1: "a"}, channel="#gpu", at_ms=NOON_MS + 1)
    store.sent(1, at_ms=NOON_MS + 2)
    store.failed(1, "too late")

    message = store.by_id(1)
    assert again == (1,)
    assert message is not None
    assert (message.sent_ms, message.failure, message.claimed_ms) == (NOON_MS + 2, "", NOON_MS + 1)
    assert store.claim({1: "a"}, channel="#gpu", at_ms=NOON_MS + 3) == ()


def test_reports_of_a_period_are_numbered(ledger: Connection) -> None:
    store = ReportStore(ledger)

    def made(sha256: str, *, provisional: bool) -> int:
        return store.add(
            "weekly",
            "2026-W47",
            sha256=sha256,
            provisional=provisional,
            made_ms=NOON_MS,
            destination="reports/",
        ).number

    numbers = [
        made("a", provisional=True),
        made("a", provisional=True),
        made("b", provisional=True),
        made("b", provisional=False),
    ]

    assert numbers == [1, 1, 2, 3]
    assert store.latest("weekly", "2026-W46") is None
    assert [report.number for report in store.within("weekly")] == [3, 2, 1]


def test_a_report_that_was_sent_says_when(ledger: Connection) -> None:
    store = ReportStore(ledger)
    report = store.add(
        "weekly",
        "2026-W47",
        sha256="a",
        provisional=False,
        made_ms=NOON_MS,
        destination="reports/",
    )

    store.sent(report, at_ms=NOON_MS + 1)

    assert store.latest("weekly", "2026-W47") == replace(report, sent_ms=NOON_MS + 1)


def test_a_key_is_found_by_the_hash_of_its_secret_until_it_is_revoked(ledger: Connection) -> None:
    store = KeyStore(ledger)
    created = store.create("ci", "hash", scope="read", team="search", created_ms=NOON_MS)

    assert store.by_secret("hash") == created
    assert store.by_secret("other") is None

    revoked = store.revoke("ci", at_ms=NOON_MS + 1)

    assert store.by_secret("hash") is None
    assert store.all() == (revoked,) == (replace(created, revoked_ms=NOON_MS + 1),)


def test_a_name_in_force_is_given_once(ledger: Connection) -> None:
    store = KeyStore(ledger)
    store.create("ci", "one", scope="read", team="", created_ms=NOON_MS)

    with pytest.raises(KeyNameError, match="'ci'"):
        store.create("ci", "two", scope="admin", team="", created_ms=NOON_MS)
    store.revoke("ci", at_ms=NOON_MS)
    again = store.create("ci", "two", scope="admin", team="", created_ms=NOON_MS)

    assert store.by_secret("two") == again


def test_revoking_a_key_that_nobody_has_is_refused(ledger: Connection) -> None:
    with pytest.raises(KeyNameError, match="'ci'"):
        KeyStore(ledger).revoke("ci", at_ms=NOON_MS)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO api_keys VALUES (1, 'a', 'b', 'root', '', now(), NULL)",
        "INSERT INTO runs VALUES (uuidv4(), '', 0, NULL, NULL, now(), NULL, 'ok', '{}', '')",
        "INSERT INTO clusters VALUES (1, '')",
    ],
)
def test_the_database_refuses_what_no_row_can_be(ledger: Connection, statement: str) -> None:
    with pytest.raises(DBAPIError, match="check constraint"):
        ledger.execute(text(statement))
