"""Commands on reports: the definitions, and one report of a period."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.tables import Table
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.output import Format, console, print_table, status_console

app = typer.Typer(help="Reports over the ledger, as reports/*.toml defines them.")


class ReportForm(StrEnum):
    """What a report can be written as."""

    CSV = "csv"


@app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="A definition in the reports folder.")],
    period: Annotated[str, typer.Option("--period", help="A week 2026-W46 or a month 2026-10.")],
    form: Annotated[ReportForm, typer.Option("--format")] = ReportForm.CSV,
    out: Annotated[Path | None, typer.Option("--out", help="The file to write.")] = None,
) -> None:
    """Write a report of a period, whole or not at all."""
    del form
    published = arguments.ledger().publish(name, period, path=out)
    console().print(
        f"{published.path}: {len(published.table.rows)} rows, issue {published.made.number},"
        f" SHA-256 {published.made.sha256}.",
        soft_wrap=True,
    )
    if published.made.provisional:
        status_console().print(
            "Note: provisional, since hours of the period are missing, partial or unrated.",
            style="yellow",
        )


@app.command("list")
def list_reports(form: Form = Format.TABLE) -> None:
    """List the report definitions."""
    rows = tuple(
        (one.name, one.title, one.grain.value, ", ".join(one.group_by), one.basis.value)
        for one in arguments.ledger().reports()
    )
    print_table(Table(("name", "title", "grain", "group_by", "basis"), rows), form)
