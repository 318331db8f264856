"""Commands on findings: list them, and what a person decides about one."""

from datetime import datetime
from typing import Annotated

import typer

from app.chargeback.tables import Table, amount, seconds
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.output import Format, console, print_table
from app.findings.states import Decision, DecisionKind, FindingNotFoundError, TrackedFinding, decide
from app.findings.values import FindingState
from app.store.findings import FindingStore
from app.units.identity import id_of_text, id_text
from app.units.window import from_ms
from app.wiring import Ledger

app = typer.Typer(help="Findings of waste, and what people decide about them.")

_COLUMNS = (
    "finding",
    "kind",
    "state",
    "team",
    "subject",
    "gpu_model",
    "since",
    "wasted_gpu_seconds",
    "wasted_cost",
    "cost_per_day",
    "currency",
)
_ATTENTION = (FindingState.OPEN, FindingState.REGRESSED)
FindingId = Annotated[str, typer.Argument(help="A finding's identity, as the list shows it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]


@app.command("list")
def list_findings(
    state: Annotated[
        list[FindingState] | None,
        typer.Option("--state", help="May be given again; open and regressed by default."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Findings in every state.")] = False,
    team: Annotated[str | None, typer.Option("--team", help="Only this team's.")] = None,
    form: Form = Format.TABLE,
) -> None:
    """List findings with their wasted money, the dearest first."""
    ledger = arguments.ledger()
    wanted = () if everything else tuple(state or _ATTENTION)
    with ledger.engine.connect() as connection:
        found = FindingStore(connection).within(states=wanted, team=team)
    print_table(findings_table(found, ledger.settings.currency), form)


def findings_table(found: tuple[TrackedFinding, ...], currency: str) -> Table:
    """Return findings as a table, the dearest first, those without a price last."""
    ranked = sorted(
        found,
        key=lambda one: (
            one.finding.wasted_nanos is None,
            -(one.finding.wasted_nanos or 0),
            one.finding.finding_id,
        ),
    )
    rows = tuple(
        (
            id_text(one.finding.finding_id),
            one.finding.kind.value,
            one.state.value,
            one.finding.subject.team,
            _subject(one),
            one.finding.subject.gpu_model,
            from_ms(one.finding.since_ms).isoformat().replace("+00:00", "Z"),
            seconds(one.finding.wasted_gpu_ms),
            None if one.finding.wasted_nanos is None else amount(one.finding.wasted_nanos),
            None if one.finding.per_day_nanos is None else amount(one.finding.per_day_nanos),
            currency,
        )
        for one in ranked
    )
    return Table(_COLUMNS, rows)


@app.command("ack")
def acknowledge(finding: FindingId, reason: Reason = "") -> None:
    """Say that somebody is on it."""
    _decide(finding, DecisionKind.ACKNOWLEDGE, reason)


@app.command("snooze")
def snooze(
    finding: FindingId,
    until: Annotated[str, typer.Option("--until", help="Silent until this instant or day.")],
    reason: Reason = "",
) -> None:
    """Hear nothing of it until an instant."""
    _decide(finding, DecisionKind.SNOOZE, reason, until=arguments.instant(until, "--until"))


@app.command("dismiss")
def dismiss(finding: FindingId, reason: Reason) -> None:
    """Say that it is no waste, and why."""
    if not reason.strip():
        message = "--reason is empty."
        raise arguments.ArgumentError(message, hint="Say why it is no waste.")
    _decide(finding, DecisionKind.DISMISS, reason)


def _decide(text: str, kind: DecisionKind, reason: str, *, until: datetime | None = None) -> None:
    finding_id = id_of_text(text)
    ledger = arguments.ledger()
    decision = Decision(kind=kind, actor=arguments.who(), reason=reason, snoozed_until=until)
    entry = decided(ledger, finding_id, decision)
    console().print(f"{text} is {entry.state.value}.")


def decided(ledger: Ledger, finding_id: int, decision: Decision) -> TrackedFinding:
    """Apply a person's decision to a finding and store it."""
    with ledger.engine.begin() as connection:
        store = FindingStore(connection)
        store.lock()
        entry = store.by_id(finding_id)
        if entry is None:
            message = f"There is no finding {id_text(finding_id)}."
            raise FindingNotFoundError(message, hint="`gpuledger findings list --all` shows them.")
        entry = decide(entry, decision, arguments.now())
        store.put([entry])
    return entry


def _subject(entry: TrackedFinding) -> str:
    subject = entry.finding.subject
    if subject.pod:
        return f"{subject.cluster}/{subject.namespace}/{subject.pod}"
    return f"{subject.cluster}/{subject.node}"
