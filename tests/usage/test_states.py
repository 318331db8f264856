"""Device states at each edge, by hand."""

import pandas as pd

from app.units.window import Window, from_ms
from app.usage import frames
from app.usage.kinds import UsageFlag
from app.usage.pools import UNKNOWN_MODEL_ID
from app.usage.states import hold_segments
from tests.usage.builders import (
    HOUR,
    MINUTE,
    SECOND,
    T0,
    a_count,
    a_hold,
    a_pool,
    spans,
)
from tests.usage.stating import held_by, state, states_of, totals


def test_what_nobody_holds_is_unallocated() -> None:
    states = states_of(a_hold())

    assert totals(states) == state(held=HOUR, unallocated=HOUR)
    assert held_by(states) == {100: HOUR}


def test_a_hold_is_clipped_to_the_window_on_both_sides() -> None:
    before = a_hold(1, start_ms=T0 - MINUTE, end_ms=T0 + MINUTE)
    after = a_hold(2, start_ms=T0 + HOUR - MINUTE, end_ms=T0 + HOUR + MINUTE)

    assert held_by(states_of(before, after)) == {1: MINUTE, 2: MINUTE}


def test_a_hold_that_ends_at_the_start_or_starts_at_the_end_is_not_in_the_window() -> None:
    before = a_hold(1, start_ms=T0 - MINUTE, end_ms=T0)
    after = a_hold(2, start_ms=T0 + HOUR, end_ms=T0 + HOUR + MINUTE)
    states = states_of(before, after)

    assert totals(states) == state(unallocated=2 * HOUR)
    assert states.holds.empty
    assert states.notes.empty
    assert len(states.pool_usage) == 1


def test_one_millisecond_inside_either_border_counts() -> None:
    before = a_hold(1, start_ms=T0 - MINUTE, end_ms=T0 + 1)
    after = a_hold(2, start_ms=T0 + HOUR - 1, end_ms=T0 + HOUR + MINUTE)

    assert held_by(states_of(before, after)) == {1: 1, 2: 1}


def test_a_hold_of_no_length_takes_nothing_and_cuts_nothing() -> None:
    states = states_of(a_hold(start_ms=T0 + MINUTE, end_ms=T0 + MINUTE))

    assert len(states.pool_usage) == 1
    assert totals(states) == state(unallocated=2 * HOUR)


def test_time_that_nobody_watched_is_unobserved_unless_it_is_held() -> None:
    states = states_of(a_hold(), observed=spans((T0, T0 + 30 * MINUTE)))

    assert totals(states) == state(held=HOUR, unobserved=30 * MINUTE, unallocated=30 * MINUTE)


def test_unhealthy_free_devices_are_stranded() -> None:
    states = states_of(a_hold(), counts=(a_count(allocatable=1),))

    assert totals(states) == state(held=HOUR, stranded=HOUR)
    assert states.holds["flags"].tolist() == [0]


def test_an_unhealthy_device_still_held_is_held_and_flagged() -> None:
    ends = a_count(end_ms=T0 + 30 * MINUTE)
    falls = a_count(start_ms=T0 + 30 * MINUTE, allocatable=1)
    states = states_of(a_hold(share=(2, 1)), counts=(ends, falls))

    assert totals(states) == state(held=2 * HOUR)
    assert states.holds["flags"].tolist() == [int(UsageFlag.UNHEALTHY_HELD)]
    assert len(states.pool_usage) == 1


def test_devices_outside_the_counts_are_stranded() -> None:
    counts = (a_count(start_ms=T0 + 10 * MINUTE, end_ms=T0 + 20 * MINUTE),)

    assert totals(states_of(counts=counts)) == state(
        stranded=2 * 50 * MINUTE, unallocated=2 * 10 * MINUTE
    )


def test_a_hold_outside_the_counts_is_held_without_a_flag() -> None:
    states = states_of(a_hold(), counts=())

    assert totals(states) == state(held=HOUR, stranded=HOUR)
    assert states.holds["flags"].tolist() == [0]


def test_a_lost_device_is_stranded_not_gone() -> None:
    states = states_of(pools=(a_pool(devices=8),), counts=(a_count(allocatable=7),))

    assert totals(states) == state(stranded=HOUR, unallocated=7 * HOUR)


def test_a_node_that_appears_and_goes_within_the_window_has_capacity_only_while_it_lives() -> None:
    pool = a_pool(start_ms=T0 + 10 * MINUTE, end_ms=T0 + 30 * MINUTE)
    states = states_of(a_hold(start_ms=T0), pools=(pool,))

    assert totals(states) == state(held=20 * MINUTE, unallocated=20 * MINUTE)
    assert states.notes[["kind", "quantity"]].to_numpy().tolist() == [
        ["hold_outside_pool", 40 * MINUTE]
    ]


def test_a_hold_on_an_unknown_node_is_noted_and_adds_no_capacity() -> None:
    states = states_of(a_hold(1, node_id=99, share=(2, 1)))

    assert totals(states) == state(unallocated=2 * HOUR)
    assert states.holds.empty
    assert states.notes[["kind", "subject", "quantity"]].to_numpy().tolist() == [
        ["hold_on_unknown_pool", "search/pod-1", 2 * HOUR]
    ]


