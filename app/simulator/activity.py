"""What held devices really do: a piecewise-constant function of time for every held device."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.simulator.dice import dice
from app.simulator.pods import Pod, Profile
from app.simulator.spec import HOUR_MS, FleetSpec

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_DAY_MS = 24 * HOUR_MS
# Mean length of a piece in milliseconds: as long as a scrape or two, so that sampling has an error.
_PIECE_MS = {Profile.SERVING: 25_000, Profile.TRAINING: 50_000, Profile.NOTEBOOK: 40_000}


@dataclass(frozen=True, slots=True)
class Steps:
    """Activity in thousandths: ``level[i]`` from ``start_ms[i]`` on, 0 outside the whole span.

    ``below[i]`` is the integral up to ``start_ms[i]`` in thousandths × milliseconds.
    """

    start_ms: Int64s
    level: Int64s
    below: Int64s

    def at(self, times: Int64s) -> Int64s:
        """Return the level at each instant."""
        if not len(self.start_ms):
            return np.zeros(len(times), dtype=np.int64)
        index = np.searchsorted(self.start_ms, times, side="right") - 1
        level: Int64s = self.level[np.maximum(index, 0)]
        level[index < 0] = 0
        return level

    def integral(self, times: Int64s) -> Int64s:
        """Return the integral up to each instant, in thousandths × milliseconds."""
        if not len(self.start_ms):
            return np.zeros(len(times), dtype=np.int64)
        index = np.maximum(np.searchsorted(self.start_ms, times, side="right") - 1, 0)
        inside = np.maximum(times - self.start_ms[index], 0)
        integral: Int64s = self.below[index] + self.level[index] * inside
        return integral


class ActivityBook:
    """The activity of every (pod, ordinal of its device), made once each when asked for."""

    def __init__(self, spec: FleetSpec) -> None:
        self._spec = spec
        self._steps: dict[tuple[str, int], Steps] = {}

    def steps(self, pod: Pod, ordinal: int) -> Steps:
        """Return the activity of the pod's ``ordinal``-th device during the fleet's life."""
        key = (pod.uid, ordinal)
        if key not in self._steps:
            self._steps[key] = _draw_steps(self._spec, pod, ordinal)
        return self._steps[key]


def _draw_steps(spec: FleetSpec, pod: Pod, ordinal: int) -> Steps:
    low = max(pod.scheduled_ms, spec.opens_ms)
    high = min(pod.finished_ms, spec.closes_ms)
    if low >= high or not pod.runs:
        nothing = np.array([], dtype=np.int64)
        return Steps(nothing, nothing, nothing)
    draw = dice(spec.seed, "activity", pod.uid, str(ordinal))
    mean = _PIECE_MS[pod.profile]
    count = int((high - low) / mean * 1.5) + 8
    lengths = draw.integers(mean // 4, mean * 7 // 4, count)
    starts = low + np.concatenate([[0], np.cumsum(lengths)])
    starts = starts[starts < high].astype(np.int64)
    levels = _levels(draw, pod.profile, starts)
    if pod.node is not None and not pod.node.shape.profiling:
        levels = levels // 10 * 10  # whole percents are all that GPU_UTIL can say
    return _only_while_running(pod, starts, levels, low, high)


def _levels(draw: np.random.Generator, profile: Profile, starts: Int64s) -> Int64s:
    """Return the wanted activity of each piece in thousandths."""
    count = len(starts)
    if profile is Profile.SERVING:
        day = 0.45 + 0.3 * np.sin(starts / _DAY_MS * 2 * np.pi - 2.0)
        levels = day + draw.normal(0, 0.12, count)
    elif profile is Profile.TRAINING:
        levels = draw.normal(0.93, 0.05, count)
        levels = np.where(draw.random(count) < 0.08, draw.uniform(0, 0.3, count), levels)  # noqa: PLR2004 - share of pieces that wait for data
    else:
        levels = np.where(draw.random(count) < 0.04, draw.uniform(0.001, 0.03, count), 0.0)  # noqa: PLR2004 - share of pieces in which a cell touches the device
        levels = np.where(draw.random(count) < 0.006, draw.uniform(0.7, 1.0, count), levels)  # noqa: PLR2004 - share of pieces in which a cell computes: one in two hours
    thousandths = np.rint(np.clip(levels, 0.0, 1.0) * 1000)
    return thousandths.astype(np.int64)


def _only_while_running(pod: Pod, starts: Int64s, levels: Int64s, low: int, high: int) -> Steps:
    """Cut the pieces at starts and stops of the process; between them activity is 0."""
    up = np.array([run.serving_ms for run in pod.runs], dtype=np.int64)
    down = np.array([min(run.end_ms, high) for run in pod.runs], dtype=np.int64)
    borders = np.concatenate([starts, up, down, np.array([low, high], dtype=np.int64)])
    borders = np.unique(borders[(borders >= low) & (borders <= high)])
    piece = np.maximum(np.searchsorted(starts, borders, side="right") - 1, 0)
    run = np.searchsorted(up, borders, side="right") - 1
    running = (run >= 0) & (borders < down[np.maximum(run, 0)])
    level = np.where(running, levels[piece], 0)
    level[-1] = 0
    below = np.concatenate([[0], np.cumsum(level[:-1] * np.diff(borders))]).astype(np.int64)
    return Steps(borders, level, below)
