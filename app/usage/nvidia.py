"""NVIDIA's devices of a node: whole, MIG instances, slots of time-slicing and MPS.

Labels are those of GPU Feature Discovery and, where it does not run, of GKE.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from app.usage.inventory import NodeFacts
from app.usage.kinds import Sharing
from app.usage.mig import MigShare, mig_share, most_instances
from app.usage.products import UNKNOWN_MODEL, canonical_model
from app.usage.shares import (
    WHOLE_DEVICE,
    Accelerators,
    Slot,
    UnknownShare,
    whole_number,
)

GPU = "nvidia.com/gpu"
SHARED_GPU = "nvidia.com/gpu.shared"
AWS_VGPU = "k8s.amazonaws.com/vgpu"
_MIG = re.compile(r"nvidia\.com/mig-(?P<profile>.+?)(?P<shared>\.shared)?")
_PROFILE_COUNT = re.compile(r"nvidia\.com/mig-.+\.count")
_PRODUCT_PROFILE = re.compile(r"-MIG-(?P<profile>[0-9a-z.+-]+?)(?:-SHARED)?$", re.IGNORECASE)
_STRATEGIES = {
    "time-slicing": Sharing.TIME_SLICING,
    "time-sharing": Sharing.TIME_SLICING,
    "mps": Sharing.MPS,
}
# Labels by which GKE and Karpenter tell the devices of a machine, however they are shared.
_PHYSICAL_COUNTS = (
    "cloud.google.com/gke-accelerator-count",
    "karpenter.k8s.aws/instance-gpu-count",
    "karpenter.azure.com/sku-gpu-count",
)
# The AWS virtual GPU device plugin advertises so many units a GPU unless it is told otherwise.
_VGPUS = 10


def is_nvidia(resource: str) -> bool:
    """Say whether a resource stands for NVIDIA's devices or parts of them."""
    return resource in (GPU, SHARED_GPU, AWS_VGPU) or _MIG.fullmatch(resource) is not None


def nvidia_model(node: NodeFacts) -> str:
    """Return the canonical model of a node's NVIDIA devices."""
    return _Said.of(node).gpu_model


def nvidia_accelerators(node: NodeFacts) -> Accelerators | None:
    """Return a node's NVIDIA devices, None if it shows none and names none."""
    said = _Said.of(node)
    resources = said.advertised(dict(node.allocatable))
    slots = {resource: said.slot(resource) for resource in sorted(resources)}
    devices = said.devices(slots)
    if not devices or not (slots or said.product):
        return None
    return said.normalized(
        Accelerators(gpu_model=said.gpu_model, devices=devices, slots=slots),
        dict(node.allocatable),
    )


