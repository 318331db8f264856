"""The families of dcgm-exporter: one series for every device and pod that held it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.simulator.fleet import Fleet
from app.simulator.hardware import Node, NodeShape
from app.simulator.modes import Mode
from app.simulator.placement import EXPORTER, EXPORTER_NAMESPACE
from app.simulator.pods import Pod, Profile
from app.simulator.series import Float64s, Int64s, ScrapeBook, Series, series
from app.simulator.shared_tracks import SharedTrack, Shown, shared_tracks

_MEMORY_SHARE = {Profile.SERVING: 0.92, Profile.TRAINING: 0.75, Profile.NOTEBOOK: 0.35}
_CONTEXT_MIB = 4
_PROFILING = frozenset(
    (
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "DCGM_FI_PROF_SM_ACTIVE",
        "DCGM_FI_PROF_DRAM_ACTIVE",
    )
)


@dataclass(frozen=True, slots=True)
class _Track:
    """A device as one exporter saw it: at each scrape its activity, integral, memory, holder.

    ``holder`` is the index into ``pods``, -1 where nobody held the device.
    """

    node: Node
    device: int
    copy_labels: dict[str, str]
    at_ms: Int64s
    level: Int64s
    integral: Int64s
    memory_mib: Float64s
    holder: npt.NDArray[np.int64]
    pods: tuple[Pod, ...]


_Values = Callable[[_Track, NodeShape], Float64s]


def _power(track: _Track, shape: NodeShape) -> Float64s:
    return shape.idle_watts + (shape.full_watts - shape.idle_watts) * track.level / 1000


def _energy(track: _Track, shape: NodeShape) -> Float64s:
    """Return millijoules since the driver was loaded: watts × milliseconds."""
    age = track.at_ms - track.node.created_ms
    active = (shape.full_watts - shape.idle_watts) * track.integral // 1000
    return (shape.idle_watts * age + active).astype(np.float64)


_VALUES: dict[str, _Values] = {
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": lambda track, _: track.level / 1000,
    "DCGM_FI_DEV_GPU_UTIL": lambda track, _: np.rint(track.level / 10),
    "DCGM_FI_PROF_SM_ACTIVE": lambda track, _: np.rint(track.level * 0.8) / 1000,
    "DCGM_FI_PROF_DRAM_ACTIVE": lambda track, _: np.rint(track.level * 0.5) / 1000,
    "DCGM_FI_DEV_FB_USED": lambda track, _: track.memory_mib,
    "DCGM_FI_DEV_FB_FREE": lambda track, shape: shape.memory_mib - track.memory_mib,
    "DCGM_FI_DEV_POWER_USAGE": _power,
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": _energy,
}
DCGM_FAMILIES = tuple(_VALUES)


class DcgmSeries:
    """The exporter's families over the whole life of the fleet."""

    def __init__(self, fleet: Fleet, scrapes: ScrapeBook) -> None:
        self._fleet = fleet
        self._scrapes = scrapes
        self._tracks: list[_Track] = []
        self._shared: list[SharedTrack] = []

    def family(self, name: str) -> Iterator[Series]:
        """Yield the series of one family, device by device; those of shared devices come last."""
        yield from self._whole_family(name)
        for track in self._shared_tracks():
            yield from self._shared_family(name, track)

    def _whole_family(self, name: str) -> Iterator[Series]:
        values_of = _VALUES[name]
        for track in self._all_tracks():
            shape = track.node.shape
            if name in _PROFILING and not shape.profiling:
                continue
            values = values_of(track, shape)
            for holder in np.unique(track.holder):
                mine = track.holder == holder
                pod = track.pods[int(holder)] if holder >= 0 else None
                labels = self._labels(track, pod)
                yield series(labels, track.at_ms[mine], values[mine])

    def _shared_tracks(self) -> list[SharedTrack]:
        nodes = [node for node in self._fleet.nodes if node.layouts and node.mode.nvidia]
        if nodes and not self._shared:
            self._shared = list(shared_tracks(self._fleet, self._scrapes, nodes))
        return self._shared

    def _shared_family(self, name: str, track: SharedTrack) -> Iterator[Series]:
        """Yield a shared device's series: power and energy of instances repeat the device's."""
        for shown in track.shown:
            if not shown.seen.any() or (shown.instance and name == "DCGM_FI_DEV_GPU_UTIL"):
                continue
            values = _shared_values(name, track, shown)[shown.seen]
            labels = {**self._device_labels(track), **shown.labels}
            labels |= self._holder_labels(shown.pod)
            yield series(labels, track.at_ms[shown.seen], values)

    def _all_tracks(self) -> list[_Track]:
        if not self._tracks:
            pods_of = _pods_by_device(self._fleet.pods)
            for copy, copy_labels in self._scrapes.copies():
                for node in self._fleet.nodes:
                    if node.layouts:
                        continue
                    times = self._scrapes.answered(node.name, node.name, copy)
                    alive = (times >= node.advertised_ms) & (times < node.deleted_ms)
                    for device in range(node.devices):
                        pods = pods_of.get((node.uid, device), ())
                        self._tracks.append(
                            self._track(node, device, pods, times[alive], copy_labels)
                        )
        return self._tracks

    def _track(
        self,
        node: Node,
        device: int,
        pods: tuple[Pod, ...],
        times: Int64s,
        copy_labels: dict[str, str],
    ) -> _Track:
        level = np.zeros(len(times), dtype=np.int64)
        integral = np.zeros(len(times), dtype=np.int64)
        holder = np.full(len(times), -1, dtype=np.int64)
        memory = np.full(len(times), _CONTEXT_MIB, dtype=np.float64)
        for number, pod in enumerate(pods):
            steps = self._fleet.activity.steps(pod, pod.devices.index(device))
            low, high = np.searchsorted(times, [pod.scheduled_ms, pod.finished_ms])
            holder[low:high] = number
            level[low:high] = steps.at(times[low:high])
            integral[low:] += steps.integral(times[low:])
            used = round(_MEMORY_SHARE[pod.profile] * node.shape.memory_mib)
            for run in pod.runs:
                begin, end = np.searchsorted(times, [run.start_ms, run.end_ms])
                memory[begin:end] = used
        return _Track(node, device, copy_labels, times, level, integral, memory, holder, pods)

    def _labels(self, track: _Track, pod: Pod | None) -> dict[str, str]:
        return {**self._device_labels(track), **self._holder_labels(pod)}

    def _device_labels(self, track: _Track | SharedTrack) -> dict[str, str]:
        node, device = track.node, track.device
        return {
            **exporter_target(self._fleet, node),
            **track.copy_labels,
            "gpu": str(device),
            "UUID": node.uuids[device],
            "pci_bus_id": f"00000000:{0x10 + device * 0x0B:02X}:00.0",
            "device": f"nvidia{device}",
            "modelName": node.shape.model_name,
            "Hostname": node.name,
            "DCGM_FI_DRIVER_VERSION": "550.127.08",
        }

    def _holder_labels(self, pod: Pod | None) -> dict[str, str]:
        if pod is None:
            return {}
        prefix = "" if self._fleet.spec.honor_labels else "exported_"
        container = next(c.name for c in pod.containers if c.kind == "app")
        if not pod.node or not pod.node.layouts:
            container = next(c.name for c in pod.containers if c.kind == "app" and c.gpus)
        return {
            f"{prefix}container": container,
            f"{prefix}namespace": pod.namespace,
            f"{prefix}pod": pod.name,
        }


