from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.store.locking import ClosedPeriodError, ensure_partitions
from app.store.usage import PARTIAL_ANSWER, ReplaceResult, UsageStore
from app.units.window import HOUR_MS, Window
from app.usage import frames
from tests.store.builders import (
    CLUSTER,
    MINUTE_MS,
    NOON_MS,
    an_hour,
    facts,
    hold_usage,
    ids,
    model_id,
    pool_energy,
    pool_usage,
    token_usage,
)


@pytest.fixture
def store(ledger: Connection) -> UsageStore:
    return UsageStore(ledger, CLUSTER)


def latencies(window: Window) -> pd.DataFrame:
    rows = [
        (window.start_ms, ids()["workload_id"], model_id("llama"), 1, bound, count)
        for bound, count in ((0.1, 5), (float("inf"), 9))
    ]
    frame = pd.DataFrame(rows, columns=[*frames.LATENCY_USAGE.columns])
    dtypes = {name: str(column.dtype) for name, column in frames.LATENCY_USAGE.columns.items()}
    return frame.astype(dtypes)


def minutes(window: Window) -> pd.DataFrame:
    rows = [
        (window.start_ms + at * MINUTE_MS, ids()["workload_id"], 0, 1, 100, 0, 50, 0.5, None, 0.25)
        for at in (0, 59)
    ]
    frame = pd.DataFrame(rows, columns=[*frames.SERVICE_MINUTES.columns])
    dtypes = {name: str(column.dtype) for name, column in frames.SERVICE_MINUTES.columns.items()}
    return frame.astype(dtypes)


def cold_starts(window: Window) -> pd.DataFrame:
    row = (window.start_ms, ids()["workload_id"], ids()["hold_id"], 42.5, float("nan"))
    frame = pd.DataFrame([row], columns=[*frames.COLD_STARTS.columns])
    dtypes = {name: str(column.dtype) for name, column in frames.COLD_STARTS.columns.items()}
    return frame.astype(dtypes)


def everything(window: Window):  # noqa: ANN201 # UsageFacts
    return facts(
        window,
        latencies=latencies(window),
        minutes=minutes(window),
        cold_starts=cold_starts(window),
        energy=pool_energy(window),
        noted=("gpu-1",),
    )


def test_facts_come_back_as_they_were_stored(store: UsageStore) -> None:
    window = an_hour()
    given = everything(window)

    result = store.replace(window, given)

    assert (result.revision, result.changed, result.rejected) == (1, True, ())
    for name in (
        "pool_usage",
        "hold_usage",
        "token_usage",
        "latency_usage",
        "service_minutes",
        "cold_starts",
        "pool_energy",
        "evidence",
        "notes",
    ):
        stored = getattr(store, name)(window)
        pd.testing.assert_frame_equal(stored, getattr(given, name), obj=name)


def test_other_energy_of_the_boards_is_another_revision_and_replaces_it(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window, energy=pool_energy(window)))

    result = store.replace(window, facts(window, energy=pool_energy(window, energy_mj=7)))

    assert (result.revision, result.changed) == (2, True)
    assert store.pool_energy(window)["energy_mj"].tolist() == [7]


def test_many_hours_are_read_at_once_in_order(store: UsageStore) -> None:
    for after in (1, 0):
        store.replace(an_hour(after), facts(an_hour(after)))

    read = store.pool_usage(Window(an_hour().start, an_hour(1).end))

    assert read["window_start_ms"].tolist() == [NOON_MS, NOON_MS + HOUR_MS]


def test_only_the_wanted_columns_are_read(store: UsageStore) -> None:
    store.replace(an_hour(), facts(an_hour()))

    read = store.hold_usage(an_hour(), only=("held_ms", "energy_mj"))

    assert [*read.columns] == ["window_start_ms", "node_id", "hold_id", "held_ms", "energy_mj"]
    assert read["held_ms"].tolist() == [2 * HOUR_MS]


def test_a_window_without_facts_is_read_as_empty_frames(store: UsageStore) -> None:
    frames.POOL_USAGE.validate(store.pool_usage(an_hour()))
    frames.HOLD_USAGE.validate(store.hold_usage(an_hour()))
    frames.TOKEN_USAGE.validate(store.token_usage(an_hour()))

    assert store.hold_usage(an_hour()).empty


