"""Commands on billing periods: which there are, closing them, opening the last one again."""

from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.closing import AcceptLine, ObstaclesError, obstacles_table, read_accept_file
from app.chargeback.statements import instant_text
from app.chargeback.tables import Cell, Table, amount
from app.cli import arguments
from app.cli.adjustments import adjust, adjustments, correct
from app.cli.arguments import Form
from app.cli.output import Format, console, print_table, status_console
from app.wiring.clients import model_entries
from app.wiring.closing import close as close_period
from app.wiring.closing import look
from app.workflows.closing import Closed, CloseOrder
from app.workflows.periods import PeriodView, import_periods, period_views
from app.workflows.postings import Adjusting
from app.workflows.reopening import reopen_period

app = typer.Typer(help="Billing periods: what closes, and then stays as it is.")
app.command("adjust")(adjust)
app.command("correct")(correct)
app.command("adjustments")(adjustments)

_COLUMNS = (
    "period",
    "start",
    "end",
    "state",
    "version",
    "closed_at",
    "closed_by",
    "statements",
    "accepted",
    "total",
    "currency",
)
Name = Annotated[str, typer.Argument(help="A billing period, as 2026-10.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Who does it; the login by default.")]


@app.command("list")
def list_periods(form: Form = Format.TABLE) -> None:
    """List the billing periods that have hours, or that were imported or closed."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        views = period_views(connection, ledger.settings.zone)
    print_table(Table(_COLUMNS, tuple(_cells(view) for view in views)), form)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV: name,start,end; days of the billing zone.")],
    by: By = "",
) -> None:
    """Define other periods than calendar months, as 4-4-5 weeks; all of the file or nothing."""
    text = arguments.file_text(file)
    ledger = arguments.ledger()
    done = import_periods(
        text,
        file_name=file.name,
        author=arguments.who(by, option="--by"),
        engine=ledger.engine,
        zone=ledger.settings.zone,
        at_ms=arguments.now_ms(),
    )
    console().print(
        f"{len(done.periods)} billing periods from {done.periods[0].name} to"
        f" {done.periods[-1].name}, {done.changed} of them changed."
    )


@app.command("close")
def close(
    period: Name,
    accept: Annotated[
        Path | None,
        typer.Option("--accept", help="CSV of what may stay, as this prints it, with reasons."),
    ] = None,
    by: By = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what is in the way and the totals; store nothing."),
    ] = False,
    form: Form = Format.TABLE,
) -> None:
    """Close a period: pin its inputs, write its statements, freeze its charges."""
    order = CloseOrder(
        period=period,
        author=arguments.who(by, option="--by"),
        at_ms=arguments.now_ms(),
        accept=() if accept is None else _accepted(accept),
    )
    ledger = arguments.ledger()
    if dry_run:
        found = look(ledger, order)
        if found.obstacles:
            raise _told(ObstaclesError(period, found.obstacles), form)
        _print_statements(found, form)
        status_console().print(f"{period} can be closed as version {found.version}.")
        return
    try:
        closed = close_period(ledger, order)
    except ObstaclesError as error:
        raise _told(error, form) from None
    _print_statements(closed, form)
    status_console().print(f"{period} is closed as version {closed.version}.", style="green")


@app.command("reopen")
def reopen(
    period: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.", show_default=False)],
    by: By = "",
) -> None:
    """Open the last closed period again; its statements stay readable."""
    ledger = arguments.ledger()
    done = reopen_period(
        period,
        reason=reason,
        author=arguments.who(by, option="--by"),
        given=Adjusting(
            engine=ledger.engine,
            billing_zone=ledger.settings.zone,
            at_ms=arguments.now_ms(),
            models=model_entries(ledger.settings.models),
        ),
    )
    console().print(
        f"{period} is open again; its version {done.version} stays readable. {done.merged} hours"
        f" have later facts, {done.reversed} adjusted lines were taken back. Rate it, then close"
        " it."
    )


def _accepted(file: Path) -> tuple[AcceptLine, ...]:
    return read_accept_file(arguments.file_text(file), file_name=file.name)


def _told(error: ObstaclesError, form: Format) -> ObstaclesError:
    """Print what is in the way, so that it can be edited and handed back, and return the error."""
    print_table(obstacles_table(error.obstacles), form)
    return error


def _print_statements(closed: Closed, form: Format) -> None:
    columns = ("statement", "version", "team", "exact_total", "total", "currency", "sha256")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            one.number,
            one.version,
            one.team,
            amount(one.total_nanos),
            one.total,
            one.currency,
            one.sha256,
        )
        for one in closed.statements
    )
    print_table(Table(columns, rows), form)
    for one in closed.accepted:
        kind, cluster, start, end, subject, detail = one.obstacle.cells()
        status_console().print(
            f"Accepted: {kind} {cluster} {start}–{end} {subject} ({detail}): {one.reason}",
            markup=False,
        )


def _cells(view: PeriodView) -> tuple[Cell, ...]:
    period, closing = view.period, view.closing
    return (
        period.name,
        instant_text(period.start_ms),
        instant_text(period.end_ms),
        view.state,
        period.version,
        None if closing is None else instant_text(closing.closed_ms),
        None if closing is None else closing.author,
        None if closing is None else closing.statements,
        None if closing is None else closing.accepted,
        None if closing is None else closing.total,
        None if closing is None else closing.currency,
    )