def _shared_values(name: str, track: SharedTrack, shown: Shown) -> Float64s:
    """Return what a family says of a device or an instance at every scrape."""
    shape = track.node.shape
    span = shape.full_watts - shape.idle_watts
    age = track.at_ms - track.node.created_ms
    values: dict[str, Float64s] = {
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": shown.level / 1000,
        "DCGM_FI_DEV_GPU_UTIL": np.rint(shown.level / 10),
        "DCGM_FI_PROF_SM_ACTIVE": np.rint(shown.level * 0.8) / 1000,
        "DCGM_FI_PROF_DRAM_ACTIVE": np.rint(shown.level * 0.5) / 1000,
        "DCGM_FI_DEV_FB_USED": shown.memory_mib,
        "DCGM_FI_DEV_FB_FREE": np.maximum(shown.size_mib - shown.memory_mib, 0.0),
        "DCGM_FI_DEV_POWER_USAGE": shape.idle_watts + span * track.level / 1000,
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": np.floor(
            shape.idle_watts * age + span * track.integral / 1000
        ),
    }
    return values[name]


_AMD_EXPORTER = ("amd-device-metrics-exporter", 5000, "amd-device-metrics-exporter")
_EXPORTERS = {
    Mode.AMD: _AMD_EXPORTER,
    Mode.AMD_CPX: _AMD_EXPORTER,
    Mode.INTEL: ("intel-xpumanager", 29_999, "intel-xpumanager"),
}


def exporter_target(fleet: Fleet, node: Node) -> dict[str, str]:
    """Return what Prometheus adds to every sample of a node's exporter.

    The exporter's own pod stands in ``pod`` wherever the exporter says nothing of its own.
    """
    job, port, service = _EXPORTERS.get(node.mode, ("dcgm-exporter", 9400, EXPORTER))
    return {
        "job": job,
        "instance": f"{node.address()}:{port}",
        "endpoint": "metrics",
        "service": service,
        "namespace": EXPORTER_NAMESPACE,
        "container": EXPORTER,
        "pod": fleet.exporters[node.uid].name,
    }


def _pods_by_device(pods: tuple[Pod, ...]) -> dict[tuple[str, int], tuple[Pod, ...]]:
    """Return the pods that held each device, in the order of time."""
    held: dict[tuple[str, int], list[Pod]] = {}
    for pod in pods:
        if pod.node is not None and pod.placed():
            for device in pod.devices:
                held.setdefault((pod.node.uid, device), []).append(pod)
    return {
        key: tuple(sorted(those, key=lambda pod: pod.scheduled_ms)) for key, those in held.items()
    }