def nvidia_slot(node: NodeFacts, resource: str) -> Slot | UnknownShare | None:
    """Return what one unit of a resource is on a node; None if it is none of NVIDIA's devices.

    The node need not advertise the resource at this moment: its plugin may be down.
    """
    if not is_nvidia(resource):
        return None
    accelerators = nvidia_accelerators(node)
    if accelerators is not None and resource in accelerators.slots:
        return accelerators.slots[resource]
    return _Said.of(node).slot(resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a node's labels and capacity say of its NVIDIA devices.

    ``count`` is the label's, which under the single MIG strategy may count instances; ``physical``
    is that of a cloud's label, which counts devices, 0 without one.
    """

    labels: dict[str, str]
    capacity: dict[str, int]
    product: str
    profile: str
    strategy: Sharing | None
    count: int | None
    physical: int
    instance_devices: int

    @classmethod
    def of(cls, node: NodeFacts) -> "_Said":
        labels = dict(node.labels)
        product = labels.get("nvidia.com/gpu.product") or labels.get(
            "cloud.google.com/gke-accelerator", ""
        )
        found = _PRODUCT_PROFILE.search(product)
        profile = (
            found["profile"] if found else labels.get("cloud.google.com/gke-gpu-partition-size", "")
        )
        named = labels.get("nvidia.com/gpu.sharing-strategy") or labels.get(
            "cloud.google.com/gke-gpu-sharing-strategy", ""
        )
        said = cls(
            labels=labels,
            capacity=dict(node.capacity),
            product=product,
            profile=profile,
            strategy=_STRATEGIES.get(named.lower()),
            count=whole_number(labels.get("nvidia.com/gpu.count", "")),
            physical=max(
                (whole_number(labels.get(name, "")) or 0 for name in _PHYSICAL_COUNTS), default=0
            ),
            instance_devices=node.instance_devices,
        )
        return replace(said, capacity=said.without_gone(dict(node.allocatable)))

    def without_gone(self, allocatable: dict[str, int]) -> dict[str, int]:
        """Return the capacity without what the kubelet only goes on to show.

        For minutes after a plugin began to advertise the same devices by another resource, none of
        the earlier one are allocatable. Those are gone where all together need more devices than
        there are; else they are unhealthy.
        """
        mine = {name for name, units in self.capacity.items() if units > 0 and is_nvidia(name)}
        live = {name for name in mine if allocatable.get(name, 0) > 0}
        if not live or live == mine:
            return self.capacity
        devices = self.physical or self.count or self.instance_devices
        if self.profile:
            gone = SHARED_GPU in live and GPU not in live
        else:
            needed = self._devices_of_units({name: self.slot(name) for name in mine})
            gone = 0 < devices < needed
        if not gone:
            return self.capacity
        return {name: n for name, n in self.capacity.items() if name in live or name not in mine}

    def advertised(self, allocatable: dict[str, int]) -> list[str]:
        """Return the resources that the node has.

        The kubelet goes on to show instances of a geometry that is gone, none of them allocatable;
        feature discovery labels the profiles that exist.
        """
        labelled = any(_PROFILE_COUNT.fullmatch(label) for label in self.labels)
        found = []
        for resource, units in self.capacity.items():
            mig = _MIG.fullmatch(resource)
            gone = (
                mig is not None
                and labelled
                and f"nvidia.com/mig-{mig['profile']}.count" not in self.labels
                and not allocatable.get(resource, 0)
            )
            if units > 0 and is_nvidia(resource) and not gone:
                found.append(resource)
        return found

    @property
    def gpu_model(self) -> str:
        return canonical_model(self.product) or UNKNOWN_MODEL

    @property
    def mig(self) -> MigShare | None:
        """What an instance is under the single MIG strategy."""
        return mig_share(self.gpu_model, self.profile)

    def slot(self, resource: str) -> Slot | UnknownShare:
        """Return what one unit is, before the instances of a device are normalized together."""
        found = _MIG.fullmatch(resource)
        if found is not None:
            return self._mig_slot(resource, found["profile"], shared=bool(found["shared"]))
        if resource == AWS_VGPU:
            return self._vgpu()
        if self.profile:
            return self._single(resource)
        slots = self._slots_of(resource)
        if slots is None:
            units = self.capacity.get(resource, 0)
            return UnknownShare(
                f"The node advertises {units} units of {resource} on"
                f" {self._shared_devices(resource) or 'unknown'} devices, and no label says how"
                " many slots a device has."
            )
        return WHOLE_DEVICE.divided(slots, self.strategy or Sharing.TIME_SLICING)

    def devices(self, slots: dict[str, Slot | UnknownShare]) -> int:
        """Return the physical devices: the most that any label or resource tells."""
        # A product is that of one device at least, also where none is advertised.
        told = [self.physical, self.instance_devices, int(bool(self.product))]
        if self.profile:
            told.append(self._devices_of_instances())
        else:
            told += [self.count or 0, self._devices_of_units(slots)]
        return max(told)

    def normalized(self, found: Accelerators, allocatable: dict[str, int]) -> Accelerators:
        """Return the devices with what may be held of them.

        The instances that exist on the devices count together as no more than the devices: shares
        by the larger of compute and memory may add up to more (a 4g and a 3g on one device).
        """
        others = sum(
            slot.share * self.capacity[resource]
            for resource, slot in found.slots.items()
            if isinstance(slot, Slot) and not _of_mig(resource, self.profile)
        )
        instances = [
            (slot, self.capacity[resource])
            for resource, slot in found.slots.items()
            if isinstance(slot, Slot) and _of_mig(resource, self.profile)
        ]
        room = max(found.devices - others, Fraction(0))
        scale, compute_scale = (
            min(Fraction(1), room / total) if total else Fraction(1)
            for total in (
                sum((slot.share * units for slot, units in instances), Fraction(0)),
                sum((slot.compute * units for slot, units in instances), Fraction(0)),
            )
        )
        slots = {
            resource: slot.scaled(scale, compute_scale)
            if isinstance(slot, Slot) and _of_mig(resource, self.profile)
            else slot
            for resource, slot in found.slots.items()
        }
        known = [
            (slot, min(allocatable.get(resource, 0), self.capacity[resource]))
            for resource, slot in slots.items()
            if isinstance(slot, Slot)
        ]
        limit = Fraction(found.devices)
        return Accelerators(
            gpu_model=found.gpu_model,
            devices=found.devices,
            slots=slots,
            allocatable=min(sum((one.share * n for one, n in known), Fraction(0)), limit),
            compute_allocatable=min(sum((one.compute * n for one, n in known), Fraction(0)), limit),
        )

    def _mig_slot(self, resource: str, profile: str, *, shared: bool) -> Slot | UnknownShare:
        mig = mig_share(self.gpu_model, profile)
        if mig is None:
            return _unknown_profile(profile, self.product)
        one = Slot(share=mig.share, compute=mig.compute, sharing=Sharing.MIG)
        replicas = self._replicas(f"nvidia.com/mig-{profile}.replicas")
        if not shared and replicas == 1:
            return one
        if replicas == 1:
            return UnknownShare(f"No label says how many slots an instance of {resource} has.")
        return one.divided(replicas, Sharing.SLICED_INSTANCE)

    def _single(self, resource: str) -> Slot | UnknownShare:
        """Return a unit under the single MIG strategy: an instance, or a slot of one."""
        if self.mig is None:
            return _unknown_profile(self.profile, self.product)
        one = Slot(share=self.mig.share, compute=self.mig.compute, sharing=Sharing.MIG)
        if resource == GPU and self.capacity.get(SHARED_GPU):
            # Slots have a name of their own.
            return one
        slots = self._replicas("nvidia.com/gpu.replicas")
        if resource == SHARED_GPU and slots == 1:
            return UnknownShare(f"No label says how many slots an instance of {resource} has.")
        return one.divided(slots, Sharing.SLICED_INSTANCE)

    def _vgpu(self) -> Slot:
        units, devices = self.capacity.get(AWS_VGPU, 0), self.count or self.instance_devices
        per_device = units // devices if devices and units >= devices else _VGPUS
        return WHOLE_DEVICE.divided(per_device, Sharing.FRACTION)

    def _slots_of(self, resource: str) -> int | None:
        """Return into how many slots each device is divided, None where nothing tells.

        What the node advertises is closer to the truth than a label that may be stale; a label
        alone, on a node that says it shares nothing, divides nothing.
        """
        if resource == GPU and self.capacity.get(SHARED_GPU):
            # Slots have a name of their own.
            return 1
        units = self.capacity.get(resource, 0)
        devices = self._shared_devices(resource)
        label = self._replicas("nvidia.com/gpu.replicas")
        shares = (
            resource == SHARED_GPU
            or self.strategy is not None
            or self.product.upper().endswith("-SHARED")
        )
        divided = any(n > 0 and _MIG.fullmatch(name) for name, n in self.capacity.items())
        if divided and shares and label > 1 and units % label == 0:
            # How many of the devices are not divided into instances is told by nothing else.
            return label
        if devices and units > devices and units % devices == 0:
            return units // devices
        if devices and units > devices:
            return label if label > 1 else None
        if shares and label > 1:
            return label
        return None if resource == SHARED_GPU else 1

    def _shared_devices(self, resource: str) -> int:
        """Return how many devices stand behind a resource as far as labels tell; 0 if not."""
        count = self.physical or self.count or self.instance_devices
        if resource == SHARED_GPU:
            count -= self.capacity.get(GPU, 0)
        return max(count, 0)

    def _replicas(self, label: str) -> int:
        """Return the slots that a label tells; "0", no label and nonsense mean one."""
        told = whole_number(self.labels.get(label, ""))
        if told is None and self.strategy is not None:
            told = whole_number(
                self.labels.get("cloud.google.com/gke-max-shared-clients-per-gpu", "")
            )
        return max(told or 1, 1)

    def _devices_of_instances(self) -> int:
        """Return how many devices the instances of the single MIG strategy need."""
        most = self.mig.most if self.mig else most_instances(self.profile)
        slots = self._replicas("nvidia.com/gpu.replicas")
        units = self.capacity.get(GPU, 0) + self.capacity.get(SHARED_GPU, 0)
        instances = -(-units // slots)
        if self.capacity.get(SHARED_GPU):
            instances = self.capacity.get(GPU, 0) + -(-self.capacity[SHARED_GPU] // slots)
        count = self.count or 0
        if 0 < count < instances:
            # Fewer than there are instances: the label counts devices.
            return max(count, -(-instances // most))
        return -(-max(count, instances) // most)

    def _devices_of_units(self, slots: dict[str, Slot | UnknownShare]) -> int:
        """Return how many devices the advertised units need."""
        whole = sum(
            (
                slot.share * self.capacity[resource]
                for resource, slot in slots.items()
                if isinstance(slot, Slot) and not _of_mig(resource, "")
            ),
            Fraction(0),
        )
        compute = memory = Fraction(0)
        unknown = any(isinstance(slot, UnknownShare) for slot in slots.values())
        for resource in slots:
            found = _MIG.fullmatch(resource)
            mig = mig_share(self.gpu_model, found["profile"]) if found else None
            if mig is not None and found is not None:
                instances = self.capacity[resource]
                if found["shared"]:
                    instances //= self._replicas(f"nvidia.com/mig-{found['profile']}.replicas")
                compute += mig.compute * instances
                memory += mig.memory * instances
        return max(-(-whole.numerator // whole.denominator), 0) + max(
            -(-compute.numerator // compute.denominator),
            -(-memory.numerator // memory.denominator),
            int(unknown and not whole),
        )


def _of_mig(resource: str, single_profile: str) -> bool:
    return bool(single_profile) or _MIG.fullmatch(resource) is not None


def _unknown_profile(profile: str, product: str) -> UnknownShare:
    return UnknownShare(
        f"The share of the MIG profile {profile} of {product or 'an unknown product'} is not known."
    )
