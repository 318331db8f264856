"""Holds whose share changes: they end and go on as further parts."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest
from sqlalchemy import Connection, Engine

from app.store.inventory import InventoryStore
from app.units.window import OPEN_MS, Window, from_ms
from app.usage.inventory import PodHold
from app.usage.kinds import Sharing
from tests.store.builders import HOUR_MS, NOON_MS, a_hold

CLUSTER = "prod-eu"
LATER_MS = NOON_MS + 600_000
DAY = Window(from_ms(NOON_MS - 12 * HOUR_MS), from_ms(NOON_MS + 12 * HOUR_MS))


@pytest.fixture
def store(database: Engine) -> Iterator[InventoryStore]:
    with database.begin() as connection:
        yield store_of(connection)


def store_of(connection: Connection) -> InventoryStore:
    return InventoryStore(connection, CLUSTER)


def a_slot(slots: int, *, end_ms: int = OPEN_MS) -> PodHold:
    return replace(
        a_hold(units=1, end_ms=end_ms, ready_ms=NOON_MS + 60_000),
        share_den=slots,
        exclusive=False,
        sharing=Sharing.TIME_SLICING,
        scheduled_ms=NOON_MS,
    )


def parts(store: InventoryStore) -> list[tuple[int, int, Fraction]]:
    return [
        (hold.start_ms, hold.end_ms, Fraction(hold.share_num, hold.share_den))
        for hold in store.holds.within(DAY)
    ]


def test_a_hold_is_read_as_it_was_put(store: InventoryStore) -> None:
    hold = replace(
        a_slot(7), sharing=Sharing.MIG, compute_num=1, compute_den=8, devices=("GPU-a", "GPU-b")
    )
    store.holds.put([hold])

    assert store.holds.within(DAY) == (hold,)
    frame = store.holds.frame(DAY)
    assert frame["devices"].tolist() == ["GPU-a,GPU-b"]
    assert frame[["compute_num", "compute_den", "sharing"]].to_numpy().tolist() == [[1, 8, 2]]


def test_a_share_that_changes_ends_a_part_and_begins_another(store: InventoryStore) -> None:
    store.holds.put([a_slot(4)], changed_ms=NOON_MS)
    store.holds.put([a_slot(8)], changed_ms=LATER_MS)

    assert parts(store) == [
        (NOON_MS, LATER_MS, Fraction(1, 4)),
        (LATER_MS, OPEN_MS, Fraction(1, 8)),
    ]
    frame = store.holds.frame(DAY)
    assert frame["hold_id"].is_unique


def test_the_cold_start_belongs_to_the_first_part_alone(store: InventoryStore) -> None:
    store.holds.put([a_slot(4)], changed_ms=NOON_MS)
    store.holds.put([a_slot(8)], changed_ms=LATER_MS)

    assert [hold.ready_ms for hold in store.holds.within(DAY)] == [NOON_MS + 60_000, None]


def test_an_end_ends_the_last_part(store: InventoryStore) -> None:
    end_ms = LATER_MS + 60_000
    store.holds.put([a_slot(4)], changed_ms=NOON_MS)
    store.holds.put([a_slot(8)], changed_ms=LATER_MS)
    store.holds.put([a_slot(8, end_ms=end_ms)], changed_ms=end_ms)

    assert parts(store) == [
        (NOON_MS, LATER_MS, Fraction(1, 4)),
        (LATER_MS, end_ms, Fraction(1, 8)),
    ]


def test_a_share_seen_again_changes_nothing(store: InventoryStore) -> None:
    for at_ms in (NOON_MS, LATER_MS, LATER_MS + 1000):
        store.holds.put([a_slot(4)], changed_ms=at_ms)

    assert parts(store) == [(NOON_MS, OPEN_MS, Fraction(1, 4))]


def test_a_share_told_before_the_node_was_known_is_corrected(store: InventoryStore) -> None:
    store.holds.put([replace(a_slot(1), node_uid="")], changed_ms=NOON_MS)
    store.holds.put([a_slot(4)], changed_ms=LATER_MS)

    assert parts(store) == [(NOON_MS, OPEN_MS, Fraction(1, 4))]


def test_without_an_instant_of_change_the_share_is_corrected(store: InventoryStore) -> None:
    store.holds.put([a_slot(4)])
    store.holds.put([a_slot(8)])

    assert parts(store) == [(NOON_MS, OPEN_MS, Fraction(1, 8))]


def test_what_a_pod_does_not_hold_any_more_ends(store: InventoryStore) -> None:
    claim = replace(a_slot(1), resource="claim/gpu")
    store.holds.put([a_slot(4), claim], changed_ms=NOON_MS)
    store.holds.end_others(claim.pod_uid, {"claim/gpu"}, LATER_MS)

    ends = {hold.resource: hold.end_ms for hold in store.holds.within(DAY)}
    assert ends == {"nvidia.com/gpu": LATER_MS, "claim/gpu": OPEN_MS}


def test_a_hold_that_was_over_keeps_its_share_when_the_node_is_divided_anew(
    store: InventoryStore,
) -> None:
    """The pod's object lasts longer than its hold, and is seen again beside another node."""
    end_ms = NOON_MS + 60_000
    store.holds.put([a_slot(4, end_ms=end_ms)], changed_ms=end_ms)
    store.holds.put([a_slot(8, end_ms=end_ms)], changed_ms=LATER_MS)

    assert parts(store) == [(NOON_MS, end_ms, Fraction(1, 4))]
