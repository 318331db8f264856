import pytest
from sqlalchemy import Connection

from app.store.usage import UsageStore
from app.store.windows import RatingVersions, WindowStore
from app.units.window import HOUR_MS, OPEN_MS, Window
from tests.store.builders import CLUSTER, NOON_MS, an_hour, facts, hold_usage, notes

VERSIONS = RatingVersions(rating=1, prices=2, contract=3)


@pytest.fixture
def store(ledger: Connection) -> WindowStore:
    return WindowStore(ledger, CLUSTER)


def collect(ledger: Connection, *after: int, partial: bool = False) -> None:
    for hours in after:
        window = an_hour(hours)
        UsageStore(ledger, CLUSTER).replace(window, facts(window, partial=partial))


def starts(states: object) -> list[int]:
    return [(state.window.start_ms - NOON_MS) // HOUR_MS for state in states]  # type: ignore[attr-defined] # WindowStates


def test_a_collected_hour_waits_for_a_rating(ledger: Connection, store: WindowStore) -> None:
    collect(ledger, 0)

    (state,) = store.within(an_hour())

    assert state.pending
    assert (state.revision, state.rated_revision, state.price_version) == (1, None, None)
    assert starts(store.pending()) == [0]


def test_a_rated_hour_waits_no_more_and_knows_its_versions(
    ledger: Connection, store: WindowStore
) -> None:
    collect(ledger, 0)

    store.mark_rated(store.within(an_hour()), VERSIONS)

    (state,) = store.within(an_hour())
    assert not state.pending
    assert (state.rating_version, state.price_version, state.contract_version) == (1, 2, 3)
    assert store.pending() == ()


def test_a_rated_hour_waits_again_after_its_facts_changed(
    ledger: Connection, store: WindowStore
) -> None:
    collect(ledger, 0)
    store.mark_rated(store.within(an_hour()), VERSIONS)
    window = an_hour()

    UsageStore(ledger, CLUSTER).replace(
        window, facts(window, holds=hold_usage(window, active_ms=1))
    )

    assert starts(store.pending()) == [0]


@pytest.mark.parametrize(
    ("span", "marked"),
    [
        ((NOON_MS, NOON_MS + HOUR_MS), [0]),
        ((NOON_MS + 1, NOON_MS + HOUR_MS + 1), [0, 1]),
        ((NOON_MS + HOUR_MS - 1, NOON_MS + HOUR_MS), [0]),
        ((0, OPEN_MS), [-1, 0, 1]),
        ((NOON_MS + 2 * HOUR_MS, OPEN_MS), []),
    ],
)
def test_hours_that_a_changed_input_touches_wait_again(
    ledger: Connection, store: WindowStore, span: tuple[int, int], marked: list[int]
) -> None:
    collect(ledger, -1, 0, 1)
    whole = Window(an_hour(-1).start, an_hour(1).end)
    store.mark_rated(store.within(whole), VERSIONS)

    count = store.mark(*span)

    assert starts(store.pending()) == marked
    assert count == len(marked)


def test_a_mark_made_while_rating_ran_is_not_lost(ledger: Connection, store: WindowStore) -> None:
    collect(ledger, 0)
    loaded = store.within(an_hour())
    store.mark(NOON_MS, OPEN_MS)

    store.mark_rated(loaded, VERSIONS)

    assert starts(store.pending()) == [0]


def test_the_watermark_ends_the_first_unbroken_run_of_hours(
    ledger: Connection, store: WindowStore
) -> None:
    collect(ledger, 0, 1, 3)
    collect(ledger, 4, partial=True)

    coverage = store.coverage()

    assert (coverage.first_ms, coverage.watermark_ms) == (NOON_MS, NOON_MS + 2 * HOUR_MS)
    assert (coverage.hours, coverage.partial_hours, coverage.pending_hours) == (4, 1, 4)
    assert starts(store.partial()) == [4]


def test_a_cluster_without_hours_has_no_watermark(store: WindowStore) -> None:
    coverage = store.coverage()

    assert (coverage.first_ms, coverage.watermark_ms, coverage.hours) == (None, None, 0)


def test_missing_hours_are_those_never_collected(ledger: Connection, store: WindowStore) -> None:
    collect(ledger, 0, 2)

    missing = store.missing(Window(an_hour(-1).start, an_hour(2).end))

    assert missing == (an_hour(-1), an_hour(1))


def test_notes_of_rating_and_collecting_stand_beside_each_other(
    ledger: Connection, store: WindowStore
) -> None:
    window = an_hour()
    UsageStore(ledger, CLUSTER).replace(window, facts(window, noted=("gpu-1",)))

    store.put_rating_notes(window, notes("old"))
    store.put_rating_notes(window, notes("unpriced"))

    assert store.rating_notes(window)["subject"].tolist() == ["unpriced"]
    assert UsageStore(ledger, CLUSTER).notes(window)["subject"].tolist() == ["gpu-1"]
