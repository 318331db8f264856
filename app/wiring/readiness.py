"""Reads what the rules of conformance look at, with no more rights than the watch has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from app.errors import GpuledgerError
from app.findings.conformance import ClusterFacts
from app.settings import ClusterSettings, Settings
from app.sources.readiness import engines_of, fresh_devices, names_at, scaled_on
from app.usage.claims_devices import list_devices
from app.usage.holds import pool_counts_of
from app.usage.inventory import NodeFacts
from app.wiring.clients import collect_from, kubernetes_source, prometheus_source

if TYPE_CHECKING:
    # The client of Kubernetes takes a second to import.
    from app.sources.kubernetes_dra_api import DraSource

T = TypeVar("T")


@dataclass(slots=True)
class _Asked:
    """What could not be read, in words."""

    untold: list[str] = field(default_factory=list)

    def of(self, what: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except GpuledgerError as error:
            self.untold.append(f"{what}: {error}")
            return None


def facts_of(cluster: ClusterSettings, settings: Settings, at_ms: int) -> ClusterFacts:
    """Read a cluster's facts; what cannot be read is left out, with the reason."""
    asked = _Asked()
    groups: Mapping[str, tuple[str, ...]] | None = None
    nodes: tuple[NodeFacts, ...] | None = None
    claimed: tuple[int, Mapping[str, int]] | None = None
    if cluster.kubernetes.mode == "off":
        asked.untold.append("Kubernetes is switched off (kubernetes.mode).")
    elif (source := asked.of("Kubernetes", lambda: kubernetes_source(cluster))) is not None:
        groups = asked.of("API groups", source.groups)
        listed = asked.of("nodes", source.list_nodes)
        nodes = None if listed is None else listed[0]
        claimed = asked.of("ResourceSlices", lambda: _slices(source.dra()))
    slices, listed_devices = claimed or (None, {})
    prometheus = prometheus_source(cluster)
    catalogue = collect_from(
        cluster, settings.models, settings.engines, settings.gateways
    ).catalogue
    metrics = asked.of("Prometheus", lambda: names_at(prometheus, at_ms))
    names = metrics or frozenset()
    fresh = None
    if metrics is not None:
        fresh = asked.of(
            "samples of devices", lambda: fresh_devices(prometheus, catalogue, names, at_ms)
        )
    scaled = asked.of("autoscalers", lambda: scaled_on(prometheus, at_ms))
    return ClusterFacts(
        groups=groups,
        nodes=nodes,
        devices=_advertised(nodes or (), listed_devices),
        slices=slices,
        metrics=metrics,
        engines=engines_of(catalogue, names),
        fresh=fresh,
        scaled_on=scaled or (),
        untold=tuple(asked.untold),
    )


def _advertised(nodes: tuple[NodeFacts, ...], listed: Mapping[str, int]) -> int:
    """Add up the devices of nodes; one that plugin and slices both tell counts once."""
    told = {node.name: sum(count.devices for count in pool_counts_of(node)[0]) for node in nodes}
    return sum(max(told.get(name, 0), listed.get(name, 0)) for name in {*told, *listed})


def _slices(source: "DraSource | None") -> tuple[int, Mapping[str, int]]:
    """Return how many slices there are, and how many accelerators they list by node."""
    if source is None:
        return 0, {}
    slices, _ = source.list_slices()
    listed = list_devices(slices)
    return len(slices), {
        node: sum(count.devices for count in listed.on(node)) for node in listed.by_node
    }
