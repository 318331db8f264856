"""Commands that import price inputs, and what importing has in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.chargeback.tables import Table, amount
from app.cli import arguments, price_books
from app.cli.ledger import rate_all
from app.cli.output import Format, console, print_table, status_console
from app.store.price_versions import ImportKind
from app.units.window import Window
from app.wiring import Ledger
from app.wiring.clients import model_entries
from app.workflows.imports import Imported, import_prices

prices = typer.Typer(help="The price book, and what else prices are made from.")
prices.command("list")(price_books.list_prices)
prices.command("history")(price_books.history)
prices.command("test")(price_books.choose_price)
prices.command("starter")(price_books.write_starter)

File = Annotated[Path, typer.Argument(help="The file.", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the money it would move, and store nothing.")
]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; needed where rows that are there are corrected.")
]
Author = Annotated[str, typer.Option("--author", help="Who; the name of the login if left out.")]


@prices.command("import")
def import_file(
    file: File,
    card: Annotated[
        bool, typer.Option("--card", help="The rate card: what teams pay, not what is paid.")
    ] = False,
    dry_run: DryRun = False,
    reason: Reason = "",
    author: Author = "",
) -> None:
    """Take a price book (CSV), all of it or nothing; touched hours are rated again."""
    kind = ImportKind.RATE_CARD if card else ImportKind.PRICES
    _take(file, kind, "prices", dry_run=dry_run, reason=reason, author=author)


@prices.command("exchange-rates")
def import_exchange_rates(
    file: File, dry_run: DryRun = False, reason: Reason = "", author: Author = ""
) -> None:
    """Take dated exchange rates (CSV) into the billing currency, all of them or none."""
    kind = ImportKind.EXCHANGE_RATES
    _take(file, kind, "exchange rates", dry_run=dry_run, reason=reason, author=author)


@prices.command("terms")
def import_terms(
    file: File, dry_run: DryRun = False, reason: Reason = "", author: Author = ""
) -> None:
    """Take dated discounts and markups (CSV), all of them or none."""
    _take(file, ImportKind.TERMS, "terms", dry_run=dry_run, reason=reason, author=author)


@prices.command("credits")
def import_credits(
    file: File, dry_run: DryRun = False, reason: Reason = "", author: Author = ""
) -> None:
    """Take credits (CSV): money given back, spread over its time; all of them or none."""
    _take(file, ImportKind.CREDITS, "credits", dry_run=dry_run, reason=reason, author=author)


@prices.command("owned")
def import_owned(
    file: File, dry_run: DryRun = False, reason: Reason = "", author: Author = ""
) -> None:
    """Take the register of owned hardware (TOML): what its hours and its energy cost."""
    _take(file, ImportKind.OWNED, "assets", dry_run=dry_run, reason=reason, author=author)


def _take(
    file: Path, kind: ImportKind, called: str, *, dry_run: bool, reason: str, author: str
) -> None:
    text = arguments.file_text(file)
    ledger = arguments.ledger()
    with comparing():
        done = import_prices(
            text,
            kind=kind,
            file_name=file.name,
            currency=ledger.settings.currency,
            engine=ledger.engine,
            billing_zone=ledger.settings.zone,
            at_ms=arguments.now_ms(),
            dry_run=dry_run,
            reason=reason.strip(),
            author=arguments.author_of(author),
            models=model_entries(ledger.settings.models),
        )
    for warning in done.warnings:
        status_console().print(f"Warning: {warning}.", style="yellow", markup=False)
    if done.closed_hours:
        status_console().print(
            f"Note: {done.closed_hours} hours of closed periods keep their charges;"
            " gpuledger period correct makes adjustments by these prices.",
            style="yellow",
        )
    console().print(
        f"{done.added} {called} added, {done.superseded} superseded, {done.unchanged} unchanged;"
        f" price book version {done.version}."
    )
    finish(ledger, done)


@contextmanager
def comparing() -> Iterator[None]:
    """Show that charges are compared, for as long as it takes, and leave no trace of it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = status_console()
    # Into a file it would write an empty line.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        bar.add_task("Comparing charges before and after", total=None)
        yield


def finish(ledger: Ledger, done: Imported) -> None:
    """Print the money that moves, and rate again what waits for it."""
    moved = [line for line in done.moved if line.moved_nanos]
    if moved:
        rows = tuple(
            (
                line.team,
                amount(line.before_nanos),
                amount(line.after_nanos),
                amount(line.moved_nanos),
                ledger.settings.currency,
            )
            for line in moved
        )
        columns = ("team", "before", "after", "moved", "currency")
        print_table(Table(columns, rows), Format.TABLE, title="Money that moves")
    if done.dry_run:
        console().print(f"Dry run: nothing is stored; {done.hours} hours would be rated again.")
        return
    for name in ledger.collected_clusters():
        windows = ledger.windows_to_rate(name)
        if windows:
            span = Window(windows[0].start, windows[-1].end)
            rate_all(ledger, (name,), span)
