"""The families of a vLLM engine (V1 names): tokens, requests, latencies, load, births."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from app.simulator.fleet import Fleet
from app.simulator.pods import Pod, Run
from app.simulator.series import (
    Float64s,
    Int64s,
    ScrapeBook,
    Series,
    between,
    constant,
    series,
)
from app.simulator.spec import OPEN_MS
from app.simulator.traffic import REASONS, Before, Requests

_TTFT = "vllm:time_to_first_token_seconds"
_E2E = "vllm:e2e_request_latency_seconds"
# Bucket bounds in seconds as vLLM has them.
_TTFT_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_E2E_BOUNDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_COUNTERS = (
    "vllm:prompt_tokens",
    "vllm:prompt_tokens_cached",
    "vllm:generation_tokens",
    "vllm:request_success",
)
# How long before its first answer an engine makes its counters, in milliseconds.
_BIRTH_LEAD_MS = 150
_PROCESS_START = "process_start_time_seconds"
VLLM_FAMILIES = (
    *(f"{name}_{part}" for name in _COUNTERS for part in ("total", "created")),
    *(f"{name}_{part}" for name in (_TTFT, _E2E) for part in ("bucket", "count", "sum", "created")),
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    _PROCESS_START,
)

_Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Pieces:
    """Values of many series of one pod, run by run; the samples of a run are shared by all."""

    at_ms: list[Int64s] = field(default_factory=list)
    values: dict[_Key, list[Float64s]] = field(default_factory=dict)

    def add(self, name: str, value: Float64s, **labels: str) -> None:
        self.values.setdefault((name, tuple(sorted(labels.items()))), []).append(value)


class VllmSeries:
    """The engines' families over the whole life of the fleet."""

    def __init__(self, fleet: Fleet, scrapes: ScrapeBook) -> None:
        self._fleet = fleet
        self._scrapes = scrapes
        self._families: dict[str, list[Series]] = {}

    def family(self, name: str) -> Iterator[Series]:
        """Yield the series of one family, pod by pod."""
        if not self._families:
            self._families = {known: [] for known in VLLM_FAMILIES}
            for copy, copy_labels in self._scrapes.copies():
                for pod in self._fleet.pods:
                    if pod.service is not None:
                        self._add_pod(pod, copy, copy_labels)
        yield from self._families[name]

    def _add_pod(self, pod: Pod, copy: int, copy_labels: dict[str, str]) -> None:
        times = self._scrapes.answered(pod.uid, pod.name, copy)
        pieces = self._pieces(pod, times)
        if not pieces.at_ms:
            return
        at_ms = np.concatenate(pieces.at_ms)
        target = {**engine_target(pod), **copy_labels}
        for (name, labels), values in pieces.values.items():
            made = series({**target, **dict(labels)}, at_ms, np.concatenate(values))
            self._families[name].append(made)

    def _pieces(self, pod: Pod, times: Int64s) -> _Pieces:
        pieces = _Pieces()
        if pod.service is None:
            return pieces
        for number, run in enumerate(pod.runs):
            at_ms = between(times, run.serving_ms, run.end_ms)
            if not len(at_ms):
                continue
            pieces.at_ms.append(at_ms)
            pieces.add(_PROCESS_START, constant(run.start_ms / 1000, at_ms))
            before = self._fleet.traffic.before(pod, number)
            for engine in range(pod.service.engines):
                sent = self._fleet.traffic.requests(pod, number, engine)
                labels = {"engine": str(engine), "model_name": pod.service.model}
                _add_counters(pieces, at_ms, run, sent, before, labels)
                _add_latencies(pieces, at_ms, run, sent, before, labels)
                _add_load(pieces, at_ms, sent, labels)
        return pieces


def engine_target(pod: Pod) -> dict[str, str]:
    """Return what Prometheus adds to every sample of an engine."""
    service = pod.service.name if pod.service else ""
    return {
        "job": f"{pod.namespace}/{service}",
        "instance": f"{pod.address}:8000",
        "endpoint": "http",
        "container": "vllm",
        "namespace": pod.namespace,
        "pod": pod.name,
    }


