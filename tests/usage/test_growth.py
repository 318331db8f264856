"""Counter growth against a walk over the samples one by one, and at each edge by hand."""

from dataclasses import dataclass

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.units.window import Window, from_ms
from app.usage.growth import growth
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, WINDOW, counter_samples

SCRAPE = 30 * SECOND
LOOKBACK = 24 * HOUR
UNBORN = no_samples(COUNTER_LABELS)

Samples = list[tuple[int, float]]


def at(*pairs: tuple[int, float]) -> Samples:
    return [(T0 + offset, value) for offset, value in pairs]


def grown(
    *series: Samples,
    births: Samples | None = None,
    window: Window = WINDOW,
    labels: tuple[dict[str, str], ...] = ({},),
) -> pd.Series:
    samples = counter_samples(*zip(labels, series, strict=True))
    known = counter_samples(({}, births)) if births is not None else UNBORN
    rows = growth(window, samples, known, SCRAPE, LOOKBACK)
    assert len(rows) == 1
    return rows.iloc[0]


def test_growth_is_the_difference_to_the_newest_earlier_sample() -> None:
    row = grown(at((-60 * SECOND, 50), (-SECOND, 100), (29 * SECOND, 130), (59 * SECOND, 170)))

    assert row["growth"] == 70
    assert row["uncounted"] == 0
    assert row["samples"] == 2
    assert not row["carried"]


def test_a_sample_at_the_start_is_inside_and_one_at_the_end_is_not() -> None:
    row = grown(at((-SCRAPE, 10), (0, 20), (HOUR - 1, 50), (HOUR, 1000)))

    assert row["growth"] == 40
    assert row["samples"] == 2


def test_a_first_value_of_unknown_age_is_uncounted() -> None:
    row = grown(at((10 * MINUTE, 500), (10 * MINUTE + SCRAPE, 520)))

    assert (row["growth"], row["uncounted"]) == (20, 500)


@pytest.mark.parametrize(
    ("born", "growth_", "uncounted"),
    [(0, 520, 0), (-1, 20, 500), (9 * MINUTE, 520, 0)],
    ids=["at the start", "a millisecond before", "inside"],
)
def test_a_series_born_in_the_window_counts_from_zero(
    born: int, growth_: int, uncounted: int
) -> None:
    samples = at((10 * MINUTE, 500), (10 * MINUTE + SCRAPE, 520))
    row = grown(samples, births=[(when, T0 + born) for when, _ in samples])

    assert (row["growth"], row["uncounted"]) == (growth_, uncounted)


def test_a_fall_counts_from_zero() -> None:
    row = grown(at((-SECOND, 100), (29 * SECOND, 130), (59 * SECOND, 20), (89 * SECOND, 25)))

    assert row["growth"] == 30 + 20 + 5
    assert row["resets"] == 1


def test_a_restart_that_is_no_fall_shows_by_its_birth() -> None:
    samples = at((-SECOND, 100), (29 * SECOND, 130), (59 * SECOND, 140))
    births = at((-SECOND, T0 - HOUR), (29 * SECOND, T0 - HOUR), (59 * SECOND, T0 + 40 * SECOND))
    row = grown(samples, births=births)

    assert row["growth"] == 30 + 140
    assert row["resets"] == 1


def test_a_birth_after_the_newest_earlier_sample_counts_from_zero() -> None:
    samples = at((-10 * MINUTE, 100), (29 * SECOND, 130))
    row = grown(samples, births=at((29 * SECOND, T0 + 10 * SECOND)))

    assert row["growth"] == 130
    assert row["resets"] == 1
    assert not row["carried"]


def test_a_birth_that_is_told_only_later_counts_for_the_samples_since_it() -> None:
    samples = at((10 * MINUTE, 500), (20 * MINUTE, 520))
    row = grown(samples, births=at((20 * MINUTE, T0 + 9 * MINUTE)))

    assert (row["growth"], row["uncounted"]) == (520, 0)


def test_the_birth_of_another_series_says_nothing() -> None:
    samples = counter_samples(({}, at((10 * MINUTE, 500))))
    births = counter_samples(({"pod": "ranker-1"}, at((10 * MINUTE, T0 + MINUTE))))

    rows = growth(WINDOW, samples, births, SCRAPE, LOOKBACK)

    assert rows[["growth", "uncounted"]].to_numpy().tolist() == [[0, 500]]


def test_a_clock_ahead_of_the_scrapes_makes_no_restart() -> None:
    samples = at((SECOND, 100), (31 * SECOND, 130))
    row = grown(samples, births=at((SECOND, T0 + 20 * SECOND), (31 * SECOND, T0 + 20 * SECOND)))

    assert row["growth"] == 130
    assert row["resets"] == 0


@pytest.mark.parametrize(("gap", "carried"), [(2 * SCRAPE, False), (2 * SCRAPE + 1, True)])
def test_growth_across_more_than_two_scrapes_is_carried(gap: int, carried: bool) -> None:  # noqa: FBT001 - a parameter of the test
    row = grown(at((10 * SECOND - gap, 100), (10 * SECOND, 130)))

    assert row["growth"] == 30
    assert row["carried"] == carried


def test_a_gap_without_growth_carries_nothing() -> None:
    row = grown(at((-HOUR, 100), (10 * SECOND, 100)))

    assert not row["carried"]


