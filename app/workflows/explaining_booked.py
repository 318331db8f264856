"""Explain where a line's money went: redistribution, statements, adjustments."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.explanation import (
    Explanation,
    ExplanationStep,
    Figures,
    Versions,
    instant_text,
    money_text,
    seconds_text,
    versions_step,
)
from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.statements import StatementHead
from app.chargeback.tables import amount, plain, seconds
from app.store.adjustments import Adjustment, adjustments_of
from app.store.explained_lines import charge_row, moved_by
from app.store.explanations import ChargeRecord
from app.store.naming import NameStore
from app.store.periods import PeriodStore
from app.store.statement_lines import line_names
from app.store.statements import StatementStore
from app.units.identity import id_text

_MOVED = {
    LineStep.NOBODY: "step 1 divides what nobody used",
    LineStep.PLATFORM: "step 2 divides what the platform's own namespaces cost",
    LineStep.CONSUMERS: "step 3 divides a service's cost among those who sent its tokens",
}
# Time that moves to another team, price or kind leaves one line and comes to another.
_NO_CHARGE = "no charge, as no line had this team, price and kind"
_LINE = ("cluster", "namespace", "workload", "gpu_model", "kind")


def with_moves(
    connection: Connection, record: ChargeRecord, found: Explanation, currency: str
) -> Explanation:
    """Return the explanation with a step that says whether a policy gave the cost to others."""
    moved = moved_by(connection, record)
    if moved is None:
        step = ExplanationStep("Redistribution", "no policy gives it to others; it stays as it is")
    else:
        step = ExplanationStep(
            "Redistribution",
            f"{_MOVED[moved.step]}: this line's money was taken from"
            f" {record.team or 'nobody'} and given to others",
            (
                ("debit", id_text(moved.debit_id)),
                ("taken with it in all", money_text(moved.nanos, currency)),
                ("lines that receive it", str(moved.receivers)),
            ),
        )
    return replace(found, steps=(*found.steps, step))


def statement_steps(
    connection: Connection, charge_id: int, zone: ZoneInfo
) -> tuple[ExplanationStep, ...]:
    """Return in which statement a charge is, and in which line; () where it is no charge."""
    row = charge_row(connection, charge_id)
    if row is None:
        return ()
    period = PeriodStore(connection, zone).period_at(row.started_at)
    head = _head(connection, period, row.team_id)
    if head is None:
        return (
            ExplanationStep("Statement", f"none yet: the billing period {period.name} is open"),
        )
    if not period.is_closed:
        text = f"{head.number} version {head.version} had it; {period.name} was opened again"
        return (ExplanationStep("Statement", text),)
    wanted = line_names(connection, period, {**row._asdict()})
    wanted["price_id"] = id_text(row.price_id) if row.price_id else ""
    lines = _objects(connection, head, "lines")
    figures = tuple(
        (f"line {number} of {len(lines)}", _line_text(line, head.currency))
        for number, line in enumerate(lines, start=1)
        if all(line[name] == wanted[name] for name in (*_LINE, "price_id"))
    )
    text = f"{head.number} version {head.version}, closed at {instant_text(head.closed_ms)}"
    if len(figures) > 1:
        text += "; the line is divided by the cost centers that the team had"
    return (ExplanationStep("Statement", text, (*figures, ("SHA-256", head.sha256))),)


def posted_steps(
    connection: Connection,
    charge_id: int,
    posted: Sequence[Adjustment],
    currency: str,
    zone: ZoneInfo,
) -> tuple[ExplanationStep, ...]:
    """Return what was posted to a line after its period was closed, by whom and why."""
    row = charge_row(connection, charge_id) if posted else None
    stands = (row.cost_nanos or 0) if row is not None else 0
    steps: list[ExplanationStep] = []
    for one in posted:
        stands += one.cost_nanos
        figures = (
            ("adjustment_cost", plain(amount(one.cost_nanos))),
            ("gpu_seconds", plain(seconds(one.gpu_ms))),
            ("price_version", str(one.run.versions.prices)),
            ("contract_version", str(one.run.versions.contract)),
            ("adjustment", id_text(one.adjustment_id)),
            ("run", str(one.run.run_id)),
            ("closed_with", _NO_CHARGE if row is None else _cost(row, currency)),
            ("stands_at", money_text(stands, currency)),
            ("statement", _posting_text(connection, one, zone)),
        )
        steps.append(ExplanationStep("Adjusted", _posted_text(one, currency), figures))
    return tuple(steps)


def explain_adjustment(
    connection: Connection, one: Adjustment, currency: str, zone: ZoneInfo
) -> Explanation:
    """Return which posting an adjustment is of, what the line was, and what changed."""
    row = charge_row(connection, one.charge_id)
    before = [
        other
        for other in adjustments_of(connection, one.charge_id)
        if other.run.run_id < one.run.run_id
    ]
    team = NameStore(connection).teams().get(one.team_id, "")
    versions = one.run.versions
    return Explanation(
        one.charge_id,
        (
            ExplanationStep("Adjustment", _posted_text(one, currency), _posting(connection, one)),
            ExplanationStep("Team", f"{team or 'nobody'}, whose line is adjusted"),
            _changed(one, row, before, currency),
            versions_step(
                Versions(
                    revision=0,
                    rating_version=versions.rating,
                    price_version=versions.prices,
                    contract_version=versions.contract,
                )
            ),
            ExplanationStep("Statement", _posting_text(connection, one, zone)),
        ),
    )


def _posting(connection: Connection, one: Adjustment) -> Figures:
    names = NameStore(connection)
    kind = ChargeKind(one.charge_kind).name.lower()
    return (
        ("adjustment", id_text(one.adjustment_id)),
        ("run", str(one.run.run_id)),
        ("type", one.run.type.name.lower()),
        ("adjusts the period", one.run.period),
        ("posting period", one.run.posting_period),
        ("reason", one.run.reason),
        ("author", one.run.author),
        ("line", id_text(one.charge_id)),
        ("kind of the line", f"{kind}, step {one.step}"),
        ("price id", id_text(one.price_id) if one.price_id else "none"),
        ("cluster", names.clusters().get(one.cluster_id, "") or "no single one"),
        ("namespace", names.namespaces().get(one.namespace_id, "") or "none"),
        ("usage day", one.day.isoformat()),
        ("usage", f"{instant_text(one.start_ms)} to {instant_text(one.end_ms)}"),
    )


def _changed(
    one: Adjustment, row: Row[Any] | None, before: Sequence[Adjustment], currency: str
) -> ExplanationStep:
    """Return the line as it was closed, what was posted before, and how it stands after this."""
    nanos = (row.cost_nanos or 0) if row is not None else 0
    ms = row.gpu_ms if row is not None else 0
    posted_nanos, posted_ms = sum(x.cost_nanos for x in before), sum(x.gpu_ms for x in before)
    closed = _NO_CHARGE if row is None else _cost(row, currency)
    return ExplanationStep(
        "Money",
        "the line by the last facts and inputs, less the closed charge and all that was posted to"
        " it before",
        (
            ("closed with", f"{closed}, {seconds_text(ms)} GPU-seconds"),
            (
                "posted before",
                f"{money_text(posted_nanos, currency)}, {_signed_seconds(posted_ms)} GPU-seconds",
            ),
            ("GPU-seconds of this posting", _signed_seconds(one.gpu_ms)),
            ("charged", money_text(one.cost_nanos, currency)),
            (
                "stands at",
                ", ".join(
                    (
                        money_text(nanos + posted_nanos + one.cost_nanos, currency),
                        f"{_signed_seconds(ms + posted_ms + one.gpu_ms)} GPU-seconds",
                    )
                ),
            ),
        ),
    )


def _posted_text(one: Adjustment, currency: str) -> str:
    run = one.run
    return (
        f"{plain(amount(one.cost_nanos))} {currency} were posted into {run.posting_period} at"
        f" {instant_text(run.posted_ms)} ({run.type.name.lower()}, by {run.author}): {run.reason}"
    )


def _posting_text(connection: Connection, one: Adjustment, zone: ZoneInfo) -> str:
    """Say on which statement a posting is, or that its period is open."""
    period = PeriodStore(connection, zone).period_at(one.run.posted_ms)
    head = _head(connection, period, one.team_id) if period.is_closed else None
    if head is None:
        return f"none yet: the billing period {period.name} is open"
    return f"{head.number} version {head.version}, closed at {instant_text(head.closed_ms)}"


def _head(connection: Connection, period: BillingPeriod, team_id: int) -> StatementHead | None:
    team = NameStore(connection).teams().get(team_id, "")
    heads = StatementStore(connection).heads(period=period.name, team=team)
    return max(heads, key=lambda one: one.version, default=None)


def _objects(connection: Connection, head: StatementHead, name: str) -> list[dict[str, str]]:
    stored = StatementStore(connection).by_number(head.number, head.version)
    found: list[dict[str, str]] = json.loads(stored.body)[name] if stored else []
    return found


def _line_text(line: dict[str, str], currency: str) -> str:
    named = ", ".join(line[name] for name in ("cost_center", *_LINE) if line[name])
    if not line["cost"]:
        return f"{named}: no price"
    return f"{named}: {line['cost']} {currency}, printed as {line['amount']}"


def _cost(row: Row[Any], currency: str) -> str:
    return "no price" if row.cost_nanos is None else money_text(row.cost_nanos, currency)


def _signed_seconds(ms: int) -> str:
    return f"-{seconds_text(-ms)}" if ms < 0 else seconds_text(ms)
