from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GpuledgerError
from app.units.money import SplitError, from_nanos, split, split_groups, to_nanos

weights = st.lists(st.integers(0, 10**13), min_size=1, max_size=12).filter(lambda w: sum(w) > 0)
totals = st.integers(-(10**17), 10**17)


def test_a_dollar_in_three_gives_the_spare_cent_to_the_first_key() -> None:
    assert split(100, [1, 1, 1], ["c", "a", "b"]) == [33, 34, 33]


def test_the_spare_unit_goes_to_the_largest_remainder() -> None:
    assert split(10, [26, 74], ["a", "b"]) == [3, 7]


def test_all_zero_weights_are_refused() -> None:
    with pytest.raises(SplitError, match="line of its own"):
        split(5, [0, 0], ["a", "b"])


@pytest.mark.parametrize("bad", [[], [-1, 2]])
def test_no_weights_and_negative_weights_are_refused(bad: list[int]) -> None:
    with pytest.raises(SplitError):
        split(5, bad, range(len(bad)))


@given(total=totals, weights=weights)
def test_parts_sum_to_the_total_and_lie_within_one_unit_of_their_exact_share(
    total: int, weights: list[int]
) -> None:
    parts = split(total, weights, range(len(weights)))

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)
        assert weight or part == 0


@given(total=totals, weights=weights)
def test_a_negative_total_mirrors_the_positive_one(total: int, weights: list[int]) -> None:
    keys = range(len(weights))

    assert split(-total, weights, keys) == [-part for part in split(total, weights, keys)]


@given(total=totals, weights=weights, data=st.data())
def test_the_order_of_the_input_does_not_matter(
    total: int, weights: list[int], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(weights))))

    shuffled = split(total, [weights[i] for i in order], order)

    assert dict(zip(order, shuffled, strict=True)) == dict(
        enumerate(split(total, weights, range(len(weights))))
    )


@given(st.lists(st.tuples(totals, weights), min_size=1, max_size=6))
def test_the_grouped_split_equals_the_single_one(groups: list[tuple[int, list[int]]]) -> None:
    group = np.concatenate([np.full(len(w), i) for i, (_, w) in enumerate(groups)])
    flat = np.concatenate([np.array(w, dtype=np.int64) for _, w in groups])

    parts = split_groups(
        np.array([t for t, _ in groups], dtype=np.int64), group.astype(np.int64), flat
    )

    expected = [p for total, w in groups for p in split(total, w, range(len(w)))]
    assert parts.tolist() == expected


def test_the_grouped_split_refuses_money_without_a_line() -> None:
    with pytest.raises(SplitError):
        split_groups(
            np.array([5, 7], dtype=np.int64),
            np.array([0], dtype=np.int64),
            np.array([1], dtype=np.int64),
        )


def test_the_grouped_split_takes_a_zero_total_without_lines() -> None:
    parts = split_groups(
        np.array([0, 7], dtype=np.int64),
        np.array([1], dtype=np.int64),
        np.array([3], dtype=np.int64),
    )

    assert parts.tolist() == [7]


def test_money_converts_exactly_and_refuses_less_than_a_nano() -> None:
    assert to_nanos(Decimal("3.000000001")) == 3_000_000_001
    assert from_nanos(-1) == Decimal("-0.000000001")
    with pytest.raises(GpuledgerError, match="9 decimals"):
        to_nanos(Decimal("0.0000000001"))
