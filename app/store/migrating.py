"""Bringing a database to this version's schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.store.engine import SchemaError
from app.units.identity import hash64

_APP = Path(__file__).resolve().parents[1]


def migrations_folder() -> Path:
    """Return the folder of revisions: inside an installed package, else beside it."""
    installed = _APP / "_migrations"
    return installed if installed.is_dir() else _APP.parent / "migrations"


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; nothing of it is read from a file."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> tuple[str, str]:
    """Apply what is missing up to ``revision``; return the revisions before and after.

    ``engine`` works as a login that may create roles the first time. Two upgrades at once wait for
    each other.
    """
    with engine.connect() as connection:
        connection.execute(
            text("SELECT pg_advisory_lock(:key)"), {"key": hash64("gpuledger", "upgrade")}
        )
        # The lock belongs to the session: Alembic gets a connection without a transaction.
        connection.commit()
        before = _current(connection)
        connection.commit()
        command.upgrade(configuration(connection), revision)
        connection.commit()
        after = _current(connection)
        connection.execute(
            text("SELECT pg_advisory_unlock(:key)"), {"key": hash64("gpuledger", "upgrade")}
        )
        connection.commit()
    return before, after


def downgrade(engine: Engine, revision: str) -> None:
    """Take revisions back, down to ``revision`` (``base`` for all)."""
    with engine.connect() as connection:
        command.downgrade(configuration(connection), revision)
        connection.commit()


def require_head(connection: Connection) -> None:
    """Refuse a database that is not at this version's last revision."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    current = _current(connection)
    if current != head:
        message = f"The database is at revision {current or 'none'}, this version wants {head}."
        raise SchemaError(message, hint="Run `gpuledger db upgrade`.")


def is_ours(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
    """Say whether Alembic should compare a thing of the database: no partition, no job queue."""
    table = name if kind == "table" else parents.get("table_name")
    if table is None:
        return True
    return not table.startswith("procrastinate_") and not table[-6:].isdigit()


def _current(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""
