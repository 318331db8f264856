"""What goes wrong with samples and labels between an exporter and Prometheus' answer."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from app.simulator.exposition import Transform
from app.simulator.series import Series, series

ACTIVE, UTILIZATION = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_GPU_UTIL"
ENERGY, MEMORY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_FB_USED"
REQUESTS = "kube_pod_container_resource_requests"
_RESOURCES = (REQUESTS, "kube_node_status_capacity", "kube_node_status_allocatable")

Labels = dict[str, str]


def every(step: int, value: float, *families: str) -> Transform:
    """Put ``value`` in the place of every ``step``-th sample of the families."""

    def spoil(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
        if name not in families:
            return made
        return tuple(replace(one, value=_spoiled(one.value, step, value)) for one in made)

    return spoil


def without(*starts: str) -> Transform:
    """Drop the families whose names begin so."""
    return lambda name, made: () if name.startswith(starts) else made


def labelled(change: Callable[[Labels], Labels], start: str) -> Transform:
    """Change the labels of the families whose names begin so; equal label sets are one series."""

    def spoil(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
        if not name.startswith(start):
            return made
        united: dict[tuple[tuple[str, str], ...], list[Series]] = {}
        for one in made:
            other = series(change(dict(one.labels)), one.at_ms, one.value)
            united.setdefault(other.labels, []).append(other)
        return tuple(_joined(parts) for parts in united.values())

    return spoil


def twice(_name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
    """Let two Prometheus servers answer, as behind a Thanos that does not deduplicate."""
    return tuple(
        series({**dict(one.labels), "prometheus_replica": copy}, one.at_ms, one.value)
        for one in made
        for copy in ("a", "b")
    )


def falling(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
    """Let the token counter fall to 0 in the middle, without a new birth."""
    if name != "vllm:generation_tokens_total":
        return made
    return tuple(replace(one, value=_fallen(one.value)) for one in made)


def resource(other: str) -> Transform:
    """Let nodes offer and pods ask for another resource than whole GPUs."""

    def change(labels: Labels) -> Labels:
        gpus = labels.get("resource") == "nvidia_com_gpu"
        return {**labels, "resource": other} if gpus else labels

    def spoil(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
        return labelled(change, name)(name, made) if name in _RESOURCES else made

    return spoil


def without_pods(labels: Labels) -> Labels:
    """The exporter runs without its pod mapping."""
    return {name: text for name, text in labels.items() if name not in _HOLDER}


def own_pod(labels: Labels) -> Labels:
    """The scraper's labels won, and the exporter has no pod mapping."""
    return {**labels, **_EXPORTER}


def exported(labels: Labels) -> Labels:
    """The scraper's labels won: what the exporter says stands under other names."""
    moved = {f"exported_{name}": text for name, text in labels.items() if name in _HOLDER}
    return {**labels, **_EXPORTER, **moved}


_HOLDER = ("pod", "namespace", "container")
_EXPORTER = {
    "pod": "nvidia-dcgm-exporter-x7k2p",
    "namespace": "gpu-operator",
    "container": "nvidia-dcgm-exporter",
}


def _spoiled(value: np.ndarray, step: int, wrong: float) -> np.ndarray:
    copy = np.array(value, dtype=np.float64)
    copy[step // 2 :: step] = wrong
    return copy


def _fallen(value: np.ndarray) -> np.ndarray:
    copy = np.array(value, dtype=np.float64)
    half = len(copy) // 2
    copy[half:] -= copy[half]
    return copy


def _joined(parts: list[Series]) -> Series:
    at_ms = np.concatenate([one.at_ms for one in parts])
    value = np.concatenate([one.value for one in parts])
    order = np.argsort(at_ms, kind="stable")
    return Series(parts[0].labels, at_ms[order], value[order])
