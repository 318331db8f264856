"""Dynamic Resource Allocation as values: claims, allocations, and the devices there are."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A device's identity: its name is unique inside a pool, a pool's name inside a driver."""

    driver: str
    pool: str
    device: str


@dataclass(frozen=True, slots=True)
class Amount:
    """A named quantity: memory in bytes, cores, or what else a driver counts."""

    name: str
    value: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatedDevice:
    """One result of an allocation.

    ``request`` is ``request/subrequest`` where it was chosen from a prioritized list. ``share_id``
    tells allocations of one device apart (consumable capacity), ``consumed`` is what this one takes
    of the device's capacity. With ``admin_access`` nothing is allocated.
    """

    request: str
    key: DeviceKey
    share_id: str = ""
    admin_access: bool = False
    consumed: tuple[Amount, ...] = ()


@dataclass(frozen=True, slots=True)
class ReservedPod:
    """A pod that may use a claim."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """What a ResourceClaim says; instants in milliseconds, None where not said.

    ``allocated`` is None while nothing is allocated. ``node_name`` is the one node on which the
    allocation can be used, "" if it is not one. ``owner_pod`` has the pod that the claim was made
    for, ``classes`` the device classes it asks for. ``extended_resource`` says that the scheduler
    made it for a pod's extended resources.
    """

    uid: str
    namespace: str
    name: str
    created_ms: int
    allocated: tuple[AllocatedDevice, ...] | None
    allocation_ms: int | None
    reserved_for: tuple[ReservedPod, ...]
    owner_pod: ReservedPod | None
    extended_resource: bool
    classes: tuple[str, ...]
    node_name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterUse:
    """What a device takes of the counters of one physical device (its counter set)."""

    counter_set: str
    counters: tuple[Amount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceDevice:
    """One device of a ResourceSlice; attribute names are without the driver's domain.

    ``node_name`` is the device's own node in a pool that spans nodes. ``tainted`` devices take no
    more claims.
    """

    name: str
    attributes: tuple[tuple[str, str], ...]
    capacity: tuple[Amount, ...]
    allow_multiple: bool
    consumes: tuple[CounterUse, ...]
    node_name: str
    tainted: bool

    def attribute(self, name: str) -> str:
        """Return an attribute, "" if the device has none of that name."""
        return dict(self.attributes).get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFacts:
    """What a ResourceSlice says: a part of a pool, of which the highest generation counts."""

    name: str
    driver: str
    pool: str
    generation: int
    node_name: str
    devices: tuple[SliceDevice, ...]
    shared_counters: tuple[CounterUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFacts:
    """What a DeviceClass says: the extended resources by which pods may ask for its devices."""

    name: str
    extended_resources: tuple[str, ...]
