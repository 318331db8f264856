"""Exclusive holds that overlap through unsure edges."""

import pytest

from app.units.window import Window, from_ms
from app.usage.kinds import UsageFlag
from tests.usage.builders import HOUR, SECOND, T0, a_hold
from tests.usage.stating import held_by, states_of


def test_an_overlap_through_two_unsure_edges_is_cut_in_its_middle() -> None:
    first = a_hold(1, share=(2, 1), end_ms=T0 + 130 * SECOND, end_unsure_ms=30 * SECOND)
    second = a_hold(
        2, share=(2, 1), start_ms=T0 + 110 * SECOND, start_unsure_ms=30 * SECOND, end_ms=T0 + HOUR
    )
    states = states_of(first, second)

    assert held_by(states) == {1: 240 * SECOND, 2: 2 * HOUR - 240 * SECOND}
    assert states.holds["flags"].tolist() == [int(UsageFlag.EDGE_CUT)] * 2
    assert states.holds["end_unsure_ms"].tolist() == [20 * SECOND, 0]
    assert states.holds["start_unsure_ms"].tolist() == [0, 20 * SECOND]


@pytest.mark.parametrize(
    ("end_unsure", "start_unsure", "cut"), [(30, 0, 110), (0, 30, 130)], ids=["end", "start"]
)
def test_an_overlap_through_one_unsure_edge_is_cut_at_the_sure_one(
    end_unsure: int, start_unsure: int, cut: int
) -> None:
    first = a_hold(1, share=(2, 1), end_ms=T0 + 130 * SECOND, end_unsure_ms=end_unsure * SECOND)
    second = a_hold(
        2,
        share=(2, 1),
        start_ms=T0 + 110 * SECOND,
        start_unsure_ms=start_unsure * SECOND,
        end_ms=T0 + HOUR,
    )

    assert held_by(states_of(first, second)) == {
        1: 2 * cut * SECOND,
        2: 2 * (HOUR - cut * SECOND),
    }


def test_an_overlap_of_sure_edges_is_oversubscribed_not_cut() -> None:
    first = a_hold(1, share=(2, 1), end_ms=T0 + 20 * SECOND)
    second = a_hold(2, share=(2, 1), start_ms=T0 + 10 * SECOND, end_ms=T0 + HOUR)
    states = states_of(first, second)

    assert held_by(states) == {1: 30 * SECOND, 2: 2 * HOUR - 30 * SECOND}
    assert states.holds["flags"].tolist() == [int(UsageFlag.OVERSUBSCRIBED)] * 2


def test_an_unsure_overlap_for_which_there_is_room_is_left_alone() -> None:
    first = a_hold(1, end_ms=T0 + 130 * SECOND, end_unsure_ms=30 * SECOND)
    second = a_hold(2, start_ms=T0 + 110 * SECOND, start_unsure_ms=30 * SECOND)
    states = states_of(first, second)

    assert held_by(states) == {1: 130 * SECOND, 2: HOUR - 110 * SECOND}
    assert states.holds["flags"].tolist() == [0, 0]


def test_a_start_within_the_second_in_which_the_one_before_ended_follows_it() -> None:
    first = a_hold(1, share=(2, 1), end_ms=T0 + 10_300)
    second = a_hold(2, share=(2, 1), start_ms=T0 + 10_000)

    assert held_by(states_of(first, second)) == {1: 20_600, 2: 2 * HOUR - 20_600}


def test_both_windows_cut_an_overlap_at_their_border_alike() -> None:
    border = T0 + HOUR
    first = a_hold(1, share=(2, 1), end_ms=border + 20 * SECOND, end_unsure_ms=30 * SECOND)
    second = a_hold(
        2,
        share=(2, 1),
        start_ms=border - 10 * SECOND,
        start_unsure_ms=30 * SECOND,
        end_ms=border + HOUR,
    )
    later = Window(from_ms(border), from_ms(border + HOUR))

    assert held_by(states_of(first, second)) == {1: 2 * HOUR}
    assert held_by(states_of(first, second, window=later)) == {
        1: 10 * SECOND,
        2: 2 * HOUR - 10 * SECOND,
    }
