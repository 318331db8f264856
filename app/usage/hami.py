"""HAMi: a GPU divided by quotas of memory and cores that pods declare.

What a node registers and what a pod was given stand in annotations (Project-HAMi,
``hami.io/node-nvidia-register`` and ``hami.io/vgpu-devices-allocated``). The resource
``nvidia.com/gpu`` counts as many units a device as the plugin splits it into, which says nothing of
anybody's share.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from app.usage.inventory import ContainerFacts, NodeFacts, PodFacts
from app.usage.kinds import Sharing
from app.usage.nvidia import GPU, nvidia_model
from app.usage.products import UNKNOWN_MODEL, canonical_model
from app.usage.shares import WHOLE, Accelerators, Slot, UnknownShare, whole_number

_REGISTER = "hami.io/node-nvidia-register"
_ALLOCATED = "hami.io/vgpu-devices-allocated"
NODE_ANNOTATIONS = frozenset({_REGISTER})
_MEMORY = "nvidia.com/gpumem"
_MEMORY_PERCENT = "nvidia.com/gpumem-percentage"
_CORES = "nvidia.com/gpucores"
QUOTAS = frozenset({_MEMORY, _MEMORY_PERCENT, _CORES})
_DEVICE_FIELDS = 7
_AMOUNTS = 2


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """A physical device as a node registers it; memory in MiB, cores in percent points."""

    uuid: str
    memory_mib: int
    cores: int
    model: str
    healthy: bool


@dataclass(frozen=True, slots=True)
class DeclaredPart:
    """What a pod holds of devices by declaration: the sum of its shares, and which devices."""

    share: Fraction
    units: int
    devices: tuple[str, ...] = ()


def is_hami(node: NodeFacts) -> bool:
    """Say whether HAMi divides the node's NVIDIA devices."""
    return bool(registered_devices(node))


def registered_devices(node: NodeFacts) -> tuple[RegisteredDevice, ...]:
    """Return the devices of a node's register annotation; () without one, or if it is broken.

    From release 2.6 on it is a JSON list, before that ``uuid,count,memory,cores,type,numa,health``
    entries that end with a colon.
    """
    text = dict(node.annotations).get(_REGISTER, "").strip()
    if not text:
        return ()
    try:
        entries = json.loads(text)
    except ValueError:
        return tuple(_of_text(text))
    if not isinstance(entries, list):
        return ()
    return tuple(
        RegisteredDevice(
            uuid=str(entry.get("id", "")),
            memory_mib=_integer(entry.get("devmem")),
            cores=_integer(entry.get("devcore")) or 100,
            model=canonical_model(str(entry.get("type", ""))),
            healthy=entry.get("health") is not False,
        )
        for entry in entries
        if isinstance(entry, dict) and entry.get("id")
    )


def hami_accelerators(node: NodeFacts) -> Accelerators:
    """Return the devices that HAMi divides; what they may be held by is said by each pod."""
    devices = registered_devices(node)
    healthy = Fraction(sum(device.healthy for device in devices))
    units, allocatable = dict(node.capacity).get(GPU, 0), dict(node.allocatable).get(GPU, 0)
    if units and allocatable < units:
        healthy = min(healthy, Fraction(len(devices) * allocatable, units))
    model = nvidia_model(node)
    if model == UNKNOWN_MODEL:
        model = next((device.model for device in devices if device.model), UNKNOWN_MODEL)
    slot = Slot(sharing=Sharing.FRACTION)
    return Accelerators(
        gpu_model=model,
        devices=max(len(devices), node.instance_devices),
        slots={GPU: slot},
        allocatable=healthy,
        compute_allocatable=healthy,
    )


