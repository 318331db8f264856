"""The families of AMD's and Intel's exporters, for the nodes that have such devices.

Sources: ROCm/device-metrics-exporter (metricslist.md) and intel/xpumanager 1.x.
"""

from collections.abc import Iterator

import numpy as np

from app.simulator.dcgm_series import exporter_target
from app.simulator.fleet import Fleet
from app.simulator.modes import Mode
from app.simulator.pods import Pod
from app.simulator.series import Float64s, ScrapeBook, Series, constant, series
from app.simulator.shared_tracks import SharedTrack, Shown, shared_tracks

_MIB = 2**20
AMD_FAMILIES = (
    "gpu_gfx_activity",
    "gpu_gfx_busy_instantaneous",
    "gpu_used_vram",
    "gpu_total_vram",
    "gpu_power_usage",
    "gpu_energy_consumed",
)
INTEL_FAMILIES = (
    "xpum_engine_group_ratio",
    "xpum_memory_used_bytes",
    "xpum_power_watts",
    "xpum_energy_joules",
)
ACCELERATOR_FAMILIES = (*AMD_FAMILIES, *INTEL_FAMILIES)


class AcceleratorSeries:
    """The families over the whole life of the fleet."""

    def __init__(self, fleet: Fleet, scrapes: ScrapeBook) -> None:
        self._fleet = fleet
        self._scrapes = scrapes
        self._tracks: list[SharedTrack] | None = None

    def family(self, name: str) -> Iterator[Series]:
        """Yield the series of one family, device by device."""
        amd = name in AMD_FAMILIES
        for track in self._all_tracks():
            if amd is (track.node.mode is Mode.INTEL):
                continue
            for shown in track.shown:
                if not shown.seen.any() or not _tells(name, track, shown):
                    continue
                labels = self._amd_labels(track, shown) if amd else self._intel_labels(track, shown)
                values = _values(name, track, shown)[shown.seen]
                yield series(labels, track.at_ms[shown.seen], values)

    def _all_tracks(self) -> list[SharedTrack]:
        if self._tracks is None:
            with_exporter = (Mode.AMD, Mode.AMD_CPX, Mode.INTEL)
            nodes = [node for node in self._fleet.nodes if node.mode in with_exporter]
            self._tracks = list(shared_tracks(self._fleet, self._scrapes, nodes))
        return self._tracks

    def _amd_labels(self, track: SharedTrack, shown: Shown) -> dict[str, str]:
        node = track.node
        return {
            **exporter_target(self._fleet, node),
            **track.copy_labels,
            "gpu_id": str(track.device),
            "gpu_uuid": node.uuids[track.device].removeprefix("GPU-"),
            "gpu_partition_id": "0",
            "gpu_compute_partition_type": "cpx" if node.mode is Mode.AMD_CPX else "spx",
            "card_model": node.shape.model_name,
            "hostname": node.name,
            "serial_number": f"69{node.number:04d}{track.device:02d}",
            **shown.labels,
            **self._holder(shown.pod),
        }

    def _intel_labels(self, track: SharedTrack, shown: Shown) -> dict[str, str]:
        node = track.node
        return {
            **exporter_target(self._fleet, node),
            **track.copy_labels,
            "uuid": node.uuids[track.device].removeprefix("GPU-"),
            "dev_name": node.shape.model_name,
            "dev_file": f"card{track.device}",
            "pci_bdf": f"0000:{0x4D + track.device:02x}:00.0",
            "vendor": "Intel(R) Corporation",
            "src": "direct",
            "type": "compute",
            **self._holder(shown.pod),
        }

    def _holder(self, pod: Pod | None) -> dict[str, str]:
        if pod is None:
            return {}
        prefix = "" if self._fleet.spec.honor_labels else "exported_"
        return {
            f"{prefix}container": pod.containers[0].name,
            f"{prefix}namespace": pod.namespace,
            f"{prefix}pod": pod.name,
        }


def _tells(name: str, track: SharedTrack, shown: Shown) -> bool:
    """Say whether a family has a series: partitions tell of themselves only how busy they are."""
    if shown.instance:
        return name in ("gpu_gfx_busy_instantaneous", "gpu_used_vram")
    return name != "gpu_gfx_activity" or track.node.mode is not Mode.AMD_CPX


def _values(name: str, track: SharedTrack, shown: Shown) -> Float64s:
    """Return what a family says at every scrape: percents, ratios, MB, bytes, watts, joules."""
    shape = track.node.shape
    watts: Float64s = shape.idle_watts + (shape.full_watts - shape.idle_watts) * track.level / 1000
    age = track.at_ms - track.node.created_ms
    millijoules: Float64s = shape.idle_watts * age.astype(np.float64) + np.floor(
        (shape.full_watts - shape.idle_watts) * track.integral / 1000
    )
    values: dict[str, Float64s] = {
        "gpu_gfx_activity": np.rint(shown.level / 10),
        "gpu_gfx_busy_instantaneous": np.rint(shown.level / 10),
        "gpu_used_vram": shown.memory_mib,
        "gpu_total_vram": constant(shape.memory_mib, track.at_ms),
        "gpu_power_usage": watts,
        "gpu_energy_consumed": millijoules * 1000.0,
        "xpum_engine_group_ratio": shown.level / 1000,
        "xpum_memory_used_bytes": shown.memory_mib * _MIB,
        "xpum_power_watts": watts,
        "xpum_energy_joules": millijoules / 1000,
    }
    return values[name]
