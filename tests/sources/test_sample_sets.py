"""Putting sample sets together."""

import numpy as np
import pandas as pd

from app.sources.sample_sets import (
    concatenated,
    copies,
    count_once,
    keep_series,
    preferred,
    united,
)
from app.usage.samples import SampleSet

COLUMNS = ("pod", "identity", "series")


def a_set(*series: tuple[str, str, dict[int, float]]) -> SampleSet:
    """Build a set of (pod, series, value by instant)."""
    labels = pd.DataFrame(
        [(pod, pod, name) for pod, name, _ in series], columns=[*COLUMNS], dtype="str"
    )
    lengths = [len(points) for _, _, points in series]
    return SampleSet(
        labels,
        np.cumsum([0, *lengths]).astype(np.int64),
        np.array([at for _, _, points in series for at in points], dtype=np.int64),
        np.array([value for _, _, points in series for value in points.values()], dtype=float),
    )


def told(samples: SampleSet) -> dict[str, dict[int, float]]:
    return {
        name: dict(
            zip(
                samples.at_ms[samples.first[row] : samples.first[row + 1]].tolist(),
                samples.value[samples.first[row] : samples.first[row + 1]].tolist(),
                strict=True,
            )
        )
        for row, name in enumerate(samples.labels["series"])
    }


def test_sets_without_common_series_stand_side_by_side() -> None:
    together = concatenated([a_set(("a", "a", {1: 1.0})), a_set(("b", "b", {1: 2.0}))], COLUMNS)

    assert told(together) == {"a": {1: 1.0}, "b": {1: 2.0}}


def test_a_union_has_every_sample_once() -> None:
    border = a_set(("a", "a", {1: 1.0, 9: 9.0}), ("b", "b", {1: 5.0}))
    whole = a_set(("a", "a", {1: 1.0, 5: 5.0, 9: 9.0}))

    assert told(united([border, whole], COLUMNS)) == {
        "a": {1: 1.0, 5: 5.0, 9: 9.0},
        "b": {1: 5.0},
    }


def test_under_two_names_at_once_a_thing_counts_under_the_preferred_one() -> None:
    good = a_set(("a", "good", {1: 1.0, 3: 3.0}))
    other = a_set(("a", "other", {1: 7.0, 2: 7.0, 3: 7.0}), ("b", "other b", {2: 8.0}))

    chosen = preferred([good, other], COLUMNS, ["pod"])

    assert told(chosen) == {"good": {1: 1.0, 3: 3.0}, "other b": {2: 8.0}}


def test_a_renamed_metric_counts_before_and_after_the_upgrade() -> None:
    renamed = a_set(("a", "new name", {5: 50.0, 6: 60.0}))
    before = a_set(("a", "old name", {1: 1.0, 2: 2.0}))

    chosen = preferred([renamed, before], COLUMNS, ["pod"])

    assert told(chosen) == {"new name": {5: 50.0, 6: 60.0}, "old name": {1: 1.0, 2: 2.0}}


def test_of_copies_the_fullest_counts_as_evidence() -> None:
    samples = a_set(
        ("a", "first", {1: 0.0, 2: 0.0, 3: 0.0}), ("a", "second", {1: 0.0}), ("b", "b", {9: 0.0})
    )

    assert count_once(samples, 1, 3) == (1, 2)
    assert count_once(samples, 1, 10) == (2, 4)
    assert copies(samples) == 1


def test_series_can_be_chosen() -> None:
    samples = a_set(("a", "a", {1: 1.0}), ("b", "b", {1: 2.0, 2: 3.0}), ("c", "c", {4: 4.0}))

    kept = keep_series(samples, np.array([True, False, True]))

    assert told(kept) == {"a": {1: 1.0}, "c": {4: 4.0}}
