"""The states of a finding: what a run of the detectors and what a person changes."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from app.errors import GpuledgerError, InputError
from app.findings.values import Detection, Finding, FindingState
from app.units.identity import hash64
from app.units.window import to_ms


class DecisionError(InputError):
    """A decision on a finding that makes no sense: a snooze that is over before it begins."""


class FindingNotFoundError(GpuledgerError):
    """No finding has this id, or none that the asker may see."""


class DecisionKind(StrEnum):
    """What a person may decide on a finding."""

    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    DISMISS = "dismiss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided what, and why. ``snoozed_until`` belongs to a snooze and to nothing else."""

    kind: DecisionKind
    actor: str
    reason: str
    snoozed_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFinding:
    """A finding with its history: what the store keeps.

    ``episode`` counts from 1 and grows whenever the finding has to be announced again: it came back
    after it was resolved, or its snooze ran out. A message is due once an episode.
    """

    finding: Finding
    state: FindingState
    episode: int
    first_seen_ms: int
    last_seen_ms: int
    resolved_ms: int | None = None
    snoozed_until_ms: int | None = None
    decided_by: str = ""
    reason: str = ""

    @property
    def announcement_id(self) -> int:
        """The identity of this episode's message: whoever sends it claims this first."""
        return hash64("announcement", str(self.finding.finding_id), str(self.episode))


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a run changed: every finding to store, and those of them that are to be announced."""

    tracked: tuple[TrackedFinding, ...]
    to_announce: tuple[TrackedFinding, ...]


def reconcile(known: Collection[TrackedFinding], detection: Detection, at: datetime) -> Reconciled:
    """Return the findings after a detection at ``at``, over the same subjects as ``known``.

    What is found and unknown opens; what was resolved and comes back has regressed; what is not
    found any more is resolved, unless a detector could not tell. A dismissed one stays dismissed.
    The same detection once more changes nothing and announces nothing.
    """
    at_ms = to_ms(at)
    before = {entry.finding.finding_id: entry for entry in known}
    found = {finding.finding_id: finding for finding in detection.findings}
    undecided = {entry.finding_id for entry in detection.cannot_tell}
    tracked: list[TrackedFinding] = []
    to_announce: list[TrackedFinding] = []
    for finding_id, finding in found.items():
        entry = _seen(before.get(finding_id), finding, at_ms)
        tracked.append(entry)
        if finding_id not in before or entry.episode > before[finding_id].episode:
            to_announce.append(entry)
    for finding_id, entry in before.items():
        if finding_id not in found and finding_id not in undecided:
            tracked.append(_not_seen(entry, at_ms))
    return Reconciled(tuple(tracked), tuple(to_announce))


def _seen(entry: TrackedFinding | None, finding: Finding, at_ms: int) -> TrackedFinding:
    if entry is None:
        return TrackedFinding(
            finding=finding,
            state=FindingState.OPEN,
            episode=1,
            first_seen_ms=at_ms,
            last_seen_ms=at_ms,
        )
    if at_ms < entry.last_seen_ms:
        # An older evidence window, looked at again: it says nothing about how things stand.
        return entry
    seen = replace(entry, finding=finding, last_seen_ms=at_ms)
    if entry.state is FindingState.RESOLVED:
        return _again(seen, FindingState.REGRESSED)
    # The evidence window moves on while the waste lasts: its beginning is the oldest one seen.
    oldest = min(entry.finding.since_ms, finding.since_ms)
    seen = replace(seen, finding=replace(finding, since_ms=oldest))
    match entry.state:
        case FindingState.SNOOZED if (entry.snoozed_until_ms or 0) <= at_ms:
            return _again(seen, FindingState.OPEN)
        case _:
            return seen


def _again(entry: TrackedFinding, state: FindingState) -> TrackedFinding:
    return replace(
        entry, state=state, episode=entry.episode + 1, resolved_ms=None, snoozed_until_ms=None
    )


def _not_seen(entry: TrackedFinding, at_ms: int) -> TrackedFinding:
    match entry.state:
        case FindingState.RESOLVED | FindingState.DISMISSED:
            return entry
        case _ if at_ms < entry.last_seen_ms:
            return entry
        case _:
            return replace(
                entry, state=FindingState.RESOLVED, resolved_ms=at_ms, snoozed_until_ms=None
            )


def decide(entry: TrackedFinding, decision: Decision, at: datetime) -> TrackedFinding:
    """Return the finding after a person's decision at ``at``; the same decision again is no change.

    Refuses a snooze without an end in the future, and an end without a snooze.
    """
    until = decision.snoozed_until
    if decision.kind is not DecisionKind.SNOOZE and until is not None:
        message = f"The decision {decision.kind.value} takes no end."
        raise DecisionError(message, hint="Leave `until` out, or snooze the finding.")
    decided = replace(
        entry, decided_by=decision.actor, reason=decision.reason, snoozed_until_ms=None
    )
    match decision.kind:
        case DecisionKind.ACKNOWLEDGE:
            # Acknowledging what is over must not open it again.
            if entry.state is FindingState.RESOLVED:
                return decided
            return replace(decided, state=FindingState.ACKNOWLEDGED)
        case DecisionKind.DISMISS:
            return replace(decided, state=FindingState.DISMISSED)
        case DecisionKind.SNOOZE:
            if until is None or until <= at:
                message = "A snooze needs an end in the future."
                raise DecisionError(message, hint="Give `until`, as 2026-11-30T09:00:00Z.")
            if entry.state is FindingState.RESOLVED:
                return decided
            return replace(decided, state=FindingState.SNOOZED, snoozed_until_ms=to_ms(until))
        case _:
            assert_never(decision.kind)
