"""The requests that serving pods answer, one by one, and when each moved the counters."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.simulator.dice import dice
from app.simulator.pods import Pod, Run
from app.simulator.spec import HOUR_MS, OPEN_MS, FleetSpec

Int64s = npt.NDArray[np.int64]

_DAY_MS = 24 * HOUR_MS
REASONS = ("stop", "length", "abort", "error")
_ABORT = REASONS.index("abort")
_REASON_SHARES = (0.86, 0.10, 0.03, 0.01)
# An engine that comes up or crowds makes a request wait before it is scheduled.
_MEAN_WAIT_MS = 40


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one engine in one run, by arrival; instants that never came are OPEN_MS.

    ``first_ms`` moves the prompt and cached counters by the whole prompt and the generation counter
    by one token; ``finish_ms`` moves it by the rest, and the request counter of ``reason`` by one.
    A process that dies takes its unfinished requests along: they count no further.
    """

    arrive_ms: Int64s
    start_ms: Int64s
    first_ms: Int64s
    finish_ms: Int64s
    prompt_tokens: Int64s
    cached_tokens: Int64s
    generation_tokens: Int64s
    reason: Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a run had already counted when the fleet's simulated life began."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generation_tokens: int = 0


class TrafficBook:
    """The requests of every (pod, run, engine), made once each when asked for."""

    def __init__(self, spec: FleetSpec) -> None:
        self._spec = spec
        self._requests: dict[tuple[str, int, int], Requests] = {}

    def requests(self, pod: Pod, run: int, engine: int) -> Requests:
        """Return the requests of one engine in the pod's ``run``-th run."""
        key = (pod.uid, run, engine)
        if key not in self._requests:
            self._requests[key] = _draw_requests(self._spec, pod, run, engine)
        return self._requests[key]

    def before(self, pod: Pod, run: int) -> Before:
        """Return what one engine of the run had counted before the fleet's life began."""
        service, life = pod.service, pod.runs[run]
        if service is None or life.serving_ms >= self._spec.opens_ms:
            return Before()
        seconds = (self._spec.opens_ms - life.serving_ms) / 1000
        count = int(seconds * self._spec.requests_per_second / service.engines)
        return Before(
            requests=count,
            prompt_tokens=count * service.prompt_tokens,
            cached_tokens=count * service.prompt_tokens // 5,
            generation_tokens=count * service.generation_tokens,
        )


def _draw_requests(spec: FleetSpec, pod: Pod, number: int, engine: int) -> Requests:
    service, run = pod.service, pod.runs[number]
    draw = dice(spec.seed, "traffic", pod.uid, str(number), str(engine))
    arrive = _arrivals(spec, draw, pod, run)
    count = len(arrive)
    prompt_mean = service.prompt_tokens if service else 1
    generation_mean = service.generation_tokens if service else 1
    # A log-normal with sigma 0.7 has a mean of 1.28 times its median.
    prompt = np.ceil(draw.lognormal(0, 0.7, count) / 1.28 * prompt_mean).astype(np.int64)
    cached = np.floor(prompt * draw.choice([0.0, 0.0, 0.3, 0.7], count)).astype(np.int64)
    generation = np.ceil(draw.lognormal(0, 0.7, count) / 1.28 * generation_mean).astype(np.int64)
    reason = draw.choice(len(REASONS), count, p=_REASON_SHARES).astype(np.int64)
    start = arrive + draw.exponential(_MEAN_WAIT_MS, count).astype(np.int64)
    first = (
        start + 20 + np.rint((prompt - cached) * draw.lognormal(-2.2, 0.4, count)).astype(np.int64)
    )
    finish = first + np.rint(generation * draw.lognormal(2.6, 0.25, count)).astype(np.int64)
    # Half of the aborted requests leave before their first token.
    early = (reason == _ABORT) & (draw.random(count) < 0.5)  # noqa: PLR2004 - one half
    finish = np.where(early, start + (first - start) // 2, finish)
    first = np.where(early | (first >= run.end_ms), OPEN_MS, first)
    finish = np.where(finish >= run.end_ms, OPEN_MS, finish)
    return Requests(
        arrive_ms=arrive,
        start_ms=start,
        first_ms=first,
        finish_ms=finish,
        prompt_tokens=prompt,
        cached_tokens=cached,
        generation_tokens=generation,
        reason=reason,
    )


def _arrivals(spec: FleetSpec, draw: np.random.Generator, pod: Pod, run: Run) -> Int64s:
    """Return arrivals of a Poisson process whose rate follows the day, thinned from its peak."""
    low = max(run.serving_ms, spec.opens_ms)
    high = min(run.end_ms, spec.closes_ms)
    if low >= high or pod.service is None:
        return np.array([], dtype=np.int64)
    swing = 0.6
    peak = spec.requests_per_second * (1 + swing) / pod.service.engines
    count = int(draw.poisson(peak * (high - low) / 1000))
    times = np.sort(draw.integers(low, high, count))
    rate = (1 + swing * np.sin(times / _DAY_MS * 2 * np.pi - 2.0)) / (1 + swing)
    return times[draw.random(count) < rate].astype(np.int64)