def test_equal_facts_keep_their_revision(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window, seen=900))

    again = store.replace(window, facts(window, seen=960))

    assert (again.revision, again.changed) == (1, False)
    assert store.evidence(window)["seen"].tolist() == [960]


def test_other_facts_are_the_next_revision_in_place_of_the_first(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window))

    result = store.replace(window, facts(window, holds=hold_usage(window, active_ms=HOUR_MS)))

    assert (result.revision, result.changed) == (2, True)
    assert store.hold_usage(window)["active_ms"].tolist() == [HOUR_MS]
    assert store.hold_usage(window)["idle_ms"].tolist() == [HOUR_MS]


def test_facts_with_less_evidence_are_rejected_and_change_nothing(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window, seen=960, noted=("first",)))

    result = store.replace(
        window, facts(window, seen=959, holds=hold_usage(window, active_ms=1), noted=("second",))
    )

    assert result.rejected == ("prometheus/activity",)
    assert (result.revision, result.changed) == (1, False)
    assert store.hold_usage(window)["active_ms"].tolist() == [0]
    assert store.evidence(window)["seen"].tolist() == [960]
    assert store.notes(window)["subject"].tolist() == ["first"]


def test_a_family_that_is_gone_altogether_is_rejected(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window, seen=1))
    given = facts(window)
    object.__setattr__(given, "evidence", frames.empty(frames.EVIDENCE))

    assert store.replace(window, given).rejected == ("prometheus/activity",)


def test_a_reason_overrides_the_rejection(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window))

    result = store.replace(
        window,
        facts(window, seen=1, holds=hold_usage(window, active_ms=1)),
        forced_reason="the exporter lied",
    )

    assert (result.revision, result.rejected) == (2, ())
    assert store.evidence(window)["seen"].tolist() == [1]


def test_a_partial_answer_does_not_replace_a_whole_one(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window))

    result = store.replace(window, facts(window, partial=True))

    assert result.rejected == (PARTIAL_ANSWER,)


def test_a_whole_answer_replaces_a_partial_one(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window, partial=True))

    result = store.replace(window, facts(window))

    assert (result.rejected, result.changed) == ((), False)


def test_facts_of_another_hour_are_refused(store: UsageStore) -> None:
    with pytest.raises(AssertionError, match="outside"):
        store.replace(an_hour(), facts(an_hour(), pools=pool_usage(an_hour(1))))


def test_more_than_an_hour_is_refused(store: UsageStore) -> None:
    two = Window(an_hour().start, an_hour(1).end)

    with pytest.raises(AssertionError, match="by the hour"):
        store.replace(two, facts(two))


def test_the_database_refuses_time_that_is_not_conserved(store: UsageStore) -> None:
    window = an_hour()
    broken = pool_usage(window)
    broken["unallocated_ms"] -= 1

    with pytest.raises((DBAPIError, Exception), match="pool_usage_conserved"):
        store.replace(window, facts(window, pools=broken))


def test_a_rejected_write_leaves_the_old_rows(database: Engine) -> None:
    window = an_hour()
    with database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(window, facts(window))
    broken = hold_usage(window)
    broken["idle_ms"] += 1

    with pytest.raises(Exception, match="hold_usage_"), database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(window, facts(window, holds=broken))

    with database.connect() as connection:
        stored = UsageStore(connection, CLUSTER).hold_usage(window)
    pd.testing.assert_frame_equal(stored, hold_usage(window))


def test_minutes_are_forgotten_and_the_rest_is_not(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, everything(window))

    forgotten = store.forget_minutes(NOON_MS + 30 * MINUTE_MS)

    assert forgotten == 1
    assert store.service_minutes(window)["minute_ms"].tolist() == [NOON_MS + 59 * MINUTE_MS]
    assert len(store.token_usage(window)) == 1


def test_tokens_nobody_counts_are_null_and_not_zero(store: UsageStore) -> None:
    window = an_hour()
    store.replace(window, facts(window, tokens=token_usage(window, prompt=None)))

    assert store.token_usage(window)["prompt_tokens"].isna().tolist() == [True]


