import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from app.attribution.capacity import UsageMismatchError
from app.attribution.contract import UNOWNED
from app.attribution.redistribution import billing_days
from app.store.charges import ChargeStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.redistribution import RedistributionStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.usage import frames
from app.workflows.rating import rate_window
from tests.store.builders import CLUSTER, a_hold, an_hour, facts
from tests.workflows.stored import PRICES, UTC_ZONE, collect, contract, prices, span


def _charges(engine: Engine, hours: int) -> pd.DataFrame:
    with engine.connect() as connection:
        return ChargeStore(connection, CLUSTER, UTC_ZONE).within(span(hours))


def test_rating_twice_gives_the_same_charges_with_the_same_identities(database: Engine) -> None:
    collect(database, hours=2)
    prices(database)
    contract(database)

    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)
    first = _charges(database, 2)
    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)

    pd.testing.assert_frame_equal(first, _charges(database, 2))
    assert len(first) == 4


def test_one_hour_is_rated_as_it_is_within_a_day(database: Engine) -> None:
    collect(database, hours=3)
    prices(database)
    contract(database)

    rate_window(CLUSTER, span(3), engine=database, billing_zone=UTC_ZONE)
    whole = _charges(database, 3)
    rate_window(CLUSTER, an_hour(1), engine=database, billing_zone=UTC_ZONE)

    pd.testing.assert_frame_equal(whole, _charges(database, 3))


def test_a_hold_keeps_its_owner_when_its_end_turns_out_to_be_earlier(database: Engine) -> None:
    collect(database, hours=2)
    prices(database)
    contract(database)
    rate_window(CLUSTER, span(2), engine=database, billing_zone=UTC_ZONE)
    before = _charges(database, 2)
    with database.begin() as connection:
        lost_ms = an_hour().start_ms + 10 * 60_000
        InventoryStore(connection, CLUSTER).put_hold(a_hold(end_ms=lost_ms, end_lost=True))

    rate_window(CLUSTER, an_hour(1), engine=database, billing_zone=UTC_ZONE)

    pd.testing.assert_frame_equal(before, _charges(database, 2))


def test_hours_that_were_never_collected_are_left_out(database: Engine) -> None:
    collect(database, hours=2)

    counts = rate_window(CLUSTER, span(10), engine=database, billing_zone=UTC_ZONE)

    assert counts.hours == 2


def test_prices_that_come_while_a_month_is_rated_count_from_the_next_day_on(
    database: Engine,
) -> None:
    collect(database, hours=37)
    prices(database)
    contract(database)
    dearer = PRICES.replace("3.00", "4.00")

    def import_once(_hours: int) -> None:
        prices(database, dearer)

    rate_window(CLUSTER, span(37), engine=database, billing_zone=UTC_ZONE, progress=import_once)

    with database.connect() as connection:
        states = WindowStore(connection, CLUSTER).within(span(37))
    # From noon: half a day, a whole one, and an hour.
    assert [state.price_version for state in states] == [1] * 36 + [2]
    assert [state.pending for state in states] == [True] * 36 + [False]


def test_a_day_that_cannot_be_rated_leaves_those_before_it_rated(database: Engine) -> None:
    prices(database)
    collect(database, hours=13)
    last = an_hour(12)
    with database.begin() as connection:
        nobody = facts(last, holds=frames.empty(frames.HOLD_USAGE))
        UsageStore(connection, CLUSTER).replace(last, nobody)

    with pytest.raises(UsageMismatchError):
        rate_window(CLUSTER, span(13), engine=database, billing_zone=UTC_ZONE)

    with database.connect() as connection:
        states = WindowStore(connection, CLUSTER).within(span(13))
    assert [state.pending for state in states] == [False] * 12 + [True]


def test_a_rating_says_from_which_versions_it_was_made(database: Engine) -> None:
    collect(database, hours=1)
    prices(database)
    contract(database)
    rate_window(CLUSTER, span(1), engine=database, billing_zone=UTC_ZONE)

    with database.connect() as connection:
        (state,) = WindowStore(connection, CLUSTER).within(span(1))

    assert (state.rated_revision, state.price_version, state.contract_version) == (1, 1, 1)
    assert not state.pending


def test_a_rating_that_waits_for_a_redistribution_holds_no_name_that_this_needs(
    database: Engine,
) -> None:
    collect(database, hours=1)
    prices(database)
    (day,) = billing_days(UTC_ZONE, span(1).start_ms, span(1).end_ms)

    with ThreadPoolExecutor(max_workers=1) as pool:
        with database.begin() as connection:
            RedistributionStore(connection, UTC_ZONE).lock(day)
            rating = pool.submit(
                rate_window, CLUSTER, span(1), engine=database, billing_zone=UTC_ZONE
            )
            _until_somebody_waits(database)
            connection.execute(text("SET LOCAL lock_timeout = '3s'"))
            NameStore(connection).ensure_team_names([UNOWNED])
        assert rating.result(timeout=60).hours == 1


def _until_somebody_waits(engine: Engine) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    for _ in range(600):
        with engine.connect() as connection:
            if connection.scalar(waiting):
                return
        time.sleep(0.05)
    message = "Nobody waits for the day."
    raise AssertionError(message)
