"""Pods, nodes and holds as values: what the Kubernetes side says, parsed."""

from dataclasses import dataclass
from fractions import Fraction

from app.units.window import OPEN_MS
from app.usage.kinds import HoldSource, Sharing


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
    # Names of the ResourceClaims that the pod uses ("" for one that is not made yet), the one that
    # the scheduler made for its extended resources, and these resources.
    claims: tuple[str, ...] = ()
    extended_claim: str = ""
    extended_resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a node object says; capacity and allocatable hold extended resources only.

    ``instance_devices`` is how many devices machines of its type have, 0 where that is not known.
    """

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
    annotations: tuple[tuple[str, str], ...] = ()
    instance_devices: int = 0
    unschedulable: bool = False
    # What the provider calls the machine (spec.providerID), '' where nothing says it.
    provider_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCount:
    """How many physical devices of one model a node shows, and how much of them may be held.

    ``allocatable_num / allocatable_den`` devices may be held: a fraction where they are divided
    into instances that do not cover them. ``compute_num / compute_den`` is what that is where
    instances count by their compute slices alone (policy ``mig_share: compute``); None where that
    changes nothing.
    """

    gpu_model: str
    devices: int
    allocatable_num: int
    allocatable_den: int = 1
    compute_num: int | None = None
    compute_den: int = 1

    @property
    def allocatable(self) -> Fraction:
        """How many devices may be held."""
        return Fraction(self.allocatable_num, self.allocatable_den)

    @property
    def compute_allocatable(self) -> Fraction:
        """How many devices may be held under ``mig_share: compute``."""
        if self.compute_num is None:
            return self.allocatable
        return Fraction(self.compute_num, self.compute_den)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodHold:
    """A pod, or a claim, holding a share of a pool: ``share_num / share_den`` devices.

    The share is that of the default policies; ``compute_num / compute_den`` is what it is under
    ``mig_share: compute``, 0 where that changes nothing. ``units`` are units of the resource:
    devices, instances or slots. ``devices`` are the UUIDs of the physical devices, as far as they
    are known. A hold whose share changes ends, and goes on as a further part with its start in
    ``part_ms`` (`app.usage.identity.hold_id`).

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
    sharing: Sharing = Sharing.EXCLUSIVE
    compute_num: int = 0
    compute_den: int = 0
    devices: tuple[str, ...] = ()
    part_ms: int = 0

    @property
    def compute_share(self) -> tuple[int, int]:
        """The share under ``mig_share: compute``."""
        if self.compute_den:
            return self.compute_num, self.compute_den
        return self.share_num, self.share_den
