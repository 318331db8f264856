"""Arguments that several commands share, and how they are read."""

import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.costs import Basis
from app.cli.output import Format, status_console
from app.errors import InputError
from app.settings import Settings, load_settings
from app.store.dimensions import Filters
from app.units.window import FIRST_YEAR, LAST_YEAR, Window, from_ms
from app.wiring import Ledger, open_ledger

Cluster = Annotated[
    str, typer.Option("--cluster", help="One configured cluster; all of them if left out.")
]
Start = Annotated[
    str, typer.Option("--start", help="First hour, as 2026-11-23T10:00Z.", show_default=False)
]
End = Annotated[
    str, typer.Option("--end", help="First hour after, as 2026-11-24T00:00Z.", show_default=False)
]
GroupBy = Annotated[str, typer.Option("--group-by", help="Columns, separated by commas.")]
Filter = Annotated[
    list[str] | None,
    typer.Option("--filter", help="Only these lines, as team=search; may be given again."),
]
Form = Annotated[Format, typer.Option("--format", help="How rows are printed.")]
BasisOption = Annotated[
    Basis,
    typer.Option("--basis", help="By billing period that a line is booked in, or by time of use."),
]


class ArgumentError(InputError):
    """An argument that cannot be read."""


def now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def now_ms() -> int:
    """Return the present in milliseconds since the epoch."""
    return int(now().timestamp() * 1000)


def ledger() -> Ledger:
    """Return the ledger of the configuration."""
    return open_ledger(load_settings(), now)


def clusters(settings: Settings, name: str) -> tuple[str, ...]:
    """Return the named cluster, or all that are configured; refuse an empty configuration."""
    if name:
        return (settings.cluster(name).name,)
    if not settings.clusters:
        message = "No cluster is configured."
        raise ArgumentError(message, hint="Add [[clusters]] to gpuledger.toml.")
    return tuple(cluster.name for cluster in settings.clusters)


def window(start: str, end: str) -> Window:
    """Return the half-open window of two instants."""
    return Window(instant(start, "--start"), instant(end, "--end"))


def instant(text: str, name: str) -> datetime:
    """Return an RFC 3339 instant or a day in UTC; refuse anything else."""
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = f"{name} {text!r} is no instant."
        raise ArgumentError(message, hint="Write it as 2026-11-23T10:00:00Z.") from error
    if value.tzinfo is None:
        # A day or an instant without a zone is UTC, as everything in the ledger.
        value = value.replace(tzinfo=UTC)
    try:
        value = value.astimezone(UTC)
    except OverflowError as error:
        message = f"{name} {text!r} is outside the calendar."
        raise ArgumentError(message, hint="Check the year.") from error
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        message = f"{name} {text!r} is not of the years {FIRST_YEAR} to {LAST_YEAR}."
        raise ArgumentError(message, hint="Check the year.")
    return value


def author_of(author: str, login: Callable[[], str] = getpass.getuser) -> str:
    """Return the author that was given, or the login's name; '' where it has none."""
    if author.strip():
        return author.strip()
    try:
        return login()
    except (KeyError, OSError):
        # A container may run under a number that no user has.
        return ""


def who(author: str = "", *, option: str = "", login: Callable[[], str] = getpass.getuser) -> str:
    """Return who does it, for what is written down for ever; refuse where nobody is named."""
    name = author_of(author, login)
    if not name:
        message = "This login has no name, and what is done here is kept with one."
        hint = "Set the environment variable USER"
        raise ArgumentError(message, hint=f"Give {option}, or set USER." if option else f"{hint}.")
    return name


def file_text(file: Path) -> str:
    """Return the text of a file that a person named; refuse what cannot be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{file}, line {line}: it is not UTF-8: {error.reason} at byte {error.start}."
        hint = "Nothing of the file was taken; save it as UTF-8."
        raise ArgumentError(message, hint=hint) from error
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise ArgumentError(message, hint="Check the path.") from error


def columns(text: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the named columns, each once; refuse others."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        _refuse_column(name, "--group-by", allowed)
    return names


def filters(texts: Sequence[str] | None, allowed: Sequence[str]) -> Filters:
    """Return what lines must be, by column; a column may be given several values."""
    found: dict[str, list[str]] = {}
    for text in texts or ():
        name, mark, value = text.partition("=")
        if not mark:
            message = f"--filter {text!r} has no value."
            raise ArgumentError(message, hint="Write it as team=search.")
        _refuse_column(name.strip(), "--filter", allowed)
        found.setdefault(name.strip(), []).append(value.strip())
    return tuple((name, tuple(values)) for name, values in found.items())


def warn_of(hours_missing: int, hours_partial: int, hours_pending: int) -> None:
    """Say on standard error what an answer lacks."""
    console = status_console()
    for count, words in (
        (hours_missing, "were never collected"),
        (hours_partial, "are partial: a source answered incompletely"),
        (hours_pending, "wait for a rating (pending_rerating)"),
    ):
        if count:
            console.print(f"Note: {count} hours {words}.", style="yellow")


def day_text(ms: int) -> str:
    """Return an instant for people."""
    return f"{from_ms(ms):%Y-%m-%d %H:%M}"


def _refuse_column(name: str, option: str, allowed: Sequence[str]) -> None:
    if name not in allowed:
        message = f"{option} has no column {name!r}."
        raise ArgumentError(message, hint=f"Use {', '.join(allowed)}.")
