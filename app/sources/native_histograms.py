"""Native histograms as the classic series that they replace: sum, count and cumulative buckets.

Shape of a sample in an answer (Prometheus HTTP API, "native histograms"): ``count`` and ``sum`` as
text, and ``buckets``, each a boundary rule, a left and a right boundary and a count of its own, as
text but for the rule. Buckets without observations are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.sources.matrices import (
    Gatherer,
    HistogramJson,
    Labels,
    Matrix,
    SeriesJson,
    without_labels,
)
from app.sources.native_names import Part, part_of
from app.sources.promql import Selector

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
_RANGE = "vmrange"
_END_MS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class _Sample:
    count: float
    sum: float
    left: Float64s
    right: Float64s
    inside: Float64s


@dataclass(slots=True)
class NativeSeries:
    """The native histograms in the answers to one question, by their labels without the name."""

    _labels: dict[frozenset[tuple[str, str]], Labels] = field(default_factory=dict)
    _samples: dict[frozenset[tuple[str, str]], dict[int, _Sample]] = field(default_factory=dict)

    def take(
        self, result: Sequence[SeriesJson], selector: Selector, start_ms: int, end_ms: int
    ) -> list[SeriesJson]:
        """Take the native samples with ``start_ms <= t < end_ms``; return the series of floats.

        Of the native name only histograms are meant: floats under it are another metric's. Raises
        ValueError, TypeError or KeyError for what is no histogram.
        """
        floats = []
        for series in result:
            points = [*series.get("histograms", ())]
            if "histogram" in series:
                points.append(series["histogram"])
            if points:
                self._add(series["metric"], points, start_ms, end_ms)
            elif series["metric"].get("__name__") != selector.native:
                floats.append(series)
        return floats

    def take_ranges(self, matrix: Matrix, selector: Selector) -> Matrix:
        """Take series of counts between two bounds; return the others.

        VictoriaMetrics keeps a native histogram as one series a bucket that is not empty, with its
        bounds in the label ``vmrange``: ``1.136e-01...1.292e-01``. All of one target have the same
        instants, so one that lacks a sample has counted nothing.
        """
        if part_of(selector.metric) is not Part.BUCKET:
            return matrix
        ranges = np.array([_bounds_of(labels) is not None for labels in matrix.labels], dtype=bool)
        if not ranges.any():
            return matrix
        found: dict[frozenset[tuple[str, str]], dict[int, list[tuple[float, float, float]]]] = {}
        for row in np.flatnonzero(ranges).tolist():
            labels = matrix.labels[row]
            left, right = _bounds_of(labels) or (0.0, 0.0)
            bare = without_labels(labels, "__name__", _RANGE)
            key = frozenset(bare.items())
            self._labels.setdefault(key, bare)
            samples = slice(matrix.first[row], matrix.first[row + 1])
            for at_ms, count in zip(
                matrix.at_ms[samples].tolist(), matrix.value[samples].tolist(), strict=True
            ):
                buckets = found.setdefault(key, {}).setdefault(at_ms, [])
                buckets.append((left, right, count))
        for key, instants in found.items():
            for at_ms, buckets in instants.items():
                self._samples.setdefault(key, {})[at_ms] = _of_ranges(buckets)
        owner = np.repeat(ranges, np.diff(matrix.first))
        return matrix.keep_samples(~owner).without_empty()

    def joined(self, matrix: Matrix, selector: Selector) -> Matrix:
        """Return the classic series together with those made from the native ones.

        Sums and counts are the same figures, so a series goes on where the other one ends. Buckets
        have other bounds: where classic ones tell of a histogram, from their first sample to their
        last, its native ones are left out.
        """
        part = part_of(selector.metric)
        if part is None or not self._samples:
            return matrix
        spoken = _spans(matrix) if part is Part.BUCKET else {}
        gatherer = Gatherer()
        gatherer.add_matrix(matrix)
        for key, samples in self._samples.items():
            low_ms, high_ms = spoken.get(key, (_END_MS, -_END_MS))
            instants = [at for at in sorted(samples) if not low_ms <= at <= high_ms]
            if instants:
                labels = {"__name__": selector.metric, **self._labels[key]}
                own = [samples[at_ms] for at_ms in instants]
                at_ms = np.array(instants, dtype=np.int64)
                gatherer.add_matrix(_classic(part, labels, at_ms, own))
        return gatherer.finish()

    def _add(
        self,
        labels: Labels,
        points: Sequence[tuple[float, HistogramJson]],
        start_ms: int,
        end_ms: int,
    ) -> None:
        bare = without_labels(labels, "__name__")
        key = frozenset(bare.items())
        self._labels.setdefault(key, bare)
        samples = self._samples.setdefault(key, {})
        for at_seconds, histogram in points:
            at_ms = round(float(at_seconds) * 1000)
            if start_ms <= at_ms < end_ms:
                samples[at_ms] = _sample(histogram)


def _bounds_of(labels: Labels) -> tuple[float, float] | None:
    if _RANGE not in labels:
        return None
    left, _, right = labels[_RANGE].partition("...")
    try:
        return float(left), float(right)
    except ValueError:
        return None


def _of_ranges(buckets: list[tuple[float, float, float]]) -> _Sample:
    bounds = np.array(buckets)
    total = float(bounds[:, 2].sum())
    # Counts and sums have classic series there, so no sum is ever read from this.
    return _Sample(total, 0.0, bounds[:, 0], bounds[:, 1], bounds[:, 2])


def _sample(histogram: HistogramJson) -> _Sample:
    buckets = histogram.get("buckets") or ()
    bounds = np.array([[float(text) for text in bucket[1:4]] for bucket in buckets]).reshape(-1, 3)
    return _Sample(
        count=float(histogram["count"]),
        sum=float(histogram["sum"]),
        left=bounds[:, 0],
        right=bounds[:, 1],
        inside=bounds[:, 2],
    )


def _classic(part: Part, labels: Labels, at_ms: Int64s, samples: list[_Sample]) -> Matrix:
    match part:
        case Part.SUM:
            return _one(labels, at_ms, np.array([sample.sum for sample in samples]))
        case Part.COUNT:
            return _one(labels, at_ms, np.array([sample.count for sample in samples]))
        case Part.BUCKET:
            return _buckets(labels, at_ms, samples)


def _one(labels: Labels, at_ms: Int64s, value: Float64s) -> Matrix:
    return Matrix([labels], np.array([0, len(at_ms)], dtype=np.int64), at_ms, value)


def _buckets(labels: Labels, at_ms: Int64s, samples: list[_Sample]) -> Matrix:
    """Return one series a bound, each with all instants."""
    bounds = _common_bounds(samples)
    up_to = np.empty((len(samples), len(bounds) + 1))
    for row, sample in enumerate(samples):
        inside = np.zeros(len(bounds) + 1)
        np.add.at(inside, np.searchsorted(bounds, sample.right), sample.inside)
        up_to[row] = np.cumsum(inside)
        # Observations that are no numbers are in no bucket, and classic ones count them here.
        up_to[row, -1] = sample.count
    texts = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    return Matrix(
        [{**labels, "le": text} for text in texts],
        np.arange(len(texts) + 1, dtype=np.int64) * len(at_ms),
        np.tile(at_ms, len(texts)),
        up_to.T.reshape(-1),
    )


def _common_bounds(samples: list[_Sample]) -> Float64s:
    """Return the finite upper bounds at which every sample's count is known.

    A histogram that outgrows its limit of buckets merges them in pairs. Bounds inside a merged one
    are left out of all samples, else a count would fall there and look like a restart.
    """
    left = np.concatenate([sample.left for sample in samples])
    right = np.concatenate([sample.right for sample in samples])
    buckets = np.unique(np.column_stack([left, right]), axis=0)
    bounds = np.unique(buckets[:, 1][np.isfinite(buckets[:, 1])])
    within = (buckets[:, :1] < bounds) & (bounds < buckets[:, 1:])
    common: Float64s = bounds[~within.any(axis=0)]
    return common


def _spans(matrix: Matrix) -> dict[frozenset[tuple[str, str]], tuple[int, int]]:
    """Return the first and last instant of each classic histogram, by its labels without bound."""
    found: dict[frozenset[tuple[str, str]], tuple[int, int]] = {}
    for labels, low_ms, high_ms in _edges(matrix):
        key = frozenset(without_labels(labels, "__name__", "le").items())
        first, last = found.get(key, (low_ms, high_ms))
        found[key] = min(first, low_ms), max(last, high_ms)
    return found


def _edges(matrix: Matrix) -> Iterator[tuple[Labels, int, int]]:
    for number, labels in enumerate(matrix.labels):
        start, end = matrix.first[number : number + 2].tolist()
        if start < end:
            yield labels, int(matrix.at_ms[start]), int(matrix.at_ms[end - 1])
