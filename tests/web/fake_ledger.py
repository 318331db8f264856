"""A ledger of a few round figures, with the signatures of the real one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd

from app.attribution.contract import Contract, Platform, Team, TokenWeights
from app.attribution.explanation import Explanation, ExplanationStep
from app.chargeback.commitments import CommitmentReport
from app.chargeback.consumers import CONSUMERS
from app.chargeback.costs import MS_COLUMNS, NANOS_COLUMNS
from app.chargeback.inference import (
    COUNT_COLUMNS,
    DETAIL_COUNT_COLUMNS,
    DETAIL_RATIO_COLUMNS,
    GOODPUT_COLUMNS,
    MORE_UNIT_COST_COLUMNS,
    RATIO_COLUMNS,
    UNIT_COST_COLUMNS,
    USED_UNIT_COST_COLUMNS,
)
from app.findings.coverage import coverage_rows
from app.findings.holes import Hole
from app.findings.states import Decision, FindingNotFoundError, TrackedFinding, decide
from app.findings.values import FindingState
from app.pricing.commitment_use import CommitmentUse
from app.pricing.commitments import Commitment
from app.units.window import HOUR_MS, Window
from app.web.auth import secret_sha256
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
from tests.findings.builders import a_finding, a_pool_finding, a_tracked
from tests.findings.covering import a_time, service_evidence, time_evidence
from tests.pricing.test_commitments import a_commitment
from tests.web.fake_adjustments import FakeAdjustments
from tests.web.fake_bills import FakeBills
from tests.web.fake_exports import FakeExports
from tests.web.fake_periods import FakePeriods
from tests.web.fake_planning import FakePlanning
from tests.web.fake_prices import FakePrices
from tests.web.report_figures import FakeReports

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
WATERMARK = datetime(2026, 11, 23, 7, tzinfo=UTC)
READ_KEY = "glk_read-key-of-the-tests-0000"
WRITE_KEY = "glk_write-key-of-the-tests-000"
ADMIN_KEY = "glk_admin-key-of-the-tests-000"
SEARCH_KEY = "glk_search-key-of-the-tests-00"
CHARGE_ID = 0x00AB54A98CEB1F0A
KEYS = {
    secret_sha256(READ_KEY): ApiKey(name="reader", scope=Scope.READ),
    secret_sha256(WRITE_KEY): ApiKey(name="writer", scope=Scope.WRITE),
    secret_sha256(ADMIN_KEY): ApiKey(name="admin", scope=Scope.ADMIN),
    secret_sha256(SEARCH_KEY): ApiKey(name="search", scope=Scope.WRITE, team="search"),
}

# Search and ml both claim the pods with two labels.
CONTRACT = Contract(
    teams=(
        Team(name="search", cost_center="CC-1", namespaces=("search-*",), labels=(("app", "x"),)),
        Team(name="ml", monthly_budget=Decimal(20_000), labels=(("tier", "gold"),)),
        Team(name="ml", namespaces=("search-ml",), clusters=("prod-us",), slack="#ml"),
    ),
    platform=(Platform(team="platform", namespaces=("monitoring",)),),
)
PAID_BY_SEARCH = a_commitment(commitment="ri-2", payer="search")
_HOUR_MS = 3_600_000
_COST = {"used_ms": 3, "idle_ms": 2, "unmeasured_ms": 1}


@dataclass(frozen=True, slots=True)
class Line:
    """One charge of the fake: a day's GPU-hours at 1.00 each."""

    team: str
    namespace: str
    gpu_model: str
    kind: str
    hours: int
    priced: bool = True


LINES = (
    Line("search", "search-api", "NVIDIA-H100-80GB-HBM3", "used", 60),
    Line("search", "search-api", "NVIDIA-H100-80GB-HBM3", "idle", 30),
    Line("search", "search-index", "NVIDIA-L4", "used", 12),
    Line("search", "search-index", "NVIDIA-L4", "unmeasured", 3),
    Line("ml", "ml-research", "NVIDIA-H100-80GB-HBM3", "used", 40),
    Line("ml", "ml-research", "NVIDIA-H100-80GB-HBM3", "idle", 55),
    Line("unowned", "sandbox", "NVIDIA-L4", "idle", 9),
    Line("platform", "", "NVIDIA-H100-80GB-HBM3", "unallocated", 24),
    Line("platform", "", "NVIDIA-L4", "stranded", 4),
    Line("platform", "", "NVIDIA-L4", "unobserved", 2),
    Line("free", "free-tier", "NVIDIA-T4", "used", 5, priced=False),
)


