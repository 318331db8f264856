"""Late facts of a closed period become adjustments of an open one, line by line."""

from sqlalchemy import Engine

from app.attribution.adjustments import AdjustmentType
from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.costs import Basis
from app.store.adjustments import AdjustmentStore
from app.store.periods import PeriodStore
from app.store.statements import StatementStore
from app.units.window import HOUR_MS, Window
from app.workflows.adjusting import adjust_period
from app.workflows.closing import close_period
from app.workflows.postings import TeamMoney
from app.workflows.rating import rate_window
from app.workflows.succeeding import explained
from tests.store.builders import CLUSTER
from tests.workflows.adjusting_world import (
    LATER_MS,
    NANOS,
    an_adjusting,
    close,
    count,
    held,
    last_hour,
    money,
    put,
)
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, TERMS, UTC_ZONE, an_order

JANUARY_MS = DECEMBER_MS + 31 * 24 * HOUR_MS


def test_two_late_deliveries_of_an_hour_after_the_close(database: Engine) -> None:
    # Search held one of two GPUs at 3.00, the platform pays for the other.
    close(database, held(last_hour(), 1))
    assert money(database, NOVEMBER_MS, DECEMBER_MS) == {
        "search": 3 * NANOS,
        "platform": 3 * NANOS,
    }

    # It held both.
    put(database, held(last_hour(), 2))
    first = adjust_period("2026-11", an_adjusting(database))
    # It worked on one of them.
    put(database, held(last_hour(), 2, active=1))
    second = adjust_period("2026-11", an_adjusting(database))

    assert first.teams == (
        TeamMoney(team="platform", nanos=-3 * NANOS),
        TeamMoney(team="search", nanos=3 * NANOS),
    )
    assert second.teams == (TeamMoney(team="search", nanos=0),)
    assert (first.posted, first.lines, second.lines) == (True, 2, 2)
    assert (first.run.posting_period, first.run.posted_ms) == ("2026-12", LATER_MS)
    assert first.run.type is AdjustmentType.LATE_FACTS
    assert (first.run.author, first.run.reason) == (
        "gpuledger",
        "Late delivery of 1 hour, revision 2.",
    )
    # November as posted stays; December has what was posted; by usage November is as it was.
    assert money(database, NOVEMBER_MS, DECEMBER_MS) == {
        "search": 3 * NANOS,
        "platform": 3 * NANOS,
    }
    assert money(database, DECEMBER_MS, JANUARY_MS) == {
        "search": 3 * NANOS,
        "platform": -3 * NANOS,
    }
    assert money(database, NOVEMBER_MS, DECEMBER_MS, basis=Basis.USAGE) == {
        "search": 6 * NANOS,
        "platform": 0,
    }
    assert money(database, DECEMBER_MS, JANUARY_MS, basis=Basis.USAGE) == {}


def test_the_charge_says_what_was_posted_to_it(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2, active=1))
    adjust_period("2026-11", an_adjusting(database))

    with database.connect() as connection:
        posted = AdjustmentStore(connection, UTC_ZONE).find("2026-11")
        said = [explained(connection, one.charge_id, "USD") for one in posted]

    # The pod's used time is a line that the closing did not have.
    used, unallocated = (found.explanation.steps for found in said)
    (step,) = used
    assert step.text == (
        "3.00 USD were posted into 2026-12 at 2026-12-03T12:00:00Z (late_facts, by gpuledger): Late"
        " delivery of 1 hour, revision 2."
    )
    assert unallocated[-1].text.startswith("-3.00 USD were posted into 2026-12")
    assert len(unallocated) > 1
    assert [found.team for found in said] == ["search", "platform"]


def test_the_next_statement_lists_what_is_booked_in_it(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    close_first_day(database)

    with database.connect() as connection:
        (search,) = (
            one
            for one in StatementStore(connection).heads(period="first", team=None)
            if one.team == "search"
        )
        stored = StatementStore(connection).by_number(search.number)
    # 24 hours of one GPU at 3.00, and 3.00 of November.
    assert search.total_nanos == 75 * NANOS
    assert stored is not None
    assert b"Late delivery of 1 hour, revision 2." in stored.body
    assert b'"2026-11' in stored.body


def close_first_day(engine: Engine) -> None:
    """Adjust November in the first day of December, and close that day as a period."""
    day = [last_hour(-number) for number in range(24)]
    with engine.begin() as connection:
        end_ms = DECEMBER_MS + 24 * HOUR_MS
        first = BillingPeriod(name="first", start_ms=DECEMBER_MS, end_ms=end_ms)
        PeriodStore(connection, UTC_ZONE).define([first], author="ada", at_ms=LATER_MS)
    for window in day:
        put(engine, held(window, 1))
    rate_window(CLUSTER, Window(day[0].start, day[-1].end), engine=engine, billing_zone=UTC_ZONE)
    adjust_period("2026-11", an_adjusting(engine, at_ms=DECEMBER_MS + HOUR_MS))
    close_period(an_order("first", at_ms=LATER_MS), TERMS, engine=engine)


def test_nothing_is_posted_where_nothing_is_different(database: Engine) -> None:
    close(database, held(last_hour(), 1))

    assert not put(database, held(last_hour(), 1)).changed
    done = adjust_period("2026-11", an_adjusting(database))

    assert (done.posted, done.lines, done.hours) == (False, 0, 0)
    assert count(database, "adjustment_runs") == 0


def test_a_dry_run_says_what_would_be_posted(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))

    dry = adjust_period("2026-11", an_adjusting(database, dry_run=True))
    done = adjust_period("2026-11", an_adjusting(database))

    assert not dry.posted
    assert done.posted
    assert dry.teams == done.teams
    with database.connect() as connection:
        posted = AdjustmentStore(connection, UTC_ZONE).posted_in("2026-12")
    assert [(one.charge_kind, one.gpu_ms, one.cost_nanos) for one in posted] == [
        (2, 3_600_000, 3 * NANOS),
        (4, -3_600_000, -3 * NANOS),
    ]
