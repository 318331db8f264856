"""Commands on reports: the definitions, one report of a period, and what was written."""

from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.reports import ReportDefinition, ReportFormat
from app.chargeback.tables import Table
from app.cli import arguments
from app.cli.arguments import ArgumentError, Form
from app.cli.output import Format, console, print_table, status_console
from app.store.reports import ReportStore
from app.units.window import from_ms
from app.wiring import Ledger

app = typer.Typer(help="Reports over the ledger, as reports/*.toml defines them.")

_LIST_COLUMNS = ("name", "title", "audience", "grain", "schedule", "next_due", "destination")
_RUN_COLUMNS = ("name", "period", "issue", "format", "address", "written_at", "bytes")


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="A definition in the reports folder.")],
    period: Annotated[str, typer.Option("--period", help="A week 2026-W46 or a month 2026-10.")],
    form: Annotated[
        ReportFormat | None,
        typer.Option("--format", help="One format; those of the definition if left out."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write.")] = None,
    to: Annotated[
        str, typer.Option("--to", help="A destination of gpuledger.toml, or an address.")
    ] = "",
) -> None:
    """Write a report of a period, whole or not at all."""
    if out is not None and to:
        message = "--out and --to are two places for one report."
        raise ArgumentError(message, hint="Give one of them.")
    formats = () if form is None else (form,)
    published = arguments.ledger().publish(name, period, formats=formats, path=out, to=to)
    for file in published.files:
        console().print(
            f"{file.address}: {len(published.table.rows)} rows, issue {published.made.number},"
            f" SHA-256 {file.sha256}.",
            soft_wrap=True,
            markup=False,
        )
    if published.made.provisional:
        status_console().print(
            "Note: provisional, since hours of the period are missing, partial or unrated, or its"
            " billing period is open.",
            style="yellow",
        )


@app.command("list")
def list_reports(form: Form = Format.TABLE) -> None:
    """List the report definitions, for whom they are and when they are due."""
    ledger = arguments.ledger()
    columns = (*_LIST_COLUMNS, "source", "group_by", "formats", "basis")
    rows = tuple(_listed(ledger, one) for one in ledger.reports())
    print_table(Table(columns, rows), form, columns=_LIST_COLUMNS)


@app.command("runs")
def runs(
    name: Annotated[str, typer.Argument(help="Of one report; of all if left out.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    form: Form = Format.TABLE,
) -> None:
    """List the files that were written, the latest first."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = ReportStore(connection).runs(name, limit=limit)
    columns = (*_RUN_COLUMNS, "sha256", "definition_sha256")
    rows = tuple(
        (
            one.name,
            one.period,
            one.number,
            one.form,
            one.address,
            f"{from_ms(one.written_ms):%Y-%m-%dT%H:%M:%SZ}",
            one.size_bytes,
            one.sha256,
            one.definition_sha256,
        )
        for one in found
    )
    print_table(Table(columns, rows), form, columns=_RUN_COLUMNS)


def _listed(ledger: Ledger, one: ReportDefinition) -> tuple[str, ...]:
    due = ledger.report_desk.next_due(one)
    return (
        one.name,
        one.title,
        one.audience,
        one.grain.value,
        str(one.schedule or ""),
        "" if due is None else f"{due:%Y-%m-%d %H:%M %Z}",
        one.destination or str(ledger.settings.report_out),
        one.source.value,
        ", ".join(one.group_by),
        ", ".join(form.value for form in one.formats),
        one.basis.value,
    )
