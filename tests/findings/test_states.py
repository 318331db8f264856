"""How findings come, stay, go and come back, and when somebody is told."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.findings.states import (
    Decision,
    DecisionError,
    DecisionKind,
    Reconciled,
    TrackedFinding,
    decide,
    reconcile,
)
from app.findings.values import CannotTell, Detection, Finding, FindingState
from app.units.window import HOUR_MS, from_ms, to_ms
from tests.findings.builders import DAY, a_finding, a_tracked

AT = DAY.end
NEXT = AT + timedelta(days=1)
LATER = AT + timedelta(days=2)


def seen(*findings: Finding) -> Detection:
    return Detection(findings, ())


def run(known: list[TrackedFinding], detection: Detection, at: datetime = NEXT) -> Reconciled:
    return reconcile(known, detection, at)


def a_decision(kind: DecisionKind, *, days: int | None = None) -> Decision:
    until = None if days is None else NEXT + timedelta(days=days)
    return Decision(kind=kind, actor="ada", reason="known", snoozed_until=until)


def test_what_is_found_for_the_first_time_opens_and_is_announced() -> None:
    result = run([], seen(a_finding()), AT)

    (entry,) = result.tracked
    assert entry.state is FindingState.OPEN
    assert entry.episode == 1
    assert entry.first_seen_ms == to_ms(AT)
    assert result.to_announce == (entry,)


def test_the_same_run_twice_announces_once() -> None:
    first = run([], seen(a_finding()), AT)

    again = run(list(first.tracked), seen(a_finding()), AT)

    assert again.tracked == first.tracked
    assert again.to_announce == ()


def test_what_goes_on_stays_open_silently_and_keeps_its_beginning() -> None:
    first = a_finding()
    entry = a_tracked(first)
    newer = replace(first, since_ms=first.since_ms + 24 * HOUR_MS, wasted_nanos=1)

    result = run([entry], seen(newer))

    (after,) = result.tracked
    assert after.state is FindingState.OPEN
    assert after.finding.since_ms == first.since_ms
    assert after.finding.wasted_nanos == 1
    assert after.last_seen_ms == to_ms(NEXT)
    assert result.to_announce == ()


@pytest.mark.parametrize(
    "state",
    [FindingState.OPEN, FindingState.ACKNOWLEDGED, FindingState.SNOOZED, FindingState.REGRESSED],
)
def test_what_is_not_found_any_more_is_resolved_silently(state: FindingState) -> None:
    result = run([a_tracked(state=state)], seen())

    (entry,) = result.tracked
    assert entry.state is FindingState.RESOLVED
    assert entry.resolved_ms == to_ms(NEXT)
    assert result.to_announce == ()


def test_what_cannot_be_told_stays_as_it_is() -> None:
    entry = a_tracked()
    finding = entry.finding
    undecided = CannotTell(
        finding_id=finding.finding_id, subject=finding.subject, reason="no samples"
    )

    result = run([entry], Detection((), (undecided,)))

    assert result == Reconciled((), ())


def test_what_was_resolved_and_comes_back_has_regressed_and_is_announced_again() -> None:
    resolved = a_tracked(state=FindingState.RESOLVED, resolved_ms=to_ms(AT))

    result = run([resolved], seen(a_finding()))

    (entry,) = result.tracked
    assert entry.state is FindingState.REGRESSED
    assert entry.episode == 2
    assert entry.resolved_ms is None
    assert result.to_announce == (entry,)
    assert entry.announcement_id != resolved.announcement_id


def test_what_was_dismissed_stays_dismissed() -> None:
    entry = a_tracked(state=FindingState.DISMISSED)

    assert run([entry], seen(a_finding())).tracked[0].state is FindingState.DISMISSED
    assert run([entry], seen()).tracked[0].state is FindingState.DISMISSED
    assert run([entry], seen(a_finding())).to_announce == ()


def test_a_snooze_is_quiet_until_its_end() -> None:
    snoozed = decide(a_tracked(), a_decision(DecisionKind.SNOOZE, days=1), NEXT)

    before = run([snoozed], seen(a_finding()), LATER - timedelta(milliseconds=1))
    after = run([snoozed], seen(a_finding()), LATER)

    assert before.tracked[0].state is FindingState.SNOOZED
    assert before.to_announce == ()
    assert after.tracked[0].state is FindingState.OPEN
    assert after.to_announce == after.tracked


def test_an_older_window_looked_at_again_says_nothing_about_today() -> None:
    entry = a_tracked(last_seen_ms=to_ms(NEXT))

    assert run([entry], seen(), AT).tracked == (entry,)
    assert run([entry], seen(a_finding(wasted_nanos=1)), AT).tracked == (entry,)


def test_an_acknowledgment_is_kept_while_the_waste_lasts() -> None:
    known = decide(a_tracked(), a_decision(DecisionKind.ACKNOWLEDGE), NEXT)

    (entry,) = run([known], seen(a_finding()), LATER).tracked

    assert entry.state is FindingState.ACKNOWLEDGED
    assert entry.decided_by == "ada"
    assert entry.reason == "known"


def test_acknowledging_what_is_over_does_not_open_it() -> None:
    over = a_tracked(state=FindingState.RESOLVED, resolved_ms=1)

    assert decide(over, a_decision(DecisionKind.ACKNOWLEDGE), NEXT).state is FindingState.RESOLVED
    snoozed = decide(over, a_decision(DecisionKind.SNOOZE, days=1), NEXT)
    assert snoozed.state is FindingState.RESOLVED
    assert snoozed.snoozed_until_ms is None


def test_the_same_decision_twice_is_one_decision() -> None:
    decision = a_decision(DecisionKind.DISMISS)
    once = decide(a_tracked(), decision, NEXT)

    assert decide(once, decision, LATER) == once
    assert once.state is FindingState.DISMISSED


@pytest.mark.parametrize("days", [None, 0, -1])
def test_a_snooze_without_an_end_in_the_future_is_refused(days: int | None) -> None:
    with pytest.raises(DecisionError, match="future"):
        decide(a_tracked(), a_decision(DecisionKind.SNOOZE, days=days), NEXT)


@pytest.mark.parametrize("kind", [DecisionKind.ACKNOWLEDGE, DecisionKind.DISMISS])
def test_only_a_snooze_has_an_end(kind: DecisionKind) -> None:
    with pytest.raises(DecisionError, match="no end"):
        decide(a_tracked(), a_decision(kind, days=1), NEXT)


@given(st.lists(st.lists(st.integers(1, 4), unique=True, max_size=4), min_size=1, max_size=6))
def test_an_announcement_is_made_once_however_often_a_run_is_repeated(
    days: list[list[int]],
) -> None:
    known: dict[int, TrackedFinding] = {}
    announced: list[int] = []
    for number, holds in enumerate(days):
        at = from_ms(to_ms(AT) + number * 24 * HOUR_MS)
        detection = seen(*(a_finding(hold_id=hold) for hold in holds))
        for _ in range(2):
            result = run(list(known.values()), detection, at)
            known |= {entry.finding.finding_id: entry for entry in result.tracked}
            announced += [entry.announcement_id for entry in result.to_announce]

    assert len(announced) == len(set(announced))
    waiting = {a_finding(hold_id=hold).finding_id for hold in days[-1]}
    assert waiting == {
        key for key, entry in known.items() if entry.state is not FindingState.RESOLVED
    }
