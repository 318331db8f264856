"""Copies of one counter: the fullest is read, and another one only while it is silent."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from app.usage.growth import growth
from app.usage.samples import COUNTER_LABELS, no_samples
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, WINDOW, counter_samples

SCRAPE = 30 * SECOND
LOOKBACK = 24 * HOUR

Samples = list[tuple[int, float]]


def scraped(start: int, end: int, *, phase: int = 0, step: int = SCRAPE) -> Samples:
    """A counter that grows by one a second, scraped every ``step``; offsets from the window."""
    return [(T0 + at, float(at // SECOND + 10_000)) for at in range(start + phase, end, step)]


def of_copies(*copies: Samples, births: Samples | None = None) -> pd.Series:
    """The growth of copies of one counter that differ by nothing but the scraper's labels."""
    named = [({"identity": "c", "series": f"job {n}"}, one) for n, one in enumerate(copies)]
    known = counter_samples(({"identity": "c"}, births)) if births else no_samples(COUNTER_LABELS)
    rows = growth(WINDOW, counter_samples(*named), known, SCRAPE, LOOKBACK)
    assert len(rows) == 1
    return rows.iloc[0]


WHOLE = scraped(-5 * MINUTE, HOUR + MINUTE)


@given(cut=st.integers(-4 * MINUTE // SECOND, HOUR // SECOND), swapped=st.booleans())
def test_a_scrape_that_is_renamed_at_any_instant_loses_nothing(cut: int, *, swapped: bool) -> None:
    renamed = T0 + cut * SECOND
    parts = [
        [one for one in WHOLE if one[0] < renamed],
        [one for one in WHOLE if one[0] >= renamed],
    ]
    row = of_copies(*(reversed(parts) if swapped else parts))

    assert row["growth"] == of_copies(WHOLE)["growth"] == HOUR // SECOND
    assert not row["carried"]


def test_a_pod_that_comes_back_under_its_name_counts_from_its_birth() -> None:
    first = scraped(-5 * MINUTE, 30 * MINUTE)
    second = [(T0 + at, float(at)) for at in range(31 * MINUTE, HOUR + MINUTE, SCRAPE)]
    born = [(at, float(T0 + 30 * MINUTE + 40 * SECOND)) for at, _ in second]
    row = of_copies(first, second, births=[(T0 - SCRAPE, float(T0 - HOUR)), *born])

    last = max(value for at, value in second if at < T0 + HOUR)
    assert row["growth"] == 30 * 60 + last
    assert row["resets"] == 1


def test_copies_side_by_side_count_once() -> None:
    early, late = WHOLE, scraped(-5 * MINUTE, HOUR + MINUTE, phase=20 * SECOND)
    alone = of_copies(early)

    row = of_copies(early, late)

    assert row["growth"] == alone["growth"]
    assert row["samples"] == alone["samples"]
    assert row["duplicates"] == 1


def test_a_copy_speaks_while_the_fullest_is_silent() -> None:
    silent = range(T0 + 20 * MINUTE, T0 + 24 * MINUTE)
    fullest = [one for one in WHOLE if one[0] not in silent]
    other = scraped(10 * MINUTE, 40 * MINUTE, phase=11 * SECOND)

    assert of_copies(fullest)["carried"]
    row = of_copies(fullest, other)

    assert row["growth"] == of_copies(WHOLE)["growth"]
    assert not row["carried"]


def test_the_end_of_a_copy_goes_on_where_the_fullest_ends_early() -> None:
    fullest, other = scraped(-5 * MINUTE, 45 * MINUTE), scraped(25 * MINUTE, HOUR + MINUTE)

    assert of_copies(fullest, other)["growth"] == HOUR // SECOND


def test_where_only_the_borders_were_asked_for_one_copy_is_read() -> None:
    def borders(samples: Samples) -> Samples:
        return [
            one
            for one in samples
            if T0 - 75 * SECOND <= one[0] < T0 or T0 + HOUR - 75 * SECOND <= one[0] < T0 + HOUR
        ]

    early = borders(scraped(-5 * MINUTE, HOUR, phase=3 * SECOND))
    late = borders(scraped(-5 * MINUTE, HOUR, phase=24 * SECOND))

    assert of_copies(early, late)["growth"] == of_copies(late)["growth"]
    assert of_copies(late, early)["growth"] == of_copies(late)["growth"]
