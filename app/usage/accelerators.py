"""Which resources stand for devices, and what a node's devices are: the list of all that count.

A resource counts as a device only if a vendor's module knows it. Whatever else looks like an
accelerator is named in a note, and no share of a device is ever guessed from its name.
"""

import re

from app.usage.hami import hami_accelerators, is_hami
from app.usage.inventory import NodeFacts
from app.usage.nvidia import is_nvidia, nvidia_accelerators, nvidia_model, nvidia_slot
from app.usage.other_vendors import VENDORS, vendor_of
from app.usage.shares import WHOLE_DEVICE, Accelerators, Slot, UnknownShare

# Resources that accompany a device request (monitoring access, memory or core quotas) and are no
# devices themselves.
_COMPANIONS = frozenset(
    {
        "gpu.intel.com/monitoring",
        "gpu.intel.com/i915_monitoring",
        "gpu.intel.com/xe_monitoring",
        "gpu.intel.com/millicores",
        "gpu.intel.com/memory.max",
        "gpu.intel.com/tiles",
        "nvidia.com/priority",
        "nvidia.com/gpumem",
        "nvidia.com/gpumem-percentage",
        "nvidia.com/gpucores",
    }
)
_OTHER_ACCELERATORS = re.compile(
    "tpu|neuron|gaudi|npu|dcu|v?mlu|xpu|ascend|gcu|vcuda|qaic|rngd|directx|"
    # What is handed to virtual machines is called after the chip or the virtual GPU.
    r"g[abhkmpv]\d{3}|ad\d{3}|tu\d{3}|grid[-_]|nvidia[-_]|tesla"
)


def is_device(resource: str) -> bool:
    """Say whether a resource stands for devices or known parts of them."""
    return is_nvidia(resource) or vendor_of(resource) is not None


def accelerators_of(node: NodeFacts) -> tuple[Accelerators, ...]:
    """Return a node's devices, one value a vendor."""
    nvidia = hami_accelerators(node) if is_hami(node) else nvidia_accelerators(node)
    found = [nvidia, *(vendor.accelerators(node) for vendor in VENDORS)]
    return tuple(one for one in found if one is not None)


def slot_of(node: NodeFacts | None, resource: str) -> Slot | UnknownShare | None:
    """Return what one unit of a resource is on a node; None if it stands for no device.

    Where the node is not known, a whole GPU is taken for one and any part of one is unknown.
    """
    vendor = vendor_of(resource)
    if not is_nvidia(resource) and vendor is None:
        if looks_like_accelerator(resource):
            return UnknownShare(f"The resource {resource} is none of those whose share is known.")
        return None
    if node is None:
        if resource == "nvidia.com/gpu":
            return WHOLE_DEVICE
        return UnknownShare(f"The node is not known that says what {resource} is of a device.")
    if vendor is not None:
        return vendor.slot(node, resource)
    return nvidia_slot(node, resource)


def model_of(node: NodeFacts, resource: str) -> str:
    """Return the canonical model of the devices that a resource of a node stands for."""
    vendor = vendor_of(resource)
    if vendor is not None:
        return vendor.model(dict(node.labels), node.instance_type)
    return nvidia_model(node)


def looks_like_accelerator(resource: str) -> bool:
    """Say whether an unknown resource probably stands for devices or parts of them."""
    if resource in _COMPANIONS:
        return False
    domain, _, name = resource.lower().partition("/")
    words = name.replace("-", ".").split(".")
    if "gpu" in domain.split(".") or any("gpu" in word for word in words):
        return True
    return _OTHER_ACCELERATORS.match(name) is not None
