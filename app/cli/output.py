"""How the command line prints: tables for people, CSV and JSON for programs."""

import json
import sys
from decimal import Decimal
from enum import StrEnum

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from app.chargeback.tables import Cell, Table, csv_bytes, plain
from app.errors import GpuledgerError

# Wider than any table: one that goes into a file or a pipe is never cut.
_PIPED_WIDTH = 2000


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def console() -> Console:
    """Return the console for people: standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def status_console() -> Console:
    """Return the console for progress, warnings and errors: standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say_error(error: GpuledgerError) -> None:
    """Print a failure: what went wrong and where, then what to do."""
    console = status_console()
    console.print(f"gpuledger: {error.message}", style="bold red", markup=False)
    if error.hint:
        console.print(error.hint, markup=False)


def print_table(
    table: Table, form: Format, *, title: str = "", columns: tuple[str, ...] | None = None
) -> None:
    """Print ``table``. CSV and JSON have every column, the table for people only ``columns``.

    Decimals are plain, in JSON as strings, so that no reader turns money into a float.
    """
    match form:
        case Format.JSON:
            body = [
                {name: _json(cell) for name, cell in record.items()} for record in table.records()
            ]
            sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        case Format.CSV:
            sys.stdout.write(csv_bytes(table).decode())
        case Format.TABLE:
            _print_for_people(table, columns or table.columns, title)


def _print_for_people(table: Table, columns: tuple[str, ...], title: str) -> None:
    shown = RichTable(
        title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD
    )
    records = table.records()
    for name in columns:
        numeric = any(isinstance(record[name], Decimal | int) for record in records)
        # A name that is cut names nothing: in a narrow terminal it goes on in the next line.
        shown.add_column(
            name.replace("_", " "), justify="right" if numeric else "left", overflow="fold"
        )
    for record in records:
        shown.add_row(*(_for_people(record[name]) for name in columns))
    console().print(shown)
    if not records:
        console().print("No rows.")


def _for_people(cell: Cell) -> str:
    if isinstance(cell, Decimal):
        return f"{cell:,.2f}" if abs(cell) >= 1 or not cell else f"{cell:.4f}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return plain(cell) or "–"


def _json(cell: Cell) -> str | int | bool | None:
    return cell if cell is None or isinstance(cell, bool | int) else plain(cell)
