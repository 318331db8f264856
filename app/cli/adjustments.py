"""Commands on closed periods: what was posted to them, late facts, corrections."""

from typing import Annotated

import typer

from app.chargeback.adjustments import adjustments_table
from app.chargeback.statements import instant_text
from app.chargeback.tables import Cell, Table, amount
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.output import Format, print_table, status_console
from app.wiring.adjusting import adjusting_of
from app.workflows.adjusting import Correction, adjust_period, correct_period
from app.workflows.posted_adjustments import AdjustmentsQuestion, posted_adjustments
from app.workflows.postings import Adjusted

_SHOWN = (
    "type",
    "posting_period",
    "posted_at",
    "usage_start",
    "cluster",
    "namespace",
    "workload",
    "team",
    "kind",
    "gpu_seconds",
    "adjustment_cost",
    "currency",
    "reason",
)
Name = Annotated[str, typer.Argument(help="A billing period, as 2026-10.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the money by team; post nothing.")]


def adjust(period: Name, dry_run: DryRun = False, form: Form = Format.TABLE) -> None:
    """Post what late facts change in a closed period, by the inputs it goes by."""
    ledger = arguments.ledger()
    given = adjusting_of(ledger.engine, ledger.settings, arguments.now(), dry_run=dry_run)
    done = adjust_period(period, given)
    _print_money(done, ledger.settings.currency, form)
    _say(done, dry_run=dry_run)


def correct(
    period: Name,
    reason: Annotated[
        str, typer.Option("--reason", help="What was wrong; it is kept.", show_default=False)
    ],
    prices: Annotated[
        int | None, typer.Option("--prices", help="Version of the prices; the latest by default.")
    ] = None,
    contract: Annotated[
        int | None,
        typer.Option("--contract", help="Version of the contract; the latest by default."),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who says so; the login by default.")] = "",
    dry_run: DryRun = False,
    form: Form = Format.TABLE,
) -> None:
    """Charge a closed period by other prices and owners, and post the difference."""
    ledger = arguments.ledger()
    given = adjusting_of(ledger.engine, ledger.settings, arguments.now(), dry_run=dry_run)
    order = Correction(
        period=period,
        reason=reason,
        author=arguments.who(by, option="--by"),
        prices=prices,
        contract=contract,
    )
    done = correct_period(order, given)
    for one in (done.late, done.correction):
        if one.lines or one is done.correction:
            _print_money(one, ledger.settings.currency, form)
            _say(one, dry_run=dry_run)


def adjustments(
    period: Name,
    posted: Annotated[
        bool, typer.Option("--posted", help="What is booked in the period instead.")
    ] = False,
    form: Form = Format.TABLE,
) -> None:
    """List what was posted to the lines of a period."""
    ledger = arguments.ledger()
    question = (
        AdjustmentsQuestion(posted_in=period) if posted else AdjustmentsQuestion(period=period)
    )
    with ledger.engine.connect() as connection:
        rows = posted_adjustments(connection, question, ledger.settings.zone)
    print_table(adjustments_table(rows, ledger.settings.currency), form, columns=_SHOWN)


def _print_money(done: Adjusted, currency: str, form: Format) -> None:
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            done.run.period,
            done.run.type.name.lower(),
            done.run.posting_period,
            team.team,
            amount(team.nanos),
            currency,
        )
        for team in done.teams
    )
    columns = ("period", "type", "posting_period", "team", "adjustment_cost", "currency")
    print_table(Table(columns, rows), form)


def _say(done: Adjusted, *, dry_run: bool) -> None:
    run = done.run
    if dry_run:
        words = f"{done.lines} lines would be posted into {run.posting_period}: {run.reason}"
    elif done.posted:
        at = instant_text(run.posted_ms)
        words = f"{done.lines} lines were posted into {run.posting_period} at {at}: {run.reason}"
    else:
        words = f"Nothing to post: no line of {run.period} is different."
    status_console().print(words, markup=False)
