"""The ways in which a simulated node divides its devices, and the tables that give the shares."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

WHOLE_GPU = "nvidia.com/gpu"
SHARED_GPU = "nvidia.com/gpu.shared"


class Mode(Enum):
    """How the devices of one node are handed out."""

    WHOLE = "whole"
    MIG_SINGLE = "mig-single"
    MIG_MIXED = "mig-mixed"
    TIME_SLICING = "time-slicing"
    TIME_SLICING_RENAMED = "time-slicing-renamed"
    MPS = "mps"
    HAMI = "hami"
    KAI = "kai"
    VGPU = "vgpu"
    AMD = "amd"
    AMD_CPX = "amd-cpx"
    INTEL = "intel"
    GAUDI = "gaudi"
    TPU = "tpu"
    NEURON = "neuron"
    DRA = "dra"
    DRA_PARTITIONS = "dra-partitions"
    DRA_CAPACITY = "dra-capacity"

    @property
    def slotted(self) -> bool:
        """Whether a device is handed out in equal slots that pods share in time or by MPS."""
        return self in (Mode.TIME_SLICING, Mode.TIME_SLICING_RENAMED, Mode.MPS)

    @property
    def by_claims(self) -> bool:
        """Whether pods hold devices by resource claims alone."""
        return self in (Mode.DRA, Mode.DRA_PARTITIONS, Mode.DRA_CAPACITY)

    @property
    def nvidia(self) -> bool:
        """Whether the devices are NVIDIA's, so that dcgm-exporter speaks for them."""
        return self not in (
            *(Mode.AMD, Mode.AMD_CPX, Mode.INTEL, Mode.GAUDI, Mode.TPU, Mode.NEURON),
        )

    @property
    def exports(self) -> bool:
        """Whether an exporter on the node tells what its devices do."""
        return self not in (Mode.GAUDI, Mode.TPU, Mode.NEURON)


SHARED_MODES = tuple(mode for mode in Mode if mode is not Mode.WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a pod may hold: ``share`` of a device by the larger of compute and memory."""

    resource: str
    device: int
    slot: int
    share: Fraction
    compute: Fraction
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Slices:
    """How many of a device's 7 compute and 8 memory slices an instance has."""

    compute: int
    memory: int

    @property
    def share(self) -> Fraction:
        """The larger of the two parts."""
        return max(Fraction(self.compute, 7), Fraction(self.memory, 8))


# Instances of the 80 GB devices (NVIDIA MIG User Guide, "Supported MIG Profiles").
MIG_PROFILES = {
    "1g.10gb": Slices(1, 1),
    "1g.20gb": Slices(1, 2),
    "2g.20gb": Slices(2, 2),
    "3g.40gb": Slices(3, 4),
    "4g.40gb": Slices(4, 4),
    "7g.80gb": Slices(7, 8),
}
# What the instances of one device are: some fill it, some leave slices over.
SINGLE_GEOMETRIES = (
    ("1g.10gb",) * 7,
    ("2g.20gb",) * 3,
    ("3g.40gb",) * 2,
    ("1g.20gb",) * 4,
)
MIXED_GEOMETRIES = (
    ("3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"),
    ("4g.40gb", "3g.40gb"),
    ("3g.40gb", "3g.40gb"),
    ("2g.20gb", "2g.20gb", "1g.10gb"),
    ("4g.40gb", "1g.10gb", "1g.10gb"),
    ("3g.40gb", "2g.20gb", "1g.10gb"),
)


def mig_units(geometry: tuple[str, ...], device: int, *, single: bool) -> tuple[Unit, ...]:
    """Return the instances of one device; shares that exceed a device together are normalized."""
    slices = [MIG_PROFILES[profile] for profile in geometry]
    whole = max(Fraction(1), sum((one.share for one in slices), Fraction(0)))
    return tuple(
        Unit(
            resource=WHOLE_GPU if single else f"nvidia.com/mig-{profile}",
            device=device,
            slot=slot,
            share=one.share / whole,
            compute=Fraction(one.compute, 7),
            profile=profile,
        )
        for slot, (profile, one) in enumerate(zip(geometry, slices, strict=True))
    )


def equal_units(resource: str, count: int, device: int) -> tuple[Unit, ...]:
    """Return a device in equal units."""
    part = Fraction(1, count)
    return tuple(
        Unit(resource=resource, device=device, slot=slot, share=part, compute=part)
        for slot in range(count)
    )
