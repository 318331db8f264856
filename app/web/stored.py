"""The ledger that routes read, over the database: one transaction a request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from app import telemetry
from app.attribution.contract import Contract
from app.attribution.goodput import Objective
from app.chargeback.commitments import CommitmentReport
from app.chargeback.focus_statement import FocusNames
from app.chargeback.report_columns import SOURCES
from app.chargeback.report_tables import ReportDocument
from app.findings.states import Decision, FindingNotFoundError, TrackedFinding, decide
from app.findings.values import FindingState
from app.pricing.commitments import Commitment
from app.store.commitments import CommitmentStore
from app.store.findings import FindingStore
from app.store.keys import KeyStore
from app.store.naming import NameStore
from app.store.reports import ReportRun, ReportStore
from app.store.windows import WindowStore
from app.units.identity import id_text
from app.units.window import Window, from_ms, to_ms
from app.web.problems import ForbiddenError
from app.web.reading import (
    ApiKey,
    Check,
    ClusterCoverage,
    Consumers,
    ConsumersQuestion,
    Costs,
    CostsQuestion,
    Dependencies,
    ExplainedCharge,
    IdempotencyConflictError,
    Inference,
    InferenceQuestion,
    Measured,
    MeasuredQuestion,
    ReportListing,
    Scope,
)
from app.web.stored_adjustments import StoredAdjustments
from app.web.stored_bills import StoredBills
from app.web.stored_exports import StoredExports
from app.web.stored_periods import StoredPeriods
from app.web.stored_planning import StoredPlanning
from app.web.stored_prices import StoredPrices
from app.wiring import Connection, Ledger
from app.wiring.clients import objectives_of
from app.wiring.closing import billing_terms
from app.wiring.examining import ready
from app.wiring.exports import focus_names
from app.wiring.planning import PlanningTerms, planning_terms
from app.wiring.reporting import ReportDesk
from app.workflows.closing import BillingTerms
from app.workflows.commitments import commitment_report
from app.workflows.consumers import consumer_sums
from app.workflows.contracts import contract_in_force
from app.workflows.coverage import coverage_of
from app.workflows.publishing import read_report
from app.workflows.reading import ChargeNotFoundError, cost_sums, inference_sums
from app.workflows.succeeding import explained


def dependencies_of(ledger: Ledger) -> Dependencies:
    """Return what the application is built from, over one ledger's database."""
    settings = ledger.settings
    terms, planning = billing_terms(settings), planning_terms(settings)
    objectives = objectives_of(settings)
    names = focus_names(settings)

    @contextmanager
    def open_ledger() -> Iterator[StoredLedger]:
        with ledger.engine.begin() as connection:
            yield StoredLedger(
                connection=connection,
                zone=settings.zone,
                currency=settings.currency,
                objectives=objectives,
                terms=terms,
                reports=ledger.report_desk,
                planning=planning,
                focus_names=names,
            )

    return Dependencies(
        open_ledger=open_ledger,
        now=ledger.now,
        ready=lambda: [Check(one.name, one.ok, one.detail) for one in ready(ledger.engine)],
        metrics=lambda: telemetry.metrics(ledger.engine),
        currency=ledger.settings.currency,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLedger(
    StoredAdjustments, StoredBills, StoredPeriods, StoredPlanning, StoredExports, StoredPrices
):
    """One request's view of the database; see `app.web.reading.Ledger`."""

    connection: Connection
    zone: ZoneInfo
    currency: str
    objectives: tuple[Objective, ...]
    terms: BillingTerms
    reports: ReportDesk
    planning: PlanningTerms
    focus_names: FocusNames

    def api_key(self, secret_sha256: str) -> ApiKey | None:
        """Return the key in force whose secret has this hash."""
        key = KeyStore(self.connection).by_secret(secret_sha256)
        return None if key is None else ApiKey(name=key.name, scope=Scope(key.scope), team=key.team)

    def costs(self, question: CostsQuestion) -> Costs:
        """Return summed charges."""
        found = cost_sums(
            self.connection,
            question.window,
            question.group_by,
            question.filters,
            zone=self.zone,
            basis=question.basis,
        )
        return Costs(
            rows=found.rows,
            complete=found.hours.complete and bool(found.rows["complete"].all()),
            pending_rerating=bool(found.hours.pending),
        )

    def inference(self, question: InferenceQuestion) -> Inference:
        """Return summed tokens, requests and their cost."""
        found = inference_sums(
            self.connection,
            question.window,
            question.group_by,
            question.filters,
            zone=self.zone,
            objectives=question.objectives or self.objectives,
        )
        return Inference(
            rows=found.rows,
            complete=found.hours.complete and bool(found.rows["complete"].all()),
            pending_rerating=bool(found.hours.pending),
            token_weights=found.token_weights,
        )

    def consumers(self, question: ConsumersQuestion) -> Consumers:
        """Return who sent tokens to shared services, and what of their cost is theirs."""
        found = consumer_sums(self.connection, question.window, question.filters, zone=self.zone)
        return Consumers(
            rows=found.rows,
            complete=found.hours.complete,
            pending_rerating=bool(found.hours.pending),
        )

    def commitments(self) -> Sequence[Commitment]:
        """Return the commitments."""
        return CommitmentStore(self.connection).rows()

    def commitment_coverage(self, window: Window) -> Sequence[CommitmentReport]:
        """Return what each commitment covered in the window."""
        return commitment_report(self.connection, window)

    def findings(
        self, *, states: Sequence[FindingState], team: str | None
    ) -> Sequence[TrackedFinding]:
        """Return findings in one of ``states``, of one team or of all."""
        return FindingStore(self.connection).within(states=states, team=team)

    def finding(self, finding_id: int) -> TrackedFinding | None:
        """Return one finding."""
        return FindingStore(self.connection).by_id(finding_id)

    def decide(
        self, finding_id: int, decision: Decision, *, at: datetime, idempotency_key: str
    ) -> TrackedFinding:
        """Apply a decision once, however often the request with its key comes."""
        store = FindingStore(self.connection)
        store.lock()
        entry = store.by_id(finding_id)
        if entry is None:
            message = f"There is no finding {id_text(finding_id)}."
            raise FindingNotFoundError(message, hint="GET /v1/findings lists them.")
        request = sha256(f"{finding_id} {decision!r}".encode()).hexdigest()
        before = store.carried_out(idempotency_key)
        if before == request:
            return entry
        if before is not None:
            message = "This Idempotency-Key was used for another request."
            raise IdempotencyConflictError(message, hint="Use a key of its own for each decision.")
        entry = decide(entry, decision, at)
        store.put([entry])
        store.remember(idempotency_key, request, at_ms=to_ms(at))
        return entry

    def explanation(self, charge_id: int) -> ExplainedCharge | None:
        """Return one charge, explained."""
        try:
            found = explained(self.connection, charge_id, self.currency, self.zone)
        except ChargeNotFoundError:
            return None
        return ExplainedCharge(
            team=found.team,
            explanation=found.explanation,
            replaced=found.replaced,
            successors=found.successors,
            adjustment=found.adjustment,
        )

    def contract(self) -> Contract:
        """Return the team contract in force."""
        return contract_in_force(self.connection)

    def coverage(self) -> Sequence[ClusterCoverage]:
        """Return what the ledger has, by cluster."""
        clusters = sorted(NameStore(self.connection).clusters().values())
        found = [WindowStore(self.connection, cluster).coverage() for cluster in clusters]
        return [
            ClusterCoverage(
                cluster=one.cluster,
                first_hour=None if one.first_ms is None else from_ms(one.first_ms),
                watermark=None if one.watermark_ms is None else from_ms(one.watermark_ms),
                partial_hours=one.partial_hours,
                stale_hours=one.pending_hours,
            )
            for one in found
        ]

    def measured(self, question: MeasuredQuestion) -> Measured:
        """Return what is measured, and what is not."""
        found = coverage_of(self.connection, question.window, zone=self.zone, team=question.team)
        return Measured(rows=found.rows, holes=found.holes)

    def report_listings(self) -> Sequence[ReportListing]:
        """Return the report definitions that can be used, by name."""
        desk = self.reports
        return [ReportListing(one, desk.next_due(one)) for one in desk.folders.usable()]

    def report(self, name: str, period: str, *, team: str) -> ReportDocument | None:
        """Return a period's report, of one team or of all; None without such a definition."""
        desk = self.reports
        if name not in desk.folders.names():
            return None
        definition = desk.folders.named(name)
        if team and "team" not in SOURCES[definition.source].filters:
            message = f"The report {name} is of no team."
            raise ForbiddenError(message, hint="Use a key without a team.")
        return read_report(
            self.connection,
            definition,
            period,
            terms=desk.terms,
            team=team,
        )

    def report_runs(self, name: str, *, limit: int) -> Sequence[ReportRun]:
        """Return the last files written, of one report or of all, the latest first."""
        return ReportStore(self.connection).runs(name, limit=limit)
