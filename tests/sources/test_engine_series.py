"""Random series of one engine, with ranks, customers and scrapers, against a count by hand."""

import random
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sources.catalogue import Alias, load_catalogue
from app.sources.labels import counter_labels, told_apart_by
from app.sources.matrices import Matrix
from app.sources.sample_sets import highest, sample_set
from app.usage.growth import growth
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples
from tests.sources.scraped import SCRAPE_MS, WINDOW

SCRAPES = 6
DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Counter:
    """What one data-parallel rank of one pod counted for one customer, scrape by scrape."""

    pod: str
    rank: str
    customer: str
    steps: tuple[int, ...]


@st.composite
def fleets(draw: st.DrawFn) -> list[Counter]:
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.sampled_from("01"), st.sampled_from("xyz")),
            unique=True,
            min_size=1,
            max_size=6,
        )
    )
    steps = st.lists(st.integers(0, 50), min_size=SCRAPES, max_size=SCRAPES).map(tuple)
    return [Counter(pod, rank, customer, draw(steps)) for pod, rank, customer in keys]


def series_of(
    fleet: list[Counter], scrapers: int, group: int
) -> list[tuple[dict[str, str], list[tuple[int, int]]]]:
    """Return labels and samples as every scraper sees every rank of a tensor-parallel group.

    Of a group the ranks beyond the first may be a step behind: the highest is the group's figure.
    """
    found = []
    for counter in fleet:
        reached = np.cumsum(counter.steps).tolist()
        for scraper in range(scrapers):
            for tensor in range(group):
                labels = {
                    "model_name": "m",
                    "namespace": "n",
                    "pod": counter.pod,
                    "instance": f"{counter.pod}:8000",
                    "dp_rank": counter.rank,
                    "tp_rank": str(tensor),
                    "customer": counter.customer,
                    "prometheus": f"p{scraper}",
                }
                # The first scrape lies before the window; scrapers are some seconds apart.
                at_ms = WINDOW.start_ms - SCRAPE_MS + 1_000 * scraper
                values = reached if tensor == 0 else [reached[0], *reached[:-1]]
                samples = [(at_ms + SCRAPE_MS * step, value) for step, value in enumerate(values)]
                found.append((labels, samples))
    return found


def read(series: list[tuple[dict[str, str], list[tuple[int, int]]]]) -> SampleSet:
    sglang, alias = load_catalogue().engine("sglang"), Alias(name="sglang:prompt_tokens_total")
    lengths = [len(samples) for _, samples in series]
    matrix = Matrix(
        [labels for labels, _ in series],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([at_ms for _, samples in series for at_ms, _ in samples], dtype=np.int64),
        np.array([value for _, samples in series for _, value in samples], dtype=np.float64),
    )
    labels = counter_labels(matrix.labels, sglang, alias, "PROMPT_TOKENS")
    own = told_apart_by(matrix, labels["identity"], sglang)
    labels = counter_labels(matrix.labels, sglang, alias, "PROMPT_TOKENS", own_labels=own)
    return highest(sample_set(labels, matrix))


@settings(max_examples=40)
@given(fleets(), st.integers(1, 2), st.integers(1, 3), st.randoms(use_true_random=False))
def test_ranks_and_scrapers_repeat_and_customers_add(
    fleet: list[Counter], scrapers: int, group: int, order: random.Random
) -> None:
    series = series_of(fleet, scrapers, group)
    order.shuffle(series)

    frame = growth(WINDOW, read(series), no_samples(COUNTER_LABELS), SCRAPE_MS, DAY_MS)

    expected: dict[str, int] = {}
    for counter in fleet:
        expected[counter.pod] = expected.get(counter.pod, 0) + sum(counter.steps[1:])
    assert frame.groupby("pod")["growth"].sum().to_dict() == expected
    assert (frame["uncounted"] == 0).all()
    assert (frame["resets"] == 0).all()


@given(
    st.lists(
        st.dictionaries(st.integers(0, 5), st.integers(0, 9), min_size=1), min_size=1, max_size=4
    )
)
def test_of_one_text_the_highest_sample_of_each_instant_is_kept(
    copies: list[dict[int, int]],
) -> None:
    labels = [{"pod": "p", "tp_rank": str(rank)} for rank in range(len(copies))]
    series = [(one, sorted(points.items())) for one, points in zip(labels, copies, strict=True)]

    samples = read(series)

    expected: dict[int, int] = {}
    for points in copies:
        for at, value in points.items():
            expected[at] = max(value, expected.get(at, 0))
    assert samples.at_ms.tolist() == sorted(expected)
    assert samples.value.tolist() == [expected[at] for at in sorted(expected)]
    assert len(samples.labels) == 1


@given(st.integers(0, 10**10), st.lists(st.integers(0, 10**6), min_size=SCRAPES, max_size=SCRAPES))
def test_six_digits_make_steps_but_no_restarts(before: int, steps: list[int]) -> None:
    llamacpp = load_catalogue().engine("llamacpp")
    alias = llamacpp.meaning("generation_tokens").aliases[0]
    counted = [before + int(much) for much in np.cumsum(steps)]
    at_ms = WINDOW.start_ms - SCRAPE_MS + SCRAPE_MS * np.arange(SCRAPES, dtype=np.int64)
    # A C++ stream prints six significant digits.
    printed = [float(f"{value:.{llamacpp.digits}g}") for value in counted]
    matrix = Matrix([{"pod": "p"}], np.array([0, SCRAPES]), at_ms, np.array(printed))
    labels = counter_labels(matrix.labels, llamacpp, alias, "GENERATION_TOKENS")

    unborn = no_samples(COUNTER_LABELS)
    (row,) = growth(WINDOW, sample_set(labels, matrix), unborn, SCRAPE_MS, DAY_MS).to_dict(
        "records"
    )

    assert row["resets"] == 0
    step = 10 ** max(len(str(counted[-1])) - llamacpp.digits, 0)
    assert abs(row["growth"] - sum(steps[1:])) <= step
