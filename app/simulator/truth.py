"""What is true of a simulated fleet: who held what, how active it was, what it served and cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from app.simulator.activity import ActivityBook
from app.simulator.claims import Claim
from app.simulator.hardware import Node
from app.simulator.layouts import Part
from app.simulator.modes import Mode
from app.simulator.pods import Pod
from app.simulator.spec import HOUR_MS, FleetSpec
from app.simulator.traffic import REASONS, Requests, TrafficBook

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueHold:
    """A pod that held devices in ``[start_ms, end_ms)``; end_ms is OPEN_MS while it goes on.

    ``parts`` say how much of which device it was, span by span. ``resource`` is empty where no
    container requested it: by fractions in annotations, and by claims. What a claim held while
    nobody used it has the claim in the place of a pod.
    """

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
    parts: tuple[Part, ...]
    mode: Mode = Mode.WHOLE

    def inside(self, start_ms: int, end_ms: int) -> Fraction:
        """Return the device-milliseconds held inside a span, by the larger slices."""
        return sum((part.inside(start_ms, end_ms) for part in self.parts), Fraction(0))

    def pieces(self) -> tuple["Piece", ...]:
        """Return what was held of all devices together, in spans in which that was constant."""
        edges = sorted({at for part in self.parts for at in (part.start_ms, part.end_ms)})
        pieces: list[Piece] = []
        for start, end in pairwise(edges):
            there = [part for part in self.parts if part.start_ms <= start < part.end_ms]
            piece = Piece(
                start_ms=start,
                end_ms=end,
                share=sum((part.share for part in there), Fraction(0)),
                compute=sum((part.compute for part in there), Fraction(0)),
                slots=sum(part.slots for part in there),
            )
            if pieces and pieces[-1].end_ms == start and pieces[-1].same_as(piece):
                piece = replace(piece, start_ms=pieces.pop().start_ms)
            if piece.share:
                pieces.append(piece)
        return tuple(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A span in which a hold was ``share`` devices; ``slots`` as in `Part`."""

    start_ms: int
    end_ms: int
    share: Fraction
    compute: Fraction
    slots: int

    def same_as(self, other: "Piece") -> bool:
        """Say whether another one is as much."""
        own = (self.share, self.compute, self.slots)
        return own == (other.share, other.compute, other.slots)


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
        claims: tuple[Claim, ...] = (),
    ) -> None:
        self._spec = spec
        self._activity = activity
        self._traffic = traffic
        self.nodes = nodes
        self.pods = pods
        self.claims = claims
        self.holds = (
            *(_hold(pod) for pod in pods if pod.placed() and pod.devices and _holds(pod)),
            *(hold for hold in map(_idle_claim, claims) if hold.parts),
        )
        self._pod_of = {pod.uid: pod for pod in pods}

    def pod(self, pod_uid: str) -> Pod:
        """Return the pod with a UID."""
        return self._pod_of[pod_uid]

    def held_ms(self, start_ms: int, end_ms: int) -> dict[str, Fraction]:
        """Return device-milliseconds held by each pod UID that held any."""
        held = ((hold.pod_uid, hold.inside(start_ms, end_ms)) for hold in self.holds)
        return {pod_uid: ms for pod_uid, ms in held if ms}

    def capacity_ms(self, start_ms: int, end_ms: int) -> dict[str, int]:
        """Return the device-milliseconds of each node name while the node existed."""
        capacity: dict[str, int] = {}
        for node in self.nodes:
            lives = max(0, min(node.deleted_ms, end_ms) - max(node.created_ms, start_ms))
            capacity[node.name] = capacity.get(node.name, 0) + node.devices * lives
        return capacity

    def active_ms(self, pod_uid: str, start_ms: int, end_ms: int) -> Fraction:
        """Return the exact active device-milliseconds of a pod inside a span.

        On a shared device a pod's activity is that of its share: half of a device that was busy
        for an hour was active for half an hour. What only a claim holds is never active.
        """
        pod = self._pod_of.get(pod_uid)
        if pod is None:
            return Fraction(0)
        if pod.parts:
            return self._shared_active_ms(pod, start_ms, end_ms)
        edges = np.array([start_ms, end_ms], dtype=np.int64)
        total = 0
        for ordinal in range(len(pod.devices)):
            below = self._activity.steps(pod, ordinal).integral(edges)
            total += int(below[1] - below[0])
        return Fraction(total, 1000)

    def _shared_active_ms(self, pod: Pod, start_ms: int, end_ms: int) -> Fraction:
        total = Fraction(0)
        for part in pod.parts:
            low, high = max(part.start_ms, start_ms), min(part.end_ms, end_ms)
            if low < high:
                steps = self._activity.steps(pod, pod.devices.index(part.device))
                below = steps.integral(np.array([low, high], dtype=np.int64))
                total += part.share * int(below[1] - below[0]) / 1000
        return total

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
                costs[hold.pod_uid] = costs.get(hold.pod_uid, Fraction(0)) + total
        return costs


def _holds(pod: Pod) -> bool:
    """Say whether a pod with devices holds any: not one that reserves them, or only looks."""
    assert pod.node is not None
    return not pod.reserves and (not pod.node.layouts or bool(pod.parts))


def _hold(pod: Pod) -> TrueHold:
    assert pod.node is not None
    top = pod.owner.top() if pod.owner else None
    whole = tuple(
        Part(
            start_ms=pod.scheduled_ms,
            end_ms=pod.finished_ms,
            device=device,
            share=Fraction(1),
            compute=Fraction(1),
        )
        for device in pod.devices
    )
    return TrueHold(
        pod_uid=pod.uid,
        namespace=pod.namespace,
        pod=pod.name,
        node_uid=pod.node.uid,
        node=pod.node.name,
        gpu_model=pod.node.shape.product,
        resource=pod.resource(),
        devices=pod.devices,
        device_uuids=tuple(pod.node.uuids[device] for device in pod.devices),
        workload_kind=top.kind if top else "Pod",
        workload_name=top.name if top else pod.name,
        start_ms=pod.scheduled_ms,
        end_ms=pod.finished_ms,
        parts=pod.parts or whole,
        mode=pod.node.mode,
    )


def _idle_claim(claim: Claim) -> TrueHold:
    """Return what a claim held while no pod used it."""
    devices = tuple(sorted({result.device for result in claim.results}))
    parts = claim.parts("")
    return TrueHold(
        pod_uid=claim.uid,
        namespace=claim.namespace,
        pod=claim.name,
        node_uid=claim.node.uid,
        node=claim.node.name,
        gpu_model=claim.node.shape.product,
        resource="",
        devices=devices,
        device_uuids=tuple(claim.node.uuids[device] for device in devices),
        workload_kind="ResourceClaim",
        workload_name=claim.name,
        start_ms=min((part.start_ms for part in parts), default=claim.created_ms),
        end_ms=max((part.end_ms for part in parts), default=claim.created_ms),
        parts=parts,
        mode=claim.node.mode,
    )
