"""Findings as values: what is wasted, on what, since when, and the figures that show it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.units.identity import hash64
from app.units.window import HOUR_MS, Window


class FindingKind(StrEnum):
    """What kind of waste it is."""

    IDLE_HOLD = "idle_hold"
    UNALLOCATED_POOL = "unallocated_pool"
    GATEWAY_RATIO = "gateway_ratio"


class FindingState(StrEnum):
    """Where a finding stands; `app.findings.states` says how it moves."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    DISMISSED = "dismissed"
    RESOLVED = "resolved"
    REGRESSED = "regressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a finding is about, by ids and by name; 0 and '' where there is none.

    ``team`` is who pays, '' if nobody does.
    """

    cluster: str
    node_id: int
    node: str
    gpu_model_id: int
    gpu_model: str
    hold_id: int = 0
    workload_id: int = 0
    namespace: str = ""
    pod: str = ""
    workload: str = ""
    team: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the evidence: a name that ends in its unit, and the value."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One waste, measured over the evidence window.

    ``wasted_gpu_ms`` is device-milliseconds; ``wasted_nanos`` is the money charged for them, None
    where a price is missing. ``since_ms`` is when the subject began to be as it is: the start of
    the hold, or of the evidence where nothing older is known. ``per_day_nanos`` is the money a day
    at the rate of the evidence window. Findings of the same ongoing waste have the same id.
    """

    kind: FindingKind
    subject: Subject
    window: Window
    since_ms: int
    wasted_gpu_ms: int
    wasted_nanos: int | None
    per_day_nanos: int | None
    evidence: tuple[Figure, ...]

    @property
    def finding_id(self) -> int:
        """The identity, from kind and subject alone: neither the window nor the money is in it."""
        return finding_id(self.kind, self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotTell:
    """A subject that the evidence neither accuses nor clears; an earlier finding stays as it is."""

    finding_id: int
    subject: Subject
    reason: str


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector found, worst first, and where it could not tell."""

    findings: tuple[Finding, ...]
    cannot_tell: tuple[CannotTell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WastePolicy:
    """From where on something is waste. Ratios are 0–1.

    A device at 5 % or below does nothing that another could not do beside it; short bursts (a
    notebook cell, a health check) stay below a tenth of the time, and 6 hours outlast a meeting.
    With less than 80 % of the time measured or observed, the rest could turn the verdict. Gateways
    and engines count a little differently (aborted requests, templates), by less than a twentieth.
    """

    idle_low_band_ratio: float = 0.9
    idle_minimum_held_hours: float = 6.0
    minimum_measured_ratio: float = 0.8
    unallocated_ratio: float = 0.5
    unallocated_minimum_hours: float = 6.0
    minimum_observed_ratio: float = 0.8
    gateway_ratio_lowest: float = 0.8
    gateway_ratio_highest: float = 1.05


def money_per_day(nanos: int | None, over_ms: int) -> int | None:
    """Return nanos a day at the rate of ``nanos`` in ``over_ms``, rounded down; None stays None."""
    return None if nanos is None else nanos * 24 * HOUR_MS // over_ms


def finding_id(kind: FindingKind, subject: Subject) -> int:
    """Return the identity of a waste of this kind on this subject, as long as it goes on."""
    ids = [str(subject.node_id), str(subject.gpu_model_id), str(subject.hold_id)]
    if subject.workload_id:
        ids.append(str(subject.workload_id))
    return hash64("finding", kind, subject.cluster, *ids)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by money, the most first; those without a price follow, by GPU time."""

    def rank(finding: Finding) -> tuple[bool, int, int, int]:
        unpriced = finding.wasted_nanos is None
        return unpriced, -(finding.wasted_nanos or 0), -finding.wasted_gpu_ms, finding.finding_id

    return tuple(sorted(findings, key=rank))
