"""Engines: the service works as a role that owns nothing; migrations work as the login."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import GpuledgerError, InputError
from app.store.embedded import embedded_url
from app.store.locking import period_refusal

SERVICE_ROLE = "gpuledger_service"
OWNER_ROLE = "gpuledger_owner"

_CONNECT_TIMEOUT_SECONDS = 10
# A statement of a bulk step (a month's rating) may take minutes; an idle transaction holds locks.
# A host that died without a word would keep its locks for two hours: the server asks after 30 s.
_OPTIONS = (
    "-c timezone=UTC -c jit=off -c lock_timeout=60s -c statement_timeout=900s"
    " -c idle_in_transaction_session_timeout=900s -c search_path=public,pg_temp"
    " -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)
# SQLSTATEs: undefined_table, undefined_function, undefined_column, invalid_parameter_value,
# undefined_object (the role does not exist).
_NOT_MIGRATED = frozenset({"42P01", "42883", "42703", "22023", "42704"})
# SQLSTATEs: lock_not_available, deadlock_detected, query_canceled, disk_full, out_of_memory,
# read_only_sql_transaction.
_TRY_AGAIN = "Another run works on the same rows; try again when it is done."
_BUSY = {
    "55P03": _TRY_AGAIN,
    "40P01": _TRY_AGAIN,
    "57014": "It took longer than the limit of a statement; ask for less at once.",
    "53100": "Give the database's disk more room.",
    "53200": "Give the database more memory.",
    "25006": "Use a database that can be written, not a standby.",
}
# What Postgres says of a role of ours that is not there, or that the login may not work as.
_ROLE_TROUBLE = 'role "gpuledger_'


class DatabaseUnavailableError(GpuledgerError):
    """No connection to the database."""


class DatabaseBusyError(DatabaseUnavailableError):
    """The database is there and did not do it: others hold it, or it is full."""


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


@contextmanager
def named_failures(connection: Connection) -> Iterator[None]:
    """Name the failures of what is sent past SQLAlchemy as its own are named."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        yield
    except psycopg.Error as error:
        named = _named(error, connection.engine.url, lost=driver.closed)
        if named is None:
            raise
        raise named from error


def _explain(context: ExceptionContext) -> None:
    lost = context.connection is None or context.is_disconnect
    url = context.engine.url if context.engine else None
    named = _named(context.original_exception, url, lost=lost)
    if named is not None:
        raise named from context.original_exception


def _named(original: BaseException | None, url: URL | None, *, lost: bool) -> GpuledgerError | None:
    """Name the failures a user can act on; None for everything else, which stays what it is."""
    refusal = period_refusal(original)
    if refusal is not None:
        return refusal
    state = getattr(original, "sqlstate", None)
    if state in _NOT_MIGRATED or (lost and _ROLE_TROUBLE in str(original)):
        message = f"The database does not fit this version: {_first_line(original)}."
        return SchemaError(message, hint="Run `gpuledger db upgrade`.")
    if state in _BUSY:
        message = f"The database could not do it: {_first_line(original)}."
        return DatabaseBusyError(message, hint=_BUSY[state])
    if lost:
        where = url.render_as_string() if url else "the database"
        message = f"There is no connection to {where}: {_first_line(original)}."
        hint = "Start Postgres or correct GPULEDGER_DATABASE_URL."
        return DatabaseUnavailableError(message, hint=hint)
    return None


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