@dataclass
class FakeLedger(
    FakeBills, FakeAdjustments, FakePeriods, FakePlanning, FakeExports, FakePrices, FakeReports
):
    """Answers from `LINES`, one day of them for every day of the window."""

    tracked: dict[int, TrackedFinding] = field(default_factory=dict)
    used_keys: dict[str, tuple[int, Decision]] = field(default_factory=dict)
    asked: list[CostsQuestion | InferenceQuestion] = field(default_factory=list)
    empty: bool = False
    charge_team: str = "search"
    adjustment: int | None = None
    keys: dict[str, ApiKey] = field(default_factory=lambda: dict(KEYS))
    commits: int = 0
    measured_of: list[MeasuredQuestion] = field(default_factory=list)
    bought: list[Commitment] = field(default_factory=lambda: [a_commitment(), PAID_BY_SEARCH])

    def __post_init__(self) -> None:
        super().__init__()

    def api_key(self, secret_sha256: str) -> ApiKey | None:
        return self.keys.get(secret_sha256)

    def costs(self, question: CostsQuestion) -> Costs:
        self.asked.append(question)
        records = [] if self.empty else list(_cost_records(question))
        columns = [*question.group_by, *MS_COLUMNS, "unpriced_ms", *NANOS_COLUMNS, "complete"]
        frame = pd.DataFrame(records, columns=columns)
        figures = columns[len(question.group_by) : -1]
        dtypes = dict.fromkeys(question.group_by, "str") | dict.fromkeys(figures, "int64")
        frame = frame.astype(dtypes | {"complete": "bool"})
        summed = frame.groupby(list(question.group_by), as_index=False, sort=False)
        rows = summed.agg(dict.fromkeys(figures, "sum") | {"complete": "all"})
        return Costs(rows=rows, complete=False, pending_rerating=False)

    def inference(self, question: InferenceQuestion) -> Inference:
        self.asked.append(question)
        rows = _inference_rows(question)
        weights = (TokenWeights(),)
        return Inference(rows=rows, complete=True, pending_rerating=False, token_weights=weights)

    def consumers(self, question: ConsumersQuestion) -> Consumers:
        self.asked.append(question)
        rows = _consumer_rows()
        for name, values in question.filters:
            rows = rows[rows[name].isin(values)]
        return Consumers(rows=rows.reset_index(drop=True), complete=True, pending_rerating=False)

    def findings(
        self, *, states: Sequence[FindingState], team: str | None
    ) -> Sequence[TrackedFinding]:
        return [
            entry
            for entry in self.tracked.values()
            if entry.state in states and team in (None, entry.finding.subject.team)
        ]

    def finding(self, finding_id: int) -> TrackedFinding | None:
        return self.tracked.get(finding_id)

    def decide(
        self, finding_id: int, decision: Decision, *, at: datetime, idempotency_key: str
    ) -> TrackedFinding:
        if finding_id not in self.tracked:
            message = "There is no such finding."
            raise FindingNotFoundError(message)
        if self.used_keys.setdefault(idempotency_key, (finding_id, decision)) != (
            finding_id,
            decision,
        ):
            message = f"The idempotency key {idempotency_key} was used for something else."
            raise IdempotencyConflictError(message, hint="Use another.")
        self.tracked[finding_id] = decide(self.tracked[finding_id], decision, at)
        return self.tracked[finding_id]

    def explanation(self, charge_id: int) -> ExplainedCharge | None:
        if charge_id not in (CHARGE_ID, self.adjustment):
            return None
        step = ExplanationStep(
            "Price", "The node costs 3.00 USD an hour.", (("price_per_node_hour", "3.00"),)
        )
        return ExplainedCharge(
            self.charge_team, Explanation(CHARGE_ID, (step,)), adjustment=self.adjustment
        )

    def commitments(self) -> Sequence[Commitment]:
        return self.bought

    def commitment_coverage(self, window: Window) -> Sequence[CommitmentReport]:
        return [
            CommitmentReport(
                commitment=one,
                use=CommitmentUse(
                    price_id=one.price_id,
                    account=one.billing_account,
                    hours=window.length_ms // HOUR_MS,
                    committed=4 * HOUR_MS,
                    used=3 * HOUR_MS,
                    eligible_ms=6 * HOUR_MS,
                    covered_ms=3 * HOUR_MS,
                    eligible_nanos=30 * 10**9,
                    covered_nanos=15 * 10**9,
                    cost_nanos=8 * 10**9,
                    used_nanos=6 * 10**9,
                ),
            )
            for one in self.bought
        ]

    def contract(self) -> Contract:
        return CONTRACT

    def coverage(self) -> Sequence[ClusterCoverage]:
        first = WATERMARK - timedelta(days=12)
        known = ClusterCoverage(
            cluster="prod-eu",
            first_hour=first,
            watermark=WATERMARK,
            partial_hours=1,
            stale_hours=0,
        )
        empty = ClusterCoverage(
            cluster="prod-us", first_hour=None, watermark=None, partial_hours=0, stale_hours=0
        )
        return [empty] if self.empty else [known, empty]

    def measured(self, question: MeasuredQuestion) -> Measured:
        self.measured_of.append(question)
        if self.empty:
            return Measured(rows=(), holes=())
        times = [
            a_time(team="search", used_ms=6 * _HOUR_MS, unmeasured_ms=2 * _HOUR_MS),
            a_time(team="unowned", namespace="sandbox", idle_ms=_HOUR_MS, unpriced_ms=_HOUR_MS),
        ]
        rows = coverage_rows(time_evidence(times), service_evidence([]))
        hole = Hole(
            cluster="prod-eu",
            namespace="sandbox",
            kind="unowned",
            subject="sandbox",
            quantity=_HOUR_MS,
            hours=1,
            detail="no team owns the namespace",
        )
        return Measured(rows=rows, holes=(hole,))


