"""Commands on the team contract: who owns what, who pays."""

from typing import Annotated

import typer

from app.attribution.owner_choice import OwnerChoice, owner_choice
from app.chargeback.ownership import rules_table, teams_table
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.inputs import DryRun, File, comparing, finish
from app.cli.output import Format, console, print_table, status_console
from app.sources.catalogue.gateway_files import load_gateways
from app.sources.team_contract import read_team_contract
from app.wiring import Ledger
from app.wiring.clients import model_entries
from app.workflows.contracts import contract_in_force, stored_contract
from app.workflows.imports import Imported, apply_contract
from app.workflows.rating import contract_of

app = typer.Typer(help="The team contract: who owns what, who pays.")


@app.command("apply")
def apply_file(file: File, dry_run: DryRun = False) -> None:
    """Make a team contract (YAML) the one in force; touched hours are rated again."""
    text = arguments.file_text(file)
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
    _warn(ledger, done, text, file.name)
    words = "is in force already" if done.unchanged else f"with {done.added} team blocks"
    console().print(f"Contract version {done.version} {words}.")
    finish(ledger, done)


@app.command("show")
def show(
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="By default the one in force.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The file as it was applied.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """Show a contract's teams with their departments, cost centers, budgets and validity."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        stored = stored_contract(connection, version)
    if text:
        console().print(stored.text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    title = (
        f"Contract version {stored.version}, {stored.file_name}, applied"
        f" {arguments.day_text(stored.applied_ms)} UTC; days are those of {stored.zone}"
    )
    print_table(teams_table(contract_of(stored)), form, title=title)


@app.command("test")
def choose_owner(
    cluster: Annotated[str, typer.Option("--cluster", show_default=False)],
    namespace: Annotated[str, typer.Option("--namespace", show_default=False)],
    at: Annotated[str, typer.Option("--at", help="When.", show_default=False)],
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="A label of the pod, as team=search; may be given again."),
    ] = None,
    form: Form = Format.TABLE,
) -> None:
    """Say which team owns a pod at an instant, by which rule, and why other rules lost."""
    labels = dict(_label(text) for text in label or ())
    at_ms = int(arguments.instant(at, "--at").timestamp() * 1000)
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        contract = contract_in_force(connection)
    choice = owner_choice(contract, cluster, namespace, labels, at_ms)
    if form is not Format.TABLE:
        print_table(rules_table(choice), form)
        return
    _say(choice)


def _say(choice: OwnerChoice) -> None:
    """Print the owner and the rules for people."""
    where = "; ".join(
        f"{name} {text}"
        for name, text in (
            ("department", choice.department),
            ("cost center", choice.cost_center),
        )
        if text
    )
    said = f"{choice.team} ({where})" if where else choice.team
    console().print(f"{said}: {choice.because}.", markup=False)
    if choice.contested:
        console().print(f"Contested by {' and '.join(choice.contested)}.", markup=False)
    for one in choice.claims:
        if not one.wins:
            console().print(f"  not {one.claim.team} by {one.claim}: {one.reason}", markup=False)


def _label(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not (name and mark):
        message = f"--label {text!r} has no value."
        raise arguments.ArgumentError(message, hint="Write it as team=search.")
    return name, value


def _warn(ledger: Ledger, done: Imported, text: str, file_name: str) -> None:
    """Say what names nothing that is known, and which hours stay as they are."""
    known = [gateway.name for gateway in load_gateways(ledger.settings.gateways)]
    sources = {one.source for one in read_team_contract(text, filename=file_name).consumer_sources}
    warnings = [
        *done.warnings,
        *(
            f"no gateway is called {source!r}; known are {', '.join(known)}"
            for source in sorted(sources - {*known})
        ),
    ]
    for warning in warnings:
        status_console().print(f"Warning: {warning}.", style="yellow", markup=False)
    if done.closed_hours:
        status_console().print(
            f"Note: {done.closed_hours} hours of closed periods keep their charges and owners;"
            " gpuledger period correct makes adjustments by this contract.",
            style="yellow",
        )
