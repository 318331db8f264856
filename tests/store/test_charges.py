from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from app.attribution.charges import CHARGES, ChargeKind
from app.store.charges import ChargeStore, day_sums
from app.store.locking import ClosedPeriodError
from app.store.tables.ledger import MS_COLUMNS, MS_KINDS, NANO_COLUMNS
from app.units.window import HOUR_MS, Window
from tests.store.builders import CLUSTER, NOON_MS, a_charge, an_hour, charges

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


@pytest.fixture
def store(ledger: Connection) -> ChargeStore:
    return ChargeStore(ledger, CLUSTER, UTC)


def test_charges_come_back_as_they_were_stored(store: ChargeStore) -> None:
    given_charges = charges(
        a_charge(an_hour(), ChargeKind.USED, cost_nanos=1),
        a_charge(an_hour(), ChargeKind.IDLE, cost_nanos=None),
        a_charge(an_hour(), ChargeKind.UNALLOCATED, cost_nanos=-5),
    )

    count = store.replace(an_hour(), given_charges)
    stored = store.within(an_hour())

    CHARGES.validate(stored)
    assert count == 3
    pd.testing.assert_frame_equal(
        stored.sort_values("charge_id", ignore_index=True),
        given_charges.sort_values("charge_id", ignore_index=True),
    )


def test_money_without_a_price_is_null_in_the_database(
    ledger: Connection, store: ChargeStore
) -> None:
    store.replace(an_hour(), a_charge(an_hour(), cost_nanos=None))

    assert ledger.execute(text("SELECT cost_nanos FROM charges")).scalars().all() == [None]


def test_replacing_an_hour_leaves_the_others(store: ChargeStore) -> None:
    for after in (0, 1):
        store.replace(an_hour(after), a_charge(an_hour(after)))

    store.replace(an_hour(), a_charge(an_hour(), cost_nanos=7))

    both = store.within(Window(an_hour().start, an_hour(1).end))
    assert both["cost_nanos"].tolist() == [7, 3_000_000_000]


def test_charging_twice_is_once(store: ChargeStore) -> None:
    line = a_charge(an_hour())
    store.replace(an_hour(), line)
    before = store.days(DAY)

    store.replace(an_hour(), line)

    assert len(store.within(an_hour())) == 1
    pd.testing.assert_frame_equal(store.days(DAY), before)


def test_an_hour_without_charges_can_replace_one_that_had_some(store: ChargeStore) -> None:
    store.replace(an_hour(), a_charge(an_hour()))

    store.replace(an_hour(), charges())

    assert store.within(an_hour()).empty
    assert store.days(DAY).empty


def test_the_day_is_the_sum_of_its_hours(store: ChargeStore) -> None:
    store.replace(an_hour(), a_charge(an_hour(), ChargeKind.USED, cost_nanos=1))
    store.replace(
        an_hour(1),
        charges(
            a_charge(an_hour(1), ChargeKind.USED, cost_nanos=2),
            a_charge(an_hour(1), ChargeKind.IDLE, cost_nanos=None),
        ),
    )

    days = store.days(DAY)

    row = days.iloc[0]
    assert len(days) == 1
    assert row["day"] == date(2026, 11, 23)
    assert (row["used_ms"], row["idle_ms"], row["unpriced_ms"]) == (2 * HOUR_MS, HOUR_MS, HOUR_MS)
    assert (row["used_nanos"], row["idle_nanos"]) == (3, 0)


def test_an_hour_that_is_charged_again_leaves_its_day_the_sum_of_its_hours(
    store: ChargeStore,
) -> None:
    for after in (0, 1):
        store.replace(an_hour(after), a_charge(an_hour(after), cost_nanos=10))

    store.replace(an_hour(1), a_charge(an_hour(1), cost_nanos=1))

    assert store.days(DAY)["idle_nanos"].tolist() == [11]


def test_days_are_those_of_the_billing_zone(ledger: Connection) -> None:
    store = ChargeStore(ledger, CLUSTER, BERLIN)
    before, after = an_hour(10), an_hour(11)
    window = Window(before.start, after.end)

    store.replace(window, charges(a_charge(before, cost_nanos=1), a_charge(after, cost_nanos=2)))

    days = store.days(window)
    assert dict(zip(days["day"], days["idle_nanos"], strict=True)) == {
        date(2026, 11, 23): 1,
        date(2026, 11, 24): 2,
    }


