"""What the devices of shared nodes do, as one exporter sees them scrape by scrape."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.simulator.fleet import Fleet
from app.simulator.hardware import Node
from app.simulator.layouts import Part
from app.simulator.modes import MIG_PROFILES, Mode
from app.simulator.pods import Pod, Profile
from app.simulator.series import Float64s, Int64s, ScrapeBook

_MEMORY_SHARE = {Profile.SERVING: 0.92, Profile.TRAINING: 0.75, Profile.NOTEBOOK: 0.35}
_CONTEXT_MIB = 4.0
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shown:
    """One series of each family: a device, an instance, or a sharer's copy, where ``seen``.

    ``level`` is its activity in thousandths, ``memory_mib`` what is used of ``size_mib``.
    """

    labels: dict[str, str]
    pod: Pod | None
    seen: Mask
    level: Float64s
    memory_mib: Float64s
    size_mib: float
    instance: bool = False


@dataclass(frozen=True, slots=True)
class SharedTrack:
    """A shared device at each scrape: the whole device's activity, its integral, and its series."""

    node: Node
    device: int
    copy_labels: dict[str, str]
    at_ms: Int64s
    level: Float64s
    integral: Float64s
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class _Use:
    """A pod's part of a device, at each scrape in which it has it."""

    pod: Pod
    part: Part
    seen: Mask
    level: Float64s
    memory_mib: Float64s


def shared_tracks(fleet: Fleet, scrapes: ScrapeBook, nodes: list[Node]) -> Iterator[SharedTrack]:
    """Yield every device of some nodes, as each Prometheus replica saw it."""
    by_node: dict[str, list[Pod]] = {node.uid: [] for node in nodes}
    for pod in fleet.pods:
        if pod.node is not None and pod.node.uid in by_node and pod.placed() and pod.devices:
            by_node[pod.node.uid].append(pod)
    for copy, copy_labels in scrapes.copies():
        for node in nodes:
            times = scrapes.answered(node.name, node.name, copy)
            alive = times[(times >= node.advertised_ms) & (times < node.deleted_ms)]
            for device in range(node.devices):
                there = _there(node, device, alive)
                pods = [pod for pod in by_node[node.uid] if device in pod.devices]
                yield _track(fleet, node, device, pods, there, copy_labels)


def _there(node: Node, device: int, times: Int64s) -> Int64s:
    kept = np.zeros(len(times), dtype=bool)
    for layout in node.layouts:
        if device in layout.devices:
            kept |= (times >= layout.start_ms) & (times < layout.end_ms)
    return times[kept]


def _track(
    fleet: Fleet,
    node: Node,
    device: int,
    pods: list[Pod],
    times: Int64s,
    copy_labels: dict[str, str],
) -> SharedTrack:
    uses = [
        _use(fleet, node, pod, part, times)
        for pod in pods
        for part in pod.parts
        if part.device == device
    ]
    level = np.zeros(len(times), dtype=np.float64)
    integral = np.zeros(len(times), dtype=np.float64)
    for use in uses:
        share = float(use.part.share)
        level += share * use.level
        steps = fleet.activity.steps(use.pod, use.pod.devices.index(device))
        held = np.clip(times, use.part.start_ms, use.part.end_ms)
        begun = np.array([use.part.start_ms], dtype=np.int64)
        integral += share * (steps.integral(held) - steps.integral(begun)[0])
    level = np.minimum(np.rint(level), 1_000)
    memory = np.full(len(times), _CONTEXT_MIB)
    for use in uses:
        memory += use.memory_mib
    whole = Shown({}, None, np.ones(len(times), dtype=bool), level, memory, node.shape.memory_mib)
    shown = tuple(_shown(fleet, node, device, pods, uses, whole, times))
    return SharedTrack(node, device, copy_labels, times, level, np.floor(integral), shown)


def _use(fleet: Fleet, node: Node, pod: Pod, part: Part, times: Int64s) -> _Use:
    seen = (times >= part.start_ms) & (times < part.end_ms)
    steps = fleet.activity.steps(pod, pod.devices.index(part.device))
    level = np.where(seen, steps.at(times), 0).astype(np.float64)
    running = np.zeros(len(times), dtype=bool)
    for run in pod.runs:
        running |= (times >= run.start_ms) & (times < run.end_ms)
    used = float(part.share) * node.shape.memory_mib * _MEMORY_SHARE.get(pod.profile, 0.0)
    return _Use(pod, part, seen, level, np.where(seen & running, np.rint(used), 0.0))


