"""Commands on statements: which there are, and one of them as it was written."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.statements import Statement, minor_amount
from app.chargeback.tables import Table, amount
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.output import Format, console, print_table, status_console
from app.delivery.files import write_whole
from app.store.statements import StatementNotFoundError, StatementStore

app = typer.Typer(help="Statements of closed billing periods: written once, the same for ever.")


@app.command("list")
def list_statements(
    period: Annotated[str, typer.Option("--period", help="Only this period's.")] = "",
    team: Annotated[str | None, typer.Option("--team", help="Only this team's.")] = None,
    form: Form = Format.TABLE,
) -> None:
    """List the statements of all versions."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        heads = StatementStore(connection).heads(period=period, team=team)
    columns = (
        "statement",
        "version",
        "period",
        "team",
        "exact_total",
        "total",
        "currency",
        "sha256",
    )
    rows = tuple(
        (
            one.number,
            one.version,
            one.period,
            one.team,
            amount(one.total_nanos),
            minor_amount(one.total_minor, one.currency),
            one.currency,
            one.sha256,
        )
        for one in heads
    )
    print_table(Table(columns, rows), form)


@app.command("show")
def show(
    number: Annotated[str, typer.Argument(help="As CB-2026-10-search.", show_default=False)],
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="The last one by default.")
    ] = None,
    form: Form = Format.TABLE,
    out: Annotated[Path | None, typer.Option("--out", help="Write it there, whole.")] = None,
) -> None:
    """Show a statement: JSON and CSV are the bytes that were stored."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        statement = StatementStore(connection).by_number(number, version)
    if statement is None:
        raise StatementNotFoundError(number, version)
    content = statement.csv if form is Format.CSV else statement.body
    if out is not None:
        write_whole(out, content)
        status_console().print(f"{out}: SHA-256 of the statement {statement.sha256}.")
    elif form is Format.TABLE:
        _print_for_people(statement)
    else:
        sys.stdout.buffer.write(content)


_LINE_COLUMNS = (
    "cost_center",
    "cluster",
    "namespace",
    "workload",
    "gpu_model",
    "kind",
    "gpu_seconds",
    "cost",
    "amount",
)
_PINNED = ("price_version", "contract_version", "rating_version", "windows")
_ADJUSTMENT_COLUMNS = ("usage_day", "type", "reason", "author", *_LINE_COLUMNS[1:])


def _print_for_people(statement: Statement) -> None:
    body = json.loads(statement.body)
    period, pinned = body["period"], body["pinned"]
    told = console()
    lines = [
        f"{statement.number}, version {statement.version}: {statement.team or 'no team'}",
        f"{period['name']} from {period['start']} to {period['end']} ({period['zone']})",
        f"Closed at {body['closed_at']} by {body['closed_by']}",
        f"Cost center {body['cost_center'] or '–'}, department {body['department'] or '–'}",
        body["price_covers"],
        "Pinned: " + ", ".join(f"{name} {pinned[name]}" for name in _PINNED),
    ]
    for line in lines:
        told.print(line, markup=False)
    for name, columns in (("lines", _LINE_COLUMNS), ("adjustments", _ADJUSTMENT_COLUMNS)):
        if body[name]:
            rows = tuple(tuple(_cell(one, column) for column in columns) for one in body[name])
            print_table(Table(columns, rows), Format.TABLE, title=name.capitalize())
    for one in body["accepted"]:
        told.print(
            f"Accepted: {one['kind']} {one['cluster']} {one['start']}–{one['end']}"
            f" {one['subject']} ({one['detail']}): {one['reason']}",
            markup=False,
        )
    told.print(
        f"Exact total {body['exact_total']}, rounding {body['rounding']},"
        f" total {body['total']} {body['currency']}. SHA-256 {statement.sha256}"
    )


def _cell(line: dict[str, str | None], column: str) -> str | Decimal | None:
    value = line[column]
    return Decimal(value) if value and column in {"gpu_seconds", "cost", "amount"} else value
