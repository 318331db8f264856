"""Closing a period: what keeps it from closing, what it writes, and two closings at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier

import pytest
from sqlalchemy import Engine

from app.chargeback.billing_periods import BillingPeriodError
from app.chargeback.closing import AcceptFileError, ObstacleKind, ObstaclesError, obstacles_table
from app.chargeback.tables import csv_bytes
from app.errors import GpuledgerError
from app.store.locking import ClosedPeriodError, PeriodStateError
from app.store.periods import PeriodStore, reopen
from app.store.statements import StatementStore
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from app.workflows.closing import Closed, close_period, preview
from tests.store.builders import CLUSTER, a_charge
from tests.workflows.closing_world import (
    DECEMBER_MS,
    LAST_HOURS,
    NOVEMBER_MS,
    TERMS,
    UTC_ZONE,
    an_order,
    close_anyway,
    counted,
    put_hour,
    put_names,
    put_november,
)


def close(engine: Engine, accept: str = "") -> Closed:
    return close_period(an_order(accept=accept), TERMS, engine=engine)


def test_closing_writes_a_statement_a_team_and_freezes_the_period(database: Engine) -> None:
    put_november(database)

    closed = close(database)

    assert [one.number for one in closed.statements] == ["CB-2026-11-ml", "CB-2026-11-search"]
    assert [one.total_nanos for one in closed.statements] == [3_000_000_006, 9_003_000_000]
    assert [one.total for one in closed.statements] == [Decimal("3.00"), Decimal("9.00")]
    with database.connect() as connection:
        store = PeriodStore(connection, UTC_ZONE)
        period = store.by_name("2026-11")
        assert (period.version, period.closed_ms) == (1, DECEMBER_MS)
        assert store.closed_before_ms() == DECEMBER_MS
        assert store.open_period_at(NOVEMBER_MS).name == "2026-12"
        assert [event.event for event in store.events("2026-11")] == ["defined", "closed"]
        stored = StatementStore(connection).by_number("CB-2026-11-search")
    assert stored is not None
    assert (stored.body, stored.csv) == (closed.statements[1].body, closed.statements[1].csv)
    assert counted(database, "period_pins") == len(LAST_HOURS)


def test_a_statement_says_what_it_rests_on(database: Engine) -> None:
    put_november(database)

    body = json.loads(close(database).statements[1].body)

    assert body["period"] == {
        "name": "2026-11",
        "start": "2026-11-01T00:00:00Z",
        "end": "2026-12-01T00:00:00Z",
        "zone": "UTC",
    }
    assert (body["exact_total"], body["rounding"], body["total"]) == ("9.003", "-0.003", "9.00")
    assert body["pinned"]["windows"] == len(LAST_HOURS)
    (line,) = body["lines"]
    assert (line["namespace"], line["kind"], line["cost"]) == ("search-prod", "idle", "9.003")
    assert line["gpu_seconds"] == "10800"


def test_everything_in_the_way_is_listed_and_nothing_is_closed(database: Engine) -> None:
    first, second, third = LAST_HOURS
    with database.begin() as connection:
        put_names(connection, ("search", "unowned"))
        put_hour(connection, first, a_charge(first, cost_nanos=None), partial=True)
        put_hour(connection, third, a_charge(third, team="unowned"), rated=False)

    with pytest.raises(ObstaclesError, match="not closed: 6 in the way") as refusal:
        close_period(an_order(at_ms=DECEMBER_MS - 1), TERMS, engine=database)

    assert [one.kind for one in refusal.value.obstacles] == [
        ObstacleKind.NOT_ENDED,
        ObstacleKind.STALE,
        ObstacleKind.MISSING,
        ObstacleKind.PARTIAL,
        ObstacleKind.UNPRICED,
        ObstacleKind.UNOWNED,
    ]
    missing = refusal.value.obstacles[2]
    assert (missing.start_ms, missing.end_ms) == (second.start_ms, second.end_ms)
    assert counted(database, "billing_periods") == 0
    assert counted(database, "statements") == 0


def accepting(closed: Closed, reason: str = "seen by ada") -> str:
    """The printed obstacles with a reason on every line."""
    printed = csv_bytes(obstacles_table(closed.obstacles)).decode().splitlines()
    return "\n".join([printed[0], *(f"{line}{reason}" for line in printed[1:])])


def test_what_is_accepted_is_on_the_statement(database: Engine) -> None:
    first, _, third = LAST_HOURS
    with database.begin() as connection:
        put_names(connection, ("search", "unowned"))
        put_hour(connection, first, a_charge(first, cost_nanos=None), partial=True)
        put_hour(connection, third, a_charge(third))

    closed = close(database, accepting(preview(an_order(), TERMS, engine=database)))

    accepted = json.loads(closed.statements[0].body)["accepted"]
    assert [one["kind"] for one in accepted] == ["missing", "partial", "unpriced"]
    assert {one["reason"] for one in accepted} == {"seen by ada"}


def test_a_file_that_names_too_little_or_something_else_is_refused(database: Engine) -> None:
    first, _, third = LAST_HOURS
    with database.begin() as connection:
        put_names(connection, ("search", "unowned"))
        put_hour(connection, first, a_charge(first), partial=True)
        put_hour(connection, third, a_charge(third))
    whole = accepting(preview(an_order(), TERMS, engine=database))

    with pytest.raises(ObstaclesError, match="1 in the way"):
        close(database, "\n".join(whole.splitlines()[:-1]))
    with pytest.raises(AcceptFileError, match="nothing in the way reads"):
        close(database, whole.replace("partial", "unowned"))
    assert counted(database, "billing_periods") == 0


def test_a_period_is_closed_once(database: Engine) -> None:
    put_november(database)
    close(database)

    with pytest.raises(PeriodStateError, match="is closed, as version 1"):
        close(database)


def test_of_two_closings_at_once_one_wins(database: Engine) -> None:
    put_november(database)
    barrier = Barrier(2)

    def attempt(author: str) -> Closed | GpuledgerError:
        barrier.wait()
        try:
            return close_period(replace(an_order(), author=author), TERMS, engine=database)
        except GpuledgerError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, ("ada", "bob")))

    (error,) = (one for one in results if isinstance(one, GpuledgerError))
    assert isinstance(error, PeriodStateError)
    assert counted(database, "statements") == 2
    assert counted(database, "period_versions") == 1


def test_a_week_does_not_close(database: Engine) -> None:
    with pytest.raises(BillingPeriodError, match="weeks are reports"):
        close_period(an_order("2026-W46"), TERMS, engine=database)


def test_periods_close_in_order(database: Engine) -> None:
    put_november(database)
    with database.begin() as connection:
        put_hour(connection, Window(from_ms(DECEMBER_MS), from_ms(DECEMBER_MS + HOUR_MS)))

    with pytest.raises(ObstaclesError, match="earlier_open"):
        close_period(an_order("2026-12", at_ms=DECEMBER_MS * 2), TERMS, engine=database)


def test_a_reopened_period_closes_as_the_next_version_and_keeps_the_first(
    database: Engine,
) -> None:
    put_november(database)
    before = close(database).statements

    with database.begin() as connection:
        assert (
            reopen(connection, "2026-11", reason="a lost invoice", author="ada", at_ms=DECEMBER_MS)
            == 1
        )
    with database.begin() as connection:
        put_hour(connection, LAST_HOURS[0], a_charge(LAST_HOURS[0], cost_nanos=5))
    after = close(database).statements

    assert {one.version for one in after} == {2}
    assert after != before
    with database.connect() as connection:
        store = StatementStore(connection)
        assert [store.by_number(one.number, 1) for one in before] == list(before)
        assert store.by_number("CB-2026-11-search") == after[-1]


def test_a_team_that_a_later_version_takes_everything_from_is_told_so(database: Engine) -> None:
    put_november(database)
    close(database)
    with database.begin() as connection:
        reopen(connection, "2026-11", reason="all is ml's", author="ada", at_ms=DECEMBER_MS)
    for window in LAST_HOURS:
        with database.begin() as connection:
            put_hour(connection, window, a_charge(window, team="ml"))

    after = close(database).statements

    assert [(one.team, one.version, one.total_nanos) for one in after] == [
        ("ml", 2, 9 * 10**9),
        ("search", 2, 0),
    ]
    assert json.loads(after[1].body)["lines"] == []


def test_a_month_without_any_hour_closes_before_the_next(database: Engine) -> None:
    put_november(database)
    close(database)
    january_ms = to_ms(datetime(2027, 1, 1, tzinfo=UTC))
    hour = Window(from_ms(january_ms), from_ms(january_ms + HOUR_MS))
    with database.begin() as connection:
        put_hour(connection, hour, a_charge(hour))
    later_ms = january_ms + 40 * 24 * HOUR_MS

    with pytest.raises(ObstaclesError, match="earlier_open"):
        close_period(an_order("2027-01", at_ms=later_ms), TERMS, engine=database)
    close_anyway(database, "2026-12", at_ms=later_ms)
    assert len(close_anyway(database, "2027-01", at_ms=later_ms)) == 1


@pytest.mark.parametrize(
    ("reason", "author", "said"),
    [("", "ada", "with a reason"), ("late", " ", "with a reason")],
)
def test_reopening_needs_a_reason_and_a_name(
    database: Engine, reason: str, author: str, said: str
) -> None:
    put_november(database)
    close(database)

    with pytest.raises(PeriodStateError, match=said), database.begin() as connection:
        reopen(connection, "2026-11", reason=reason, author=author, at_ms=DECEMBER_MS)


def test_a_write_into_the_closed_period_is_one_clear_error(database: Engine) -> None:
    put_november(database)
    close(database)

    with pytest.raises(ClosedPeriodError, match="2026-11 is closed"), database.begin() as opened:
        put_hour(opened, LAST_HOURS[0], a_charge(LAST_HOURS[0], cost_nanos=1))
    with database.connect() as connection:
        (state,) = WindowStore(connection, CLUSTER).within(LAST_HOURS[0])
    assert state.revision == 1
