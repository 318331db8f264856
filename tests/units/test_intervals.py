import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.units.intervals import Spans, spans_of

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def _spans(pairs: list[tuple[int, int]]) -> Spans:
    start = np.array([a for a, _ in pairs], dtype=np.int64)
    end = np.array([b for _, b in pairs], dtype=np.int64)
    return spans_of(start, end)


def _points(pairs: list[tuple[int, int]]) -> set[int]:
    return {point for a, b in pairs for point in range(a, b)}


def _of(value: Spans) -> set[int]:
    return _points(list(zip(value.start.tolist(), value.end.tolist(), strict=True)))


@given(spans)
def test_spans_are_the_union_sorted_and_apart(pairs: list[tuple[int, int]]) -> None:
    value = _spans(pairs)

    assert _of(value) == _points(pairs)
    assert value.length() == len(_points(pairs))
    assert all(value.start[1:] > value.end[:-1])


@given(spans, spans)
def test_the_union_covers_what_either_covers(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    assert _of(_spans(one).union(_spans(other))) == _points(one) | _points(other)


@given(spans, st.integers(0, 20), st.integers(1, 20))
def test_clip_and_gaps_tile_the_span(pairs: list[tuple[int, int]], start: int, length: int) -> None:
    value = _spans(pairs)
    end = start + length

    inside, outside = _of(value.clip(start, end)), _of(value.gaps(start, end))

    assert inside == _points(pairs) & set(range(start, end))
    assert outside == set(range(start, end)) - _points(pairs)


@given(spans)
def test_covers_says_whether_a_point_is_inside(pairs: list[tuple[int, int]]) -> None:
    points = np.arange(41, dtype=np.int64)

    assert set(points[_spans(pairs).covers(points)].tolist()) == _points(pairs)