def _shown(
    fleet: Fleet,
    node: Node,
    device: int,
    pods: list[Pod],
    uses: list[_Use],
    whole: Shown,
    times: Int64s,
) -> Iterator[Shown]:
    """Yield the series by which the mode's exporter shows a device."""
    match node.mode:
        case Mode.MIG_SINGLE | Mode.MIG_MIXED:
            yield from _instances(node, device, uses, times)
        case Mode.DRA_PARTITIONS:
            yield from _partitions(uses, whole, times)
        case Mode.AMD_CPX:
            yield from _compute_partitions(uses, whole)
        case Mode.TIME_SLICING | Mode.MPS if fleet.spec.virtual_gpus:
            yield from _copies(uses, whole)
        case Mode.TIME_SLICING | Mode.MPS:
            yield from _flipping(uses, whole)
        case Mode.DRA | Mode.DRA_CAPACITY:
            yield from _copies(uses, whole, virtual=False)
        case Mode.KAI:
            yield from _reserved(pods, whole, times)
        case Mode.AMD | Mode.INTEL:
            yield from _copies(uses, whole, virtual=False)
        case _:
            yield whole


def _instances(node: Node, device: int, uses: list[_Use], times: Int64s) -> Iterator[Shown]:
    """Yield the instances of each layout; those nobody holds do nothing."""
    for layout in node.layouts:
        there = (times >= layout.start_ms) & (times < layout.end_ms)
        for unit in layout.made:
            if unit.device != device:
                continue
            labels = {"GPU_I_ID": str(unit.slot + 1), "GPU_I_PROFILE": unit.profile}
            size = node.shape.memory_mib * MIG_PROFILES[unit.profile].memory // 8
            free = there.copy()
            for use in uses:
                mine = there & use.seen
                if _holds(use, unit.slot) and mine.any():
                    free &= ~mine
                    one = Shown(
                        labels, use.pod, mine, use.level, use.memory_mib, size, instance=True
                    )
                    yield one
            idle = np.zeros(len(times))
            yield Shown(labels, None, free, idle, idle + _CONTEXT_MIB, size, instance=True)


def _holds(use: _Use, slot: int) -> bool:
    return use.part.instance - 1 == slot


def _partitions(uses: list[_Use], whole: Shown, times: Int64s) -> Iterator[Shown]:
    """Yield instances as they were made on demand; a device without any shows itself."""
    free = np.ones(len(times), dtype=bool)
    for number, use in enumerate(uses):
        free &= ~use.seen
        labels = {"GPU_I_ID": str(number + 1), "GPU_I_PROFILE": use.part.profile}
        size = whole.size_mib * float(use.part.share)
        yield Shown(labels, use.pod, use.seen, use.level, use.memory_mib, size, instance=True)
    yield Shown({}, None, free, whole.level, whole.memory_mib, whole.size_mib)


def _compute_partitions(uses: list[_Use], whole: Shown) -> Iterator[Shown]:
    """Yield a partition for every share of a device that a pod has, and the idle rest as one."""
    yield whole
    for number, use in enumerate(uses):
        labels = {"gpu_partition_id": str(number + 1)}
        yield Shown(
            labels, use.pod, use.seen, use.level, use.memory_mib, whole.size_mib, instance=True
        )


def _copies(uses: list[_Use], whole: Shown, *, virtual: bool = True) -> Iterator[Shown]:
    """Yield the device's own value once for every pod that shares it."""
    free = np.ones(len(whole.level), dtype=bool)
    for number, use in enumerate(uses):
        free &= ~use.seen
        labels = {"vgpu": str(number)} if virtual else {}
        yield Shown(labels, use.pod, use.seen, whole.level, whole.memory_mib, whole.size_mib)
    yield Shown({}, None, free, whole.level, whole.memory_mib, whole.size_mib)


def _flipping(uses: list[_Use], whole: Shown) -> Iterator[Shown]:
    """Yield the device under the name of one sharer, which is another at every scrape."""
    count = np.zeros(len(whole.level), dtype=np.int64)
    for use in uses:
        count += use.seen
    turn = np.arange(len(whole.level)) % np.maximum(count, 1)
    before = np.zeros(len(whole.level), dtype=np.int64)
    for use in uses:
        mine = use.seen & (before == turn)
        before += use.seen
        yield Shown({}, use.pod, mine, whole.level, whole.memory_mib, whole.size_mib)
    yield Shown({}, None, count == 0, whole.level, whole.memory_mib, whole.size_mib)


def _reserved(pods: list[Pod], whole: Shown, times: Int64s) -> Iterator[Shown]:
    """Yield the device under the name of who requested it: often a pod that reserves it."""
    free = np.ones(len(times), dtype=bool)
    for pod in pods:
        if not any(one.gpus for one in pod.containers):
            continue
        mine = (times >= pod.scheduled_ms) & (times < pod.finished_ms) & free
        free &= ~mine
        yield Shown({}, pod, mine, whole.level, whole.memory_mib, whole.size_mib)
    yield Shown({}, None, free, whole.level, whole.memory_mib, whole.size_mib)
