from app.units.intervals import Spans
from app.units.window import OPEN_MS
from app.usage.reconcile import reconcile
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, a_hold, holds_frame, spans

# The watch was away from minute 10 to minute 20.
WATCHED = spans((T0, T0 + 10 * MINUTE), (T0 + 20 * MINUTE, T0 + HOUR))
STATE = spans((T0, T0 + HOUR))
NEVER = spans()


def reconciled(
    watch: tuple[dict[str, object], ...],
    state: tuple[dict[str, object], ...],
    observed: Spans = STATE,
    watched: Spans = WATCHED,
) -> tuple[dict[int, dict[str, int]], Spans]:
    holds, seen = reconcile(holds_frame(*watch), watched, holds_frame(*state), observed)
    rows = {int(row["hold_id"]): dict(row) for row in holds.to_dict("records")}
    assert len(rows) == len(holds)
    return rows, seen


def lost(end_ms: int = T0 + 10 * MINUTE) -> dict[str, object]:
    return a_hold(1, end_ms=end_ms, end_lost=True)


def test_what_either_watched_is_observed() -> None:
    _, seen = reconciled((), (), observed=spans((T0 + 9 * MINUTE, T0 + 12 * MINUTE)))

    assert seen.gaps(T0, T0 + HOUR).start.tolist() == [T0 + 12 * MINUTE]
    assert seen.gaps(T0, T0 + HOUR).end.tolist() == [T0 + 20 * MINUTE]


def test_a_hold_seen_on_both_sides_of_a_gap_is_continuous() -> None:
    state = a_hold(1, start_ms=T0 + 12 * MINUTE, end_ms=T0 + 15 * MINUTE, source=2)
    rows, _ = reconciled((a_hold(1),), (state,))

    assert (rows[1]["start_ms"], rows[1]["end_ms"]) == (T0, OPEN_MS)


def test_a_lost_end_is_where_the_metrics_saw_it_with_their_uncertainty() -> None:
    state = a_hold(1, end_ms=T0 + 15 * MINUTE, end_unsure_ms=30 * SECOND, source=2)
    rows, _ = reconciled((lost(),), (state,))

    assert rows[1]["end_ms"] == T0 + 15 * MINUTE
    assert rows[1]["end_unsure_ms"] == 30 * SECOND
    assert not rows[1]["end_lost"]
    assert rows[1]["source"] == 1


def test_the_uncertainty_does_not_reach_back_into_the_watch() -> None:
    state = a_hold(1, end_ms=T0 + 10 * MINUTE + SECOND, end_unsure_ms=30 * SECOND, source=2)
    rows, _ = reconciled((lost(),), (state,))

    assert rows[1]["end_unsure_ms"] == SECOND


def test_a_lost_end_is_not_later_than_the_watch_looked_again() -> None:
    state = a_hold(1, end_ms=T0 + 20 * MINUTE + 10 * SECOND, end_unsure_ms=30 * SECOND, source=2)
    rows, _ = reconciled((lost(),), (state,))

    assert rows[1]["end_ms"] == T0 + 20 * MINUTE
    assert rows[1]["end_unsure_ms"] == 20 * SECOND
    assert not rows[1]["end_lost"]


def test_an_end_that_the_metrics_lost_too_moves_to_their_last_sight_and_stays_lost() -> None:
    state = a_hold(1, end_ms=T0 + 13 * MINUTE, end_lost=True, source=2)
    rows, _ = reconciled((lost(),), (state,))

    assert rows[1]["end_ms"] == T0 + 13 * MINUTE
    assert rows[1]["end_lost"]


def test_an_earlier_word_of_the_metrics_changes_nothing() -> None:
    state = a_hold(1, end_ms=T0 + 9 * MINUTE, source=2)
    rows, _ = reconciled((lost(),), (state,))

    assert rows[1]["end_ms"] == T0 + 10 * MINUTE
    assert rows[1]["end_lost"]


def test_an_end_that_the_watch_knows_stays() -> None:
    state = a_hold(1, end_ms=T0 + 15 * MINUTE, source=2)
    rows, _ = reconciled((a_hold(1, end_ms=T0 + 5 * MINUTE),), (state,))

    assert rows[1]["end_ms"] == T0 + 5 * MINUTE


def test_a_hold_that_lived_in_the_gap_is_added() -> None:
    state = a_hold(
        2,
        start_ms=T0 + 12 * MINUTE,
        start_unsure_ms=30 * SECOND,
        end_ms=T0 + 14 * MINUTE,
        end_unsure_ms=30 * SECOND,
        source=2,
    )
    rows, _ = reconciled((a_hold(1),), (state,))

    assert {name: rows[2][name] for name in state} == state


def test_an_added_hold_is_clipped_to_the_gap() -> None:
    state = a_hold(
        2,
        start_ms=T0 + 10 * MINUTE - 10 * SECOND,
        start_unsure_ms=30 * SECOND,
        end_ms=T0 + 20 * MINUTE + 10 * SECOND,
        end_unsure_ms=30 * SECOND,
        source=2,
    )
    rows, _ = reconciled((), (state,))

    assert (rows[2]["start_ms"], rows[2]["end_ms"]) == (T0 + 10 * MINUTE, T0 + 20 * MINUTE)
    assert (rows[2]["start_unsure_ms"], rows[2]["end_unsure_ms"]) == (20 * SECOND, 20 * SECOND)


def test_a_hold_that_the_watch_should_have_seen_is_not_added() -> None:
    state = a_hold(2, start_ms=T0 + 30 * MINUTE, end_ms=T0 + 40 * MINUTE, source=2)
    rows, _ = reconciled((), (state,))

    assert rows == {}


def test_a_hold_across_two_gaps_is_added_in_the_longer_one() -> None:
    watched = spans((T0, T0 + 10 * MINUTE), (T0 + 12 * MINUTE, T0 + 20 * MINUTE))
    state = a_hold(2, start_ms=T0 + 5 * MINUTE, end_ms=T0 + 25 * MINUTE, source=2)
    rows, _ = reconciled((), (state,), watched=watched)

    assert (rows[2]["start_ms"], rows[2]["end_ms"]) == (T0 + 20 * MINUTE, T0 + 25 * MINUTE)


def test_without_a_watch_the_metrics_say_all() -> None:
    state = a_hold(2, start_ms=T0, end_ms=OPEN_MS, source=2)
    rows, seen = reconciled((), (state,), watched=NEVER)

    assert (rows[2]["start_ms"], rows[2]["end_ms"]) == (T0, OPEN_MS)
    assert seen.length() == HOUR


def test_without_metrics_the_watch_says_all() -> None:
    rows, seen = reconciled((lost(),), (), observed=NEVER)

    assert rows[1]["end_lost"]
    assert seen.length() == 50 * MINUTE
