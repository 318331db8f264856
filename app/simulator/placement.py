"""Placing wishes on devices: first come, first served, never two pods on one device."""

import heapq
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from app.simulator.claims import Claim
from app.simulator.dice import dice, suffix, uid
from app.simulator.hardware import Node
from app.simulator.lifetimes import Ending, containers_of, ending_of, runs_of
from app.simulator.mode_claims import place_claims
from app.simulator.mode_units import place_units
from app.simulator.pods import Container, Outcome, Owner, Pod, Profile
from app.simulator.population import Wish, wishes
from app.simulator.spec import HOUR_MS, OPEN_MS, SECOND_MS, FleetSpec

Int64s = npt.NDArray[np.int64]

EXPORTER = "nvidia-dcgm-exporter"
EXPORTER_NAMESPACE = "gpu-operator"
MONITORING_NAMESPACE = "monitoring"


@dataclass(slots=True)
class _Board:
    """From when each device of each node is free."""

    nodes: tuple[Node, ...]
    free_ms: Int64s
    drain_ms: Int64s
    rows_of_pool: dict[str, Int64s] = field(default_factory=dict)

    def starts(self, rows: Int64s, at_ms: int) -> Int64s:
        """Return from when on each device of some nodes could be held by a pod that asks now."""
        starts = np.maximum(self.free_ms[rows], at_ms)
        for line, row in enumerate(rows):
            node = self.nodes[int(row)]
            if node.unhealthy_from_ms <= starts[line, -1] < node.unhealthy_until_ms:
                starts[line, -1] = node.unhealthy_until_ms
        starts[starts >= self.drain_ms[rows, None]] = OPEN_MS
        return starts

    def find(self, wish: Wish) -> tuple[int, tuple[int, ...], int] | None:
        """Return node row, devices and start for a wish, or None if it never fits."""
        best: tuple[int, int] | None = None
        for pool in wish.pools:
            rows = self.rows_of_pool.get(pool)
            if rows is None:
                continue
            starts = np.sort(self.starts(rows, wish.at_ms), axis=1)[:, wish.gpus - 1]
            line = int(starts.argmin())
            if best is None or starts[line] < best[0]:
                best = (int(starts[line]), int(rows[line]))
            if best[0] <= wish.at_ms:
                break
        if best is None or best[0] >= OPEN_MS:
            return None
        start, row = best
        order = np.argsort(self.starts(np.array([row]), wish.at_ms)[0], kind="stable")
        return row, tuple(sorted(int(device) for device in order[: wish.gpus])), start


@dataclass(frozen=True, slots=True)
class Placed:
    """Every pod and claim that ever exists."""

    pods: tuple[Pod, ...]
    claims: tuple[Claim, ...] = ()


def place(spec: FleetSpec, nodes: tuple[Node, ...]) -> Placed:
    """Return every pod that ever exists, system pods included, in the order of creation."""
    everyone = [*_system_pods(spec, nodes), *_whole_pods(spec, nodes)]
    claims: list[Claim] = []
    number = 0
    for node in nodes:
        if node.mode.by_claims:
            more, made = place_claims(spec, node, number)
            claims += made
        else:
            more = list(place_units(spec, node, number)) if node.layouts else []
        everyone += more
        number += len(more)
    ordered = sorted(everyone, key=lambda pod: (pod.created_ms, pod.namespace, pod.name))
    return Placed(tuple(ordered), tuple(sorted(claims, key=lambda one: (one.created_ms, one.name))))


def _whole_pods(spec: FleetSpec, all_nodes: tuple[Node, ...]) -> list[Pod]:
    """Return the pods on nodes whose devices are handed out whole."""
    nodes = tuple(node for node in all_nodes if not node.layouts)
    board = _board(nodes)
    queue = [(wish.at_ms, wish.key, wish) for wish in wishes(spec)]
    heapq.heapify(queue)
    pods: list[Pod] = []
    while queue:
        _, _, wish = heapq.heappop(queue)
        found = board.find(wish)
        pod = _pod(spec, wish, found, nodes, number=len(all_nodes) + 1 + len(pods))
        pods.append(pod)
        if found is None:
            continue
        row, devices, _ = found
        board.free_ms[row, list(devices)] = pod.finished_ms
        again = _moved(spec, wish, pod)
        if again is not None:
            heapq.heappush(queue, (again.at_ms, again.key, again))
    return pods


def _board(nodes: tuple[Node, ...]) -> _Board:
    free = np.array([[node.advertised_ms] * node.devices for node in nodes], dtype=np.int64)
    drain = np.array([node.drain_ms for node in nodes], dtype=np.int64)
    board = _Board(nodes, free, drain)
    for pool in sorted({node.shape.pool for node in nodes}):
        rows = [row for row, node in enumerate(nodes) if node.shape.pool == pool]
        board.rows_of_pool[pool] = np.array(rows, dtype=np.int64)
    return board


