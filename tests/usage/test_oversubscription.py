from app.usage.oversubscription import notes_on_oversubscription
from tests.usage.builders import MINUTE, T0, a_count, a_hold, a_pool
from tests.usage.measuring import NODES
from tests.usage.stating import states_of


def test_a_node_whose_slots_were_claimed_twice_is_named() -> None:
    """Three halves of one device for ten minutes: five device-minutes too much."""
    holds = [
        a_hold(number, share=(1, 2), exclusive=False, end_ms=T0 + 10 * MINUTE)
        for number in (1, 2, 3)
    ]
    pool, count = a_pool(devices=1), a_count(allocatable=1)
    states = states_of(*holds, pools=(pool,), counts=(count,))

    (note,) = notes_on_oversubscription(states.pool_usage, NODES)

    assert (note.kind, note.subject, note.quantity) == ("oversubscribed", "node-1", 5 * MINUTE)


def test_a_pool_that_is_full_is_not_oversubscribed() -> None:
    thirds = [a_hold(number, share=(1, 3), exclusive=False) for number in (1, 2, 3)]
    states = states_of(*thirds, pools=(a_pool(devices=1),), counts=(a_count(allocatable=1),))

    assert notes_on_oversubscription(states.pool_usage, NODES) == []
