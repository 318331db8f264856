"""Adjustments at the borders of days and periods, of missing hours, and with commitments."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event, text

from app.chargeback.costs import Basis
from app.errors import GpuledgerError
from app.store.adjustments import AdjustmentStore
from app.store.locking import ClosedPeriodError
from app.units.window import HOUR_MS
from app.workflows.adjusting import adjust_period, periods_to_adjust
from app.workflows.closing import close_period
from app.workflows.commitments import put_accounts
from app.workflows.postings import Adjusting
from tests.store.builders import CLUSTER
from tests.workflows.adjusting_world import (
    CONTRACT,
    NANOS,
    accept_all,
    an_adjusting,
    begin,
    close,
    contract,
    costs,
    count,
    held,
    last_hour,
    ledger,
    money,
    prices,
    put,
    rate,
)
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, TERMS, UTC_ZONE, an_order
from tests.workflows.committed import commit

JANUARY_MS = DECEMBER_MS + 31 * 24 * HOUR_MS
KOLKATA = ZoneInfo("Asia/Kolkata")


# Posts all adjustments again, at the last half hour of November.
COPIED = (
    "INSERT INTO adjustments SELECT adjustment_id + 1, run_id, '2026-11-30T23:30:00Z',"
    " cluster_id, window_start, day, node_id, gpu_model_id, hold_id, workload_id,"
    " namespace_id, team_id, charge_kind, price_id, step, consumer_id, charge_id, started_at,"
    " ended_at, gpu_ms, unpriced_ms, cost_nanos FROM adjustments"
)


def test_an_hour_that_was_missing_is_charged_late(database: Engine) -> None:
    begin(database)
    put(database, held(last_hour(3), 1))
    put(database, held(last_hour(1), 1))
    rate(database)
    accept_all(database)

    put(database, held(last_hour(2), 2))
    done = adjust_period("2026-11", an_adjusting(database))

    assert [(team.team, team.nanos) for team in done.teams] == [("search", 6 * NANOS)]
    assert money(database, NOVEMBER_MS, DECEMBER_MS, basis=Basis.USAGE) == {
        "search": 12 * NANOS,
        "platform": 6 * NANOS,
    }
    # By usage the hour is there, posted it is not.
    usage = costs(database, NOVEMBER_MS, DECEMBER_MS, "hour", basis=Basis.USAGE)
    assert usage["hour"].tolist()[1] == "2026-11-30T22:00:00Z"
    assert usage["idle_ms"].tolist() == [HOUR_MS, 2 * HOUR_MS, HOUR_MS]
    span = (last_hour(3).start_ms, DECEMBER_MS)
    assert not costs(database, *span, "cluster")["complete"].any()
    assert costs(database, *span, "cluster", basis=Basis.USAGE)["complete"].all()


def test_a_missing_hour_brings_what_its_commitment_left_unused(database: Engine) -> None:
    """4 GPUs are committed for 4 USD an hour, and 2 run: the missing hour costs 4 USD, too."""
    begin(database)
    put_accounts(database, {CLUSTER: ""})
    commit(database, 4, "4")
    put(database, held(last_hour(3), 1))
    put(database, held(last_hour(1), 1))
    rate(database)
    accept_all(database)
    before = money(database, NOVEMBER_MS, DECEMBER_MS)

    put(database, held(last_hour(2), 1))
    adjust_period("2026-11", an_adjusting(database))

    after = money(database, NOVEMBER_MS, DECEMBER_MS, basis=Basis.USAGE)
    assert sum(after.values()) * 2 == sum(before.values()) * 3
    assert {team: 2 * nanos for team, nanos in after.items()} == {
        team: 3 * nanos for team, nanos in before.items()
    }


def test_an_hour_over_the_border_belongs_to_the_period_it_begins_in(database: Engine) -> None:
    # November ends at 18:30 UTC in India: of the hour from 18:00 each day has a half.
    begin(database)
    contract(database, CONTRACT + "# India\n", zone=KOLKATA)
    for before in (7, 6, 5):
        put(database, held(last_hour(before), 1))
    rate(database, zone=KOLKATA)
    terms = replace(TERMS, zone=KOLKATA)
    close_period(an_order(), terms, engine=database)

    put(database, held(last_hour(6), 2))
    # The hour after it is open: its facts are simply replaced.
    assert not put(database, held(last_hour(5), 2)).late
    rate(database, zone=KOLKATA)
    given = Adjusting(engine=database, billing_zone=KOLKATA, at_ms=DECEMBER_MS)
    done = adjust_period("2026-11", given)

    with database.connect() as connection:
        posted = AdjustmentStore(connection, KOLKATA).find("2026-11")
    told = sorted((one.day.isoformat(), one.charge_kind, one.cost_nanos) for one in posted)
    half = 3 * NANOS // 2
    assert told == [
        ("2026-11-30", 2, half),
        ("2026-11-30", 4, -half),
        ("2026-12-01", 2, half),
        ("2026-12-01", 4, -half),
    ]
    assert {one.window_start_ms for one in posted} == {last_hour(6).start_ms}
    assert done.run.posting_period == "2026-12"
    assert periods_to_adjust(database, KOLKATA) == ()


@pytest.fixture
def failing(database: Engine) -> Iterator[Engine]:
    """An engine whose mark of late facts as adjusted breaks off, after the lines were written."""

    def fail(*given: object) -> None:
        if "UPDATE late_facts" in str(given[2]):
            message = "The power went off."
            raise ConnectionError(message)

    event.listen(database, "before_cursor_execute", fail)
    yield database
    event.remove(database, "before_cursor_execute", fail)


def test_a_run_that_breaks_off_posts_nothing(database: Engine, failing: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    before = ledger(database)

    with pytest.raises(ConnectionError):
        adjust_period("2026-11", an_adjusting(failing))

    assert (count(database, "adjustments"), count(database, "adjustment_runs")) == (0, 0)
    assert ledger(database) == before
    assert periods_to_adjust(database, UTC_ZONE) == ("2026-11",)


def test_the_database_refuses_a_posting_into_a_closed_period(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    adjust_period("2026-11", an_adjusting(database))

    with (
        pytest.raises(ClosedPeriodError, match="2026-11 is closed"),
        database.begin() as connection,
    ):
        connection.execute(text(COPIED))
    for statement in ("UPDATE adjustments SET cost_nanos = 0", "DELETE FROM adjustment_runs"):
        with pytest.raises(Exception, match="permission denied"), database.begin() as connection:
            connection.execute(text(statement))
    assert count(database, "adjustments") == 2


def test_nothing_of_a_computation_stays(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    tables = ("charges", "hold_usage", "pool_usage", "charge_days", "window_state", "window_notes")
    before = {name: count(database, name) for name in tables}

    adjust_period("2026-11", an_adjusting(database))

    assert {name: count(database, name) for name in tables} == before
    with database.connect() as connection:
        left = connection.scalar(
            text("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind <> 'i'")
        )
    assert left == 0
    assert Decimal(sum(money(database, NOVEMBER_MS, JANUARY_MS).values())) / NANOS == 6
    prices(database, "3.00")
    with pytest.raises(GpuledgerError, match="no billing period"):
        adjust_period("soon", an_adjusting(database))


def test_a_table_of_the_same_name_does_not_lead_the_guards_astray(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    adjust_period("2026-11", an_adjusting(database))

    for statement in (
        "DELETE FROM charges",
        "UPDATE window_state SET revision = revision + 1",
        "DELETE FROM charge_days",
        COPIED,
    ):
        with pytest.raises(ClosedPeriodError):
            write_beside_other_periods(database, statement)


def write_beside_other_periods(engine: Engine, statement: str) -> None:
    """Write while a temporary table without any period stands before the stored one."""
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TEMPORARY TABLE billing_periods (LIKE public.billing_periods)")
        )
        connection.execute(text("SET LOCAL search_path = pg_temp, public"))
        connection.execute(text(statement))
