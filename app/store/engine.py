"""Engines: the service works as a role that owns nothing; migrations work as the login."""

from pathlib import Path

from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import GpuledgerError, InputError
from app.store.embedded import embedded_url

SERVICE_ROLE = "gpuledger_service"
OWNER_ROLE = "gpuledger_owner"

_CONNECT_TIMEOUT_SECONDS = 10
# A statement of a bulk step (a month's rating) may take minutes; an idle transaction holds locks.
_OPTIONS = (
    "-c timezone=UTC -c jit=off -c lock_timeout=60s -c statement_timeout=900s"
    " -c idle_in_transaction_session_timeout=900s -c search_path=public,pg_temp"
)
# SQLSTATEs: undefined_table, undefined_function, undefined_column, invalid_parameter_value,
# undefined_object (the role does not exist).
_NOT_MIGRATED = frozenset({"42P01", "42883", "42703", "22023", "42704"})
# What Postgres says of a role of ours that is not there, or that the login may not work as.
_ROLE_TROUBLE = 'role "gpuledger_'


class DatabaseUnavailableError(GpuledgerError):
    """No connection to the database."""


class SchemaError(GpuledgerError):
    """The database lacks tables or roles that this version works with."""


def database_address(database_url: str | None, data_dir: Path) -> URL:
    """Return where the database is: the given URL, or the embedded server (started if needed)."""
    if not database_url:
        return embedded_url(data_dir)
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError) as error:
        # ValueError: a port that is no number.
        message = "GPULEDGER_DATABASE_URL is not a database URL."
        raise InputError(
            message, hint="Write it as postgresql://user:password@host:5432/gpuledger."
        ) from error
    if url.get_backend_name() != "postgresql":
        message = f"GPULEDGER_DATABASE_URL names {url.get_backend_name()}; only Postgres will do."
        raise InputError(
            message, hint="Write it as postgresql://user:password@host:5432/gpuledger."
        )
    return url.set(drivername="postgresql+psycopg")


def open_engine(
    database_url: str | None, data_dir: Path, *, role: str | None = SERVICE_ROLE
) -> Engine:
    """Return an engine whose connections work as ``role``; None works as the login itself."""
    return engine_of(database_address(database_url, data_dir), role=role)


def engine_of(url: URL, *, role: str | None = SERVICE_ROLE, pool_size: int = 5) -> Engine:
    """Return an engine for an address of `database_address`."""
    engine = create_engine(
        url,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_SECONDS, "options": _options(role)},
        pool_size=pool_size,
        max_overflow=10,
        pool_timeout=30,
        pool_pre_ping=True,
    )
    event.listen(engine, "handle_error", _explain)
    return engine


def connection_string(url: URL, *, role: str = SERVICE_ROLE) -> str:
    """Return libpq's key=value address that works as ``role``, for clients of their own.

    Not a URL: SQLAlchemy writes spaces of the options as +, which libpq takes for a plus sign.
    """
    return make_conninfo(
        **url.translate_connect_args(username="user", database="dbname"),
        **{name: values[-1] for name, values in url.normalized_query.items()},
        options=_options(role),
        connect_timeout=str(_CONNECT_TIMEOUT_SECONDS),
    )


def _options(role: str | None) -> str:
    return _OPTIONS if role is None else f"{_OPTIONS} -c role={role}"


def _explain(context: ExceptionContext) -> None:
    """Name the two failures a user can act on; everything else stays what it is."""
    original = context.original_exception
    state = getattr(original, "sqlstate", None)
    if state in _NOT_MIGRATED or (context.connection is None and _ROLE_TROUBLE in str(original)):
        message = f"The database does not fit this version: {_first_line(original)}."
        raise SchemaError(message, hint="Run `gpuledger db upgrade`.") from original
    if context.connection is None:
        where = context.engine.url.render_as_string() if context.engine else "the database"
        message = f"There is no connection to {where}: {_first_line(original)}."
        raise DatabaseUnavailableError(
            message, hint="Start Postgres or correct GPULEDGER_DATABASE_URL."
        ) from original


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
