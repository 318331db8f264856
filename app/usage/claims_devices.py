"""Which accelerators ResourceSlices list: physical devices, what a listed device is of one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from app.usage.claims_facts import Amount, CounterUse, DeviceKey, SliceDevice, SliceFacts
from app.usage.inventory import PoolCount
from app.usage.mig import mig_share
from app.usage.notes import Note
from app.usage.products import UNKNOWN_MODEL, canonical_model


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverKind:
    """What a driver's devices are, and under which attributes it says so.

    ``whole`` and ``partition`` are values of the attribute ``type``; a driver without that
    attribute lists whole devices. ``units`` names the capacity that counts accelerators where one
    listed device is several of them. A driver whose ``even_partitions`` divide a device completely
    gives each the same part.
    """

    whole: frozenset[str] = frozenset()
    partition: frozenset[str] = frozenset()
    model: tuple[str, ...] = ("productName",)
    units: tuple[str, ...] = ()
    even_partitions: bool = False


# Drivers whose devices are accelerators: NVIDIA k8s-dra-driver-gpu, ROCm k8s-gpu-dra-driver, Intel
# resource drivers for Kubernetes, Google TPU, AWS Neuron.
ACCELERATOR_DRIVERS: Mapping[str, DriverKind] = {
    "gpu.nvidia.com": DriverKind(whole=frozenset({"gpu", "vfio"}), partition=frozenset({"mig"})),
    "gpu.amd.com": DriverKind(
        whole=frozenset({"amdgpu", "vfio"}),
        partition=frozenset({"amdgpu-partition"}),
        even_partitions=True,
    ),
    "gpu.intel.com": DriverKind(
        whole=frozenset({"gpu"}),
        partition=frozenset({"vf"}),
        model=("productName", "family", "model"),
    ),
    "gaudi.intel.com": DriverKind(model=("productName", "model")),
    "tpu.google.com": DriverKind(
        model=("productName", "accelerator", "generation"), units=("tpus", "chips")
    ),
    "neuron.aws.com": DriverKind(model=("productName", "deviceType", "instanceType")),
}

# Drivers whose devices accompany accelerators (links between nodes, network cards, CPUs).
OTHER_DRIVERS = frozenset(
    {
        "compute-domain.nvidia.com",
        "dra.cpu",
        "dra.memory",
        "dra.net",
        "mrdma.google.com",
        "netdev.google.com",
        "sriovnetwork.k8snetworkplumbingwg.io",
    }
)

_PCI_ADDRESSES = ("resource.kubernetes.io/pciBusID", "pciBusID", "pcieBusID", "pciAddr")
# The chip in a product's name, however it is written: not its socket, and not its memory.
_CHIP = re.compile(r"(?<![a-z0-9])(?!sxm|hbm)[a-z]{1,3}\d+[a-z]?(?![a-z0-9])")
# Counters of one kind with a number each: the memory slices of a GPU, the chips of each host.
_NUMBERED = re.compile(r"[-_]?\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A listed accelerator: ``share`` of the physical device ``physical``.

    ``share`` is None where nothing tells it, ``compute`` is the share under ``mig_share: compute``.
    ``uuid`` is the physical device's, "" if not known. ``units`` is how many accelerators a whole
    device is. ``dynamic`` devices are made on demand out of one that is listed as well, or whose
    counters are. ``node_name`` is "" for a device that several nodes reach.
    """

    key: DeviceKey
    model: str
    node_name: str
    physical: str
    uuid: str
    share: Fraction | None
    compute: Fraction | None
    units: int
    partition: bool
    dynamic: bool
    tainted: bool
    allow_multiple: bool
    capacity: tuple[Amount, ...]


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The accelerators of a cluster's slices, other devices of theirs, and what was odd."""

    devices: Mapping[DeviceKey, Device]
    others: frozenset[DeviceKey]
    notes: tuple[Note, ...]
    by_node: Mapping[str, Sequence[Device]]

    def on(self, node_name: str) -> tuple[PoolCount, ...]:
        """Return a node's physical devices by model, and how much of them may be held.

        Where devices are divided beforehand, what their parts do not cover cannot be held; where
        parts are made on demand, all of a device can. A tainted device cannot.
        """
        return counts_of(self.by_node.get(node_name, ()))


def list_devices(slices: Iterable[SliceFacts]) -> DeviceList:
    """Return the accelerators of the newest generation of each pool, each device once."""
    devices: dict[DeviceKey, Device] = {}
    others: set[DeviceKey] = set()
    notes: list[Note] = []
    by_pool = sorted(slices, key=lambda one: (one.driver, one.pool, one.name))
    for (driver, pool), of_pool in groupby(by_pool, key=lambda one: (one.driver, one.pool)):
        known = [*of_pool]
        newest = max(one.generation for one in known)
        current = [one for one in known if one.generation == newest]
        kind = ACCELERATOR_DRIVERS.get(driver)
        if kind is None:
            listed = sum(len(one.devices) for one in current)
            if listed and driver not in OTHER_DRIVERS:
                detail = f"The devices of the driver {driver} are of no known kind; they count not."
                notes.append(Note("unknown_device_driver", f"{driver}/{pool}", listed, detail))
            continue
        devices |= _devices_of_pool(driver, pool, current, kind)
        names = {device.name for one in current for device in one.devices}
        others |= {key for name in names if (key := DeviceKey(driver, pool, name)) not in devices}
    by_node: dict[str, list[Device]] = {}
    for device in devices.values():
        by_node.setdefault(device.node_name, []).append(device)
    return DeviceList(devices, frozenset(others), tuple(notes), by_node)


