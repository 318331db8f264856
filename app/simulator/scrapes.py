"""When targets are scraped: phase, jitter, outages; and when they answer."""

import numpy as np
import numpy.typing as npt

from app.simulator.dice import dice
from app.simulator.spec import MINUTE_MS, FleetSpec, Outage

Int64s = npt.NDArray[np.int64]

KUBE_STATE_METRICS = "kube-state-metrics"


def scrape_attempts(spec: FleetSpec, target: str, copy: int = 0) -> Int64s:
    """Return the instants at which Prometheus (its ``copy``-th replica) scrapes a target.

    Every target has a phase of its own inside the interval, and every scrape a jitter.
    """
    draw = dice(spec.seed, "scrape", target, str(copy))
    first = spec.opens_ms + int(draw.integers(0, spec.scrape_ms))
    nominal = np.arange(first, spec.closes_ms, spec.scrape_ms, dtype=np.int64)
    jitter = draw.integers(-spec.jitter_ms, spec.jitter_ms + 1, len(nominal))
    return nominal + jitter


def draw_outages(spec: FleetSpec, targets: tuple[str, ...]) -> tuple[Outage, ...]:
    """Return the outages of the fleet: the given ones, else some by the seed."""
    if spec.outages is not None:
        return spec.outages
    draw = dice(spec.seed, "outages")
    length = spec.end_ms - spec.start_ms
    names = [""] * spec.prometheus_outages
    if targets:
        picks = draw.integers(0, len(targets), spec.target_outages)
        names += [targets[int(pick)] for pick in picks]
    outages = []
    for name in names:
        start = spec.start_ms + int(length * draw.uniform(0.05, 0.9))
        lasts = int(min(draw.uniform(2, 9) * MINUTE_MS, length / 6))
        outages.append(Outage(start_ms=start, end_ms=start + lasts, target=name))
    return tuple(outages)


def outside(times: Int64s, outages: tuple[Outage, ...], target: str) -> npt.NDArray[np.bool_]:
    """Say which instants lie in no outage of ``target``."""
    good = np.ones(len(times), dtype=bool)
    for outage in outages:
        if outage.target == target:
            good &= (times < outage.start_ms) | (times >= outage.end_ms)
    return good
