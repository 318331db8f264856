"""Step functions of time that many subjects share: prices of pools, owners of holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Step:
    """From this instant on the code counts."""

    from_ms: int
    code: int


@dataclass(frozen=True, slots=True)
class Cuts:
    """Instants strictly inside the spans of some rows, and the row of each."""

    row: Int64s
    at_ms: Int64s


class Schedules:
    """For each subject the code that counts at each instant of ``[start_ms, end_ms)``.

    ``profile[i]`` is the index of subject i's steps in ``steps``; the first step of each begins
    at ``start_ms`` and equal neighbors are united, so that a border is always a change.
    """

    def __init__(
        self, profile: Int64s, steps: Sequence[Sequence[Step]], start_ms: int, end_ms: int
    ) -> None:
        self._profile = profile
        self._origin = start_ms
        # Profiles lie behind one another on one axis, so that one sorted search serves them all.
        self._width = end_ms - start_ms + 1
        changes = [
            (number * self._width + step.from_ms - start_ms, step.code)
            for number, profile_steps in enumerate(steps)
            for index, step in enumerate(profile_steps)
            if not index or step.code != profile_steps[index - 1].code
        ]
        self._axis = np.array([place for place, _ in changes], dtype=np.int64)
        self._code = np.array([code for _, code in changes], dtype=np.int64)

    def at(self, subject: Int64s, at_ms: Int64s) -> Int64s:
        """Return the code of each subject at each instant."""
        place = self._profile[subject] * self._width + (at_ms - self._origin)
        return self._code[np.searchsorted(self._axis, place, side="right") - 1]

    def cuts(self, subject: Int64s, start_ms: Int64s, end_ms: Int64s) -> Cuts:
        """Return the changes strictly inside each subject's span; ``row`` indexes the spans."""
        base = self._profile[subject] * self._width - self._origin
        low = np.searchsorted(self._axis, base + start_ms, side="right")
        count = np.searchsorted(self._axis, base + end_ms, side="left") - low
        row = np.repeat(np.arange(len(subject), dtype=np.int64), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        place = self._axis[np.repeat(low, count) + within]
        return Cuts(row, place - base[row])