def a_ledger() -> FakeLedger:
    entries = [
        a_tracked(a_finding(team="search")),
        a_tracked(a_finding(hold_id=2, team="ml", pod="notebook-7", wasted_nanos=96_000_000_000)),
        a_tracked(a_pool_finding()),
        a_tracked(a_finding(hold_id=3, team="ml", pod="old"), state=FindingState.RESOLVED),
    ]
    return FakeLedger({entry.finding.finding_id: entry for entry in entries})


def a_dependencies(ledger: FakeLedger, *, ready: bool = True) -> Dependencies:
    return Dependencies(
        open_ledger=_opener(ledger),
        now=lambda: NOW,
        ready=lambda: [Check("database", ready, "" if ready else "no connection")],
        metrics=lambda: b"# TYPE gpuledger_up gauge\ngpuledger_up 1\n",
        currency="USD",
    )


def _opener(ledger: FakeLedger) -> Callable[[], AbstractContextManager[FakeLedger]]:
    @contextmanager
    def open_ledger() -> Iterator[FakeLedger]:
        yield ledger
        ledger.commits += 1

    return open_ledger


def _cost_records(question: CostsQuestion) -> Iterator[dict[str, str | int | bool]]:
    allowed = dict(question.filters)
    day = question.window.start
    while day < question.window.end:
        week = day.isocalendar()
        texts = {
            "cluster": "prod-eu",
            "cost_center": "CC-1001",
            "hour": day.strftime("%Y-%m-%dT%H:00:00Z"),
            "day": day.strftime("%Y-%m-%d"),
            "week": f"{week.year}-W{week.week:02}",
            "month": day.strftime("%Y-%m"),
        }
        for line in LINES:
            known = texts | {
                "team": line.team,
                "namespace": line.namespace,
                "gpu_model": line.gpu_model,
                "kind": line.kind,
            }
            if any(known.get(column, "") not in values for column, values in allowed.items()):
                continue
            ms = line.hours * _HOUR_MS
            yield {
                **{name: known.get(name, "") for name in question.group_by},
                **{name: ms if name == f"{line.kind}_ms" else 0 for name in MS_COLUMNS},
                "unpriced_ms": 0 if line.priced else ms,
                **{
                    name: line.hours * 10**9 if line.priced and name == f"{line.kind}_nanos" else 0
                    for name in NANOS_COLUMNS
                },
                "complete": line.priced,
            }
        day += timedelta(days=1)


