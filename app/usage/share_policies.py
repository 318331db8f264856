"""The dated policies of shares: what a MIG instance and a time-slicing slot are of a device."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class MigSharePolicy(StrEnum):
    """What a MIG instance is of its device: the larger of compute and memory slices, or compute."""

    MAX = "max"
    COMPUTE = "compute"


class TimeSlicingPolicy(StrEnum):
    """What one sharer of a time-sliced device holds: its slots, or its part of what is in use."""

    SLOTS = "slots"
    PRESENT = "present"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePolicy:
    """What counts from an instant until the next policy's, or for ever."""

    from_ms: int = 0
    mig_share: MigSharePolicy = MigSharePolicy.MAX
    time_slicing: TimeSlicingPolicy = TimeSlicingPolicy.SLOTS

    def same_rules(self, other: "SharePolicy") -> bool:
        """Say whether both give every hold the same."""
        return (self.mig_share, self.time_slicing) == (other.mig_share, other.time_slicing)


class ShareSchedule:
    """Which policy counts at each instant of ``[start_ms, end_ms)``; neighbors differ.

    ``compute`` and ``present`` say whether those rules count at any instant of the span.
    """

    def __init__(self, policies: Sequence[SharePolicy], start_ms: int, end_ms: int) -> None:
        """Take policies in the order of their instants; before the first the default counts."""
        steps = [SharePolicy()]
        for one in policies:
            if one.from_ms <= start_ms:
                steps = [one]
            elif one.from_ms < end_ms and not one.same_rules(steps[-1]):
                steps.append(one)
        self._from = np.array([one.from_ms for one in steps[1:]], dtype=np.int64)
        self._compute = np.array([one.mig_share is MigSharePolicy.COMPUTE for one in steps])
        self._present = np.array([one.time_slicing is TimeSlicingPolicy.PRESENT for one in steps])
        self.compute = bool(self._compute.any())
        self.present = bool(self._present.any())

    def compute_at(self, at_ms: Int64s) -> Bools:
        """Say for each instant whether an instance holds its compute slices."""
        return np.asarray(self._compute[np.searchsorted(self._from, at_ms, side="right")])

    def present_at(self, at_ms: Int64s) -> Bools:
        """Say for each instant whether sharers hold their part of the devices in use."""
        return np.asarray(self._present[np.searchsorted(self._from, at_ms, side="right")])

    def default_at(self, at_ms: Int64s) -> Bools:
        """Say for each instant whether facts are right as they are."""
        return ~self.compute_at(at_ms) & ~self.present_at(at_ms)

    def cuts(self, start_ms: Int64s, end_ms: Int64s) -> tuple[Int64s, Int64s]:
        """Return the changes strictly inside spans, in order: the span and the instant of each."""
        low = np.searchsorted(self._from, start_ms, side="right")
        count = np.maximum(np.searchsorted(self._from, end_ms, side="left") - low, 0)
        row = np.repeat(np.arange(len(start_ms), dtype=np.int64), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return row, self._from[np.repeat(low, count) + within]
