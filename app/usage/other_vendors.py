"""Devices of other vendors than NVIDIA: which resources stand for them, and how they are divided.

Units of one vendor's resources may be different counts of the same hardware (a Neuron device and
its cores): those never add up.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from app.usage.inventory import NodeFacts
from app.usage.kinds import Sharing
from app.usage.products import canonical_model
from app.usage.shares import WHOLE_DEVICE, Accelerators, Slot, UnknownShare, whole_number

Labels = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """One vendor's devices.

    ``units_per_device`` says how many units of a resource one device makes, None where nothing
    tells; ``counted`` how many devices labels tell, 0 if none do. ``same_hardware`` says that all
    resources count the same devices.
    """

    resource: re.Pattern[str]
    model: Callable[[Labels, str], str]
    units_per_device: Callable[[str, NodeFacts], int | None]
    counted: Callable[[Labels], int] = lambda _labels: 0
    same_hardware: bool = True

    def slot(self, node: NodeFacts, resource: str) -> Slot | UnknownShare:
        """Return what one unit of a resource is of a device."""
        units = self.units_per_device(resource, node)
        if units is None:
            return UnknownShare(f"How many units of {resource} a device makes is not known.")
        return WHOLE_DEVICE.divided(units, Sharing.FRACTION)

    def accelerators(self, node: NodeFacts) -> Accelerators | None:
        """Return the vendor's devices on a node, None if it shows none."""
        capacity = {
            resource: units
            for resource, units in node.capacity
            if units > 0 and self.resource.fullmatch(resource)
        }
        if not capacity:
            return None
        allocatable = dict(node.allocatable)
        slots = {resource: self.slot(node, resource) for resource in sorted(capacity)}
        shares = {name: slot.share for name, slot in slots.items() if isinstance(slot, Slot)}
        shown = [share * capacity[name] for name, share in shares.items()]
        free = [
            share * min(allocatable.get(name, 0), capacity[name]) for name, share in shares.items()
        ]
        together = max if self.same_hardware else sum
        needed = together(shown) if shown else Fraction(1)
        devices = max(
            -(-needed.numerator // needed.denominator),
            self.counted(dict(node.labels)),
            node.instance_devices,
        )
        held_at_most = min(Fraction(together(free)) if free else Fraction(0), Fraction(devices))
        return Accelerators(
            gpu_model=self.model(dict(node.labels), node.instance_type),
            devices=devices,
            slots=slots,
            allocatable=held_at_most,
            compute_allocatable=held_at_most,
        )


def vendor_of(resource: str) -> Vendor | None:
    """Return the vendor that a resource stands for devices of, None if it stands for none."""
    return next((one for one in VENDORS if one.resource.fullmatch(resource)), None)


# -- AMD: ROCm/k8s-device-plugin; under the mixed naming strategy a resource is called after the
# compute and memory partition, under the single one all are called gpu.

_AMD_PARTITION = re.compile(r"amd\.com/(?P<compute>[a-z]+px)_nps\d")
# Accelerator complex dies of a device: in CPX mode each is a partition of its own.
_AMD_DIES = ((re.compile(r"MI300A", re.IGNORECASE), 6), (re.compile(r"MI3\d\d", re.IGNORECASE), 8))
_AMD_PARTS = {"spx": 1, "dpx": 2, "tpx": 3, "qpx": 4}


def _amd_model(labels: Labels, _instance_type: str) -> str:
    for label in ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name"):
        if labels.get(label):
            return canonical_model(labels[label].replace("_", "-"))
    return "AMD-GPU"


def _amd_units(resource: str, node: NodeFacts) -> int | None:
    labels = dict(node.labels)
    found = _AMD_PARTITION.fullmatch(resource)
    mode = found["compute"] if found else labels.get("amd.com/compute-memory-partition", "spx")
    compute = mode.partition("_")[0].lower()
    if compute == "cpx":
        model = _amd_model(labels, "")
        return next((dies for product, dies in _AMD_DIES if product.search(model)), None)
    return _AMD_PARTS.get(compute)


# -- Intel: intel-device-plugins-for-kubernetes and the labels of Node Feature Discovery; with
# shared-dev-num above 1 the plugin advertises each device several times.


def _intel_model(labels: Labels, _instance_type: str) -> str:
    product = labels.get("gpu.intel.com/product") or labels.get("gpu.intel.com/family", "")
    return f"Intel-{canonical_model(product.replace('_', '-'))}" if product else "Intel-GPU"


def _intel_count(labels: Labels) -> int:
    return whole_number(labels.get("gpu.intel.com/device.count", "")) or 0


def _intel_units(resource: str, node: NodeFacts) -> int | None:
    units, devices = dict(node.capacity).get(resource, 0), _intel_count(dict(node.labels))
    if not devices or units <= devices:
        return 1
    return units // devices if units % devices == 0 else None


# -- Gaudi, TPU, Neuron.

_NEURON_CHIPS = (
    ("trn2", "AWS-Trainium2", 8),
    ("trn1", "AWS-Trainium", 2),
    ("inf2", "AWS-Inferentia2", 2),
    ("inf1", "AWS-Inferentia", 4),
)


def _gaudi_model(labels: Labels, _instance_type: str) -> str:
    product = labels.get("habana.ai/hpu.product") or labels.get("habana.ai/device-type", "")
    return canonical_model(product) or "Intel-Gaudi"


def _tpu_model(labels: Labels, _instance_type: str) -> str:
    return canonical_model(labels.get("cloud.google.com/gke-tpu-accelerator", "")) or "Google-TPU"


def _neuron_chip(instance_type: str) -> tuple[str, str, int] | None:
    return next((chip for chip in _NEURON_CHIPS if instance_type.startswith(chip[0])), None)


def _neuron_model(labels: Labels, instance_type: str) -> str:
    chip = _neuron_chip(instance_type)
    if chip is not None:
        return chip[1]
    name = canonical_model(labels.get("karpenter.k8s.aws/instance-accelerator-name", ""))
    return f"AWS-{name.capitalize()}" if name else "AWS-Neuron"


def _neuron_units(resource: str, node: NodeFacts) -> int | None:
    """Return 1 for a device; of cores as many as the node shows a device, else as its type has."""
    if not resource.endswith("neuroncore"):
        return 1
    capacity = dict(node.capacity)
    devices = max(
        capacity.get("aws.amazon.com/neuron", 0), capacity.get("aws.amazon.com/neurondevice", 0)
    )
    cores = capacity.get(resource, 0)
    if devices and cores and cores % devices == 0:
        return cores // devices
    chip = _neuron_chip(node.instance_type)
    return chip[2] if chip else None


VENDORS = (
    Vendor(
        resource=re.compile(r"amd\.com/gpu|" + _AMD_PARTITION.pattern),
        model=_amd_model,
        units_per_device=_amd_units,
        same_hardware=False,
    ),
    Vendor(
        resource=re.compile(r"gpu\.intel\.com/(?:i915|xe)"),
        model=_intel_model,
        units_per_device=_intel_units,
        counted=_intel_count,
        same_hardware=False,
    ),
    Vendor(
        resource=re.compile(r"habana\.ai/gaudi"),
        model=_gaudi_model,
        units_per_device=lambda _resource, _node: 1,
    ),
    Vendor(
        resource=re.compile(r"google\.com/tpu"),
        model=_tpu_model,
        units_per_device=lambda _resource, _node: 1,
    ),
    Vendor(
        resource=re.compile(r"aws\.amazon\.com/neuron(?:core|device)?"),
        model=_neuron_model,
        units_per_device=_neuron_units,
    ),
)