@pytest.mark.parametrize(("before", "growth_"), [(LOOKBACK, 30), (LOOKBACK + 1, 0)])
def test_an_earlier_sample_counts_for_the_lookback(before: int, growth_: int) -> None:
    assert grown(at((-before, 100), (10 * SECOND, 130)))["growth"] == growth_


def test_of_copies_the_one_with_most_samples_is_read() -> None:
    full = at((-SECOND, 0), (29 * SECOND, 10), (59 * SECOND, 30))
    thin = at((-2 * SECOND, 0), (58 * SECOND, 29))
    same = [{"identity": "x", "series": "a"}, {"identity": "x", "series": "b"}]
    row = grown(thin, full, labels=tuple(same))

    assert (row["growth"], row["duplicates"], row["samples"]) == (30, 1, 2)


def test_of_equally_full_copies_the_first_by_name_is_read() -> None:
    one = at((-SECOND, 0), (29 * SECOND, 10))
    two = at((-2 * SECOND, 0), (28 * SECOND, 9))
    names = ({"identity": "x", "series": "b"}, {"identity": "x", "series": "a"})

    assert grown(one, two, labels=names)["growth"] == 9


def test_engines_of_one_replica_add_up() -> None:
    one = at((-SECOND, 0), (29 * SECOND, 10))
    row = grown(one, one, labels=({"identity": "engine 0"}, {"identity": "engine 1"}))

    assert (row["growth"], row["duplicates"]) == (20, 0)


def test_a_series_without_samples_in_the_window_has_no_row() -> None:
    samples = counter_samples(({}, at((-SECOND, 10), (HOUR, 20))))

    assert growth(WINDOW, samples, UNBORN, SCRAPE, LOOKBACK).empty


def test_nothing_gives_an_empty_frame() -> None:
    assert growth(WINDOW, UNBORN, UNBORN, SCRAPE, LOOKBACK).empty


# -- against a walk over the samples one by one --------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A life of a counter: when it was born, and its scrapes as (instant, value)."""

    born: int
    scrapes: Samples


@st.composite
def lives(draw: st.DrawFn) -> list[Process]:
    now = T0 - draw(st.integers(0, 2 * HOUR))
    result = []
    for _ in range(draw(st.integers(1, 4))):
        now += draw(st.integers(1, 20 * MINUTE))
        born, value, scrapes = now, 0, []
        for _ in range(draw(st.integers(0, 6))):
            now += draw(st.sampled_from([SCRAPE, SCRAPE, 7 * MINUTE, 40 * MINUTE]))
            value += draw(st.integers(0, 50))
            scrapes.append((now, float(value)))
        result.append(Process(born, scrapes))
    return result


@given(lives(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_growth_equals_a_walk_over_the_samples(processes: list[Process], tells_birth: bool) -> None:  # noqa: FBT001 - a parameter of the test
    flat = [scrape for process in processes for scrape in process.scrapes]
    births = [(when, float(p.born)) for p in processes for when, _ in p.scrapes]
    samples = counter_samples(({}, flat))
    known = counter_samples(({}, births)) if tells_birth else UNBORN
    hours = [Window(from_ms(T0 + n * HOUR), from_ms(T0 + (n + 1) * HOUR)) for n in range(3)]

    for window in hours:
        rows = growth(window, samples, known, SCRAPE, LOOKBACK)
        expected, uncounted = walk(processes, window, tells_birth=tells_birth)
        assert int(rows["growth"].sum()) == expected
        assert int(rows["uncounted"].sum()) == uncounted

    served = sum(p.scrapes[-1][1] for p in processes if p.scrapes)
    whole = Window(hours[0].start, hours[-1].end)
    together = int(growth(whole, samples, known, SCRAPE, LOOKBACK)["growth"].sum())
    apart = sum(
        int(growth(window, samples, known, SCRAPE, LOOKBACK)["growth"].sum()) for window in hours
    )
    assert apart <= together <= served


def walk(processes: list[Process], window: Window, *, tells_birth: bool) -> tuple[int, int]:
    total = uncounted = 0
    before: tuple[int, float] | None = None
    born_before = None
    for process in processes:
        for when, value in process.scrapes:
            if window.start_ms <= when < window.end_ms:
                if before is None:
                    inside = tells_birth and process.born >= window.start_ms
                    total += int(value) if inside else 0
                    uncounted += 0 if inside else int(value)
                elif value < before[1] or (tells_birth and process.born != born_before):
                    total += int(value)
                else:
                    total += int(value - before[1])
            before, born_before = (when, value), process.born
    return total, uncounted


def test_adjacent_windows_add_up_to_the_window_over_both() -> None:
    later = Window(from_ms(T0 + HOUR), from_ms(T0 + 2 * HOUR))
    both = Window(WINDOW.start, later.end)
    samples = counter_samples(
        ({}, at(*[(n * 7 * SECOND, n * n) for n in range(-3, 2 * HOUR // (7 * SECOND))]))
    )

    def of(window: Window, given: SampleSet = samples) -> int:
        return int(growth(window, given, UNBORN, SCRAPE, LOOKBACK)["growth"].sum())

    assert of(WINDOW) + of(later) == of(both)
