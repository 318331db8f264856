"""What the demo prints at its end: teams, unit costs, findings, the CSV."""

from app.chargeback.costs import costs_table
from app.chargeback.inference import inference_table
from app.cli.findings import findings_table
from app.cli.output import Format, console, print_table
from app.findings.values import FindingState
from app.store.findings import FindingStore
from app.units.window import HOUR_MS, Window
from app.wiring import Ledger
from app.workflows.publishing import Published
from app.workflows.reading import cost_sums, inference_sums

_TEAM_COLUMNS = (
    "team",
    "gpu_seconds_held",
    "used_cost",
    "idle_cost",
    "unmeasured_cost",
    "unallocated_cost",
    "stranded_cost",
    "total_cost",
    "complete",
)
_MODEL_COLUMNS = (
    "model",
    "requests",
    "total_cost",
    "cost_per_request",
    "cost_per_million_tokens",
    "active_ratio",
    "ttft_p95_seconds",
)
_FINDING_COLUMNS = ("finding", "kind", "team", "subject", "since", "wasted_cost", "cost_per_day")


def print_summary(ledger: Ledger, window: Window, report: Published) -> None:
    """Print what a FinOps practitioner, an ML team and a platform team look at first."""
    settings = ledger.settings
    with ledger.engine.connect() as connection:
        teams = cost_sums(connection, window, ("team",), zone=settings.zone)
        models = inference_sums(connection, window, ("model",), zone=settings.zone)
        findings = FindingStore(connection).within(
            states=(FindingState.OPEN, FindingState.REGRESSED)
        )
    span = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC, {settings.currency}"
    print_table(
        costs_table(teams.rows, ("team",), settings.currency),
        Format.TABLE,
        title=f"What each team held and pays, {span}",
        columns=_TEAM_COLUMNS,
    )
    print_table(
        inference_table(models.rows, ("model",)),
        Format.TABLE,
        title="What each model served and costs",
        columns=_MODEL_COLUMNS,
    )
    print_table(
        findings_table(findings, settings.currency),
        Format.TABLE,
        title="Waste of the last day, the dearest first",
        columns=_FINDING_COLUMNS,
    )
    hours = window.length_ms // HOUR_MS
    console().print(
        f"{hours} hours of the ledger. Chargeback CSV"
        f" ({'provisional' if report.made.provisional else 'final'}): {report.files[0].address}",
        soft_wrap=True,
    )
