"""Native histograms read as the classic series that they replace."""

import math
from bisect import bisect_left
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.matrices import Gatherer, HistogramJson, Labels, Matrix, SeriesJson
from app.sources.native_histograms import NativeSeries
from app.sources.native_names import is_published, selector_of

START_MS = 1_793_617_200_000
END_MS = START_MS + 3_600_000
STEP_MS = 30_000
NAMES = frozenset({"ttft", "up"})


def a_native(values: Sequence[float], schema: int, zero_up_to: float = 0.001) -> HistogramJson:
    """Write a histogram of observations as the API does: bounds grow by 2^(2^-schema)."""
    step = 2.0**-schema
    inside: dict[tuple[float, float], int] = {}
    for value in values:
        if value <= zero_up_to:
            key = (-zero_up_to, zero_up_to)
        else:
            power = math.ceil(math.log2(value) / step - 1e-9)
            key = (2.0 ** ((power - 1) * step), 2.0 ** (power * step))
        inside[key] = inside.get(key, 0) + 1
    buckets = [
        (3 if left < 0 else 0, repr(left), repr(right), str(count))
        for (left, right), count in sorted(inside.items())
    ]
    return {"count": str(len(values)), "sum": repr(float(sum(values))), "buckets": buckets}


def a_series(histograms: Sequence[HistogramJson], first_ms: int = START_MS) -> SeriesJson:
    points = [
        ((first_ms + number * STEP_MS) / 1000, histogram)
        for number, histogram in enumerate(histograms)
    ]
    return {"metric": {"__name__": "ttft", "pod": "a"}, "histograms": points}


def read(
    metric: str,
    *answers: Sequence[SeriesJson],
    start_ms: int = START_MS,
    end_ms: int = END_MS,
) -> Matrix:
    """Read answers as the pieces of one question about a metric."""
    selector = selector_of(metric, NAMES)
    gatherer, native = Gatherer(), NativeSeries()
    for answer in answers:
        gatherer.add(native.take(answer, selector, start_ms, end_ms), start_ms, end_ms)
    return native.joined(gatherer.finish(), selector)


def rows_of(matrix: Matrix) -> dict[str, list[tuple[int, float]]]:
    """Return the samples by bound, '' for none."""
    return {
        labels.get("le", ""): [
            (int(at_ms) - START_MS, float(value))
            for at_ms, value in zip(
                matrix.at_ms[matrix.first[row] : matrix.first[row + 1]],
                matrix.value[matrix.first[row] : matrix.first[row + 1]],
                strict=True,
            )
        ]
        for row, labels in enumerate(matrix.labels)
    }


@given(
    observed=st.lists(
        st.lists(st.floats(0.0005, 900.0), max_size=12), min_size=1, max_size=5
    ).filter(any),
    schemas=st.lists(st.integers(-1, 4), min_size=5, max_size=5).map(
        lambda schemas: sorted(schemas, reverse=True)
    ),
)
def test_each_bound_counts_the_observations_up_to_it_at_every_sample(
    observed: list[list[float]], schemas: list[int]
) -> None:
    seen: list[list[float]] = []
    for batch in observed:
        seen.append([*(seen[-1] if seen else []), *batch])
    # As servers do under a limit of buckets, the resolution only becomes coarser.
    histograms = [a_native(values, schema) for values, schema in zip(seen, schemas, strict=False)]

    found = rows_of(read("ttft_bucket", [a_series(histograms)]))

    assert [value for _, value in found["+Inf"]] == [len(values) for values in seen]
    for le, samples in found.items():
        bound = math.inf if le == "+Inf" else float(le) * (1 + 1e-9)
        assert [value for _, value in samples] == [
            bisect_left(sorted(values), bound) for values in seen
        ]
        assert samples == sorted(samples, key=lambda sample: (sample[0], sample[1]))
    coarsest = {float(bucket[2]) for bucket in histograms[-1].get("buckets", ())}
    assert {float(le) for le in found} >= coarsest


def test_sums_and_counts_are_series_of_their_classic_names() -> None:
    answer = [a_series([a_native([0.25, 0.5], 0), a_native([0.25, 0.5, 2.0], 0)])]

    total, count = read("ttft_sum", answer), read("ttft_count", answer)

    assert total.labels == [{"__name__": "ttft_sum", "pod": "a"}]
    assert total.value.tolist() == [0.75, 2.75]
    assert count.labels == [{"__name__": "ttft_count", "pod": "a"}]
    assert (count.at_ms - START_MS).tolist() == [0, STEP_MS]
    assert count.value.tolist() == [2.0, 3.0]


def test_a_bucket_that_fills_later_was_empty_before() -> None:
    answer = [a_series([a_native([0.25], 0), a_native([0.25, 3.0], 0)])]

    found = rows_of(read("ttft_bucket", answer))

    assert found == {
        "0.25": [(0, 1.0), (STEP_MS, 1.0)],
        "4.0": [(0, 1.0), (STEP_MS, 2.0)],
        "+Inf": [(0, 1.0), (STEP_MS, 2.0)],
    }


def test_pieces_of_an_answer_have_the_bounds_of_the_whole() -> None:
    first = a_series([a_native([0.25], 0)])
    second = a_series([a_native([0.25, 3.0], 0)], START_MS + STEP_MS)

    assert rows_of(read("ttft_bucket", [first], [second])) == rows_of(
        read("ttft_bucket", [a_series([a_native([0.25], 0), a_native([0.25, 3.0], 0)])])
    )


def test_samples_outside_the_span_are_left_out() -> None:
    answer = [a_series([a_native([1.0], 0)] * 3, START_MS - STEP_MS)]

    found = read("ttft_count", answer, end_ms=START_MS + STEP_MS)

    assert (found.at_ms - START_MS).tolist() == [0]


