"""How far sampling may be off: the standard error of reading a device now and then.

A device is read once a scrape, at a phase that has nothing to do with what the device does. What
is estimated is the integral of its activity, a piecewise-constant function that the simulator
knows; the estimate lets each sample stand for the time since the one before. Had the phase been
another, the same function would have given another estimate. So the standard error is the root of
the mean squared error over all phases, taken here at evenly spread ones, with the same outages.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.simulator.activity import Steps
from app.simulator.fleet import Fleet
from app.simulator.pods import Pod
from app.simulator.scrapes import outside, scrape_attempts
from app.simulator.truth import TrueHold

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

PHASES = 24


@dataclass(frozen=True, slots=True)
class Sampled:
    """Activity of a hold between some instants, in device-milliseconds, one row an interval.

    ``estimate`` is by the scrapes that there were, ``truth`` the integral over the time that they
    speak for, ``error`` the standard error of such an estimate.
    """

    estimate: Float64s
    truth: Float64s
    error: Float64s


class Sampling:
    """Estimates of a fleet's activity by the scrapes of its exporters."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._nodes = {node.uid: node for node in fleet.nodes}
        self._read: dict[tuple[str, int, int], _Read] = {}

    def of_hold(self, hold: TrueHold, edges: Int64s) -> Sampled:
        """Return what is estimated of a hold between neighboring edges."""
        inside = np.clip(edges, hold.start_ms, hold.end_ms)
        below = {
            device: self._truth(hold.node_uid, device).until(inside) for device in hold.devices
        }
        estimate, truth, squares = (np.zeros(len(edges) - 1) for _ in range(3))
        for phase in range(PHASES):
            errors = np.zeros(len(edges) - 1)
            for device in hold.devices:
                one, other = self._reading(hold.node_uid, device, phase).between(
                    inside, below[device]
                )
                errors += one - other
                if phase == 0:
                    estimate += one
                    truth += other
            squares += errors**2
        return Sampled(estimate, truth, np.sqrt(squares / PHASES))

    def _truth(self, node_uid: str, device: int) -> "_Truth":
        return _Truth(
            tuple(
                (pod, self._fleet.activity.steps(pod, pod.devices.index(device)))
                for pod in self._fleet.pods
                if pod.node is not None and pod.node.uid == node_uid and device in pod.devices
            )
        )

    def _reading(self, node_uid: str, device: int, phase: int) -> "_Read":
        key = (node_uid, device, phase)
        if key not in self._read:
            spec, outages = self._fleet.spec, self._fleet.outages
            node = self._nodes[node_uid]
            times = scrape_attempts(spec, node.name) + phase * spec.scrape_ms // PHASES
            alive = (times >= node.advertised_ms) & (times < node.deleted_ms)
            good = outside(times, outages, node.name) & outside(times, outages, "")
            at = times[alive & good]
            low = at - 2 * spec.scrape_ms
            low[1:] = np.maximum(low[1:], at[:-1])
            truth = self._truth(node_uid, device)
            self._read[key] = _Read(at, low, truth.at(at), truth.until(low), truth.until(at))
        return self._read[key]


@dataclass(frozen=True, slots=True)
class _Truth:
    """What a device really did, whoever held it."""

    pods: tuple[tuple[Pod, Steps], ...]

    def at(self, times: Int64s) -> Float64s:
        total = np.zeros(len(times))
        for pod, steps in self.pods:
            holding = (times >= pod.scheduled_ms) & (times < pod.finished_ms)
            total += np.where(holding, steps.at(times), 0) / 1000
        return total

    def until(self, times: Int64s) -> Float64s:
        """Return the integral up to each instant, in milliseconds."""
        return sum((steps.integral(times) / 1000 for _, steps in self.pods), np.zeros(len(times)))


@dataclass(frozen=True, slots=True)
class _Read:
    """A device's scrapes at one phase: sample i speaks for ``(low[i], at[i]]``."""

    at: Int64s
    low: Int64s
    level: Float64s
    until_low: Float64s
    until_at: Float64s

    def between(self, edges: Int64s, below: Float64s) -> tuple[Float64s, Float64s]:
        """Return estimate and truth between edges, where samples speak.

        ``below`` is the integral of the truth up to each edge.
        """
        spoken = np.searchsorted(self.at, edges, side="left")
        known = np.minimum(spoken, len(self.at) - 1)
        begun = (spoken < len(self.at)) & (edges > self.low[known])
        zero = np.zeros(1)
        estimate = np.concatenate([zero, np.cumsum(self.level * (self.at - self.low))])[spoken]
        estimate += np.where(begun, self.level[known] * (edges - self.low[known]), 0.0)
        truth = np.concatenate([zero, np.cumsum(self.until_at - self.until_low)])[spoken]
        truth += np.where(begun, below - self.until_low[known], 0.0)
        return np.diff(estimate), np.diff(truth)