def _moved(spec: FleetSpec, wish: Wish, pod: Pod) -> Wish | None:
    """Return the wish for a replacement, where a drain ended a pod that should have gone on."""
    if pod.node is None or pod.delete_requested_ms == OPEN_MS:
        return None
    if pod.delete_requested_ms != pod.node.drain_ms or wish.profile is Profile.TRAINING:
        return None
    left = OPEN_MS
    if wish.holds_ms < OPEN_MS:
        left = pod.scheduled_ms + wish.holds_ms - pod.node.drain_ms
    key = f"{wish.key}/moved"
    name = wish.name
    if wish.service is not None:
        name = f"{name.rsplit('-', 1)[0]}-{suffix(spec.seed, key)}"
    return replace(wish, at_ms=pod.node.drain_ms + SECOND_MS, key=key, name=name, holds_ms=left)


def _pod(
    spec: FleetSpec,
    wish: Wish,
    found: tuple[int, tuple[int, ...], int] | None,
    nodes: tuple[Node, ...],
    *,
    number: int,
) -> Pod:
    draw = dice(spec.seed, "pod", wish.key)
    pod_uid = uid(spec.seed, "pod", wish.key)
    node, devices, scheduled = None, tuple(range(wish.gpus)), OPEN_MS
    ending = Ending()
    if found is not None:
        node, devices = nodes[found[0]], found[1]
        scheduled = max(found[2], wish.at_ms + int(draw.integers(0, 3)) * SECOND_MS)
        ending = ending_of(draw, wish, scheduled, node)
    runs = runs_of(spec, wish, pod_uid, ending)
    return Pod(
        uid=pod_uid,
        namespace=wish.namespace,
        name=wish.name,
        labels=_labels(wish),
        owner=wish.owner,
        containers=containers_of(wish),
        profile=wish.profile,
        node=node,
        devices=devices,
        created_ms=wish.at_ms,
        scheduled_ms=scheduled,
        started_ms=ending.started_ms,
        runs=runs,
        delete_requested_ms=ending.delete_requested_ms,
        grace_seconds=30,
        finished_ms=ending.finished_ms,
        removed_ms=ending.removed_ms,
        outcome=ending.outcome,
        address=_address(number),
        service=wish.service,
    )


def _address(number: int) -> str:
    return f"10.{1 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


def _labels(wish: Wish) -> tuple[tuple[str, str], ...]:
    labels = [("app.kubernetes.io/name", wish.service.name if wish.service else wish.name)]
    if wish.team:
        labels.append(("team", wish.team))
    if wish.owner is not None and wish.owner.kind == "ReplicaSet":
        labels.append(("pod-template-hash", wish.owner.name.rsplit("-", 1)[1]))
    if wish.owner is not None and wish.owner.kind == "Job":
        labels.append(("batch.kubernetes.io/job-name", wish.owner.name))
    return tuple(sorted(labels))


def _system_pods(spec: FleetSpec, nodes: tuple[Node, ...]) -> list[Pod]:
    """Return pods without GPUs: one exporter a node, and kube-state-metrics."""
    daemon = Owner(
        kind="DaemonSet",
        name=EXPORTER,
        uid=uid(spec.seed, "daemonset", EXPORTER),
        created_ms=spec.opens_ms - HOUR_MS,
    )
    pods = [
        _system_pod(
            spec,
            owner=daemon,
            namespace=EXPORTER_NAMESPACE,
            container=EXPORTER,
            name=f"{EXPORTER}-{suffix(spec.seed, EXPORTER, _exporter_key(node))}",
            node=node,
            number=number,
        )
        for number, node in enumerate(nodes)
    ]
    whole = [node for node in nodes if not node.layouts]
    home = min(whole, key=lambda node: (node.created_ms, node.number))
    kube_state = _system_pod(
        spec,
        owner=None,
        namespace=MONITORING_NAMESPACE,
        container="kube-state-metrics",
        name="kube-state-metrics-0",
        node=home,
        number=len(nodes),
    )
    return [*pods, kube_state]


def _exporter_key(node: Node) -> str:
    """Return what an exporter's name is drawn by; machines that share devices may come again."""
    return node.uid if node.layouts else node.name


def _system_pod(
    spec: FleetSpec,
    *,
    owner: Owner | None,
    namespace: str,
    container: str,
    name: str,
    node: Node,
    number: int,
) -> Pod:
    born = node.created_ms + 5 * SECOND_MS
    return Pod(
        uid=uid(spec.seed, "pod", namespace, name),
        namespace=namespace,
        name=name,
        labels=(("app.kubernetes.io/name", container),),
        owner=owner,
        containers=(Container(name=container, kind="app", image=f"{container}:1", gpus=0),),
        profile=Profile.NONE,
        node=node,
        devices=(),
        created_ms=born,
        scheduled_ms=born,
        started_ms=born + 3 * SECOND_MS,
        runs=(),
        delete_requested_ms=OPEN_MS,
        grace_seconds=30,
        finished_ms=min(OPEN_MS, node.deleted_ms),
        removed_ms=node.deleted_ms,
        outcome=Outcome.RUNNING,
        address=_address(number),
    )