def classic(le: str, *values: float, first_ms: int = START_MS) -> SeriesJson:
    labels: Labels = {"__name__": "ttft_bucket", "le": le, "pod": "a"}
    points = [
        ((first_ms + number * STEP_MS) / 1000, str(value)) for number, value in enumerate(values)
    ]
    return {"metric": labels, "values": points}


def test_what_is_scraped_both_ways_counts_once() -> None:
    histogram = a_native([0.25, 3.0], 0)
    both = [classic("0.5", 1, 1), classic("+Inf", 2, 2), a_series([histogram, histogram])]
    sums: SeriesJson = {
        "metric": {"__name__": "ttft_sum", "pod": "a"},
        "values": [(START_MS / 1000, "3.25")],
    }

    buckets = rows_of(read("ttft_bucket", both))
    total = read("ttft_sum", [sums, a_series([histogram, histogram])])

    assert buckets == {
        "0.5": [(0, 1.0), (STEP_MS, 1.0)],
        "+Inf": [(0, 2.0), (STEP_MS, 2.0)],
    }
    # The same figure under the same labels: one series, the later sample from the native one.
    assert len(total.labels) == 1
    assert total.value.tolist() == [3.25, 3.25]


def test_another_target_may_be_native() -> None:
    other = a_series([a_native([0.25], 0)])
    other["metric"] = {"__name__": "ttft", "pod": "b"}

    matrix = read("ttft_bucket", [classic("0.5", 1), classic("+Inf", 1), other])

    assert {(labels["pod"], labels["le"]) for labels in matrix.labels} == {
        ("a", "0.5"),
        ("a", "+Inf"),
        ("b", "0.25"),
        ("b", "+Inf"),
    }


def test_after_the_classic_samples_end_the_native_ones_go_on() -> None:
    grown = [a_native([0.25] * count, 0) for count in (1, 2, 3)]

    found = rows_of(read("ttft_bucket", [classic("+Inf", 1, 2), a_series(grown)]))

    assert found["+Inf"] == [(0, 1.0), (STEP_MS, 2.0), (2 * STEP_MS, 3.0)]
    assert found["0.25"] == [(2 * STEP_MS, 3.0)]


def test_floats_under_the_native_name_are_another_metric() -> None:
    gauge: SeriesJson = {
        "metric": {"__name__": "ttft", "pod": "a"},
        "values": [(START_MS / 1000, "7")],
    }

    assert read("ttft_bucket", [gauge]).labels == []


def test_bounds_may_be_those_of_the_classic_buckets() -> None:
    # Custom buckets: what classic histograms become when they are stored as native ones.
    histogram: HistogramJson = {
        "count": "5",
        "sum": "9.5",
        "buckets": [(0, "-Inf", "0.5", "2"), (0, "0.5", "1", "2"), (0, "1", "+Inf", "1")],
    }

    found = rows_of(read("ttft_bucket", [a_series([histogram])]))

    assert found == {"0.5": [(0, 2.0)], "1.0": [(0, 4.0)], "+Inf": [(0, 5.0)]}


@pytest.mark.parametrize(
    ("metric", "names", "query"),
    [
        ("ttft_bucket", {"ttft_bucket"}, "ttft_bucket"),
        ("ttft_bucket", {"ttft"}, '{__name__=~"ttft_bucket|ttft"}'),
        ("ttft_sum", {"ttft", "ttft_sum"}, '{__name__=~"ttft_sum|ttft"}'),
        (
            "gen_ai.tokens_sum",
            {"gen_ai.tokens"},
            '{__name__=~"gen_ai\\\\.tokens_sum|gen_ai\\\\.tokens"}',
        ),
    ],
)
def test_a_native_histogram_answers_for_its_classic_names(
    metric: str, names: set[str], query: str
) -> None:
    assert is_published(metric, names)
    assert str(selector_of(metric, names)) == query


def test_a_name_that_is_no_part_of_a_histogram_has_no_native_one() -> None:
    assert not is_published("tokens_total", {"tokens"})
    assert str(selector_of("tokens_total", {"tokens"})) == "tokens_total"


def a_range(vmrange: str, *values: float | None) -> SeriesJson:
    points = [
        ((START_MS + number * STEP_MS) / 1000, str(value))
        for number, value in enumerate(values)
        if value is not None
    ]
    labels = {"__name__": "ttft_bucket", "pod": "a", "vmrange": vmrange}
    return {"metric": labels, "values": points}


def test_counts_between_two_bounds_are_added_up() -> None:
    selector = selector_of("ttft_bucket", {"ttft_bucket"})
    gatherer, native = Gatherer(), NativeSeries()
    rows = [a_range("1.000e+00...2.000e+00", None, 4), a_range("0...1.000e+00", 1, 2)]
    gatherer.add(rows, START_MS, END_MS)

    found = rows_of(native.joined(native.take_ranges(gatherer.finish(), selector), selector))

    assert found == {
        "1.0": [(0, 1.0), (STEP_MS, 2.0)],
        "2.0": [(0, 1.0), (STEP_MS, 6.0)],
        "+Inf": [(0, 1.0), (STEP_MS, 6.0)],
    }


def test_ranges_that_are_none_are_left_as_they_are() -> None:
    selector = selector_of("ttft_bucket", {"ttft_bucket"})
    gatherer, native = Gatherer(), NativeSeries()
    gatherer.add([a_range("from here to there", 1), classic("+Inf", 1)], START_MS, END_MS)

    found = native.joined(native.take_ranges(gatherer.finish(), selector), selector)

    assert len(found.labels) == 2
