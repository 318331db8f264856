"""A reopened period: its late facts are its facts, what was posted is taken back."""

import pytest
from sqlalchemy import Engine

from app.attribution.adjustments import AdjustmentType
from app.chargeback.billing_periods import BillingPeriod
from app.errors import GpuledgerError
from app.store.adjustments import AdjustmentStore
from app.store.locking import PeriodStateError
from app.store.periods import PeriodStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window
from app.workflows.adjusting import adjust_period
from app.workflows.closing import close_period
from app.workflows.rating import rate_window
from app.workflows.reopening import Reopened, reopen_period
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
    rate,
)
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, TERMS, UTC_ZONE, an_order

JANUARY_MS = DECEMBER_MS + 31 * 24 * 3_600_000


def reopen(engine: Engine, period: str = "2026-11", *, reason: str = "It was early.") -> Reopened:
    return reopen_period(period, reason=reason, author="ada", given=an_adjusting(engine))


def test_reopening_takes_back_what_was_posted_and_rates_the_late_facts(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    adjust_period("2026-11", an_adjusting(database))

    done = reopen(database)

    assert (done.version, done.merged, done.reversed) == (1, 1, 2)
    assert money(database, DECEMBER_MS, JANUARY_MS) == {"search": 0, "platform": 0}
    with database.connect() as connection:
        (state,) = WindowStore(connection, CLUSTER).pending()
        runs = AdjustmentStore(connection, UTC_ZONE).runs()
        facts = UsageStore(connection, CLUSTER).hold_usage(last_hour())
    assert state.revision == 2
    assert facts["units"].tolist() == [2]
    assert [run.type for run in runs] == [AdjustmentType.LATE_FACTS, AdjustmentType.REOPENING]
    assert (runs[1].reason, runs[1].author) == ("2026-11 is open again: It was early.", "ada")

    rate(database)
    assert money(database, NOVEMBER_MS, DECEMBER_MS) == {"search": 6 * NANOS}
    close_period(an_order(at_ms=LATER_MS), TERMS, engine=database)
    # Of both versions: the platform has nothing left, and its later version says so.
    assert count(database, "statements") == 4
    assert not adjust_period("2026-11", an_adjusting(database)).posted


def test_late_facts_after_a_second_closing_are_later_revisions(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    put(database, held(last_hour(), 2))
    reopen(database)
    rate(database)
    close_period(an_order(at_ms=LATER_MS), TERMS, engine=database)

    assert not put(database, held(last_hour(), 2)).changed
    late = put(database, held(last_hour(), 0))
    done = adjust_period("2026-11", an_adjusting(database))

    assert (late.revision, late.late) == (3, True)
    assert [team.nanos for team in done.teams] == [6 * NANOS, -6 * NANOS]


def test_a_period_before_a_closed_one_stays_closed(database: Engine) -> None:
    close(database, held(last_hour(), 1))
    day = [last_hour(-number) for number in range(24)]
    with database.begin() as connection:
        first = BillingPeriod(name="first", start_ms=DECEMBER_MS, end_ms=DECEMBER_MS + 24 * HOUR_MS)
        PeriodStore(connection, UTC_ZONE).define([first], author="ada", at_ms=LATER_MS)
    for window in day:
        put(database, held(window, 1))
    rate_window(CLUSTER, Window(day[0].start, day[-1].end), engine=database, billing_zone=UTC_ZONE)
    close_period(an_order("first", at_ms=LATER_MS), TERMS, engine=database)

    with pytest.raises(PeriodStateError, match="first is closed and follows 2026-11"):
        reopen(database)

    assert count(database, "adjustment_runs") == 0
    put(database, held(last_hour(), 2))
    done = adjust_period("2026-11", an_adjusting(database, at_ms=DECEMBER_MS + HOUR_MS))
    # The instant lies in a closed period: it is booked where the first open one begins.
    assert done.run.posted_ms == DECEMBER_MS + 24 * HOUR_MS


@pytest.mark.parametrize(
    ("period", "reason", "said"),
    [("2026-12", "x", "is open"), ("2026-11", " ", "with a reason"), ("2026-W48", "x", "week")],
)
def test_what_cannot_be_reopened_is_one_error(
    database: Engine, period: str, reason: str, said: str
) -> None:
    close(database, held(last_hour(), 1))

    with pytest.raises(GpuledgerError, match=said):
        reopen(database, period, reason=reason)

    assert count(database, "adjustment_runs") == 0
