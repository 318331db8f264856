"""What the worker does with late facts of closed periods: once, and never for ever."""

from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import ClusterSettings, PrometheusSettings, Settings
from app.store.locking import held_by_session
from app.units.window import Window, from_ms
from app.wiring import Ledger
from tests.store.builders import CLUSTER
from tests.workflows.adjusting_world import LATER_MS, accept_all, begin, count, held, last_hour, put
from tests.workflows.adjusting_world import rate as rate_all


def a_ledger(database: Engine, url: URL) -> Ledger:
    cluster = ClusterSettings(
        name=CLUSTER, prometheus=PrometheusSettings(url="http://127.0.0.1:9"), settle_minutes=180
    )
    settings = Settings(clusters=(cluster,))
    return Ledger(settings, url, database, lambda: from_ms(LATER_MS))


def closed(database: Engine, url: URL) -> Ledger:
    """A ledger that is closed without the hour between two others."""
    begin(database)
    put(database, held(last_hour(3), 1))
    put(database, held(last_hour(1), 1))
    rate_all(database)
    accept_all(database)
    return a_ledger(database, url)


def test_a_late_hour_is_adjusted_once(database: Engine, database_url: URL) -> None:
    ledger = closed(database, database_url)
    at = from_ms(LATER_MS)
    assert ledger.adjust_due(at) == ()

    put(database, held(last_hour(2), 1))
    (done,) = ledger.adjust_due(at)

    assert (done.run.period, done.nanos, done.run.posted_ms) == ("2026-11", 6 * 10**9, LATER_MS)
    assert ledger.adjust_due(at + timedelta(minutes=10)) == ()
    assert count(database, "adjustment_runs") == 1


def test_what_another_run_keeps_from_being_adjusted_stays_due(
    database: Engine, database_url: URL
) -> None:
    ledger = closed(database, database_url)
    put(database, held(last_hour(2), 1))

    with held_by_session(database, "adjusting"):
        assert ledger.adjust_due(from_ms(LATER_MS)) == ()

    assert len(ledger.adjust_due(from_ms(LATER_MS))) == 1


def test_closed_hours_are_handed_out_until_their_late_facts_are_there(
    database: Engine, database_url: URL
) -> None:
    ledger = closed(database, database_url)
    hour = last_hour(2)
    at = from_ms(last_hour(0).start_ms) + timedelta(hours=4)
    assert hour in ledger.windows_to_collect(CLUSTER, at)
    assert not ledger.is_whole(CLUSTER, hour)

    put(database, held(hour, 1))

    assert hour not in ledger.windows_to_collect(CLUSTER, at)
    assert ledger.is_whole(CLUSTER, hour)
    assert ledger.windows_to_rate(CLUSTER) == ()
    assert ledger.rate(CLUSTER, Window(last_hour(3).start, last_hour(1).end)).hours == 0


def test_minutes_of_closed_periods_are_forgotten(database: Engine, database_url: URL) -> None:
    ledger = closed(database, database_url)

    assert ledger.forget_minutes(from_ms(LATER_MS) + timedelta(days=90)) == 0