def _sum_at(at_ms: Int64s, instants: Int64s, weights: Int64s) -> Float64s:
    """Return at each scrape the sum of the weights whose instants have come."""
    slot = np.searchsorted(at_ms, instants, side="left")
    sums = np.bincount(slot, weights=weights.astype(np.float64), minlength=len(at_ms) + 1)
    return np.cumsum(sums[: len(at_ms)])


def _add_counters(
    pieces: _Pieces,
    at_ms: Int64s,
    run: Run,
    sent: Requests,
    before: Before,
    labels: dict[str, str],
) -> None:
    one = np.ones(len(sent.first_ms), dtype=np.int64)
    rest = np.where(sent.first_ms <= sent.finish_ms, sent.generation_tokens - 1, 0)
    prompt = before.prompt_tokens + _sum_at(at_ms, sent.first_ms, sent.prompt_tokens)
    cached = before.cached_tokens + _sum_at(at_ms, sent.first_ms, sent.cached_tokens)
    generation = before.generation_tokens + _sum_at(at_ms, sent.first_ms, one)
    generation = generation + _sum_at(at_ms, sent.finish_ms, rest)
    for name, value in zip(_COUNTERS, (prompt, cached, generation), strict=False):
        pieces.add(f"{name}_total", value, **labels)
    for number, reason in enumerate(REASONS):
        counted = _sum_at(at_ms, sent.finish_ms, (sent.reason == number).astype(np.int64))
        earlier = before.requests if reason == "stop" else 0
        outcome = {**labels, "finished_reason": reason}
        pieces.add("vllm:request_success_total", earlier + counted, **outcome)
        pieces.add("vllm:request_success_created", _birth(run, at_ms), **outcome)
    for name in _COUNTERS[:3]:
        pieces.add(f"{name}_created", _birth(run, at_ms), **labels)


def _birth(run: Run, at_ms: Int64s) -> Float64s:
    """Return when the engine made its counters: after the process began, before it answered."""
    return constant(max(run.start_ms + 1, run.serving_ms - _BIRTH_LEAD_MS) / 1000, at_ms)


def _add_latencies(
    pieces: _Pieces,
    at_ms: Int64s,
    run: Run,
    sent: Requests,
    before: Before,
    labels: dict[str, str],
) -> None:
    finished = np.where(sent.first_ms < OPEN_MS, sent.finish_ms, OPEN_MS)
    for name, bounds, instants in (
        (_TTFT, _TTFT_BOUNDS, sent.first_ms),
        (_E2E, _E2E_BOUNDS, finished),
    ):
        took = np.where(instants < OPEN_MS, instants - sent.arrive_ms, 0)
        # Milliseconds on both sides: a latency equal to a bound belongs to its bucket.
        bucket = np.searchsorted(np.array(bounds) * 1000, took, side="left")
        slot = np.searchsorted(at_ms, instants, side="left")
        table = np.zeros((len(at_ms) + 1, len(bounds) + 1))
        np.add.at(table, (slot, bucket), 1)
        counts = table[:-1].cumsum(axis=0).cumsum(axis=1)
        for column, bound in enumerate([*map(str, bounds), "+Inf"]):
            earlier = before.requests * (column + 1) // (len(bounds) + 1)
            pieces.add(f"{name}_bucket", earlier + counts[:, column], **labels, le=bound)
        pieces.add(f"{name}_count", before.requests + counts[:, -1], **labels)
        pieces.add(f"{name}_sum", _sum_at(at_ms, instants, took) / 1000, **labels)
        pieces.add(f"{name}_created", _birth(run, at_ms), **labels)


def _add_load(pieces: _Pieces, at_ms: Int64s, sent: Requests, labels: dict[str, str]) -> None:
    """Count requests between arrival and start as waiting, between start and finish as running."""
    one = np.ones(len(sent.arrive_ms), dtype=np.int64)
    arrived = _sum_at(at_ms, sent.arrive_ms, one)
    started = _sum_at(at_ms, sent.start_ms, one)
    pieces.add("vllm:num_requests_waiting", arrived - started, **labels)
    finished = _sum_at(at_ms, sent.finish_ms, one)
    pieces.add("vllm:num_requests_running", started - finished, **labels)
