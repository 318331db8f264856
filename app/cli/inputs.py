"""Commands on what charges are made from: prices and the team contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.chargeback.tables import Cell, Table, amount, plain
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.ledger import rate_all
from app.cli.output import Format, console, print_table, status_console
from app.pricing.book import PriceBook
from app.pricing.rows import ModelCount, PricedPool, PriceRow
from app.sources.catalogue.gateway_files import load_gateways
from app.store.prices import PriceStore
from app.units.window import OPEN_MS, Window, from_ms
from app.wiring import Ledger
from app.wiring.clients import model_entries
from app.workflows.imports import Imported, apply_contract, import_prices
from app.workflows.rating import contract_of

prices = typer.Typer(help="The price book.")
contract = typer.Typer(help="The team contract: who owns what, who pays.")

_KEY_COLUMNS = (
    "node",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "cluster",
    "region",
    "provider",
)
File = Annotated[Path, typer.Argument(help="The file.", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the money it would move, and store nothing.")
]


@prices.command("import")
def import_file(file: File, dry_run: DryRun = False) -> None:
    """Take a price book (CSV), all of it or nothing; touched hours are rated again."""
    text = _read(file)
    ledger = arguments.ledger()
    with comparing():
        done = import_prices(
            text,
            file_name=file.name,
            currency=ledger.settings.currency,
            engine=ledger.engine,
            billing_zone=ledger.settings.zone,
            at_ms=arguments.now_ms(),
            dry_run=dry_run,
            models=model_entries(ledger.settings.models),
        )
    console().print(
        f"{done.added} prices added, {done.superseded} superseded, {done.unchanged} unchanged;"
        f" price book version {done.version}."
    )
    _finish(ledger, done)


@contract.command("apply")
def apply_file(file: File, dry_run: DryRun = False) -> None:
    """Make a team contract (YAML) the one in force; touched hours are rated again."""
    text = _read(file)
    ledger = arguments.ledger()
    with comparing():
        done = apply_contract(
            text,
            file_name=file.name,
            engine=ledger.engine,
            billing_zone=ledger.settings.zone,
            at_ms=arguments.now_ms(),
            dry_run=dry_run,
            models=model_entries(ledger.settings.models),
        )
    _warn_of_sources(ledger, text, file.name)
    words = "is in force already" if done.unchanged else f"with {done.added} team blocks"
    console().print(f"Contract version {done.version} {words}.")
    _finish(ledger, done)


def _warn_of_sources(ledger: Ledger, text: str, file_name: str) -> None:
    """Say which sources of consumers no gateway is called: they never divide any cost."""
    known = [gateway.name for gateway in load_gateways(ledger.settings.gateways)]
    sources = {one.source for one in contract_of(text, file_name).consumer_sources}
    for source in sorted(sources - {*known}):
        status_console().print(
            f"Warning: no gateway is called {source!r}; known are {', '.join(known)}.",
            style="yellow",
        )


@prices.command("list")
def list_prices(form: Form = Format.TABLE) -> None:
    """List the price book's rows and their validity."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        rows = PriceStore(connection).rows()
    columns = (
        "cluster",
        "provider",
        "region",
        "instance_type",
        "gpu_model",
        "capacity_type",
        "node",
        "unit",
        "price",
        "currency",
        "valid_from",
        "valid_to",
        "source",
    )
    print_table(Table(columns, tuple(_price_cells(row) for row in rows)), form)


@prices.command("test")
def choose_price(
    at: Annotated[str, typer.Option("--at", help="When.")],
    gpu_model: Annotated[str, typer.Option("--gpu-model", help="As `costs` shows it.")] = "",
    node: Annotated[str, typer.Option("--node", help="Node name.")] = "",
    instance_type: Annotated[str, typer.Option("--instance-type")] = "",
    capacity_type: Annotated[str, typer.Option("--capacity-type")] = "",
    cluster: Annotated[str, typer.Option("--cluster")] = "",
    region: Annotated[str, typer.Option("--region")] = "",
    provider: Annotated[str, typer.Option("--provider")] = "",
    devices: Annotated[int, typer.Option("--devices", min=1, help="GPUs of the node.")] = 8,
) -> None:
    """Say which row prices a pool at an instant, and why the others lost."""
    pool = PricedPool(
        cluster=cluster,
        provider=provider,
        region=region,
        instance_type=instance_type,
        capacity_type=capacity_type,
        node=node,
        gpu_model=gpu_model,
        on_node=(ModelCount(gpu_model, devices),),
    )
    instant = arguments.instant(at, "--at")
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        book = PriceBook(PriceStore(connection).rows())
    choice = book.choice(pool, int(instant.timestamp() * 1000))
    row = choice.winner.row
    if row is None:
        console().print("No row prices it: such time is unpriced.")
        raise typer.Exit(1)
    hourly = Decimal(round(choice.winner.nanos_per_ms * 3_600_000)).scaleb(-9)
    console().print(f"{_price_words(row)}", markup=False)
    console().print(
        f"One GPU-hour: {plain(hourly)} {row.currency} ({choice.winner.division.value})."
    )
    for loser in choice.losers:
        console().print(f"  not {_price_words(loser.row)}: {loser.reason}", markup=False)


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


def _finish(ledger: Ledger, done: Imported) -> None:
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


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{file}, line {line}: it is not UTF-8: {error.reason} at byte {error.start}."
        hint = "Nothing of the file was taken; save it as UTF-8."
        raise arguments.ArgumentError(message, hint=hint) from error
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise arguments.ArgumentError(message, hint="Check the path.") from error


def _price_cells(row: PriceRow) -> tuple[Cell, ...]:
    return (
        row.cluster,
        row.provider,
        row.region,
        row.instance_type,
        row.gpu_model,
        row.capacity_type,
        row.node,
        row.unit.value,
        # As text: the table for people rounds numbers, and a price is what it is.
        plain(row.price),
        row.currency,
        _instant(row.valid_from_ms),
        _instant(row.valid_to_ms),
        row.source,
    )


def _price_words(row: PriceRow) -> str:
    filled = ", ".join(f"{name} {value}" for name in _KEY_COLUMNS if (value := getattr(row, name)))
    return f"{plain(row.price)} {row.currency} per {row.unit.value} for {filled or 'anything'}"


def _instant(ms: int) -> str:
    return "" if ms >= OPEN_MS else from_ms(ms).isoformat().replace("+00:00", "Z")
