"""Facts of closed hours stand beside those of the closing, by the same rules of evidence."""

from datetime import UTC

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from app.store.late_facts import LateFactsStore, LateHour, put_facts
from app.store.usage import UsageStore, digest_of
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.facts import UsageFacts
from tests.store.builders import (
    CLUSTER,
    CLUSTER_ID,
    NOON_MS,
    an_hour,
    facts,
    hold_usage,
    pool_energy,
    token_usage,
)

# 2026-11-23T12:00 is the first closed hour, 14:00 the first open one.
CLOSED = Window(an_hour().start, an_hour(1).end)


@pytest.fixture
def closed(database: Engine, owner: Engine) -> Engine:
    """A ledger whose hour at noon is collected and closed, and whose hour at 13 was never told."""
    with database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(an_hour(), facts(an_hour()))
    with owner.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO billing_periods (name, started_at, until, closed_at, version)"
                " VALUES ('early', :start, :end, :end, 1)"
            ),
            {"start": from_ms(NOON_MS - 12 * HOUR_MS), "end": CLOSED.end},
        )
    return database


def put(engine: Engine, window: Window, given: UsageFacts, reason: str = "") -> tuple[object, ...]:
    with engine.begin() as connection:
        done = put_facts(connection, CLUSTER, window, given, forced_reason=reason)
    return done.revision, done.changed, done.late, done.rejected


def used(window: Window) -> UsageFacts:
    return facts(window, holds=hold_usage(window, active_ms=HOUR_MS))


def test_a_closed_hour_keeps_its_facts_and_gets_the_next_revision(closed: Engine) -> None:
    with closed.connect() as connection:
        before = UsageStore(connection, CLUSTER).hold_usage(an_hour())

    assert put(closed, an_hour(), used(an_hour())) == (2, True, True, ())

    with closed.connect() as connection:
        pd.testing.assert_frame_equal(UsageStore(connection, CLUSTER).hold_usage(an_hour()), before)
        (hour,) = LateFactsStore(connection).newest(CLOSED)
        read = LateFactsStore(connection).facts(hour)
    assert hour == LateHour(window_start_ms=NOON_MS, cluster_id=CLUSTER_ID, revision=2)
    assert digest_of(read) == digest_of(used(an_hour()))
    pd.testing.assert_frame_equal(read.evidence, used(an_hour()).evidence)


def test_the_energy_of_boards_stands_beside_that_of_the_closing_as_well(closed: Engine) -> None:
    energy = pool_energy(an_hour())

    assert put(closed, an_hour(), facts(an_hour(), energy=energy)) == (2, True, True, ())

    with closed.connect() as connection:
        assert UsageStore(connection, CLUSTER).pool_energy(an_hour()).empty
        (hour,) = LateFactsStore(connection).newest(CLOSED)
        read = LateFactsStore(connection).facts(hour).pool_energy
    pd.testing.assert_frame_equal(read, energy)


def test_equal_facts_make_no_revision(closed: Engine) -> None:
    assert put(closed, an_hour(), facts(an_hour())) == (1, False, True, ())
    assert put(closed, an_hour(), used(an_hour()))[0] == 2
    assert put(closed, an_hour(), used(an_hour())) == (2, False, True, ())
    # Back to what it was closed with is another delivery.
    assert put(closed, an_hour(), facts(an_hour())) == (3, True, True, ())


def test_less_evidence_than_the_newest_is_rejected_unless_forced(closed: Engine) -> None:
    more = facts(an_hour(), holds=hold_usage(an_hour(), active_ms=HOUR_MS), seen=961)
    less = facts(an_hour(), seen=960)

    assert put(closed, an_hour(), facts(an_hour(), seen=959))[3] == ("prometheus/activity",)
    assert put(closed, an_hour(), more)[:2] == (2, True)
    assert put(closed, an_hour(), less) == (2, False, True, ("prometheus/activity",))
    assert put(closed, an_hour(), less, "The exporter lied.")[:2] == (3, True)
    assert put(closed, an_hour(), facts(an_hour(), partial=True))[3] == ("partial answer",)


def test_a_missing_hour_is_collected_late_once(closed: Engine) -> None:
    with closed.connect() as connection:
        assert WindowStore(connection, CLUSTER).missing(CLOSED) == (an_hour(1),)

    assert put(closed, an_hour(1), facts(an_hour(1))) == (1, True, True, ())

    with closed.connect() as connection:
        store = WindowStore(connection, CLUSTER)
        assert store.missing(CLOSED) == ()
        assert store.is_whole(an_hour(1))
        assert not store.is_whole(an_hour(2))
        assert [one.window for one in store.within(CLOSED)] == [an_hour()]


def test_a_late_answer_in_part_is_asked_for_again(closed: Engine) -> None:
    put(closed, an_hour(1), facts(an_hour(1), partial=True))
    with closed.connect() as connection:
        assert not WindowStore(connection, CLUSTER).is_whole(an_hour(1))

    tokens = token_usage(an_hour(1), prompt=2_000)
    assert put(closed, an_hour(1), facts(an_hour(1), tokens=tokens))[:2] == (2, True)

    with closed.connect() as connection:
        assert WindowStore(connection, CLUSTER).is_whole(an_hour(1))


def test_closed_hours_never_wait_for_a_rating(closed: Engine) -> None:
    put(closed, an_hour(2), facts(an_hour(2)))

    with closed.begin() as connection:
        store = WindowStore(connection, CLUSTER)
        assert store.mark(0, an_hour(3).end_ms) == 1
        assert [one.window for one in store.pending()] == [an_hour(2)]
        assert [one.window for one in store.open_within(Window(CLOSED.start, an_hour(2).end))] == [
            an_hour(2)
        ]


def test_what_was_adjusted_is_not_adjusted_again(closed: Engine) -> None:
    put(closed, an_hour(), used(an_hour()))
    with closed.begin() as connection:
        store = LateFactsStore(connection)
        store.mark_adjusted(store.to_adjust(CLOSED))
        assert store.to_adjust(CLOSED) == ()
        assert len(store.newest(CLOSED)) == 1

    put(closed, an_hour(), facts(an_hour(), tokens=token_usage(an_hour(), prompt=7)))

    with closed.connect() as connection:
        assert [one.revision for one in LateFactsStore(connection).to_adjust(CLOSED)] == [3]


def test_the_service_may_change_nothing_of_late_facts_but_the_mark(closed: Engine) -> None:
    put(closed, an_hour(), used(an_hour()))

    for statement in ("DELETE FROM late_facts", "UPDATE late_facts SET partial = true"):
        with (
            pytest.raises(Exception, match="permission denied"),
            closed.begin() as connection,
        ):
            connection.execute(text(statement))
    assert an_hour().start.tzinfo is UTC
