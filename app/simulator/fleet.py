"""A synthetic fleet with known truth: nodes, pods, what they do, and how it can be observed."""

from dataclasses import dataclass

from app.simulator.activity import ActivityBook
from app.simulator.claims import Claim
from app.simulator.hardware import Node, build_nodes
from app.simulator.mode_nodes import build_mode_nodes
from app.simulator.placement import EXPORTER_NAMESPACE, place
from app.simulator.pods import Pod
from app.simulator.scrapes import KUBE_STATE_METRICS, draw_outages
from app.simulator.spec import FleetSpec, Outage
from app.simulator.traffic import TrafficBook
from app.simulator.truth import Truth

__all__ = ["Fleet", "FleetSpec"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that ever exists in the fleet; build one with `Fleet.build`."""

    spec: FleetSpec
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    outages: tuple[Outage, ...]
    activity: ActivityBook
    traffic: TrafficBook
    truth: Truth
    exporters: dict[str, Pod]  # by node UID
    claims: tuple[Claim, ...] = ()

    @classmethod
    def build(cls, spec: FleetSpec) -> "Fleet":
        """Return the fleet of ``spec``; samples and requests are made when they are asked for."""
        nodes = (*build_nodes(spec), *build_mode_nodes(spec))
        placed = place(spec, nodes)
        pods = placed.pods
        engines = tuple(pod.name for pod in pods if pod.service is not None and pod.runs)
        targets = (*(node.name for node in nodes), *engines, KUBE_STATE_METRICS)
        activity, traffic = ActivityBook(spec), TrafficBook(spec)
        return cls(
            spec=spec,
            nodes=nodes,
            pods=pods,
            outages=draw_outages(spec, targets),
            activity=activity,
            traffic=traffic,
            truth=Truth(spec, nodes, pods, activity, traffic, placed.claims),
            exporters={
                pod.node.uid: pod
                for pod in pods
                if pod.node is not None and pod.namespace == EXPORTER_NAMESPACE
            },
            claims=placed.claims,
        )
