"""Commands on what providers charged: their FOCUS files, and the reconciliation with the ledger."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.reconciliation_tables import LONGEST_LIST
from app.chargeback.tables import Table, amount
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.inputs import comparing
from app.cli.output import Format, console, print_table, status_console
from app.store.provider_bills import ProviderBillStore
from app.units.identity import id_of_text
from app.wiring import Ledger
from app.workflows.bill_imports import BillTerms, ImportedBills, import_bills
from app.workflows.bill_tables import bill_table, bill_words, service_table
from app.workflows.reconciling import reconciliation_tables

app = typer.Typer(help="Providers' bills (FOCUS files), and what of them the ledger explains.")

_PEOPLE_COLUMNS = (
    *("provider", "billing_account", "period_start", "version", "superseded", "rows"),
    *("effective_cost", "bill_currency", "imported_at", "bill"),
)
_SUMMARY_FOR_PEOPLE = (
    *("provider", "billing_account", "provider_bill", "pool_cost", "commitment_unused"),
    *("not_in_cluster", "true_up", "unmatched", "waiting", "currency"),
)


class Part(StrEnum):
    """Which table of a reconciliation is printed as CSV or JSON."""

    SUMMARY = "summary"
    UNMATCHED = "unmatched"
    NODES = "nodes"


@app.command("import")
def import_files(
    files: Annotated[
        list[Path], typer.Argument(help="CSV, gzipped CSV or Parquet.", show_default=False)
    ],
    provider: Annotated[
        str, typer.Option("--provider", help="Who sent the bill; else who most rows name.")
    ] = "",
    billing_account: Annotated[
        str, typer.Option("--billing-account", help="Refuse rows of any other account.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the true-up it would make, and store nothing.")
    ] = False,
) -> None:
    """Take a provider's FOCUS files together, all or nothing; a period's next version is whole."""
    ledger = arguments.ledger()
    with comparing():
        done = import_bills(
            files,
            BillTerms(
                engine=ledger.engine,
                currency=ledger.settings.currency,
                billing_zone=ledger.settings.zone,
                at_ms=arguments.now_ms(),
            ),
            provider=provider,
            billing_account=billing_account,
            dry_run=dry_run,
        )
    for one in done.bills:
        console().print(bill_words(one), markup=False)
    _print_moved(done, ledger)


def _print_moved(done: ImportedBills, ledger: Ledger) -> None:
    moved = [one for one in done.moved if one.moved_nanos]
    if moved:
        rows = tuple(
            (
                one.team,
                amount(one.before_nanos),
                amount(one.after_nanos),
                amount(one.moved_nanos),
                ledger.settings.currency,
            )
            for one in moved
        )
        columns = ("team", "before", "after", "moved", "currency")
        print_table(Table(columns, rows), Format.TABLE, title="True-up that moves")
    if done.closed_days:
        status_console().print(
            f"Note: {done.closed_days} of {done.days} days lie in closed billing periods; what"
            " moves there is an adjustment, in the period that is open.",
            style="yellow",
        )
    if done.doubled_rows:
        money = f"{amount(done.doubled_nanos)} {ledger.settings.currency}"
        status_console().print(
            f"Warning: {done.doubled_rows} rows of machines stand there once more, equal in every"
            f" column: {money}. If a file was put together twice, import the right one again.",
            style="yellow",
        )
    if done.dry_run:
        console().print(f"Dry run: nothing is stored; {done.days} days would be trued up.")


@app.command("list")
def list_bills(form: Form = Format.TABLE) -> None:
    """List every version of every bill."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        bills = ProviderBillStore(connection).all()
    print_table(bill_table(bills, ledger.settings.currency), form, columns=_PEOPLE_COLUMNS)


@app.command("show")
def show(
    bill: Annotated[str, typer.Argument(help="The id that `bills list` shows.")],
    form: Form = Format.TABLE,
) -> None:
    """Show the services on a version of a bill, and what of it is kept row by row."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        table = service_table(connection, id_of_text(bill), ledger.settings.currency)
    print_table(table, form)


@app.command("reconcile")
def reconcile(
    period: Annotated[str, typer.Option("--period", help="A month, as 2026-10.")],
    part: Annotated[Part, typer.Option("--part", help="Which table CSV and JSON have.")] = (
        Part.SUMMARY
    ),
    form: Form = Format.TABLE,
) -> None:
    """Compare a month's bills with the ledger: what is explained, and what is no node's."""
    ledger = arguments.ledger()
    zone, currency = ledger.settings.zone, ledger.settings.currency
    with ledger.engine.connect() as connection:
        found = reconciliation_tables(connection, period, zone, currency)
    if form is Format.TABLE:
        title = f"Reconciliation {period}"
        print_table(found.summary, form, title=title, columns=_SUMMARY_FOR_PEOPLE)
        print_table(_first(found.unmatched), form, title="Most money that is no node's")
        print_table(_first(found.nodes), form, title="Nodes that differ most")
        if not any(row[found.summary.columns.index("provider")] for row in found.summary.rows):
            console().print(f"No bill of {period} was imported: nothing is compared.")
        return
    tables = {
        Part.SUMMARY: found.summary,
        Part.UNMATCHED: found.unmatched,
        Part.NODES: found.nodes,
    }
    print_table(tables[part], form)


def _first(table: Table) -> Table:
    return Table(table.columns, table.rows[:LONGEST_LIST])
