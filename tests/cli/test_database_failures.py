"""A database that is not there, not upgraded, or taken away: one error that says what to do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL

from tests.cli.commands import CommandLine, Ended, shell
from tests.cli.stage import (
    PRICES,
    SPAN,
    a_fleet,
    cluster,
    configuration,
    everything,
    prometheus_of,
)
from tests.real.ports import free_port, wait_until

COMMANDS = [
    ("costs", *SPAN),
    ("inference", *SPAN),
    ("consumers", *SPAN),
    ("collect", *SPAN),
    ("rate", *SPAN),
    ("detect", "--at", "2025-11-03T11:00Z"),
    ("explain", "00000000000000aa"),
    ("findings", "list"),
    ("keys", "list"),
    ("keys", "create", "--name", "a"),
    ("prices", "list"),
    ("prices", "import", "prices.csv"),
    ("report", "run", "weekly_chargeback", "--period", "2025-W45"),
    ("serve", "--port", "0"),
    ("worker", "--once"),
]
NAMES = [" ".join(command[:2]) for command in COMMANDS]


def prepared(here: CommandLine) -> CommandLine:
    here.file("prices.csv", PRICES)
    here.file("gpuledger.toml", configuration(cluster("small", "http://127.0.0.1:9")))
    return here


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_a_database_that_is_not_upgraded_is_refused(
    empty_database: URL, tmp_path: Path, command: tuple[str, ...]
) -> None:
    here = prepared(shell(tmp_path, empty_database))

    here.run(*command).failed("Run `gpuledger db upgrade`")


@pytest.mark.parametrize("command", [*COMMANDS, ("db", "upgrade"), ("db", "check")])
def test_a_database_that_nobody_serves_is_named_without_its_password(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    address = f"postgresql://ledger:hunter2@127.0.0.1:{free_port()}/gpuledger"
    here = prepared(shell(tmp_path, None, GPULEDGER_DATABASE_URL=address))

    error = here.run(*command).failed("Start Postgres or correct GPULEDGER_DATABASE_URL")

    assert "127.0.0.1" in error
    assert "Connection refused" in error
    assert "hunter2" not in error


def test_a_database_without_the_named_database_is_named(tmp_path: Path, postgres_url: URL) -> None:
    here = prepared(shell(tmp_path, postgres_url.set(database="nowhere")))

    here.run("costs", *SPAN).failed('database "nowhere" does not exist')


def test_an_older_revision_is_told_from_a_newer_program(database_url: URL, tmp_path: Path) -> None:
    with _superuser(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    here = prepared(shell(tmp_path, database_url))

    here.run("serve", "--port", "0").failed("at revision 0001, this version wants")
    here.run("worker", "--once").failed("Run `gpuledger db upgrade`")
    assert here.run("doctor").code == 1


def test_the_database_check_names_what_differs(database_url: URL, tmp_path: Path) -> None:
    here = shell(tmp_path, database_url)
    assert here.run("db", "check").done().out == "The database is what this version expects.\n"
    with _superuser(database_url) as connection:
        connection.execute("ALTER TABLE price_rows DROP CONSTRAINT price_rows_one_at_a_time")

    ended = here.run("db", "check")

    assert ended.code == 1
    assert "price_rows_one_at_a_time" in ended.err


@pytest.mark.parametrize("folder", ["a-file", "a-file/below"])
def test_a_data_folder_that_cannot_be_one_is_named(tmp_path: Path, folder: str) -> None:
    here = shell(tmp_path, None, GPULEDGER_DATA_DIR=str(tmp_path / folder))
    here.file("a-file", "")

    here.run("costs", *SPAN).failed("The embedded Postgres in", "GPULEDGER_DATABASE_URL")


@pytest.mark.parametrize(
    ("blow", "words"),
    [
        ("SELECT pg_terminate_backend(pid)", "There is no connection to"),
        ("SELECT pg_cancel_backend(pid)", "It took longer than the limit of a statement"),
    ],
    ids=["taken away", "stopped"],
)
def test_a_collection_whose_database_goes_away_leaves_nothing(
    database_url: URL, tmp_path: Path, blow: str, words: str
) -> None:
    here = shell(tmp_path, database_url)
    with prometheus_of(a_fleet()) as served:
        here.file("gpuledger.toml", configuration(cluster("small", served.url)))
        before = everything(here)
        with _locked(database_url, "window_state"), _struck(database_url, blow):
            ended = here.run("collect", *SPAN)
        error = ended.failed(words)

        assert "\n" not in error
        assert everything(here) == before
        assert "1 changed" in here.run("collect", *SPAN).done().out


def test_a_reading_whose_database_goes_away_fails_cleanly(
    database_url: URL, tmp_path: Path
) -> None:
    here = shell(tmp_path, database_url)

    # The sums are read past SQLAlchemy, by COPY.
    with _locked(database_url, "charges"), _struck(database_url, "SELECT pg_cancel_backend(pid)"):
        ended: Ended = here.run("costs", *SPAN, "--group-by", "pod")

    ended.failed("It took longer than the limit of a statement")


@contextmanager
def _locked(database: URL, table: str) -> Iterator[None]:
    """Keep everybody from a table."""
    with _superuser(database) as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def _struck(database: URL, blow: str) -> Iterator[None]:
    """Strike whoever comes to wait for a lock."""
    waiting = (
        "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def strike() -> None:
        with _superuser(database) as connection:
            wait_until(
                lambda: connection.execute(f"{blow} {waiting}").fetchone() is not None,
                timeout_seconds=60,
                what="somebody waiting for the lock",
            )

    thread = threading.Thread(target=strike)
    thread.start()
    yield
    thread.join()


def _superuser(url: URL) -> psycopg.Connection:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True, connect_timeout=10)
