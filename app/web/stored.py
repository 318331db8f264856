"""The ledger that routes read, over the database: one transaction a request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from app import telemetry
from app.findings.states import Decision, FindingNotFoundError, TrackedFinding, decide
from app.findings.values import FindingState
from app.store.findings import FindingStore
from app.store.keys import KeyStore
from app.store.naming import NameStore
from app.store.windows import WindowStore
from app.units.identity import id_text
from app.units.window import from_ms, to_ms
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
    Scope,
)
from app.wiring import Connection, Ledger
from app.wiring.examining import ready
from app.workflows.consumers import consumer_sums
from app.workflows.coverage import coverage_of
from app.workflows.reading import ChargeNotFoundError, cost_sums, explanation, inference_sums


def dependencies_of(ledger: Ledger) -> Dependencies:
    """Return what the application is built from, over one ledger's database."""

    @contextmanager
    def open_ledger() -> Iterator[StoredLedger]:
        with ledger.engine.begin() as connection:
            yield StoredLedger(connection, ledger.settings.zone, ledger.settings.currency)

    return Dependencies(
        open_ledger=open_ledger,
        now=ledger.now,
        ready=lambda: [Check(one.name, one.ok, one.detail) for one in ready(ledger.engine)],
        metrics=lambda: telemetry.metrics(ledger.engine),
        currency=ledger.settings.currency,
    )


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """One request's view of the database; see `app.web.reading.Ledger`."""

    connection: Connection
    zone: ZoneInfo
    currency: str

    def api_key(self, secret_sha256: str) -> ApiKey | None:
        """Return the key in force whose secret has this hash."""
        key = KeyStore(self.connection).by_secret(secret_sha256)
        return None if key is None else ApiKey(name=key.name, scope=Scope(key.scope), team=key.team)

    def costs(self, question: CostsQuestion) -> Costs:
        """Return summed charges."""
        found = cost_sums(
            self.connection, question.window, question.group_by, question.filters, zone=self.zone
        )
        return Costs(
            rows=found.rows,
            complete=found.hours.complete and bool(found.rows["complete"].all()),
            pending_rerating=bool(found.hours.pending),
        )

    def inference(self, question: InferenceQuestion) -> Inference:
        """Return summed tokens, requests and their cost."""
        found = inference_sums(
            self.connection, question.window, question.group_by, question.filters, zone=self.zone
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
            team, found = explanation(self.connection, charge_id, self.currency)
        except ChargeNotFoundError:
            return None
        return ExplainedCharge(team=team, explanation=found)

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
