"""What kube-state-metrics shows, written by hand, and the inventory that comes of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.series import Series, series
from app.simulator.spec import HOUR_MS, MINUTE_MS, FleetSpec
from app.sources.catalogue import load_catalogue
from app.sources.kube_state import Inventory, kube_state_inventory
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import Window, from_ms

# 2026-11-23T10:00:00Z.
TEN_MS = 1_795_428_000_000
TEN = TEN_MS // 1000
SCRAPE_MS = 30_000
# Families that a fleet of whole GPUs does not tell, in place of those of its exporters.
_TOLD_IN_PLACE = {
    "DCGM_FI_DEV_POWER_USAGE": "kube_pod_annotations",
    "DCGM_FI_DEV_FB_FREE": "kube_node_annotations",
    "DCGM_FI_DEV_FB_USED": "kube_pod_resourceclaim_info",
}
# What a scrape finds: name, labels and value of a series.
Shown = tuple[str, Mapping[str, str], float]


def inventory_of(show: Callable[[int], Iterable[Shown]]) -> Inventory:
    """Return the inventory of the hour from ten; ``show`` tells what there is at a second."""
    fleet = Fleet.build(FleetSpec(seed=1, start_ms=TEN_MS, hours=1, nodes=1, services=0))
    found = _series_by_family(show)
    exposed = Exposition(
        fleet,
        renamed=_TOLD_IN_PLACE,
        transform=lambda family, _: found.get(_TOLD_IN_PLACE.get(family, family), ()),
    )
    hour = Window(from_ms(TEN_MS), from_ms(TEN_MS + HOUR_MS))
    with SimulatedPrometheus(fleet, lambda: TEN_MS + 2 * HOUR_MS, exposition=exposed) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        return kube_state_inventory(source, load_catalogue(), hour, scrape_ms=SCRAPE_MS)


def a_node(name: str = "node-1", *, created: int = TEN - 3600, gpus: int = 8) -> Iterator[Shown]:
    """Yield what is shown of a node."""
    yield "kube_node_info", {"node": name}, 1.0
    yield "kube_node_created", {"node": name}, float(created)
    resource = {"node": name, "resource": "nvidia_com_gpu", "unit": "integer"}
    yield "kube_node_status_capacity", resource, float(gpus)
    yield "kube_node_status_allocatable", resource, float(gpus)


def a_pod(
    name: str,
    *,
    node: str = "node-1",
    bound: int | None = TEN - 1800,
    gpus: int = 1,
    kind: str = "container",
) -> Iterator[Shown]:
    """Yield what is shown of a pod with one (init) container; without ``bound`` it waits."""
    own = {"namespace": "ml", "pod": name, "uid": f"uid-{name}"}
    place = {"node": "" if bound is None else node, "container": "main"}
    resource = {"resource": "nvidia_com_gpu", "unit": "integer"}
    yield "kube_pod_created", own, float(TEN - 1900)
    yield f"kube_pod_{kind}_resource_requests", {**own, **place, **resource}, float(gpus)
    if bound is not None:
        yield "kube_pod_status_scheduled_time", own, float(bound)


def _series_by_family(show: Callable[[int], Iterable[Shown]]) -> dict[str, tuple[Series, ...]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]] = {}
    first_ms, last_ms = TEN_MS - 6 * MINUTE_MS + 7_000, TEN_MS + HOUR_MS + 6 * MINUTE_MS
    for at_ms in range(first_ms, last_ms, SCRAPE_MS):
        for family, labels, value in show(at_ms // 1000):
            own = found.setdefault(family, {})
            own.setdefault(tuple(sorted(labels.items())), []).append((at_ms, value))
    return {
        family: tuple(
            series(
                {"job": "kube-state-metrics", **dict(labels)},
                np.array([at_ms for at_ms, _ in samples], dtype=np.int64),
                np.array([value for _, value in samples], dtype=np.float64),
            )
            for labels, samples in own.items()
        )
        for family, own in found.items()
    }
