"""Comparing harvests, whatever the order of their series."""

from collections.abc import Iterator

import pandas as pd

from app.sources.harvest import Harvest
from app.usage.samples import COUNTER_LABELS, DEVICE_LABELS, SampleSet


def sets_of(found: Harvest) -> Iterator[tuple[SampleSet, tuple[str, ...]]]:
    """Yield every sample set of a harvest with the columns it promises."""
    for _, samples in found.activity:
        yield samples, DEVICE_LABELS
    yield found.energy, DEVICE_LABELS
    for samples in (found.counters, found.buckets, found.births, found.gauges):
        yield samples, COUNTER_LABELS


def same_samples(one: Harvest, other: Harvest) -> None:
    """Assert that two harvests have the same samples, evidence and notes."""
    for (mine, _), (theirs, _) in zip(sets_of(one), sets_of(other), strict=True):
        rows = [
            pd.DataFrame(
                {
                    "series": samples.labels["series"].to_numpy()[samples.series_of_samples()],
                    "at_ms": samples.at_ms,
                    "value": samples.value,
                }
            ).sort_values(["series", "at_ms"], ignore_index=True)
            for samples in (mine, theirs)
        ]
        pd.testing.assert_frame_equal(rows[0], rows[1])
    pd.testing.assert_frame_equal(one.evidence, other.evidence)
    pd.testing.assert_frame_equal(one.notes, other.notes)