def test_an_hour_over_the_billing_zones_midnight_is_part_of_two_days(ledger: Connection) -> None:
    store = ChargeStore(ledger, CLUSTER, KOLKATA)
    hour = an_hour(6)
    half = hour.start_ms + HOUR_MS // 2

    store.replace(
        hour, charges(a_charge(hour, cost_nanos=1), a_charge(hour, cost_nanos=2, start_ms=half))
    )
    store.replace(an_hour(5), a_charge(an_hour(5), cost_nanos=10))

    days = store.days(hour)
    assert dict(zip(days["day"], days["idle_nanos"], strict=True)) == {
        date(2026, 11, 23): 11,
        date(2026, 11, 24): 2,
    }


def test_rebuilding_the_days_gives_what_charging_gave(store: ChargeStore) -> None:
    for after in range(3):
        store.replace(an_hour(after), a_charge(an_hour(after), team=f"team-{after % 2}"))
    before = store.days(DAY)

    store.rebuild_days(DAY)

    pd.testing.assert_frame_equal(store.days(DAY), before)


def test_charges_of_another_hour_are_refused(store: ChargeStore) -> None:
    with pytest.raises(AssertionError, match="outside"):
        store.replace(an_hour(), a_charge(an_hour(1)))


def test_two_charges_with_one_identity_are_refused(store: ChargeStore) -> None:
    line = a_charge(an_hour())

    with pytest.raises(Exception, match=r"charges_\w*pkey"):
        store.replace(an_hour(), charges(line, line))


def test_charges_of_a_closed_period_stay(database: Engine, owner: Engine) -> None:
    with database.begin() as connection:
        ChargeStore(connection, CLUSTER, UTC).replace(an_hour(), a_charge(an_hour()))
    with owner.begin() as connection:
        connection.execute(
            text("INSERT INTO billing_periods VALUES ('11', '2026-11-01Z', '2026-12-01Z', now())")
        )

    for lines in (charges(), a_charge(an_hour(), cost_nanos=1)):
        with pytest.raises(ClosedPeriodError), database.begin() as connection:
            ChargeStore(connection, CLUSTER, UTC).replace(an_hour(), lines)
    with database.connect() as connection:
        stored = ChargeStore(connection, CLUSTER, UTC).within(an_hour())
    assert stored["cost_nanos"].tolist() == [3_000_000_000]


lines = st.lists(
    st.builds(
        a_charge,
        st.just(an_hour()),
        st.sampled_from(ChargeKind),
        cost_nanos=st.none() | st.integers(-(10**15), 10**15),
        gpu_ms=st.integers(0, HOUR_MS),
        team=st.sampled_from(["", "search", "ml"]),
        namespace=st.sampled_from(["", "a", "b"]),
        gpu_model=st.sampled_from(["H100", "A100"]),
        start_ms=st.integers(NOON_MS - 2, NOON_MS + 6),
    ),
    max_size=12,
)


@given(lines)
def test_day_sums_lose_nothing_and_mix_nothing(parts: list[pd.DataFrame]) -> None:
    frame = charges(*parts)
    starts = np.array([NOON_MS, NOON_MS + 2, NOON_MS + 5], dtype=np.int64)

    sums = pd.DataFrame(day_sums(frame, starts))

    inside = frame[(frame["start_ms"] >= starts[0]) & (frame["start_ms"] < starts[-1])]
    keys = ["day", "team_id", "namespace_id", "gpu_model_id"]
    assert not sums.duplicated(keys).any()
    for row in sums.to_dict("records"):
        same = inside[
            (np.searchsorted(starts, inside["start_ms"], side="right") - 1 == row["day"])
            & (inside["team_id"] == row["team_id"])
            & (inside["namespace_id"] == row["namespace_id"])
            & (inside["gpu_model_id"] == row["gpu_model_id"])
        ]
        for kind, column in zip(ChargeKind, NANO_COLUMNS, strict=True):
            assert row[column] == same[same["kind"] == int(kind)]["cost_nanos"].sum()
        assert row["unpriced_ms"] == same[~same["priced"]]["gpu_ms"].sum()
    usage = inside[inside["kind"] <= len(MS_KINDS)]
    assert sums[[*MS_COLUMNS[:-1]]].to_numpy().sum() == usage["gpu_ms"].sum()
