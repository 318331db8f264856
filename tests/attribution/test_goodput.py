"""Requests within a stated latency objective, counted from buckets and never estimated."""

from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.goodput import (
    Buckets,
    Goodput,
    Objective,
    ObjectiveError,
    goodput,
    objective_for,
    parse_objective,
)
from app.usage.kinds import LatencyMetric

E2E = LatencyMetric.END_TO_END
TTFT = LatencyMetric.TIME_TO_FIRST_TOKEN


def a_bucket(le: float, increments: int, model: str = "llama", metric: int = E2E) -> Buckets:
    return Buckets(metric=metric, model=model, le=le, increments=increments)


TWO_SECONDS = Objective(metric=E2E, seconds=2.0)


def test_what_lies_in_buckets_up_to_the_objective_is_good() -> None:
    observed = [a_bucket(1.0, 60), a_bucket(2.0, 30), a_bucket(5.0, 9), a_bucket(inf, 1)]

    found = goodput(observed, [TWO_SECONDS])

    assert found == Goodput(within=90, observed=100, objective="end_to_end ≤ 2 s")
    assert found.ratio == 0.9


def test_a_bucket_that_reaches_beyond_the_objective_is_not_counted_and_that_is_said() -> None:
    observed = [a_bucket(1.5, 60), a_bucket(2.5, 40)]

    found = goodput(observed, [TWO_SECONDS])

    assert found is not None
    assert (found.within, found.observed) == (60, 100)
    assert found.objective == "end_to_end ≤ 2 s, counted up to the bucket of 1.5 s"


def test_other_metrics_and_models_without_an_objective_count_for_nothing() -> None:
    only_llama = Objective(metric=E2E, seconds=2.0, model="llama*")
    observed = [a_bucket(1.0, 5), a_bucket(1.0, 7, model="qwen"), a_bucket(1.0, 9, metric=TTFT)]

    found = goodput(observed, [only_llama])

    assert found is not None
    assert (found.within, found.observed) == (5, 5)
    assert goodput([a_bucket(1.0, 7, model="qwen")], [only_llama]) is None


def test_the_longest_prefix_states_a_models_objective() -> None:
    wide = Objective(metric=E2E, seconds=9.0)
    near = Objective(metric=E2E, seconds=3.0, model="llama-3*")
    exact = Objective(metric=TTFT, seconds=1.0, model="llama-3-8b")

    assert objective_for("llama-3-8b", [wide, near, exact]) == exact
    assert objective_for("llama-3-70b", [wide, near, exact]) == near
    assert objective_for("qwen", [wide, near, exact]) == wide


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0, 4.0, inf]), st.integers(0, 50))),
    st.floats(0.1, 10.0),
)
def test_it_equals_a_count_of_every_single_request(
    observed: Sequence[tuple[float, int]], seconds: float
) -> None:
    # Each request is known to lie at most at the upper bound of its bucket.
    requests = [le for le, count in observed for _ in range(count)]

    found = goodput(
        [a_bucket(le, count) for le, count in observed], [Objective(metric=E2E, seconds=seconds)]
    )

    if not observed:
        assert found is None
    else:
        assert found is not None
        assert found.within == sum(le <= seconds for le in requests)
        assert found.observed == len(requests)


def test_an_objective_is_read_from_text() -> None:
    assert parse_objective("time_to_first_token=0.5") == Objective(metric=TTFT, seconds=0.5)


@pytest.mark.parametrize(
    "text", ["", "p99=2", "end_to_end", "end_to_end=", "end_to_end=0", "end_to_end=nan", "e2e=-1"]
)
def test_a_text_that_states_none_is_refused(text: str) -> None:
    with pytest.raises(ObjectiveError, match="states no latency objective"):
        parse_objective(text)
