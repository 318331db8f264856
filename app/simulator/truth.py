"""What is true of a simulated fleet: who held what, how active it was, what it served and cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from app.simulator.activity import ActivityBook
from app.simulator.hardware import Node
from app.simulator.pods import GPU_RESOURCE, Pod
from app.simulator.spec import HOUR_MS, FleetSpec
from app.simulator.traffic import REASONS, Requests, TrafficBook

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueHold:
    """A pod that held devices in ``[start_ms, end_ms)``; end_ms is OPEN_MS while it goes on."""

    pod_uid: str
    namespace: str
    pod: str
    node_uid: str
    node: str
    gpu_model: str
    resource: str
    devices: tuple[int, ...]
    device_uuids: tuple[str, ...]
    workload_kind: str
    workload_name: str
    start_ms: int
    end_ms: int

    def inside(self, start_ms: int, end_ms: int) -> int:
        """Return the device-milliseconds held inside a span."""
        return len(self.devices) * max(0, min(self.end_ms, end_ms) - max(self.start_ms, start_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A process stopped at ``down_ms``; its successor counts from 0 since ``up_ms``."""

    pod_uid: str
    namespace: str
    pod: str
    down_ms: int
    up_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one pod counted inside a span; ``requests`` is by finished reason."""

    prompt_tokens: int
    cached_prompt_tokens: int
    generation_tokens: int
    requests: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSpan:
    """A price per GPU and hour of one node in ``[start_ms, end_ms)``."""

    start_ms: int
    end_ms: int
    gpu_hour: Decimal


class Truth:
    """Answers about spans ``[start_ms, end_ms)`` inside the fleet's simulated life."""

    def __init__(
        self,
        spec: FleetSpec,
        nodes: tuple[Node, ...],
        pods: tuple[Pod, ...],
        activity: ActivityBook,
        traffic: TrafficBook,
    ) -> None:
        self._spec = spec
        self._activity = activity
        self._traffic = traffic
        self.nodes = nodes
        self.pods = pods
        self.holds = tuple(_hold(pod) for pod in pods if pod.placed() and pod.devices)
        self._pod_of = {pod.uid: pod for pod in pods}

    def pod(self, pod_uid: str) -> Pod:
        """Return the pod with a UID."""
        return self._pod_of[pod_uid]

    def held_ms(self, start_ms: int, end_ms: int) -> dict[str, int]:
        """Return device-milliseconds held by each pod UID that held any."""
        held = ((hold.pod_uid, hold.inside(start_ms, end_ms)) for hold in self.holds)
        return {pod_uid: ms for pod_uid, ms in held if ms}

    def capacity_ms(self, start_ms: int, end_ms: int) -> dict[str, int]:
        """Return the device-milliseconds of each node name while the node existed."""
        return {
            node.name: node.devices
            * max(0, min(node.deleted_ms, end_ms) - max(node.created_ms, start_ms))
            for node in self.nodes
        }

    def active_ms(self, pod_uid: str, start_ms: int, end_ms: int) -> Fraction:
        """Return the exact active device-milliseconds of a pod inside a span."""
        pod = self._pod_of[pod_uid]
        edges = np.array([start_ms, end_ms], dtype=np.int64)
        total = 0
        for ordinal in range(len(pod.devices)):
            below = self._activity.steps(pod, ordinal).integral(edges)
            total += int(below[1] - below[0])
        return Fraction(total, 1000)

    def served(self, pod_uid: str, start_ms: int, end_ms: int) -> Served:
        """Return what a pod's counters moved inside a span, seen by a scrape or not."""
        prompt = cached = generation = 0
        finished = np.zeros(len(REASONS), dtype=np.int64)
        for _, _, sent in self.requests(pod_uid):
            first = (sent.first_ms >= start_ms) & (sent.first_ms < end_ms)
            done = (sent.finish_ms >= start_ms) & (sent.finish_ms < end_ms)
            prompt += int(sent.prompt_tokens[first].sum())
            cached += int(sent.cached_tokens[first].sum())
            produced = done & (sent.first_ms <= sent.finish_ms)
            generation += int(first.sum()) + int((sent.generation_tokens[produced] - 1).sum())
            finished += np.bincount(sent.reason[done], minlength=len(REASONS))
        return Served(
            prompt_tokens=prompt,
            cached_prompt_tokens=cached,
            generation_tokens=generation,
            requests=tuple(zip(REASONS, finished.tolist(), strict=True)),
        )

    def requests(self, pod_uid: str) -> Iterator[tuple[int, int, Requests]]:
        """Yield (run, engine, requests) of a serving pod."""
        pod = self._pod_of[pod_uid]
        if pod.service is None:
            return
        for run in range(len(pod.runs)):
            for engine in range(pod.service.engines):
                yield run, engine, self._traffic.requests(pod, run, engine)

    def restarts(self) -> tuple[Restart, ...]:
        """Return the restarts inside the fleet's life, in the order of pods and time."""
        return tuple(
            Restart(
                pod_uid=pod.uid,
                namespace=pod.namespace,
                pod=pod.name,
                down_ms=earlier.end_ms,
                up_ms=later.serving_ms,
            )
            for pod in self.pods
            for earlier, later in zip(pod.runs, pod.runs[1:], strict=False)
        )

    def true_cost(
        self, prices: Mapping[str, Sequence[PriceSpan]], start_ms: int, end_ms: int
    ) -> dict[str, Fraction]:
        """Return each pod UID's exact cost by its node's prices; unpriced time costs nothing."""
        costs: dict[str, Fraction] = {}
        for hold in self.holds:
            total = Fraction(0)
            for price in prices.get(hold.node, ()):
                inside = hold.inside(max(start_ms, price.start_ms), min(end_ms, price.end_ms))
                total += Fraction(price.gpu_hour) * inside / HOUR_MS
            if total:
                costs[hold.pod_uid] = total
        return costs


def _hold(pod: Pod) -> TrueHold:
    assert pod.node is not None
    top = pod.owner.top() if pod.owner else None
    return TrueHold(
        pod_uid=pod.uid,
        namespace=pod.namespace,
        pod=pod.name,
        node_uid=pod.node.uid,
        node=pod.node.name,
        gpu_model=pod.node.shape.product,
        resource=GPU_RESOURCE,
        devices=pod.devices,
        device_uuids=tuple(pod.node.uuids[device] for device in pod.devices),
        workload_kind=top.kind if top else "Pod",
        workload_name=top.name if top else pod.name,
        start_ms=pod.scheduled_ms,
        end_ms=pod.finished_ms,
    )
