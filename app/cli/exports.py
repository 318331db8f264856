"""Commands that write files for other systems: FOCUS and the journal."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.focus_cells import total_of
from app.chargeback.focus_columns import NEWEST_SPEC, View
from app.chargeback.focus_lines import ExportGrain
from app.chargeback.journal import Posting, totals, without_cost_center
from app.cli import arguments
from app.cli.arguments import End, Start
from app.cli.output import console, status_console
from app.wiring.exports import export_focus, export_journal
from app.workflows.exporting import ExportQuestion

app = typer.Typer(help="Files for other systems: FOCUS and the journal.")


class Spec(StrEnum):
    """The versions of FOCUS that are written."""

    V1_2 = "1.2"
    V1_3 = NEWEST_SPEC


Out = Annotated[Path, typer.Option("--out", help="The file to write.", show_default=False)]


@app.command("focus")
def focus(
    start: Start,
    end: End,
    out: Out,
    spec: Annotated[Spec, typer.Option("--spec", help="The version of FOCUS.")] = Spec.V1_3,
    view: Annotated[
        View, typer.Option("--view", help="What teams are charged, or the provider's bill split.")
    ] = View.STATEMENT,
    grain: Annotated[
        ExportGrain, typer.Option("--grain", help="How long a row's charge period is.")
    ] = ExportGrain.DAY,
) -> None:
    """Write the charges of a window as FOCUS: .csv, .csv.gz or .parquet, whole or not at all."""
    question = ExportQuestion(
        window=arguments.window(start, end), spec=spec.value, view=view, grain=grain
    )
    done = export_focus(arguments.ledger(), question, out)
    console().print(
        f"{done.path}: {done.export.rows} rows of FOCUS {spec.value}, view {view.value}, billed"
        f" {total_of(done.export.columns).normalize():f}.",
        soft_wrap=True,
    )
    notes = status_console()
    if done.unpriced_path is not None:
        count = len(done.export.unpriced.rows)
        notes.print(
            f"Note: {count} rows have no price and are listed in {done.unpriced_path} instead.",
            style="yellow",
        )
    if done.export.provisional:
        notes.print("Note: provisional, since a period of it is not closed.", style="yellow")
    hours = done.export.hours
    arguments.warn_of(hours.missing, hours.partial, hours.pending)


@app.command("journal")
def write_journal(
    period: Annotated[str, typer.Option("--period", help="A billing period, as 2026-10.")],
    out: Out,
    provisional: Annotated[
        bool, typer.Option("--provisional", help="Of an open period, marked as such.")
    ] = False,
) -> None:
    """Write a closed period's statements as a journal: balanced, one side a line."""
    posting = Posting.PROVISIONAL if provisional else Posting.BOOKED
    table = export_journal(arguments.ledger(), period, out, posting)
    debits, credits_ = totals(table)
    console().print(
        f"{out}: {len(table.rows)} lines, debits {debits}, credits {credits_}.", soft_wrap=True
    )
    blank = without_cost_center(table)
    if blank:
        status_console().print(
            f"Note: {blank} lines have no cost center; give the platform's team one in the team"
            " contract.",
            style="yellow",
        )
    if provisional:
        status_console().print("Note: provisional: do not book it.", style="yellow")
