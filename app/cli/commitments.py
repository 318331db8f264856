"""Commands on commitments: what was bought, and what of it is used."""

import typer

from app.chargeback.commitments import commitments_table, coverage_table
from app.cli import arguments
from app.cli.arguments import End, Form, Start
from app.cli.inputs import Author, DryRun, File, Reason, comparing, finish
from app.cli.output import Format, console, print_table, status_console
from app.store.commitments import CommitmentStore
from app.wiring.clients import model_entries
from app.workflows.commitments import CommitmentFile, commitment_report, import_commitments

app = typer.Typer(help="Reservations, savings plans, committed use, capacity blocks.")

_SHOWN_TERMS = (
    "commitment",
    "type",
    "billing_account",
    "unit",
    "quantity",
    "upfront",
    "recurring_per_hour",
    "currency",
    "term_start",
    "term_end",
)
_SHOWN_USE = (
    "commitment",
    "type",
    "hours",
    "utilization_ratio",
    "coverage_ratio",
    "cost_coverage_ratio",
    "commitment_cost",
    "unused_cost",
    "currency",
)


@app.command("import")
def import_file(
    file: File, dry_run: DryRun = False, reason: Reason = "", author: Author = ""
) -> None:
    """Take commitments (CSV), all of them or nothing; touched hours are rated again."""
    text = arguments.file_text(file)
    ledger = arguments.ledger()
    with comparing():
        done = import_commitments(
            CommitmentFile(
                text=text,
                file_name=file.name,
                currency=ledger.settings.currency,
                at_ms=arguments.now_ms(),
                reason=reason.strip(),
                author=arguments.author_of(author),
            ),
            engine=ledger.engine,
            billing_zone=ledger.settings.zone,
            dry_run=dry_run,
            models=model_entries(ledger.settings.models),
        )
    for warning in done.warnings:
        status_console().print(f"Warning: {warning}.", style="yellow", markup=False)
    if done.closed_hours:
        status_console().print(
            f"Note: {done.closed_hours} hours of closed periods keep their charges.",
            style="yellow",
        )
    console().print(
        f"{done.added} commitments added, {done.superseded} superseded,"
        f" {done.unchanged} unchanged; price book version {done.version}."
    )
    finish(ledger, done)


@app.command("list")
def list_commitments(form: Form = Format.TABLE) -> None:
    """List the commitments and their terms."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = CommitmentStore(connection).rows()
    print_table(commitments_table(found), form, columns=_SHOWN_TERMS)


@app.command("report")
def report(start: Start, end: End, form: Form = Format.TABLE) -> None:
    """Coverage and utilization of each commitment, and what is left unused."""
    window = arguments.window(start, end)
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = commitment_report(connection, window)
    table = coverage_table(found, ledger.settings.currency)
    title = f"Commitments from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    print_table(table, form, title=title, columns=_SHOWN_USE)
