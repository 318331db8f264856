"""Sample sets put together: of several aliases, of several answers, of copies of one series."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.sources.matrices import Matrix
from app.usage.samples import SampleSet, no_samples

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def sample_set(labels: pd.DataFrame, matrix: Matrix) -> SampleSet:
    """Return the matrix under the label columns that were made from its labels.

    Series are in the order of their text: VictoriaMetrics answers in another one each time, and
    which of several copies is read must not depend on it.
    """
    order = labels["series"].argsort(kind="stable").to_numpy()
    if (order[1:] > order[:-1]).all():
        return SampleSet(labels, matrix.first, matrix.at_ms, matrix.value)
    lengths = np.diff(matrix.first)[order]
    first = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    samples = np.repeat(matrix.first[:-1][order] - first[:-1], lengths) + np.arange(first[-1])
    return SampleSet(
        labels.iloc[order].reset_index(drop=True),
        first,
        matrix.at_ms[samples],
        matrix.value[samples],
    )


def keep_samples(samples: SampleSet, keep: Bools) -> SampleSet:
    """Return the chosen samples, and only the series that have any of them."""
    if keep.all() and (np.diff(samples.first) > 0).all():
        return samples
    counted = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(keep, dtype=np.int64)])
    first = counted[samples.first]
    filled = np.diff(first) > 0
    return SampleSet(
        samples.labels[filled].reset_index(drop=True),
        np.concatenate([first[:-1][filled], first[-1:]]),
        samples.at_ms[keep],
        samples.value[keep],
    )


def keep_series(samples: SampleSet, keep: Bools) -> SampleSet:
    """Return the chosen series."""
    return keep_samples(samples, np.repeat(keep, np.diff(samples.first)))


def concatenated(sets: Sequence[SampleSet], columns: tuple[str, ...]) -> SampleSet:
    """Return the series of all sets, which have no series in common."""
    filled = [samples for samples in sets if len(samples.labels)]
    if len(filled) <= 1:
        return filled[0] if filled else no_samples(columns)
    offsets = np.cumsum([0, *(len(samples.at_ms) for samples in filled)])
    starts = [samples.first[:-1] + offsets[number] for number, samples in enumerate(filled)]
    return SampleSet(
        pd.concat([samples.labels for samples in filled], ignore_index=True),
        np.concatenate([*starts, offsets[-1:]]).astype(np.int64),
        np.concatenate([samples.at_ms for samples in filled]),
        np.concatenate([samples.value for samples in filled]),
    )


def united(sets: Sequence[SampleSet], columns: tuple[str, ...]) -> SampleSet:
    """Return the union of sets that may share series and samples; equal instants count once.

    A series from which two quantities are read stays both.
    """
    together = concatenated(sets, columns)
    texts = together.labels["series"]
    if "quantity" in columns:
        texts = together.labels["quantity"] + texts
    code, _ = pd.factorize(texts)
    if len(code) == 0 or int(code.max()) + 1 == len(code):
        return together
    owner = code[together.series_of_samples()].astype(np.int64)
    order = np.lexsort((together.at_ms, owner))
    owner, at_ms, value = owner[order], together.at_ms[order], together.value[order]
    once = np.ones(len(owner), dtype=bool)
    once[1:] = (owner[1:] != owner[:-1]) | (at_ms[1:] != at_ms[:-1])
    lengths = np.bincount(owner[once], minlength=int(code.max()) + 1)
    first_rows = ~pd.Series(code).duplicated()
    return SampleSet(
        together.labels[first_rows.to_numpy()].reset_index(drop=True),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        at_ms[once],
        value[once],
    )


def highest(samples: SampleSet) -> SampleSet:
    """Return series of one text as one, of several samples at one instant the highest."""
    code, _ = pd.factorize(samples.labels["series"])
    if len(code) == 0 or int(code.max()) + 1 == len(code):
        return samples
    owner = code[samples.series_of_samples()].astype(np.int64)
    order = np.lexsort((samples.value, samples.at_ms, owner))
    owner, at_ms, value = owner[order], samples.at_ms[order], samples.value[order]
    last = np.ones(len(owner), dtype=bool)
    last[:-1] = (owner[1:] != owner[:-1]) | (at_ms[1:] != at_ms[:-1])
    lengths = np.bincount(owner[last], minlength=int(code.max()) + 1)
    first_rows = ~pd.Series(code).duplicated()
    return SampleSet(
        samples.labels[first_rows.to_numpy()].reset_index(drop=True),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        at_ms[last],
        value[last],
    )


def preferred(sets: Sequence[SampleSet], columns: tuple[str, ...], key: Sequence[str]) -> SampleSet:
    """Return the series of several names of one thing, the preferred name's set first.

    ``key`` are the columns that name the thing measured (a device, a replica). While a preferred
    name speaks about it, from its first sample to its last, samples under other names are copies
    and left out; before and after they are kept, since an upgrade may rename a metric at any time.
    """
    taken: list[SampleSet] = []
    for samples in sets:
        kept = samples
        for better in taken:
            kept = keep_samples(kept, ~_inside(kept, better, key))
        taken.append(kept)
    return concatenated(taken, columns)


def _inside(samples: SampleSet, better: SampleSet, key: Sequence[str]) -> Bools:
    """Say for each sample whether it lies in the span in which ``better`` has the same thing."""
    names = pd.concat([samples.labels[list(key)], better.labels[list(key)]], ignore_index=True)
    code = names.groupby(list(key), sort=False).ngroup().to_numpy()
    own, other = code[: len(samples.labels)], code[len(samples.labels) :]
    count = int(code.max()) + 1 if len(code) else 0
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, np.iinfo(np.int64).min)
    if len(other):
        np.minimum.at(low, other, better.at_ms[better.first[:-1]])
        np.maximum.at(high, other, better.at_ms[better.first[1:] - 1])
    owner = own[samples.series_of_samples()]
    inside: Bools = (samples.at_ms >= low[owner]) & (samples.at_ms <= high[owner])
    return inside


def count_once(samples: SampleSet, start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return how many identities have samples in ``[start_ms, end_ms)``, and how many samples.

    Of copies the one with most samples counts, so that a second Prometheus adds no evidence.
    """
    inside = (samples.at_ms >= start_ms) & (samples.at_ms < end_ms)
    counts = np.bincount(samples.series_of_samples()[inside], minlength=len(samples.labels))
    best = pd.Series(counts).groupby(samples.labels["identity"].to_numpy()).max()
    return int((best > 0).sum()), int(best.sum())


def copies(samples: SampleSet) -> int:
    """Return how many series are copies of another."""
    return len(samples.labels) - int(samples.labels["identity"].nunique())
