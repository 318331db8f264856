"""What each source of reports says of a period: the one place where a source is added."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from app.attribution.goodput import Objective
from app.chargeback.periods import Period
from app.chargeback.reconciliation_body import reconciliation_body
from app.chargeback.report_bodies import (
    budget_body,
    costs_body,
    coverage_facts,
    findings_body,
    inference_body,
)
from app.chargeback.report_columns import ReportSource
from app.chargeback.report_tables import ReportBody
from app.chargeback.reports import ReportDefinition
from app.findings.states import TrackedFinding
from app.store.budgets import BudgetStore
from app.store.dimensions import Filters
from app.store.findings import FindingStore
from app.units.identity import id_text
from app.units.money import to_nanos
from app.units.window import from_ms
from app.workflows.rating import current_terms
from app.workflows.reading import cost_sums, inference_sums
from app.workflows.reconciling import reconciliation_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTerms:
    """What all reports of a deployment share: the billing zone and currency, the objectives."""

    zone: ZoneInfo
    currency: str
    objectives: tuple[Objective, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuestion:
    """What a report asks its source: a period, a definition, and its filters or a team's."""

    connection: Connection
    definition: ReportDefinition
    period: Period
    filters: Filters
    terms: ReportTerms


def body_of(question: ReportQuestion) -> ReportBody:
    """Return what the report's source says of the period."""
    return _SOURCES[question.definition.source](question)


def _costs(question: ReportQuestion) -> ReportBody:
    rows = _cost_rows(question, question.definition.group_by)
    body = costs_body(rows, question.definition.group_by, question.terms.currency)
    teams = rows if "team" in question.definition.group_by else _cost_rows(question, ("team",))
    return ReportBody(
        keys=body.keys,
        figures=body.figures,
        complete=body.complete,
        total=body.total,
        facts=coverage_facts(teams),
    )


def _cost_rows(question: ReportQuestion, group_by: tuple[str, ...]) -> pd.DataFrame:
    return cost_sums(
        question.connection,
        question.period.window(),
        group_by,
        question.filters,
        zone=question.terms.zone,
        span_ms=question.period.span_ms,
        basis=question.definition.basis,
    ).rows


def _inference(question: ReportQuestion) -> ReportBody:
    def rows(group_by: tuple[str, ...]) -> pd.DataFrame:
        window, filters = question.period.window(), question.filters
        return inference_sums(
            question.connection,
            window,
            group_by,
            filters,
            zone=question.terms.zone,
            objectives=question.terms.objectives,
        ).rows

    group_by = question.definition.group_by
    return inference_body(rows(group_by), rows(()), group_by, question.terms.currency)


def _findings(question: ReportQuestion) -> ReportBody:
    """Return the findings that stood at some time of the period, by their last evidence."""
    start_ms, end_ms = question.period.span_ms
    records = [
        _finding_record(entry)
        for entry in FindingStore(question.connection).within()
        if entry.first_seen_ms < end_ms and (entry.resolved_ms or entry.last_seen_ms) >= start_ms
    ]
    frame = pd.DataFrame(records, columns=_FINDING_COLUMNS).astype(
        {
            name: "Int64" if name in {"wasted_nanos", "per_day_nanos"} else "str"
            for name in _FINDING_COLUMNS
            if name != "wasted_gpu_ms"
        }
        | {"wasted_gpu_ms": "int64"}
    )
    for name, values in question.filters:
        frame = frame[frame[name].isin(values)]
    return findings_body(frame, question.definition.group_by, question.terms.currency)


_FINDING_COLUMNS = [
    "cluster",
    "team",
    "kind",
    "state",
    "gpu_model",
    "node",
    "namespace",
    "workload",
    "pod",
    "finding",
    "first_seen",
    "last_seen",
    "decided_by",
    "reason",
    "wasted_gpu_ms",
    "wasted_nanos",
    "per_day_nanos",
]


def _finding_record(entry: TrackedFinding) -> dict[str, str | int | None]:
    finding = entry.finding
    subject = finding.subject
    return {
        "cluster": subject.cluster,
        "team": subject.team,
        "kind": finding.kind.value,
        "state": entry.state.value,
        "gpu_model": subject.gpu_model,
        "node": subject.node,
        "namespace": subject.namespace,
        "workload": subject.workload,
        "pod": subject.pod,
        "finding": id_text(finding.finding_id),
        "first_seen": _instant(entry.first_seen_ms),
        "last_seen": _instant(entry.last_seen_ms),
        "decided_by": entry.decided_by,
        "reason": entry.reason,
        "wasted_gpu_ms": finding.wasted_gpu_ms,
        "wasted_nanos": finding.wasted_nanos,
        "per_day_nanos": finding.per_day_nanos,
    }


def _instant(at_ms: int) -> str:
    return from_ms(at_ms).isoformat().replace("+00:00", "Z")


def _budget(question: ReportQuestion) -> ReportBody:
    """Return what teams spent of their budgets: those that the contract gives at the end."""
    contract = current_terms(question.connection).contract
    last_ms = question.period.span_ms[1] - 1
    wanted = dict(question.filters).get("team", ())
    blocks = [contract.team_at(name, last_ms) for name in {team.name for team in contract.teams}]
    budgets = {
        block.name: to_nanos(block.monthly_budget)
        for block in blocks
        if block is not None and block.monthly_budget and (not wanted or block.name in wanted)
    }
    reached: dict[str, list[str]] = {}
    for one in BudgetStore(question.connection).within(question.period.name):
        said = f"{one.crossing.basis.value} {round(one.crossing.threshold * 100)}%"
        reached.setdefault(one.crossing.team, []).append(said)
    return budget_body(
        _cost_rows(question, ("team",)),
        budgets,
        {team: "; ".join(said) for team, said in reached.items()},
        question.terms.currency,
    )


def _reconciliation(question: ReportQuestion) -> ReportBody:
    found = reconciliation_of(question.connection, question.period, question.terms.zone)
    return reconciliation_body(
        found.reconciliation,
        question.definition.group_by,
        dict(question.filters),
        question.terms.currency,
    )


_SOURCES: Mapping[ReportSource, Callable[[ReportQuestion], ReportBody]] = {
    ReportSource.COSTS: _costs,
    ReportSource.INFERENCE: _inference,
    ReportSource.FINDINGS: _findings,
    ReportSource.BUDGET: _budget,
    ReportSource.RECONCILIATION: _reconciliation,
}
