"""Pods, nodes and holds as values: what the Kubernetes side says, parsed."""

from dataclasses import dataclass

from app.units.window import OPEN_MS
from app.usage.kinds import HoldSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """One container: its kind is ``app``, ``init`` or ``sidecar`` (restartable init container).

    ``requests`` holds extended resources only, as (resource name, units). ``finished_ms`` is set
    once the container has terminated and will not be restarted, as far as the status tells.
    """

    name: str
    kind: str
    requests: tuple[tuple[str, int], ...]
    finished_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The top owner of a pod; a pod without a controller is its own workload (kind ``Pod``)."""

    namespace: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What a pod object says; instants in milliseconds since the epoch, None where not said."""

    uid: str
    namespace: str
    name: str
    node_name: str
    phase: str
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]
    workload: Workload
    created_ms: int
    scheduled_ms: int | None
    ready_ms: int | None
    containers: tuple[ContainerFacts, ...]
    resource_version: str
    # metadata.deletionTimestamp (request time plus grace) and deletionGracePeriodSeconds.
    deletion_ms: int | None = None
    deletion_grace_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a node object says; capacity and allocatable hold extended resources only."""

    uid: str
    name: str
    provider: str
    region: str
    zone: str
    instance_type: str
    capacity_type: str
    labels: tuple[tuple[str, str], ...]
    created_ms: int
    capacity: tuple[tuple[str, int], ...]
    allocatable: tuple[tuple[str, int], ...]
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCount:
    """How many physical devices of one model a node shows, and how many may be held."""

    gpu_model: str
    devices: int
    allocatable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PodHold:
    """A pod holding a share of a pool: ``share_num / share_den`` devices.

    ``end_ms`` is OPEN_MS while it lasts. Where an edge is not known exactly the span is the widest
    possible one: the true start lies in ``[start_ms, start_ms + start_unsure_ms]`` and the true end
    in ``[end_ms - end_unsure_ms, end_ms]``. ``end_lost`` says that the hold vanished while nobody
    watched; it then ends at the last evidence of it.
    """

    pod_uid: str
    namespace: str
    pod: str
    node_uid: str
    node_name: str
    gpu_model: str
    resource: str
    units: int
    share_num: int
    share_den: int
    exclusive: bool
    workload: Workload
    labels: tuple[tuple[str, str], ...]
    start_ms: int
    end_ms: int = OPEN_MS
    start_unsure_ms: int = 0
    end_unsure_ms: int = 0
    end_lost: bool = False
    scheduled_ms: int | None = None
    ready_ms: int | None = None
    source: HoldSource = HoldSource.WATCH
