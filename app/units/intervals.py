"""Sets of half-open integer spans ``[start, end)``, as sorted columns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spans:
    """Disjoint, sorted, non-touching half-open spans; build one with `spans_of`."""

    start: Int64s
    end: Int64s

    def clip(self, start: int, end: int) -> "Spans":
        """Return the part inside ``[start, end)``."""
        low, high = np.maximum(self.start, start), np.minimum(self.end, end)
        keep = low < high
        return Spans(low[keep], high[keep])

    def gaps(self, start: int, end: int) -> "Spans":
        """Return the part of ``[start, end)`` that no span covers."""
        inside = self.clip(start, end)
        low = np.concatenate([np.array([start], dtype=np.int64), inside.end])
        high = np.concatenate([inside.start, np.array([end], dtype=np.int64)])
        keep = low < high
        return Spans(low[keep], high[keep])

    def union(self, other: "Spans") -> "Spans":
        """Return what either covers."""
        return spans_of(
            np.concatenate([self.start, other.start]), np.concatenate([self.end, other.end])
        )

    def length(self) -> int:
        """Return the total length."""
        return int((self.end - self.start).sum())

    def covers(self, points: Int64s) -> npt.NDArray[np.bool_]:
        """Say for each point whether a span contains it."""
        if not len(self.start):
            return np.zeros(len(points), dtype=bool)
        index = np.searchsorted(self.start, points, side="right") - 1
        return (index >= 0) & (points < self.end[np.maximum(index, 0)])


def spans_of(start: Int64s, end: Int64s) -> Spans:
    """Unite any spans, overlapping or touching or empty, into `Spans`."""
    keep = start < end
    low, high = start[keep], end[keep]
    order = np.argsort(low, kind="stable")
    low, high = low[order], high[order]
    if not len(low):
        return Spans(low.astype(np.int64), high.astype(np.int64))
    reach = np.maximum.accumulate(high)
    fresh = np.concatenate([[True], low[1:] > reach[:-1]])
    firsts = np.flatnonzero(fresh)
    lasts = np.concatenate([firsts[1:], [len(low)]]) - 1
    return Spans(low[firsts].astype(np.int64), reach[lasts].astype(np.int64))
