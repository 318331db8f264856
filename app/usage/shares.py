"""What one unit of an extended resource is of a physical device: the seam for sharing modes.

A resource counts as a device only if it is registered here. Whatever else looks like an accelerator
is named in a note, and no share of a device is ever guessed from its name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.usage.products import UNKNOWN_MODEL, canonical_model


@dataclass(frozen=True, slots=True)
class Share:
    """What one unit of a resource is of a device: ``num / den``, with nobody else if exclusive."""

    num: int
    den: int
    exclusive: bool


@dataclass(frozen=True, slots=True)
class UnsupportedShare:
    """A way of sharing that cannot be priced; ``reason`` is a sentence for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSharing:
    """How a node says that it divides its devices (GPU Feature Discovery labels).

    ``physical_devices`` is None where no label tells it. Under the single MIG strategy the count
    label counts instances: then it is the fewest devices that can hold so many of them.
    """

    product: str
    physical_devices: int | None
    replicas: int
    strategy: str
    mig_strategy: str

    @property
    def gpu_model(self) -> str:
        """The canonical model of the node's devices."""
        return canonical_model(self.product) or UNKNOWN_MODEL


@dataclass(frozen=True, slots=True)
class DeviceResource:
    """An extended resource that stands for devices, and the rule that gives its share."""

    resource: str
    share: Callable[[NodeSharing], Share | UnsupportedShare]


def sharing_of(labels: tuple[tuple[str, str], ...]) -> NodeSharing:
    """Read how a node divides its devices from its labels."""
    by_name = dict(labels)
    product = by_name.get("nvidia.com/gpu.product", "")
    mig_strategy = by_name.get("nvidia.com/mig.strategy", "")
    count = _whole_number(by_name.get("nvidia.com/gpu.count", ""))
    profile = _MIG_PROFILE.search(product) if mig_strategy == "single" else None
    if count and profile:
        count = -(-count // _INSTANCES_PER_DEVICE.get(int(profile[1]), 1))
    return NodeSharing(
        product=product,
        physical_devices=count,
        # "0" stands on nodes of the mixed MIG strategy and means the same as no label.
        replicas=_whole_number(by_name.get("nvidia.com/gpu.replicas", "")) or 1,
        strategy=by_name.get("nvidia.com/gpu.sharing-strategy", "") or "none",
        mig_strategy=mig_strategy or "none",
    )


def devices_behind(resource: str, sharing: NodeSharing) -> int:
    """Return how many devices stand behind a resource that divides them in an unknown way.

    At least one GPU of NVIDIA's is there where its plugin advertises any part of one; how many, the
    labels may tell. What other vendors' resources stand for is not known here.
    """
    if sharing.physical_devices is not None:
        return sharing.physical_devices
    return int(resource.startswith("nvidia.com/"))


def share_of(resource: str, sharing: NodeSharing) -> Share | UnsupportedShare | None:
    """Return what one unit of ``resource`` is of a device of such a node.

    None means that the resource is no accelerator at all (a network card, a licence).
    """
    device = DEVICE_RESOURCES.get(resource)
    if device is not None:
        return device.share(sharing)
    if looks_like_accelerator(resource):
        return UnsupportedShare(f"The resource {resource} is not one this version can price.")
    return None


def looks_like_accelerator(resource: str) -> bool:
    """Say whether an unregistered resource probably stands for devices or parts of them."""
    if resource in _COMPANIONS:
        return False
    domain, _, name = resource.lower().partition("/")
    if domain == "nvidia.com" and name.startswith("mig-"):
        return True
    words = name.replace("-", ".").split(".")
    if "gpu" in domain.split(".") or any("gpu" in word for word in words):
        return True
    return any(name.startswith(prefix) for prefix in _OTHER_ACCELERATORS)


def _share_of_whole_gpu(sharing: NodeSharing) -> Share | UnsupportedShare:
    if "-MIG-" in sharing.product.upper():
        return UnsupportedShare(
            f"The node advertises MIG instances as whole GPUs ({sharing.product})."
        )
    if sharing.replicas > 1 or sharing.product.upper().endswith("-SHARED"):
        return UnsupportedShare(
            f"The node divides its GPUs into {sharing.replicas} slots ({sharing.strategy})."
        )
    return Share(num=1, den=1, exclusive=True)


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


# Resources that accompany a device request (monitoring access, memory or core quotas) and are no
# devices. Quotas are recognized as sharing where the request is turned into a hold.
_COMPANIONS = frozenset(
    {
        "gpu.intel.com/monitoring",
        "gpu.intel.com/i915_monitoring",
        "gpu.intel.com/xe_monitoring",
        "nvidia.com/priority",
        "nvidia.com/gpumem",
        "nvidia.com/gpumem-percentage",
        "nvidia.com/gpucores",
    }
)

# HAMi divides a device by these quotas: a pod that requests one holds less than a whole GPU.
QUOTAS = frozenset({"nvidia.com/gpumem", "nvidia.com/gpumem-percentage", "nvidia.com/gpucores"})

# The profile in a product label, and how many instances of so many compute slices fit on a device
# with seven of them (NVIDIA MIG user guide). Devices with four slices hold fewer.
_MIG_PROFILE = re.compile(r"-MIG-(\d)g\.", re.IGNORECASE)
_INSTANCES_PER_DEVICE = {1: 7, 2: 3, 3: 2, 4: 1, 7: 1}

_OTHER_ACCELERATORS = ("tpu", "neuron", "gaudi", "npu", "dcu", "mlu", "xpu")

DEVICE_RESOURCES: Mapping[str, DeviceResource] = {
    "nvidia.com/gpu": DeviceResource("nvidia.com/gpu", _share_of_whole_gpu)
}
