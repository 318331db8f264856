"""The newest sample before the window, for counters whose first sample of the window needs it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.sources.asking import Inquiry, Span, answers
from app.sources.naming import narrowed_to
from app.sources.promql import RAW_SAMPLES
from app.sources.sample_sets import keep_samples, keep_series, united
from app.usage.samples import COUNTER_LABELS, SampleSet

# How far before the window every counter is asked for.
LOOKBACK_SHORT_MS = 300_000
# Then only series without a sample are looked for, further and further back: most of them were
# silent shortly, and a day of raw samples is 24 times the work of an hour.
_STEPS_MS = (3_600_000, 6 * 3_600_000)


def with_earlier_samples(
    inquiry: Inquiry,
    meaning_names: Sequence[str],
    samples: SampleSet,
    births: SampleSet,
    counter_lookback_ms: int,
) -> SampleSet:
    """Add the newest earlier sample to each series that has none before the window.

    A series that was born after the span already asked for has no earlier one and is not looked
    for. What is found lies at most ``counter_lookback_ms`` before the window.
    """
    steps = [step for step in _STEPS_MS if step < counter_lookback_ms] + [counter_lookback_ms]
    near_ms = LOOKBACK_SHORT_MS
    for far_ms in steps:
        late = _late(samples, inquiry.window.start_ms) & ~_young(inquiry, samples, births)
        if not late.any() or far_ms <= near_ms:
            break
        wanted = samples.labels[late]
        found = _newest_before(
            inquiry,
            meaning_names,
            wanted.reset_index(drop=True),
            Span(
                start_ms=inquiry.window.start_ms - far_ms, end_ms=inquiry.window.start_ms - near_ms
            ),
        )
        samples = united([samples, *found], COUNTER_LABELS)
        near_ms = far_ms
    return samples


def _late(samples: SampleSet, start_ms: int) -> npt.NDArray[np.bool_]:
    late: npt.NDArray[np.bool_] = samples.at_ms[samples.first[:-1]] >= start_ms
    return late


def _young(inquiry: Inquiry, samples: SampleSet, births: SampleSet) -> npt.NDArray[np.bool_]:
    """Say for each series whether its first known birth lies after the span already asked for."""
    if not len(births.labels):
        return np.zeros(len(samples.labels), dtype=bool)
    earliest = np.minimum.reduceat(births.value, births.first[:-1])
    identities = births.labels["identity"][earliest >= inquiry.window.start_ms - LOOKBACK_SHORT_MS]
    young: npt.NDArray[np.bool_] = samples.labels["identity"].isin(identities).to_numpy()
    return young


def _newest_before(
    inquiry: Inquiry, meaning_names: Sequence[str], wanted: pd.DataFrame, span: Span
) -> list[SampleSet]:
    asks = [
        ask
        for matchers in narrowed_to(inquiry.exporter, wanted)
        for name in meaning_names
        for ask in inquiry.asks(name, RAW_SAMPLES, span, matchers=matchers)
    ]
    found = []
    for answer in answers(inquiry.source, asks, inquiry.report):
        mine = answer.samples.labels["series"].isin(wanted["series"]).to_numpy()
        series = keep_series(answer.samples, mine)
        newest = np.zeros(len(series.at_ms), dtype=bool)
        newest[series.first[1:] - 1] = True
        found.append(keep_samples(series, newest))
    return found
