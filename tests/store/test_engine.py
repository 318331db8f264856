from pathlib import Path

import psycopg
import pytest
from procrastinate import App, PsycopgConnector
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from app.errors import InputError
from app.store.embedded import EmbeddedPostgresError, embedded_url, start_server
from app.store.engine import (
    DatabaseUnavailableError,
    SchemaError,
    connection_string,
    database_address,
    engine_of,
    open_engine,
)


def test_the_service_works_as_a_role_that_is_no_superuser(database: Engine) -> None:
    with database.connect() as connection:
        role, is_superuser = connection.execute(
            text("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
        ).one()

    assert (role, is_superuser) == ("gpuledger_service", False)


def test_instants_are_utc_and_text_is_ordered_by_bytes(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO clusters VALUES (1, 'b'), (2, 'B'), (3, 'ä')"))
        names = connection.scalars(text("SELECT name FROM clusters ORDER BY name")).all()
        zone = connection.scalar(text("SHOW timezone"))

    assert (names, zone) == (["B", "b", "ä"], "UTC")


def test_a_database_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    engine = open_engine("postgresql://ledger:secret@127.0.0.1:1/gpuledger", tmp_path)

    with pytest.raises(DatabaseUnavailableError) as failure:
        engine.connect()
    engine.dispose()

    assert "127.0.0.1:1" in failure.value.message
    assert "secret" not in str(failure.value)
    assert "GPULEDGER_DATABASE_URL" in failure.value.hint


def test_a_database_without_tables_is_named_with_the_command(empty_database: URL) -> None:
    engine = engine_of(empty_database)

    with (
        pytest.raises(SchemaError, match="clusters") as failure,
        engine.connect() as connection,
    ):
        connection.execute(text("SELECT * FROM clusters"))
    engine.dispose()

    assert "gpuledger db upgrade" in failure.value.hint


def test_a_server_without_our_roles_is_named_with_the_command(empty_database: URL) -> None:
    engine = engine_of(empty_database, role="gpuledger_absent")

    with pytest.raises(SchemaError, match="gpuledger_absent") as failure:
        engine.connect()
    engine.dispose()

    assert "gpuledger db upgrade" in failure.value.hint


@pytest.mark.parametrize("url", ["mysql://localhost/ledger", "not a url", "sqlite:///ledger.db"])
def test_anything_but_postgres_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GPULEDGER_DATABASE_URL"):
        database_address(url, tmp_path)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_any_spelling_of_postgres_is_taken(scheme: str, tmp_path: Path) -> None:
    url = database_address(f"{scheme}://ledger@db:5433/gpuledger?sslmode=require", tmp_path)

    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.query["sslmode"]) == ("db", 5433, "require")


def test_other_clients_work_as_the_service_role_too(database_url: URL) -> None:
    with psycopg.connect(connection_string(database_url)) as connection:
        row = connection.execute("SELECT current_user").fetchone()

    assert row == ("gpuledger_service",)


def test_the_job_queue_works_under_the_service_role(database_url: URL) -> None:
    done: list[int] = []
    app = App(connector=PsycopgConnector(conninfo=connection_string(database_url)))

    @app.task(name="note")
    def note(number: int) -> None:
        done.append(number)

    with app.open():
        note.defer(number=7)
    app.run_worker(wait=False, install_signal_handlers=False)

    assert done == [7]


def test_the_embedded_server_is_one_whoever_asks(postgres_server: URL) -> None:
    folder = Path(str(postgres_server.query["host"])).parent

    again = start_server(folder)
    first, second = embedded_url(folder), embedded_url(folder)

    assert again == postgres_server
    assert first == second
    assert first.database == "gpuledger"
    with psycopg.connect(first.set(drivername="postgresql").render_as_string()) as connection:
        found = connection.execute(
            "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()
    assert found == ("C", "UTF8")


def test_a_folder_that_holds_no_server_is_named_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("not a folder")

    with pytest.raises(EmbeddedPostgresError, match="does not start") as failure:
        start_server(tmp_path)

    assert "GPULEDGER_DATABASE_URL" in failure.value.hint


def test_the_service_cannot_write_what_only_migrations_may(database: Engine) -> None:
    with pytest.raises(DBAPIError, match="permission denied"), database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