def counts_of(devices: Sequence[Device]) -> tuple[PoolCount, ...]:
    """Return physical devices by model, each once, however many parts of it are listed."""
    counts: dict[str, tuple[int, Fraction, Fraction]] = {}
    by_physical = sorted(devices, key=lambda one: (one.physical, one.key.device))
    for _, parts in groupby(by_physical, key=lambda one: one.physical):
        of_device = [*parts]
        units = max(one.units for one in of_device)
        free, compute = _allocatable(of_device)
        model = next((one.model for one in of_device if one.model != UNKNOWN_MODEL), UNKNOWN_MODEL)
        known = counts.get(model, (0, Fraction(0), Fraction(0)))
        counts[model] = (known[0] + units, known[1] + free * units, known[2] + compute * units)
    return tuple(
        PoolCount(
            gpu_model=model,
            devices=total,
            allocatable_num=free.numerator,
            allocatable_den=free.denominator,
            compute_num=None if compute == free else compute.numerator,
            compute_den=1 if compute == free else compute.denominator,
        )
        for model, (total, free, compute) in sorted(counts.items())
    )


def with_listed(counts: Sequence[PoolCount], listed: Sequence[PoolCount]) -> tuple[PoolCount, ...]:
    """Return a node's own device counts together with those of its slices.

    The same devices may be counted by both, so the larger number counts; what may be held adds up
    to at most that. A count of an unknown model means the devices that the slices name, and one of
    a model that a cloud calls otherwise those of the same chip.
    """
    known = {count.gpu_model: count for count in counts}
    for more in listed:
        other = next((name for name in known if _same_chip(name, more.gpu_model)), UNKNOWN_MODEL)
        same = len(listed) == 1 and more.gpu_model not in known
        unnamed = known.pop(other, None) if same else None
        before = known.get(more.gpu_model, unnamed)
        known[more.gpu_model] = more if before is None else _larger(before, more)
    if len(listed) > 1:
        _forget_unnamed(known, sum(more.devices for more in listed))
    return tuple(known[model] for model in sorted(known))


def _same_chip(one: str, other: str) -> bool:
    """Say whether two names are of one chip: ``nvidia-h100-80gb``, ``NVIDIA-H100-80GB-HBM3``."""
    chips = (set(_CHIP.findall(name.lower())) for name in (one, other))
    return bool(set.intersection(*chips))


def _forget_unnamed(known: dict[str, PoolCount], listed: int) -> None:
    """Leave out devices of an unknown model that nobody can hold and that slices name."""
    unnamed = known.get(UNKNOWN_MODEL)
    if unnamed is not None and not unnamed.allocatable and unnamed.devices <= listed:
        del known[UNKNOWN_MODEL]


def _larger(one: PoolCount, other: PoolCount) -> PoolCount:
    devices = max(one.devices, other.devices)
    free = min(one.allocatable + other.allocatable, Fraction(devices))
    compute = min(one.compute_allocatable + other.compute_allocatable, Fraction(devices))
    return PoolCount(
        gpu_model=other.gpu_model,
        devices=devices,
        allocatable_num=free.numerator,
        allocatable_den=free.denominator,
        compute_num=None if compute == free else compute.numerator,
        compute_den=1 if compute == free else compute.denominator,
    )


def _allocatable(parts: Sequence[Device]) -> tuple[Fraction, Fraction]:
    """Return how much of one physical device can be held, and that by compute slices."""
    usable = [part for part in parts if not part.tainted]
    if not usable:
        return Fraction(0), Fraction(0)
    if any(not part.partition or part.dynamic for part in usable):
        return Fraction(1), Fraction(1)
    shares = sum((part.share or Fraction(0) for part in usable), Fraction(0))
    compute = sum((part.compute or Fraction(0) for part in usable), Fraction(0))
    return min(shares, Fraction(1)), min(compute, Fraction(1))


