"""The database refuses to change what is closed, whatever the service's role tries."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.errors import GpuledgerError
from app.store.locking import ClosedPeriodError, PeriodStateError, guarded
from app.workflows.closing import close_period
from tests.workflows.closing_world import TERMS, an_order, put_november

# What of each table is moved to make another row of the same closed hour out of one that is there.
ANOTHER = {
    "charges": "charge_id",
    "hold_usage": "hold_id",
    "pool_usage": "node_id",
    "token_usage": "workload_id",
    "window_evidence": "expected",
    "window_state": "cluster_id",
    "charge_days": "namespace_id",
    "reassignments": "charge_id",
    "allotments": "node_id",
    "commitment_hours": "price_id",
    "pool_energy": "node_id",
}
# What a column of each type has in rows whose content does not matter.
PLAIN = {
    "timestamp with time zone": "'2026-11-30 21:00Z'",
    "boolean": "false",
    "text": "'x'",
    "bytea": "''",
}


def put_plain_row(connection: Connection, table: str) -> None:
    """Store a row of the last hours of November."""
    columns = connection.execute(
        text(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND attnotnull"
            " AND NOT attisdropped"
        ),
        {"name": table},
    ).all()
    names = ", ".join(name for name, _ in columns)
    values = ", ".join(
        "'2026-11-30 22:00Z'" if name == "ended_at" else PLAIN.get(kind, "1")
        for name, kind in columns
    )
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"))


@pytest.fixture(scope="module")
def closed(module_database: Engine) -> Engine:
    """A ledger whose November is closed; no test leaves a change."""
    put_november(module_database)
    for table in ("reassignments", "allotments", "commitment_hours", "pool_energy"):
        with module_database.begin() as connection:
            put_plain_row(connection, table)
    close_period(an_order(), TERMS, engine=module_database)
    return module_database


@pytest.fixture
def service(closed: Engine) -> Iterator[Connection]:
    """A connection as the service's role that is rolled back."""
    with closed.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM charges")) == 6
        yield connection


def columns_of(connection: Connection, table: str) -> list[str]:
    return [
        *connection.scalars(
            text(
                "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:name AS regclass)"
                " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            ),
            {"name": table},
        )
    ]


def another_row(connection: Connection, table: str) -> str:
    """A query of one row of the closed period that is not there yet."""
    columns = columns_of(connection, table)
    moved = [f"{name} + 1" if name == ANOTHER[table] else name for name in columns]
    if table == "window_evidence":
        moved = ["'another'" if name == "source" else name for name in columns]
    return f"SELECT {', '.join(moved)} FROM {table} LIMIT 1"


@pytest.mark.parametrize("table", ANOTHER)
def test_a_closed_row_is_not_deleted(service: Connection, table: str) -> None:
    with pytest.raises(ClosedPeriodError, match=f"2026-11 is closed: DELETE of {table}"):
        service.execute(text(f"DELETE FROM {table}"))


@pytest.mark.parametrize("table", ANOTHER)
def test_no_row_is_added_to_a_closed_hour(service: Connection, table: str) -> None:
    query = another_row(service, table)

    with pytest.raises(ClosedPeriodError, match=f"2026-11 is closed: INSERT of {table}"):
        service.execute(text(f"INSERT INTO {table} {query}"))


@pytest.mark.parametrize("table", ANOTHER)
def test_no_row_is_copied_into_a_closed_hour(service: Connection, table: str) -> None:
    driver = service.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    cursor = driver.cursor()
    with cursor.copy(f"COPY ({another_row(service, table)}) TO STDOUT") as copied:
        rows = b"".join(bytes(part) for part in copied)
    assert rows

    with (
        pytest.raises(ClosedPeriodError, match=f"2026-11 is closed: INSERT of {table}"),
        guarded(),
        cursor.copy(f"COPY {table} FROM STDIN") as copy,
    ):
        copy.write(rows)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE charge_days SET used_nanos = used_nanos + 1",
        "UPDATE window_state SET revision = revision + 1",
        "UPDATE window_state SET partial = true",
        "UPDATE window_state SET price_version = 7",
        "UPDATE window_state SET window_start = window_start + interval '1 day'",
    ],
)
def test_a_closed_row_is_not_updated(service: Connection, statement: str) -> None:
    with pytest.raises(ClosedPeriodError, match="2026-11 is closed: UPDATE of"):
        service.execute(text(statement))


def test_that_inputs_of_a_closed_hour_changed_may_be_marked(service: Connection) -> None:
    marked = service.execute(text("UPDATE window_state SET input_marks = input_marks + 1"))

    assert marked.rowcount == 3


def test_minutes_of_a_closed_hour_may_be_forgotten(service: Connection) -> None:
    service.execute(text("DELETE FROM service_minutes WHERE window_start < '2026-12-01Z'"))


