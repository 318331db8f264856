"""Commands that read the price book: its rows, its versions, who prices a pool, the starter."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.prices import in_order, instant_text, prices_table
from app.chargeback.tables import Table, plain
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.output import Format, console, print_table, status_console
from app.pricing.book import PriceBook, PriceChoice, PriceSpan
from app.pricing.inputs import PriceInputs
from app.pricing.rows import ModelCount, PricedPool, PriceRow
from app.pricing.terms import PriceTerm, TermKind, why_not
from app.sources.starter_book import starter_book
from app.store.prices import PriceStore
from app.units.identity import id_text

KEY_COLUMNS = (
    "node",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "cluster",
    "region",
    "provider",
)
_HISTORY_COLUMNS = (
    "version",
    "imported_at",
    "kind",
    "file_name",
    "added",
    "superseded",
    "reason",
    "author",
    "sha256",
)
_SHOWN_DECIMALS = 9


def list_prices(
    version: Annotated[
        int | None, typer.Option("--version", min=0, help="As of this version, not the last one.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="The rate card, not what is paid.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """List the price book's rows and their validity, those of owned hardware among them."""
    inputs = _inputs(version)
    book = inputs.card if card else inputs.book
    rows = book.rows if book else ()
    print_table(prices_table(in_order(rows)), form)


def history(form: Form = Format.TABLE) -> None:
    """List the versions of the price inputs: what was imported when, and why it was corrected."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        versions = PriceStore(connection).versions()
    rows = tuple(
        (
            one.version,
            instant_text(one.imported_ms),
            one.kind.value,
            one.file_name,
            one.added,
            one.superseded,
            one.reason,
            one.author,
            one.sha256,
        )
        for one in versions
    )
    print_table(Table(_HISTORY_COLUMNS, rows), form, columns=_HISTORY_COLUMNS[:-1])


def write_starter(
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; standard output if left out.")
    ] = None,
) -> None:
    """Write a price book of public list prices of usual GPU instances; it is never imported."""
    text = starter_book()
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        # A price book that somebody filled in is not to be lost.
        with out.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror}."
        raise arguments.ArgumentError(message, hint="Name a file that is not there.") from error
    lines = text.count("\n") - 1
    status_console().print(f"{lines} list prices written to {out}; check them before an import.")


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
    version: Annotated[
        int | None, typer.Option("--version", min=0, help="By this version, not the last one.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="By the rate card.")] = False,
) -> None:
    """Say which row prices a pool at an instant, by which rate and terms, and why others lost."""
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
    at_ms = int(arguments.instant(at, "--at").timestamp() * 1000)
    inputs = _inputs(version)
    book = (inputs.card or PriceBook(())) if card else inputs.book
    choice = book.choice(pool, at_ms)
    if choice.winner.price is None:
        _say_unpriced(choice.winner)
        _say_losers(choice)
        raise typer.Exit(1)
    for line in _price_lines(book, pool, choice.winner, at_ms):
        console().print(line, markup=False)
    if not card:
        for line in _energy_lines(inputs, pool, at_ms):
            console().print(line, markup=False)
    _say_losers(choice)


def _say_losers(choice: PriceChoice) -> None:
    for loser in choice.losers:
        console().print(f"  not {_price_words(loser.row)}: {loser.reason}", markup=False)


def _inputs(version: int | None) -> PriceInputs:
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        store = PriceStore(connection)
        latest = store.version()
        if version is not None and version > latest:
            message = f"There is no version {version}; the last one is {latest}."
            raise arguments.ArgumentError(message, hint="`gpuledger prices history` lists them.")
        return store.inputs(version)


def _say_unpriced(winner: PriceSpan) -> None:
    if winner.unconverted is None:
        console().print("No row prices it: such time is unpriced.")
        return
    words = _price_words(winner.unconverted)
    console().print(f"{words} would price it, but {winner.unpriced_reason} then.", markup=False)
    console().print("Such time is unpriced.")


def _price_lines(book: PriceBook, pool: PricedPool, winner: PriceSpan, at_ms: int) -> Iterator[str]:
    """Yield the winner, what makes its price, and which terms do not count."""
    price = winner.price
    if price is None:
        return
    row, billing = price.row, arguments.ledger().settings.currency
    yield _price_words(row)
    if row.list_price is not None:
        yield f"  list price {plain(row.list_price)} {row.currency}"
    if row.owned is not None:
        for name, part in row.owned.parts:
            yield f"  {name} {_amount(part)} {row.currency} an hour"
    if price.rate is not None:
        rate = price.rate
        yield f"  × exchange rate {plain(rate.rate)} {billing} for 1 {rate.currency}"
    for term in (price.discount, price.markup):
        if term is not None:
            sign = "1 -" if term.kind is TermKind.DISCOUNT else "1 +"
            yield f"  × ({sign} {plain(term.percent)} %): {_term_words(term)}"
    counting = {TermKind.DISCOUNT: price.discount, TermKind.MARKUP: price.markup}
    for term in book.terms.fitting(pool):
        if term not in (price.discount, price.markup):
            yield f"  not {_term_words(term)}: {why_not(term, counting[term.kind], at_ms)}"
    yield f"  price id {id_text(winner.price_id)}"
    hourly = winner.nanos_per_ms * 3_600_000 / 10**9
    yield f"One GPU-hour: {_amount(hourly)} {billing} ({winner.division.value})."


def _energy_lines(inputs: PriceInputs, pool: PricedPool, at_ms: int) -> Iterator[str]:
    """Yield what the boards' energy costs, where the pool is of owned hardware."""
    (span,) = inputs.energy_spans(pool, at_ms, at_ms + 1)
    if span.price is None:
        return
    tariff = span.price.tariff
    rate = f" × exchange rate {plain(tariff.rate.rate)}" if tariff.rate else ""
    terms = f" × {_amount(span.price.factor)} for terms" if span.price.factor != 1 else ""
    kwh = tariff.unit_price * span.price.factor
    billing = arguments.ledger().settings.currency
    yield (
        f"Energy of the boards: {_amount(kwh)} {billing} a kWh (tariff"
        f" {plain(tariff.price_per_kwh)} {tariff.currency} × PUE {plain(tariff.pue)}{rate}{terms});"
        f" without a counter {plain(tariff.rated_board_kw)} kW a GPU."
    )


def _amount(value: Fraction) -> str:
    """Return an exact amount for people, to 9 decimals."""
    rounded = round(value * 10**_SHOWN_DECIMALS)
    return format(Decimal(rounded).scaleb(-_SHOWN_DECIMALS).normalize(), "f")


def _price_words(row: PriceRow) -> str:
    text = f"{plain(row.price)} {row.currency} per {row.unit.value} for {_filled(row)}"
    return text if row.owned is None else f"{text} ({row.source})"


def _term_words(term: PriceTerm) -> str:
    reason = f" ({term.reason})" if term.reason else ""
    return f"{term.kind.value} of {plain(term.percent)} % for {_filled(term)}{reason}"


def _filled(value: PriceRow | PriceTerm) -> str:
    filled = ", ".join(f"{name} {text}" for name in KEY_COLUMNS if (text := getattr(value, name)))
    return filled or "anything"
