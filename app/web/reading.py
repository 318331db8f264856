"""What the routes need of the ledger: questions, answers, and who answers them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import pandas as pd

from app.attribution.contract import Contract, TokenWeights
from app.attribution.explanation import Explanation
from app.attribution.goodput import Objective
from app.chargeback.commitments import CommitmentReport
from app.chargeback.costs import Basis
from app.chargeback.report_tables import ReportDocument
from app.chargeback.reports import ReportDefinition
from app.errors import InputError
from app.findings.coverage import CoverageRow
from app.findings.holes import Hole
from app.findings.states import Decision, TrackedFinding
from app.findings.values import FindingState
from app.pricing.commitments import Commitment
from app.store.reports import ReportRun
from app.units.window import Window
from app.web.adjustment_reading import AdjustmentLedger
from app.web.bill_reading import BillLedger
from app.web.export_reading import ExportLedger
from app.web.period_reading import PeriodLedger
from app.web.planning_reading import PlanningLedger
from app.web.price_reading import PriceLedger

# Allowed values by column, the columns in order; a column that is not named allows everything.
Filters = tuple[tuple[str, tuple[str, ...]], ...]


class Scope(StrEnum):
    """What an API key may do; each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Say whether a key of this scope may do what needs ``other``."""
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key in force. ``team`` restricts it to one team's lines; '' is all of the ledger."""

    name: str
    scope: Scope
    team: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostsQuestion:
    """Which charges, summed by what."""

    window: Window
    group_by: tuple[str, ...]
    filters: Filters
    basis: Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Summed charges (`app.chargeback.costs.costs_schema`), one row a group, in any order.

    ``complete`` is false where the window lacks a price, an hour, a sample; ``pending_rerating``
    says that an import changed something that has not reached the charges yet.
    """

    rows: pd.DataFrame
    complete: bool
    pending_rerating: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceQuestion:
    """Which served tokens, summed by what; without objectives those of the configuration count."""

    window: Window
    group_by: tuple[str, ...]
    filters: Filters
    objectives: tuple[Objective, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """Summed inference (`app.chargeback.inference.inference_schema`), one row a group."""

    rows: pd.DataFrame
    complete: bool
    pending_rerating: bool
    token_weights: tuple[TokenWeights, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumersQuestion:
    """Whose tokens, in which days."""

    window: Window
    filters: Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumers:
    """Who sent tokens to shared services (`app.chargeback.consumers.CONSUMERS`)."""

    rows: pd.DataFrame
    complete: bool
    pending_rerating: bool


@dataclass(frozen=True, slots=True)
class ExplainedCharge:
    """Whose a charge is, and why it is what it is.

    ``replaced`` is the identity that was asked for where ``successors`` stand in its place,
    ``adjustment`` where it is an adjustment's.
    """

    team: str
    explanation: Explanation
    replaced: int | None = None
    successors: tuple[int, ...] = ()
    adjustment: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCoverage:
    """Which hours of a cluster the ledger has: from the first to the watermark, None if none."""

    cluster: str
    first_hour: datetime | None
    watermark: datetime | None
    partial_hours: int
    stale_hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredQuestion:
    """Of which hours it is asked what is measured; ``team`` sees its own only, '' everything."""

    window: Window
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is measured, by cluster, namespace and service, and the holes."""

    rows: Sequence[CoverageRow]
    holes: Sequence[Hole]


@dataclass(frozen=True, slots=True)
class ReportListing:
    """A report definition, and when its next period is due; None without a schedule."""

    definition: ReportDefinition
    next_due: datetime | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must work before requests can be answered."""

    name: str
    ok: bool
    detail: str


class IdempotencyConflictError(InputError):
    """An idempotency key that was used for another request."""


class Ledger(
    AdjustmentLedger, BillLedger, PeriodLedger, PlanningLedger, ExportLedger, PriceLedger, Protocol
):
    """One request's view of the ledger: a connection and what is read and written through it."""

    def api_key(self, secret_sha256: str) -> ApiKey | None:
        """Return the key in force whose secret has this hash, as hexadecimal digits."""
        ...

    def costs(self, question: CostsQuestion) -> Costs:
        """Return summed charges."""
        ...

    def inference(self, question: InferenceQuestion) -> Inference:
        """Return summed tokens, requests and their cost."""
        ...

    def consumers(self, question: ConsumersQuestion) -> Consumers:
        """Return who sent tokens to shared services, and what of their cost is theirs."""
        ...

    def commitments(self) -> Sequence[Commitment]:
        """Return the commitments, by id and term."""
        ...

    def commitment_coverage(self, window: Window) -> Sequence[CommitmentReport]:
        """Return what each commitment covered in the window, by id and term."""
        ...

    def findings(
        self, *, states: Sequence[FindingState], team: str | None
    ) -> Sequence[TrackedFinding]:
        """Return findings in one of ``states``, of one team or of all."""
        ...

    def finding(self, finding_id: int) -> TrackedFinding | None:
        """Return one finding."""
        ...

    def decide(
        self, finding_id: int, decision: Decision, *, at: datetime, idempotency_key: str
    ) -> TrackedFinding:
        """Apply a decision and return the finding.

        The same key with the same decision returns the finding as it is; with another one it is an
        `IdempotencyConflictError`.
        """
        ...

    def explanation(self, charge_id: int) -> ExplainedCharge | None:
        """Return one charge, explained."""
        ...

    def contract(self) -> Contract:
        """Return the team contract in force, an empty one before the first."""
        ...

    def coverage(self) -> Sequence[ClusterCoverage]:
        """Return what the ledger has, by cluster."""
        ...

    def measured(self, question: MeasuredQuestion) -> Measured:
        """Return what is measured, and what is not."""
        ...

    def report_listings(self) -> Sequence[ReportListing]:
        """Return the report definitions that can be used, by name."""
        ...

    def report(self, name: str, period: str, *, team: str) -> ReportDocument | None:
        """Return a period's report, of one team or of all; None without such a definition."""
        ...

    def report_runs(self, name: str, *, limit: int) -> Sequence[ReportRun]:
        """Return the last files written, of one report or of all, the latest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What the application is built from.

    ``open_ledger`` gives one request its ledger and commits when the request succeeded. ``ready``
    says what works; ``metrics`` returns the service's own metrics in Prometheus' text format.
    """

    open_ledger: Callable[[], AbstractContextManager[Ledger]]
    now: Callable[[], datetime]
    ready: Callable[[], Sequence[Check]]
    metrics: Callable[[], bytes]
    currency: str