def hami_part(pod: PodFacts, node: NodeFacts | None) -> DeclaredPart | UnknownShare | None:
    """Return what a pod holds by quotas; None if it declares none and its node is not HAMi's.

    A share is the larger of the memory and the cores, and a pod that declares neither has the
    device's whole memory. What the scheduler gave wins over what was asked for.
    """
    requested = {name for container in pod.containers for name, _ in container.requests}
    devices = registered_devices(node) if node is not None else ()
    if GPU not in requested or not (devices or requested & QUOTAS):
        return None
    given = dict(pod.annotations).get(_ALLOCATED, "")
    allocated = _allocated(given, devices)
    if allocated is not None:
        return allocated
    memory_mib = _device_memory(devices, node)
    apps = [_asked(one, memory_mib) for one in pod.containers if one.kind != "init"]
    inits = [_asked(one, memory_mib) for one in pod.containers if one.kind == "init"]
    unknown = next((one for one in (*apps, *inits) if isinstance(one, UnknownShare)), None)
    if unknown is not None:
        return unknown
    asked = [one for one in apps if isinstance(one, DeclaredPart)]
    together = DeclaredPart(
        share=sum((one.share for one in asked), Fraction(0)), units=sum(one.units for one in asked)
    )
    early = [one for one in inits if isinstance(one, DeclaredPart)]
    return max((together, *early), key=lambda one: one.share)


def _asked(container: ContainerFacts, memory_mib: int) -> DeclaredPart | UnknownShare:
    """Return what one container asks for, on each of its devices alike."""
    requests = dict(container.requests)
    units = requests.get(GPU, 0)
    parts = []
    if requests.get(_MEMORY):
        if not memory_mib:
            return UnknownShare(
                f"The pod asks for {requests[_MEMORY]} MiB of a GPU whose memory is not known."
            )
        parts.append(Fraction(requests[_MEMORY], memory_mib))
    elif requests.get(_MEMORY_PERCENT):
        parts.append(Fraction(requests[_MEMORY_PERCENT], 100))
    else:
        # No quota of memory is all of it.
        parts.append(WHOLE)
    if requests.get(_CORES):
        parts.append(Fraction(requests[_CORES], 100))
    return DeclaredPart(share=min(max(parts), WHOLE) * units, units=units)


def _allocated(text: str, registered: Iterable[RegisteredDevice]) -> DeclaredPart | None:
    """Return what the scheduler gave: ``uuid,type,MiB,cores`` entries, by container and device."""
    by_uuid = {device.uuid: device for device in registered}
    share, uuids = Fraction(0), []
    for entry in filter(None, (part.strip() for part in text.replace(";", ":").split(":"))):
        fields = entry.split(",")
        device = by_uuid.get(fields[0])
        numbers = [whole_number(one) for one in fields[2:4]]
        if device is None or len(numbers) < _AMOUNTS or None in numbers or not device.memory_mib:
            return None
        memory, cores = (number or 0 for number in numbers)
        part = max(Fraction(memory, device.memory_mib), Fraction(cores, device.cores))
        share += min(part, WHOLE)
        uuids.append(device.uuid)
    if not uuids or not share:
        return None
    return DeclaredPart(share=share, units=len(uuids), devices=tuple(dict.fromkeys(uuids)))


def _device_memory(devices: Iterable[RegisteredDevice], node: NodeFacts | None) -> int:
    """Return the memory of one of the node's devices in MiB, 0 where it is not known.

    Of devices with different memory the largest is taken, since which one was given is not known.
    """
    registered = max((device.memory_mib for device in devices), default=0)
    if registered or node is None:
        return registered
    return whole_number(dict(node.labels).get("nvidia.com/gpu.memory", "")) or 0


def _of_text(text: str) -> Iterator[RegisteredDevice]:
    for entry in filter(None, (part.strip() for part in text.split(":"))):
        fields = entry.split(",")
        if len(fields) >= _DEVICE_FIELDS:
            yield RegisteredDevice(
                uuid=fields[0],
                memory_mib=whole_number(fields[2]) or 0,
                cores=whole_number(fields[3]) or 100,
                model=canonical_model(fields[4]),
                healthy=fields[6].lower() != "false",
            )


def _integer(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