def test_a_hold_of_an_unknown_model_stands_on_the_only_pool_of_its_node() -> None:
    states = states_of(a_hold(gpu_model_id=UNKNOWN_MODEL_ID))

    assert totals(states) == state(held=HOUR, unallocated=HOUR)
    assert states.holds["gpu_model_id"].tolist() == [7]


def test_devices_seen_before_their_label_count_once() -> None:
    unlabeled = a_pool(gpu_model_id=UNKNOWN_MODEL_ID, start_ms=T0, end_ms=T0 + MINUTE)
    labeled = a_pool(start_ms=T0 + MINUTE)
    early = a_count(gpu_model_id=UNKNOWN_MODEL_ID, start_ms=T0, end_ms=T0 + MINUTE)
    states = states_of(pools=(unlabeled, labeled), counts=(early, a_count(start_ms=T0 + MINUTE)))

    assert totals(states) == state(unallocated=2 * HOUR)
    assert states.pool_usage["gpu_model_id"].tolist() == [7]


def test_shares_above_the_capacity_are_scaled_and_the_raw_sum_is_kept() -> None:
    states = states_of(a_hold(1, share=(2, 1)), a_hold(2, share=(1, 1)))

    assert totals(states) == state(held=2 * HOUR)
    assert held_by(states) == {1: HOUR * 4 // 3, 2: HOUR * 2 // 3}
    assert states.pool_usage["claimed_ms"].tolist() == [3 * HOUR]
    assert states.holds["flags"].tolist() == [int(UsageFlag.OVERSUBSCRIBED)] * 2


def test_shares_of_exactly_the_capacity_are_not_oversubscribed() -> None:
    thirds = [a_hold(n, share=(2, 3), exclusive=False) for n in (1, 2, 3)]
    states = states_of(*thirds)

    assert totals(states) == state(held=2 * HOUR)
    assert states.holds["flags"].tolist() == [0, 0, 0]


def test_the_milliseconds_that_do_not_divide_go_to_the_smaller_hold() -> None:
    halves = [a_hold(n, share=(1, 2), exclusive=False, start_ms=T0, end_ms=T0 + 3) for n in (1, 2)]

    assert held_by(states_of(*halves)) == {1: 2, 2: 1}


def test_unsure_parts_are_those_inside_the_window() -> None:
    hold = a_hold(
        start_ms=T0 - 20 * SECOND,
        start_unsure_ms=30 * SECOND,
        end_ms=T0 + HOUR + 20 * SECOND,
        end_unsure_ms=30 * SECOND,
    )
    states = states_of(hold)

    assert states.holds["start_unsure_ms"].tolist() == [10 * SECOND]
    assert states.holds["end_unsure_ms"].tolist() == [10 * SECOND]


def test_a_lost_end_is_flagged_in_the_window_that_has_it() -> None:
    hold = a_hold(end_ms=T0 + HOUR, end_lost=True)
    later = Window(from_ms(T0 + HOUR), from_ms(T0 + 2 * HOUR))

    assert states_of(hold).holds["flags"].tolist() == [int(UsageFlag.END_LOST)]
    assert states_of(hold, window=later).holds.empty


def test_no_pools_give_empty_frames_of_the_declared_types() -> None:
    states = states_of(pools=(), counts=())

    assert states.pool_usage.empty
    assert states.hold_segments.empty


def test_a_change_on_one_pool_moves_nothing_on_another() -> None:
    pools = (a_pool(1), a_pool(2))
    counts = (a_count(1), a_count(2))
    thirds = [a_hold(n, node_id=2, share=(1, 3), exclusive=False) for n in (1, 2, 3)]

    alone = states_of(*thirds, pools=pools, counts=counts)
    beside = states_of(
        *thirds, a_hold(9, share=(3, 7), start_ms=T0 + 17), pools=pools, counts=counts
    )

    for name in ("pool_usage", "hold_segments"):
        one, two = getattr(alone, name), getattr(beside, name)
        pd.testing.assert_frame_equal(
            one.loc[one["node_id"] == 2].reset_index(drop=True),
            two.loc[two["node_id"] == 2].reset_index(drop=True),
        )


def test_stored_rows_of_many_windows_give_the_same_segments_as_each_alone() -> None:
    windows = [Window(from_ms(T0 + n * HOUR), from_ms(T0 + (n + 1) * HOUR)) for n in range(3)]
    holds = (
        a_hold(1, share=(1, 3), exclusive=False, start_ms=T0 + 7, end_ms=T0 + 2 * HOUR + 13),
        a_hold(2, share=(1, 7), exclusive=False, start_ms=T0 + HOUR + 1, end_ms=T0 + 2 * HOUR),
    )
    each = [
        states_of(*holds, window=window, observed=spans((T0 - HOUR, T0 + 5 * HOUR)))
        for window in windows
    ]
    usage = pd.concat([states.pool_usage for states in each])
    cut = pd.concat(
        [
            states.holds.assign(window_start_ms=window.start_ms)
            for states, window in zip(each, windows, strict=True)
        ]
    )

    together = hold_segments(usage.iloc[::-1], cut.iloc[::-1])

    expected = pd.concat([states.hold_segments for states in each], ignore_index=True)
    pd.testing.assert_frame_equal(together, expected)
    frames.HOLD_SEGMENTS.validate(together)
