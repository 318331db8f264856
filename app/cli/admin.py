"""Commands for whoever runs the service: the database, API keys, and what does not work."""

from typing import Annotated

import typer

from app.chargeback.tables import Table
from app.cli import arguments
from app.cli.arguments import Form
from app.cli.output import Format, console, print_table, status_console
from app.settings import load_settings
from app.store.checking import check
from app.store.engine import database_address, engine_of
from app.store.keys import KeyStore
from app.store.migrating import upgrade
from app.store.naming import NameStore
from app.units.window import from_ms
from app.web.reading import Scope

database = typer.Typer(help="The database.")
keys = typer.Typer(help="API keys.")


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring the database to this version."""
    settings = load_settings()
    engine = engine_of(database_address(settings.database_url, settings.data_dir), role=None)
    before, after = upgrade(engine)
    if before == after:
        console().print(f"The database is at revision {after} already.")
    else:
        console().print(f"The database went from revision {before or 'nothing'} to {after}.")


@database.command("check")
def check_database() -> None:
    """Compare the database with this version: columns, constraints, triggers, rights."""
    settings = load_settings()
    engine = engine_of(database_address(settings.database_url, settings.data_dir), role=None)
    differences = check(engine)
    for difference in differences:
        status_console().print(difference, style="red", markup=False)
    if differences:
        raise typer.Exit(1)
    console().print("The database is what this version expects.")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option("--name", help="Who uses it.")],
    scope: Annotated[Scope, typer.Option("--scope", help="What it may do.")] = Scope.READ,
    team: Annotated[str, typer.Option("--team", help="Only this team's lines.")] = "",
) -> None:
    """Create an API key; its secret is shown once."""
    # A web framework is more than most commands should wait for.
    from app.web.auth import new_secret, secret_sha256  # noqa: PLC0415 see above

    if not name.strip():
        message = "--name is empty."
        raise arguments.ArgumentError(message, hint="Say who uses the key.")
    secret = new_secret()
    ledger = arguments.ledger()
    with ledger.engine.begin() as connection:
        KeyStore(connection).create(
            name.strip(),
            secret_sha256(secret),
            scope=scope.value,
            team=team,
            created_ms=arguments.now_ms(),
        )
        known = {"", *NameStore(connection).teams().values()}
    if team not in known:
        note = f"Note: nothing is booked on the team {team!r} so far; check its spelling."
        status_console().print(note, style="yellow", markup=False)
    status_console().print("Keep this key: it is not stored and is not shown again.")
    console().print(secret, markup=False)


@keys.command("list")
def list_keys(form: Form = Format.TABLE) -> None:
    """List the keys, without their secrets."""
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = KeyStore(connection).all()
    rows = tuple(
        (
            key.name,
            key.scope,
            key.team,
            from_ms(key.created_ms).isoformat(timespec="seconds"),
            "" if key.revoked_ms is None else from_ms(key.revoked_ms).isoformat(timespec="seconds"),
        )
        for key in found
    )
    print_table(Table(("name", "scope", "team", "created_at", "revoked_at"), rows), form)


@keys.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """End a key."""
    ledger = arguments.ledger()
    with ledger.engine.begin() as connection:
        KeyStore(connection).revoke(name, at_ms=arguments.now_ms())
    console().print(f"The key {name} is revoked.", markup=False)
