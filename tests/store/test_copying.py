import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from app.store.copying import Column, Kind, column_arrays, copy_in, copy_out
from app.store.engine import SchemaError

COLUMNS = (
    Column("key", Kind.INT8),
    Column("code", Kind.INT2),
    Column("size", Kind.INT4),
    Column("ratio", Kind.FLOAT8),
    Column("flag", Kind.BOOL),
    Column("at", Kind.INSTANT),
    Column("day", Kind.DATE),
)
QUERY = "SELECT key, code, size, ratio, flag, at, day FROM travel ORDER BY key"


@pytest.fixture
def travel(ledger: Connection) -> Connection:
    ledger.execute(
        text(
            "CREATE TEMPORARY TABLE travel (key bigint, code smallint, size integer,"
            " ratio float8, flag boolean, at timestamptz, day date) ON COMMIT DROP"
        )
    )
    return ledger


def test_columns_come_back_as_they_went(travel: Connection) -> None:
    frame = pd.DataFrame(
        {
            "key": np.array([-(2**63), 2**63 - 1, 0]),
            "code": [-32767, 32767, 0],
            "size": [-1, 0, 2**31 - 1],
            "ratio": [0.1, -1e300, 0.0],
            "flag": [True, False, True],
            "at": [0, 1_795_435_200_001, 253_370_764_800_000],
            "day": [0, 20_780, -1],
        }
    )

    written = copy_in(travel, "travel", COLUMNS, column_arrays(frame))
    read = copy_out(travel, QUERY, COLUMNS)

    assert written == 3
    pd.testing.assert_frame_equal(read, frame.sort_values("key", ignore_index=True))


def test_instants_and_days_are_what_postgres_says_they_are(travel: Connection) -> None:
    values = {
        "key": np.array([1]),
        "code": np.array([1]),
        "size": np.array([1]),
        "ratio": np.array([1.0]),
        "flag": np.array([True]),
        "at": np.array([1_795_435_200_001]),
        "day": np.array([20_780]),
    }

    copy_in(travel, "travel", COLUMNS, values)

    said = travel.execute(text("SELECT at::text, day::text FROM travel")).one()
    assert tuple(said) == ("2026-11-23 12:00:00.001+00", "2026-11-23")


@given(st.lists(st.tuples(st.none() | st.integers(0, 9), st.none() | st.floats(0, 1)), max_size=9))
def test_nulls_stay_with_their_rows(
    shared_engine: Engine, rows: list[tuple[int | None, float | None]]
) -> None:
    columns = (Column("key", Kind.INT8), Column("number", Kind.INT8), Column("ratio", Kind.FLOAT8))
    frame = pd.DataFrame(
        {
            "key": pd.Series(range(len(rows)), dtype="int64"),
            "number": pd.Series([row[0] for row in rows], dtype="Int64"),
            "ratio": pd.Series([row[1] for row in rows], dtype="float64"),
        }
    )

    with shared_engine.connect() as connection:
        connection.execute(
            text("CREATE TEMPORARY TABLE holes (key bigint, number bigint, ratio float8)")
        )
        copy_in(connection, "holes", columns, column_arrays(frame))
        found = connection.execute(text("SELECT number, ratio FROM holes ORDER BY key")).all()
        connection.rollback()

    assert [tuple(row) for row in found] == rows


def test_copying_in_is_part_of_the_transaction(database: Engine) -> None:
    columns = (Column("cluster_id", Kind.INT8), Column("started_at", Kind.INSTANT))
    columns = (*columns, Column("until", Kind.INSTANT))
    row = {"cluster_id": np.array([1]), "started_at": np.array([0]), "until": np.array([1])}

    for _ in range(2):
        with database.connect() as connection:
            copy_in(connection, "watch_spans", columns, row)
    with database.connect() as connection:
        copy_in(connection, "watch_spans", columns, row)
        connection.commit()
    with database.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM watch_spans"))

    assert count == 1


def test_a_null_in_an_answer_is_refused(travel: Connection) -> None:
    travel.execute(text("INSERT INTO travel (key) VALUES (NULL), (1)"))

    with pytest.raises(AssertionError, match="null"):
        copy_out(travel, "SELECT key FROM travel", (Column("key", Kind.INT8),))


def test_another_type_in_an_answer_is_refused(travel: Connection) -> None:
    two = (Column("code", Kind.INT4), Column("size", Kind.INT4))

    with pytest.raises(AssertionError, match="another type"):
        copy_out(travel, "SELECT 1::int", (Column("key", Kind.INT8),))
    with pytest.raises(AssertionError, match="other columns"):
        copy_out(travel, "SELECT 'twelve bytes'::text", two)


def test_a_failing_query_raises_the_servers_error_and_leaves_the_connection_usable(
    travel: Connection,
) -> None:
    point = travel.begin_nested()
    with pytest.raises(SchemaError, match="nowhere"):
        copy_out(travel, "SELECT key FROM nowhere", (Column("key", Kind.INT8),))
    point.rollback()

    assert travel.scalar(text("SELECT 1")) == 1


def test_a_query_that_fails_halfway_raises_the_servers_error(travel: Connection) -> None:
    query = "SELECT 1 / (50000 - g)::bigint FROM generate_series(1, 60000) AS g"

    point = travel.begin_nested()
    with pytest.raises(psycopg.errors.DivisionByZero):
        copy_out(travel, query, (Column("key", Kind.INT8),))
    point.rollback()

    assert travel.scalar(text("SELECT 1")) == 1


def test_a_code_that_needs_more_than_two_bytes_is_refused(travel: Connection) -> None:
    with pytest.raises(AssertionError, match="two bytes"):
        copy_in(travel, "travel", (Column("code", Kind.INT2),), {"code": np.array([32_768])})
