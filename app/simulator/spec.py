"""What a simulated fleet is asked to be: its size, its events, its scrapes."""

from dataclasses import dataclass, replace

from app.errors import InputError
from app.simulator.modes import SHARED_MODES, Mode

# An instant that has not come: 9999-01-01T00:00:00Z, the ledger's own convention for open ends.
OPEN_MS = 253_370_764_800_000
SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


class SpecError(InputError):
    """A fleet that cannot be built as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A span ``[start_ms, end_ms)`` in which scrapes left nothing.

    ``target`` is a node name (its exporter), a pod name (its engine), ``kube-state-metrics``, or
    empty when Prometheus itself was down. A single target's failed scrapes leave ``up`` = 0.
    """

    start_ms: int
    end_ms: int
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """A fleet; the same spec gives the same bytes.

    The asked span is ``[start_ms, end_ms)``. Everything lives, and is scraped, from ``lead_ms``
    before it to ``lead_ms`` after it, so that its first and last windows have neighbors.
    Counts are upper bounds: a fleet of one node has no node that joins or leaves.
    """

    seed: int = 7
    start_ms: int
    hours: int = 48
    minutes: int = 0
    nodes: int = 12
    gpus_per_node: int = 8
    lead_ms: int = 10 * MINUTE_MS
    node_joins: int = 1
    node_leaves: int = 1
    unhealthy_devices: int = 2  # the first one free, the others on nodes in use
    util_only: bool = True  # nodes with T4 devices export no profiling families
    services: int = 6
    replicas: int = 0  # of each service; 0 takes each service's own number
    requests_per_second: float = 0.25  # of each replica, on average over a day
    restarts_per_replica_day: float = 2.0
    rollouts: int = 2  # services whose pods are all replaced once
    trainings: int = 3  # jobs that hold whole nodes or halves for hours
    jobs_per_gpu_hour: float = 0.15
    short_job_share: float = 0.2  # jobs that live for less than one scrape interval
    notebooks: int = 1
    unowned_pods: int = 1
    scrape_ms: int = 30_000
    jitter_ms: int = 15
    prometheus_outages: int = 1
    target_outages: int = 4
    outages: tuple[Outage, ...] | None = None  # given, they replace the drawn ones
    prometheus_replicas: int = 1  # above 1: series carry the label prometheus_replica
    modes: tuple[Mode, ...] = ()  # one node more for each, whose devices pods share
    mode_changes: bool = True  # such nodes are reconfigured, lose devices, are replaced
    mode_pods_per_node: float = 3.2  # pods that live at one time on such a node
    mode_pod_minutes: int = 40  # how long they live on average
    virtual_gpus: bool = False  # dcgm-exporter copies a slotted device's value to every sharer
    honor_labels: bool = True  # False: exporters' labels arrive as exported_pod and so on

    def __post_init__(self) -> None:
        for name, value, least in (
            ("nodes", self.nodes, 1),
            ("gpus_per_node", self.gpus_per_node, 1),
            ("scrape_ms", self.scrape_ms, SECOND_MS),
            ("lead_ms", self.lead_ms, 2 * self.scrape_ms),
            ("prometheus_replicas", self.prometheus_replicas, 1),
            ("the length in minutes", self.hours * 60 + self.minutes, 1),
        ):
            if value < least:
                message = f"A simulated fleet needs {name} of at least {least}, not {value}."
                raise SpecError(message, hint="Ask for a larger one.")
        if self.start_ms % SECOND_MS or self.lead_ms % SECOND_MS:
            message = f"The fleet's start {self.start_ms} ms or lead is not a whole second."
            raise SpecError(message, hint="Kubernetes knows whole seconds only.")

    @property
    def end_ms(self) -> int:
        """The first millisecond after the asked span."""
        return self.start_ms + self.hours * HOUR_MS + self.minutes * MINUTE_MS

    @property
    def opens_ms(self) -> int:
        """When the fleet begins to live."""
        return self.start_ms - self.lead_ms

    @property
    def closes_ms(self) -> int:
        """The end of everything that is simulated."""
        return self.end_ms + self.lead_ms


def benchmark_spec(*, start_ms: int, nodes: int = 1_250, hours: int = 1) -> FleetSpec:
    """Return a fleet of 8-GPU nodes with about 3.2 pods a node, of which 0.24 serve a model."""
    return FleetSpec(
        start_ms=start_ms,
        hours=hours,
        nodes=nodes,
        services=max(1, nodes * 6 // 25),
        replicas=1,
        rollouts=0,
        trainings=nodes * 9 // 4,
        jobs_per_gpu_hour=0.05,
        notebooks=max(1, nodes // 50),
        unowned_pods=max(1, nodes // 100),
        node_joins=max(1, nodes // 200),
        node_leaves=max(1, nodes // 200),
        unhealthy_devices=max(1, nodes // 100),
        target_outages=max(1, nodes // 25),
    )


def shared_benchmark_spec(*, start_ms: int, nodes: int = 1_250, hours: int = 1) -> FleetSpec:
    """Return a fleet of as many GPUs and about as many pods as `benchmark_spec` has.

    Half of the nodes share their devices, as many in each way as in any other. The whole ones have
    all services, and as much of other work on each of them as there.
    """
    shared = nodes // 2
    plain = benchmark_spec(start_ms=start_ms, nodes=nodes, hours=hours)
    return replace(
        plain,
        nodes=nodes - shared,
        trainings=plain.trainings * (nodes - shared) // nodes,
        jobs_per_gpu_hour=plain.jobs_per_gpu_hour,
        modes=tuple(SHARED_MODES[number % len(SHARED_MODES)] for number in range(shared)),
        mode_changes=False,
        mode_pods_per_node=2.3,
        mode_pod_minutes=240,
    )
