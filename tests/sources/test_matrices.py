"""Answers as columns."""

import gc
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.sources.catalogue import load_catalogue
from app.sources.matrices import Gatherer, Matrix, SeriesJson, cleaned, collector_paused


def a_series(name: str, *points: tuple[int, str]) -> SeriesJson:
    return {"metric": {"pod": name}, "values": [(at_ms / 1000, text) for at_ms, text in points]}


def gathered(*answers: Sequence[SeriesJson], start_ms: int = 0, end_ms: int = 10**13) -> Matrix:
    gatherer = Gatherer()
    for answer in answers:
        gatherer.add(answer, start_ms, end_ms)
    return gatherer.finish()


def test_series_become_columns_with_exact_milliseconds() -> None:
    matrix = gathered(
        [
            a_series("a", (1_793_617_200_001, "1"), (1_793_617_230_999, "2.5")),
            a_series("b", (7, "3")),
        ]
    )

    assert [labels["pod"] for labels in matrix.labels] == ["a", "b"]
    assert matrix.first.tolist() == [0, 2, 3]
    assert matrix.at_ms.tolist() == [1_793_617_200_001, 1_793_617_230_999, 7]
    assert matrix.value.tolist() == [1.0, 2.5, 3.0]


def test_samples_at_and_after_the_end_and_before_the_start_are_trimmed() -> None:
    answer = [a_series("a", (999, "1"), (1000, "2"), (1999, "3"), (2000, "4"))]

    matrix = gathered(answer, start_ms=1000, end_ms=2000)

    assert matrix.at_ms.tolist() == [1000, 1999]


def test_a_vector_has_one_sample_a_series() -> None:
    vector: list[SeriesJson] = [{"metric": {"pod": "a"}, "value": (1.5, "7")}]

    assert gathered(vector).at_ms.tolist() == [1500]


def test_no_answer_at_all_is_an_empty_matrix() -> None:
    matrix = gathered([], [])

    assert matrix.labels == []
    assert matrix.first.tolist() == [0]


def test_a_sample_that_comes_twice_counts_once() -> None:
    matrix = gathered([a_series("a", (1, "1"), (2, "2"))], [a_series("a", (2, "2"), (3, "3"))])

    assert matrix.at_ms.tolist() == [1, 2, 3]


@given(
    instants=st.lists(
        st.lists(st.integers(0, 100), min_size=1, max_size=12, unique=True).map(sorted),
        min_size=1,
        max_size=5,
    ),
    cut=st.integers(0, 101),
)
def test_pieces_put_together_are_the_whole(instants: list[list[int]], cut: int) -> None:
    answer = [
        a_series(str(number), *((at, str(at + number)) for at in times))
        for number, times in enumerate(instants)
    ]
    gatherer = Gatherer()
    # Closed on both sides, as servers before 3.0 answer.
    gatherer.add(answer, 0, cut)
    gatherer.add(answer, cut, 101)

    united, whole = gatherer.finish(), gathered(answer)

    assert united.labels == whole.labels
    assert united.first.tolist() == whole.first.tolist()
    assert united.at_ms.tolist() == whole.at_ms.tolist()
    assert united.value.tolist() == whole.value.tolist()


def test_values_that_say_nothing_are_dropped_and_counted() -> None:
    dcgm = load_catalogue().dcgm
    utilization = dcgm.meaning("gpu_util")
    texts = ["NaN", "+Inf", "-Inf", "9223372036854775794", "2147483632", "140737488355328", "101.5"]
    matrix = gathered([a_series("a", *((at, text) for at, text in enumerate([*texts, "50"])))])

    kept, dropped = cleaned(matrix, dcgm, utilization, utilization.aliases[0])

    assert kept.value.tolist() == [0.5]
    assert (dropped.not_finite, dropped.blank, dropped.impossible) == (3, 3, 1)


def test_energy_may_be_any_number_of_millijoules_that_is_no_blank() -> None:
    dcgm = load_catalogue().dcgm
    energy = dcgm.meaning("energy")
    matrix = gathered([a_series("a", (1, "2147483632"), (2, "9223372036854775792"), (3, "-1"))])

    kept, dropped = cleaned(matrix, dcgm, energy, energy.aliases[0])

    assert kept.value.tolist() == [2147483632.0]
    assert (dropped.blank, dropped.impossible) == (1, 1)


def test_a_ratio_that_overshoots_by_rounding_is_full() -> None:
    dcgm = load_catalogue().dcgm
    engine = dcgm.meaning("gr_engine_active")
    matrix = gathered([a_series("a", (1, "1.004"), (2, "1.02"))])

    kept, dropped = cleaned(matrix, dcgm, engine, engine.aliases[0])

    assert kept.value.tolist() == [1.0]
    assert dropped.impossible == 1


def test_a_series_without_a_good_sample_is_gone() -> None:
    dcgm = load_catalogue().dcgm
    engine = dcgm.meaning("gr_engine_active")
    matrix = gathered([a_series("a", (1, "NaN")), a_series("b", (1, "0.5"), (2, "NaN"))])

    kept, _ = cleaned(matrix, dcgm, engine, engine.aliases[0])

    assert [labels["pod"] for labels in kept.labels] == ["b"]
    assert kept.first.tolist() == [0, 1]
    assert np.array_equal(kept.at_ms, [1])


def test_the_garbage_collector_is_only_paused() -> None:
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()

    assert gc.isenabled()