def in_two_threads(database: Engine, *windows: Window) -> list[ReplaceResult]:
    begin = Barrier(len(windows))

    def replace(window: Window) -> ReplaceResult:
        begin.wait(timeout=10)
        with database.begin() as connection:
            return UsageStore(connection, CLUSTER).replace(window, facts(window))

    with ThreadPoolExecutor(len(windows)) as pool:
        return list(pool.map(replace, windows))


def test_two_hours_of_a_month_without_partitions_are_stored_at_once(database: Engine) -> None:
    results = in_two_threads(database, an_hour(0), an_hour(1))

    assert [result.changed for result in results] == [True, True]


def test_an_hour_that_is_stored_twice_at_once_is_stored_once(database: Engine) -> None:
    results = in_two_threads(database, an_hour(), an_hour())

    assert sorted(result.changed for result in results) == [False, True]
    assert {result.revision for result in results} == {1}


def test_ways_to_write_nothing_and_zero_are_one_content(store: UsageStore) -> None:
    window = an_hour()
    first, second = hold_usage(window), hold_usage(window)
    first["peak_5m_ratio"], second["peak_5m_ratio"] = 0.0, -0.0
    second["sm_active_ratio"] = -first["sm_active_ratio"]
    store.replace(window, facts(window, holds=first))

    assert not store.replace(window, facts(window, holds=second)).changed


def close(owner: Engine, name: str, start: str, until: str) -> None:
    with owner.begin() as connection:
        connection.execute(
            text("INSERT INTO billing_periods VALUES (:name, :start, :until, :until)"),
            {"name": name, "start": start, "until": until},
        )


def test_the_facts_of_a_closed_period_stay(database: Engine, owner: Engine) -> None:
    window = an_hour()
    with database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(window, facts(window))
    close(owner, "2026-11", "2026-11-01Z", "2026-12-01Z")

    with pytest.raises(ClosedPeriodError, match="2026-11"), database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(
            window, facts(window, holds=hold_usage(window, active_ms=1))
        )


def test_a_month_of_a_closed_period_gets_no_partition(database: Engine, owner: Engine) -> None:
    close(owner, "2026-11", "2026-11-01Z", "2026-12-01Z")

    with pytest.raises(ClosedPeriodError, match="2026-11"), database.begin() as connection:
        ensure_partitions(connection, an_hour())


def test_the_guard_knows_the_bounds_of_a_period(database: Engine, owner: Engine) -> None:
    with database.begin() as connection:
        for after in (-1, 0, 1):
            UsageStore(connection, CLUSTER).replace(an_hour(after), facts(an_hour(after)))
    close(owner, "noon", "2026-11-23T12:00Z", "2026-11-23T13:00Z")

    for after in (-1, 1):
        with database.begin() as connection:
            result = UsageStore(connection, CLUSTER).replace(
                an_hour(after), facts(an_hour(after), holds=hold_usage(an_hour(after), active_ms=1))
            )
        assert result.changed
    with pytest.raises(ClosedPeriodError), database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(
            an_hour(), facts(an_hour(), holds=hold_usage(an_hour(), active_ms=1))
        )


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE charges",
        "DROP TABLE charges",
        "ALTER TABLE charges DETACH PARTITION charges_202611",
        "ALTER TABLE charges DISABLE TRIGGER ALL",
        "DELETE FROM charges_202611",
        "UPDATE charges SET cost_nanos = 0",
        "INSERT INTO billing_periods VALUES ('x', now(), now() + interval '1 day', now())",
        "CREATE TABLE mine (id bigint)",
    ],
)
def test_the_service_role_has_no_way_around_the_guard(ledger: Connection, statement: str) -> None:
    ensure_partitions(ledger, an_hour())

    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        ledger.execute(text(statement))


def test_partitions_of_a_window_over_new_year_are_both_there(database: Engine) -> None:
    window = an_hour()
    long = Window(window.start.replace(day=31, month=12), window.end.replace(year=2027, month=1))

    with database.begin() as connection:
        ensure_partitions(connection, long)
        ensure_partitions(connection, long)
        found = connection.scalars(
            text("SELECT relname FROM pg_class WHERE relname LIKE 'charges\\_20____' ORDER BY 1")
        ).all()

    assert found == ["charges_202612", "charges_202701"]