def _inference_rows(question: InferenceQuestion) -> pd.DataFrame:
    served = {
        "model": ["llama-3-70b", "mistral-7b", ""],
        "team": ["search", "ml", "ml"],
        "namespace": ["search-api", "ml-research", "ml-research"],
    }
    size = 3
    data: dict[str, object] = {
        name: pd.Series(served.get(name, [f"{name}-{row}" for row in range(size)]), dtype="str")
        for name in question.group_by
    }
    counts = ([120_000, 3_000, 0], [12, 0, 0], [90_000_000, 1_000_000, 0])
    more = ([30_000_000, 0, 0], [20_000_000, 500_000, 0])
    for name, values in zip(COUNT_COLUMNS, (*counts, *more), strict=True):
        data[name] = pd.array(values, dtype="Int64")
    data["gpu_ms"] = [90 * _HOUR_MS, 40 * _HOUR_MS, 5 * _HOUR_MS]
    data["total_nanos"] = pd.array([90 * 10**9, 40 * 10**9, 5 * 10**9], dtype="Int64")
    few = [Decimal("0.00075"), Decimal("0.0133333333333"), None]
    many = [Decimal("0.47"), Decimal(13), None]
    for name, values in zip(UNIT_COST_COLUMNS, (few, many, many, many), strict=True):
        data[name] = pd.Series(values, dtype="object")
    for name in DETAIL_COUNT_COLUMNS:
        data[name] = pd.array([5_000_000, None, 0], dtype="Int64")
    for name in (*RATIO_COLUMNS, *DETAIL_RATIO_COLUMNS):
        data[name] = [0.42, 0.7, float("nan")]
    data["complete"] = [True, True, True]
    data["unit_cost_reason"] = pd.Series(["", "", "idle, 5.00: no tokens"], dtype="str")
    data["used_nanos"] = pd.array([40 * 10**9, 30 * 10**9, 0], dtype="Int64")
    for name in (*MORE_UNIT_COST_COLUMNS, *USED_UNIT_COST_COLUMNS, *GOODPUT_COLUMNS[3:]):
        data[name] = pd.Series([Decimal("0.25"), Decimal(4), None], dtype="object")
    data["objective"] = pd.Series(["end_to_end ≤ 2 s", "", ""], dtype="str")
    data["requests_within_objective"] = pd.array([110_000, None, None], dtype="Int64")
    data["within_objective_ratio"] = [0.9167, float("nan"), float("nan")]
    rows = pd.DataFrame(data)
    allowed = dict(question.filters)
    for column, values in allowed.items():
        if column in served:
            rows = rows[[served[column][index] in values for index in rows.index]]
    return rows.reset_index(drop=True)


def _consumer_rows() -> pd.DataFrame:
    """Two consumers of one service that cost 4.00: one a team's, one that nobody knows."""
    rows = [
        {
            "day": "2026-11-22",
            "cluster": "prod-eu",
            "namespace": "serving",
            "service": "llama",
            "gateway": "litellm",
            "consumer": consumer,
            "team": team,
            "matched_by": "model",
            "prompt_tokens": 100,
            "cached_prompt_tokens": 50,
            "generation_tokens": generation,
            "weighted_tokens": Decimal("55.0") + 4 * generation,
            "gateway_tokens": 800,
            "engine_tokens": 1_000 if team == "search" else None,
            "reassigned_nanos": nanos,
        }
        for consumer, team, generation, nanos in (
            ("search-web", "search", 400, 3_000_000_000),
            ("no identity", "ml", 200, 1_000_000_000),
        )
    ]
    dtypes = {name: str(column.dtype) for name, column in CONSUMERS.columns.items()}
    return pd.DataFrame(rows)[[*dtypes]].astype(dtypes)