def _devices_of_pool(
    driver: str, pool: str, slices: Sequence[SliceFacts], kind: DriverKind
) -> dict[DeviceKey, Device]:
    totals = {use.counter_set: use for one in slices for use in one.shared_counters}
    listed = {device.name: (one, device) for one in slices for device in one.devices}
    typed = {name: pair for name, pair in listed.items() if _is_accelerator(pair[1], kind)}
    scope = f"{driver}/{pool}"
    tokens = {
        name: _tokens(device, kind, node_name=device.node_name or one.node_name)
        for name, (one, device) in typed.items()
    }
    physical = _united(tokens)
    uuids = {
        physical[name]: uuid for name, (_, device) in typed.items() if (uuid := _uuid(device, kind))
    }
    made_of = {physical[name] for name, (_, device) in typed.items() if _is_source(device, kind)}
    siblings = {
        one: sum(physical[name] == one and _is_partition(typed[name][1], kind) for name in typed)
        for one in set(physical.values())
    }
    devices = {}
    for name, (one, device) in typed.items():
        place = physical[name]
        model = _model_of(device, kind)
        share, compute = _share_of(device, kind, totals, model=model, siblings=siblings[place])
        key = DeviceKey(driver, pool, name)
        devices[key] = Device(
            key=key,
            model=model,
            node_name=device.node_name or one.node_name,
            physical=f"{scope}/{place}",
            uuid=uuids.get(place, ""),
            share=share,
            compute=compute,
            units=_units(device, kind),
            partition=_is_partition(device, kind) or share != 1,
            dynamic=place in made_of,
            tainted=device.tainted,
            allow_multiple=device.allow_multiple,
            capacity=device.capacity,
        )
    return devices


def _is_accelerator(device: SliceDevice, kind: DriverKind) -> bool:
    told = device.attribute("type")
    return not kind.whole or not told or told in kind.whole or told in kind.partition


def _is_partition(device: SliceDevice, kind: DriverKind) -> bool:
    """Say whether a device is a part of a physical one, as its type or its counters tell."""
    return device.attribute("type") in kind.partition


def _is_source(device: SliceDevice, kind: DriverKind) -> bool:
    """Say whether the physical device is divided on demand: it is listed whole or by counters."""
    return bool(device.consumes) or not _is_partition(device, kind)


def _tokens(device: SliceDevice, kind: DriverKind, *, node_name: str) -> tuple[str, ...]:
    """Return what names the physical device; two listed devices with one in common are on one."""
    uuid = _uuid(device, kind)
    addresses = {text for name in _PCI_ADDRESSES if (text := device.attribute(name))}
    if kind.units and device.consumes:
        # The counters of a set that spans hosts are those of many accelerators: a host's are one.
        return (f"node:{device.node_name}",) if device.node_name else (f"name:{device.name}",)
    sets = [f"set:{use.counter_set}" for use in device.consumes]
    tokens = [
        *([f"uuid:{uuid}"] if uuid else ()),
        *(f"pci:{node_name}/{text}" for text in addresses),
        *sets,
    ]
    return tuple(tokens) or (f"name:{device.name}",)


def _uuid(device: SliceDevice, kind: DriverKind) -> str:
    """Return the UUID of the physical device."""
    return device.attribute("parentUUID" if _is_partition(device, kind) else "uuid")


def _united(tokens: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return one name of the physical device for each device: the least token it is known by."""
    leader: dict[str, str] = {}

    def find(token: str) -> str:
        while leader.setdefault(token, token) != token:
            token = leader[token]
        return token

    for named in tokens.values():
        roots = {find(token) for token in named}
        least = min(roots)
        for root in roots:
            leader[root] = least
    return {name: find(named[0]) for name, named in tokens.items()}


def _model_of(device: SliceDevice, kind: DriverKind) -> str:
    told = next((text for name in kind.model if (text := device.attribute(name))), "")
    return canonical_model(told) or UNKNOWN_MODEL


def _units(device: SliceDevice, kind: DriverKind) -> int:
    amounts = {amount.name: amount.value for amount in device.capacity}
    return max([1, *(int(amounts.get(name, 0)) for name in kind.units)])


def _share_of(
    device: SliceDevice,
    kind: DriverKind,
    totals: Mapping[str, CounterUse],
    *,
    model: str,
    siblings: int,
) -> tuple[Fraction | None, Fraction | None]:
    """Return what a device is of its physical one, and that by compute slices."""
    whole = Fraction(1)
    if not _is_partition(device, kind) and (kind.units or device.attribute("type")):
        return whole, whole
    if (profile := device.attribute("profile")) and (told := mig_share(model, profile)):
        return Fraction(told.max_num, told.max_den), Fraction(told.compute_num, told.compute_den)
    ratios = [
        ratio
        for use in device.consumes
        if use.counter_set in totals
        for ratio in consumed_ratios(use.counters, totals[use.counter_set].counters)
    ]
    if ratios:
        return max(ratios), max(ratios)
    if not _is_partition(device, kind):
        return whole, whole
    if kind.even_partitions:
        return Fraction(1, siblings), Fraction(1, siblings)
    return None, None


def consumed_ratios(used: Iterable[Amount], total: Iterable[Amount]) -> list[Fraction]:
    """Return consumed / total of each kind of amount, at most 1; numbered amounts are one kind."""
    sums: dict[str, Fraction] = {}
    for amount in total:
        family = _NUMBERED.sub("", amount.name)
        sums[family] = sums.get(family, Fraction(0)) + amount.value
    taken: dict[str, Fraction] = {}
    for amount in used:
        family = _NUMBERED.sub("", amount.name)
        taken[family] = taken.get(family, Fraction(0)) + amount.value
    return [
        min(value / sums[family], Fraction(1))
        for family, value in sorted(taken.items())
        if sums.get(family)
    ]