REPLACED_GUARD = """
CREATE OR REPLACE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN RETURN NULL; END'
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE charges SET cost_nanos = 0",
        "UPDATE reassignments SET scope = 1",
        "UPDATE statements SET total_minor = 0",
        "UPDATE period_pins SET revision = 0",
        "UPDATE period_versions SET accepted = '[]'",
        "UPDATE period_events SET author = 'nobody'",
        "DELETE FROM statements",
        "DELETE FROM period_pins",
        "DELETE FROM period_versions",
        "DELETE FROM period_events",
        "INSERT INTO period_events VALUES ('2026-11', 1, 'reopened', now(), 'why', 'me')",
        "TRUNCATE charges",
        "TRUNCATE reassignments, allotments, commitment_hours",
        "TRUNCATE statements",
        "TRUNCATE hold_usage, pool_usage",
        "ALTER TABLE charges DETACH PARTITION charges_202611",
        "ALTER TABLE charges DISABLE TRIGGER ALL",
        "DELETE FROM charges_202611",
        "COPY charges_202611 FROM STDIN",
        "DROP TABLE charges",
        "DROP TRIGGER charges_closed_delete ON charges",
        REPLACED_GUARD,
        "UPDATE billing_periods SET closed_at = NULL",
        "UPDATE billing_periods SET until = started_at + interval '1 day'",
        "DELETE FROM billing_periods",
        "INSERT INTO billing_periods VALUES ('x', now(), now() + interval '1 day')",
        "SET session_replication_role = replica",
    ],
)
def test_the_service_has_no_right_to_it(service: Connection, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        service.execute(text(statement))


@pytest.mark.parametrize("table", ["statements", "period_pins", "period_versions"])
def test_nothing_is_added_to_a_closing_afterwards(service: Connection, table: str) -> None:
    moved = {
        "statements": {"number": "'CB-x'", "team": "'x'"},
        "period_pins": {"cluster_id": "cluster_id + 1"},
        "period_versions": {"version": "version + 1"},
    }[table]
    columns = [moved.get(name, name) for name in columns_of(service, table)]
    query = f"SELECT {', '.join(columns)} FROM {table} LIMIT 1"

    with pytest.raises(ClosedPeriodError, match="is not being closed: INSERT"):
        service.execute(text(f"INSERT INTO {table} {query}"))


VERSION = (
    "INSERT INTO period_versions SELECT '2026-12', 1, until, until + interval '31 days', closed_at,"
    " author, zone, currency, 0, 0, 0, '{}', '[]', 0, 0, 0, 0 FROM period_versions"
)
DEFINED = (
    "SELECT define_billing_periods(ARRAY['2026-12'], ARRAY['2026-12-01Z'::timestamptz],"
    " ARRAY['2027-01-01Z'::timestamptz], 'UTC', 'ada', '2026-12-01Z')"
)


def test_a_closing_that_does_not_close_is_undone(closed: Engine) -> None:
    with (
        pytest.raises(PeriodStateError, match="2026-12 was not closed as version 1"),
        closed.begin() as connection,
    ):
        connection.execute(text(f"{DEFINED}; {VERSION}"))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("SELECT close_billing_period('2026-12', 1, 'ada', '2027-01-01Z')",), "no billing period"),
        (
            (DEFINED, "SELECT close_billing_period('2026-12', 1, 'ada', '2026-12-31Z')"),
            "has not ended",
        ),
        (
            (DEFINED, "SELECT close_billing_period('2026-12', 2, 'ada', '2027-01-01Z')"),
            "closed meanwhile",
        ),
        (
            (DEFINED, "SELECT close_billing_period('2026-12', 1, 'ada', '2027-01-01Z')"),
            "no pins and statements",
        ),
        (("SELECT close_billing_period('2026-11', 2, 'ada', '2027-01-01Z')",), "closed meanwhile"),
        (("SELECT reopen_billing_period('2026-11', ' ', 'ada', '2027-01-01Z')",), "with a reason"),
        (("SELECT reopen_billing_period('2026-11', 'why', '', '2027-01-01Z')",), "and a name"),
        (("SELECT reopen_billing_period('2026-10', 'why', 'a', '2027-01-01Z')",), "no billing"),
        (
            (
                DEFINED,
                VERSION,
                "SELECT close_billing_period('2026-12', 1, 'ada', '2027-01-01Z')",
                "SELECT reopen_billing_period('2026-11', 'why', 'ada', '2027-01-01Z')",
            ),
            "2026-12 is closed and follows",
        ),
        (
            (DEFINED, "SELECT reopen_billing_period('2026-12', 'why', 'ada', '2027-01-01Z')"),
            "2026-12 is open",
        ),
        (
            (DEFINED.replace("2026-12'", "2026-11'"),),
            "2026-11 was closed before",
        ),
        (
            (DEFINED.replace("2026-12-01Z'::", "2026-11-30Z'::"),),
            "2026-12 and 2026-11 overlap",
        ),
        (
            (DEFINED.replace("2026-12-01Z'::", "2026-12-02Z'::"),),
            "gap between the billing periods 2026-11 and 2026-12",
        ),
    ],
)
def test_the_functions_refuse_what_a_period_may_not_become(
    service: Connection, statements: tuple[str, ...], said: str
) -> None:
    *before, last = statements
    for statement in before:
        service.execute(text(statement))

    with pytest.raises(GpuledgerError, match=said):
        service.execute(text(last))


def test_a_reopening_is_written_down_in_its_own_transaction(service: Connection) -> None:
    service.execute(text("SELECT reopen_billing_period('2026-11', 'late', 'ada', '2026-12-02Z')"))

    row = service.execute(
        text("SELECT version, reason, author FROM period_events WHERE event = 'reopened'")
    ).one()
    assert tuple(row) == (1, "late", "ada")
    assert service.execute(text("DELETE FROM charges")).rowcount == 6
