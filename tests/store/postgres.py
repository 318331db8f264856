"""Fixtures on the embedded Postgres: one server a pytest process, one migrated template."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from app.store.embedded import start_server, stop_server
from app.store.engine import SERVICE_ROLE, engine_of
from app.store.migrating import upgrade

_TEMPLATE = "ledger_template"
_NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """The address of a running server's first database, as superuser."""
    # Not pytest's own folder: the server needs its parents readable, and pytest closes them again.
    with tempfile.TemporaryDirectory(prefix="gpuledger-postgres-", ignore_cleanup_errors=True) as d:
        url = start_server(Path(d))
        with _superuser(url) as connection:
            # Nothing of a test survives a crash, so nothing has to reach the disk.
            for option in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {option} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
        stop_server(Path(d))


@pytest.fixture(scope="session")
def postgres_url(postgres_server: URL) -> URL:
    """The address of a migrated database without rows: the template of all others."""
    url = _create(postgres_server, _TEMPLATE, template="template0")
    engine = engine_of(url, role=None)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture
def empty_database(postgres_server: URL) -> Iterator[URL]:
    """The address of a database of its own that no migration has touched."""
    name = f"empty_{next(_NUMBERS)}"
    yield _create(postgres_server, name, template="template0")
    _drop(postgres_server, name)


@pytest.fixture
def database_url(postgres_server: URL, postgres_url: URL) -> Iterator[URL]:
    """The address of a migrated database of its own, for a test that commits."""
    with another_database(postgres_server, postgres_url) as url:
        yield url


@pytest.fixture
def database(database_url: URL) -> Iterator[Engine]:
    """An engine on a migrated database of its own, working as the service role."""
    engine = engine_of(database_url, role=SERVICE_ROLE)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def module_database_url(postgres_server: URL, postgres_url: URL) -> Iterator[URL]:
    """The address of a migrated database that the tests of one module share."""
    with another_database(postgres_server, postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(module_database_url: URL) -> Iterator[Engine]:
    """An engine on the database that the tests of one module share, as the service role."""
    engine = engine_of(module_database_url, role=SERVICE_ROLE)
    yield engine
    engine.dispose()


@pytest.fixture
def owner(database_url: URL) -> Iterator[Engine]:
    """An engine on the same database as `database`, working as the superuser."""
    engine = engine_of(database_url, role=None)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def shared_engine(postgres_server: URL, postgres_url: URL) -> Iterator[Engine]:
    """An engine on a database that tests share: whatever they write they roll back."""
    url = _create(postgres_server, "ledger_shared", template=str(postgres_url.database))
    engine = engine_of(url, role=SERVICE_ROLE)
    with engine.begin() as connection:
        # The month of most tests' figures: made once instead of in every test.
        connection.execute(text("SELECT ensure_fact_partitions('2026-11-01')"))
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(shared_engine: Engine) -> Iterator[Connection]:
    """A connection of the service role whose transaction is rolled back after the test."""
    with shared_engine.connect() as connection:
        connection.begin()
        yield connection
        connection.rollback()


@contextmanager
def another_database(server: URL, template: URL) -> Iterator[URL]:
    """The address of one more migrated database, for a test that compares two."""
    name = f"ledger_{next(_NUMBERS)}"
    yield _create(server, name, template=str(template.database))
    _drop(server, name)


def _create(server: URL, name: str, *, template: str) -> URL:
    with _superuser(server) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} LOCALE 'C' ENCODING 'UTF8'")
    return server.set(database=name)


def _drop(server: URL, name: str) -> None:
    with _superuser(server) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _superuser(url: URL) -> psycopg.Connection:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True, connect_timeout=10)
