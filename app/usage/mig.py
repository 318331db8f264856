"""MIG profiles: what an instance is of its device, by product and profile.

A profile's name alone does not tell: ``1g.35gb`` is two of eight memory slices on an H200 and one
of eight on a GB300. Sources: NVIDIA MIG User Guide, "Supported MIG profiles", and the instance
counts of mig-parted's default configuration. GB200 and GB300 have further names by driver release.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class MigShare:
    """What one instance is of its device: its part of the compute and of the memory slices.

    ``compute_slices`` of ``of_compute``, ``memory_slices`` of ``of_memory``. A compute instance
    (``1c.3g.20gb``) has ``compute_parts`` of the ``compute_slices`` of its GPU instance, and that
    part of its memory. A device has one instance at most with its media engines (``alone``).
    """

    compute_slices: int
    memory_slices: int
    of_compute: int
    of_memory: int
    compute_parts: int
    alone: bool = False

    @property
    def share(self) -> Fraction:
        """The larger of compute and memory (policy ``mig_share: max``)."""
        return max(self.compute, self.memory)

    @property
    def compute(self) -> Fraction:
        """The compute slices alone (policy ``mig_share: compute``)."""
        return Fraction(self.compute_parts, self.of_compute)

    @property
    def memory(self) -> Fraction:
        """The memory slices, of a compute instance its part of them."""
        parts = Fraction(self.compute_parts, self.compute_slices)
        return Fraction(self.memory_slices, self.of_memory) * parts

    @property
    def max_num(self) -> int:
        """The numerator of `share`."""
        return self.share.numerator

    @property
    def max_den(self) -> int:
        """The denominator of `share`."""
        return self.share.denominator

    @property
    def compute_num(self) -> int:
        """The numerator of `compute`."""
        return self.compute.numerator

    @property
    def compute_den(self) -> int:
        """The denominator of `compute`."""
        return self.compute.denominator

    @property
    def most(self) -> int:
        """How many such instances a device can hold."""
        by_slices = min(
            self.of_compute // self.compute_slices, self.of_memory // self.memory_slices
        )
        by_slices = 1 if self.alone else by_slices
        return by_slices * (self.compute_slices // self.compute_parts)


def mig_share(product: str, profile: str) -> MigShare | None:
    """Return what an instance of ``profile`` is of a device of ``product``; None if not known.

    ``product`` is a canonical model. ``profile`` is as in a resource name, a label or an attribute:
    ``1g.5gb``, ``1g.5gb+me``, ``1g.24gb.me.all``, ``1c.3g.20gb``.
    """
    found = _PROFILE.fullmatch(profile.lower())
    family = family_of(product)
    if found is None or family is None:
        return None
    slices = family.profiles.get(f"{found['gpu']}g.{found['memory']}gb")
    if slices is None:
        return None
    compute, memory = slices
    parts = int(found["compute"] or compute)
    if not 0 < parts <= compute:
        return None
    return MigShare(
        compute_slices=compute,
        memory_slices=memory,
        of_compute=family.compute,
        of_memory=family.memory,
        compute_parts=parts,
        alone=_WITH_MEDIA.search(profile) is not None,
    )


def most_instances(profile: str) -> int:
    """Return how many instances of a profile fit on a device of an unknown product, at most.

    It is told from the compute slices in the name; devices with four slices hold fewer.
    """
    found = _PROFILE.fullmatch(profile.lower())
    if found is None:
        return 1
    slices = int(found["gpu"])
    alone = _WITH_MEDIA.search(profile) is not None
    return (1 if alone else max(1, 7 // slices)) * max(1, slices // int(found["compute"] or slices))


@dataclass(frozen=True, slots=True)
class _Family:
    """Products of equal slices: their numbers, and of each profile (compute, memory) slices."""

    products: re.Pattern[str]
    compute: int
    memory: int
    profiles: Mapping[str, tuple[int, int]]


def family_of(product: str) -> _Family | None:
    """Return the family of a product that can be divided into instances, None for any other."""
    return next((one for one in _FAMILIES if one.products.search(product)), None)


# Media extensions, graphics and "all of the media engines" change no slices.
_PROFILE = re.compile(
    r"(?:(?P<compute>\d)c\.)?(?P<gpu>\d)g\.(?P<memory>\d+)gb(?:[+.](?:me(?:\.all)?|gfx|all)|-me)*"
)

_WITH_MEDIA = re.compile(r"[+.]me\b", re.IGNORECASE)


def _seven(*memories: tuple[int, int, int, int]) -> dict[str, tuple[int, int]]:
    """Return the profiles of a device with seven compute and eight memory slices.

    Each row has the gigabytes that one, two, four and all eight memory slices are called.
    """
    profiles: dict[str, tuple[int, int]] = {}
    for one, two, four, eight in memories:
        profiles |= {
            f"1g.{one}gb": (1, 1),
            f"1g.{two}gb": (1, 2),
            f"2g.{two}gb": (2, 2),
            f"3g.{four}gb": (3, 4),
            f"4g.{four}gb": (4, 4),
            f"7g.{eight}gb": (7, 8),
        }
    return profiles


def _four(*memories: tuple[int, int, int]) -> dict[str, tuple[int, int]]:
    """Return the profiles of a device with four compute and four memory slices."""
    profiles: dict[str, tuple[int, int]] = {}
    for one, two, four in memories:
        profiles |= {
            f"1g.{one}gb": (1, 1),
            f"2g.{two}gb": (2, 2),
            f"4g.{four}gb": (4, 4),
        }
    return profiles


def _products(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# The first that fits counts. GKE's names of accelerators are among them (nvidia-tesla-a100 has 40
# GB). The first two rows of the 300 series are B300 and GB300, the third is driver 610.
_FAMILIES = (
    _Family(_products(r"\bA30\b"), 4, 4, _four((6, 12, 24))),
    _Family(_products(r"RTX-PRO-6000"), 4, 4, _four((24, 48, 96))),
    _Family(
        _products(r"\bG?B300\b"),
        7,
        8,
        _seven((34, 67, 135, 269), (35, 70, 139, 278), (31, 70, 126, 251)),
    ),
    _Family(_products(r"\bGB200\b"), 7, 8, _seven((23, 47, 93, 186), (24, 47, 95, 189))),
    _Family(_products(r"\bB200\b"), 7, 8, _seven((23, 45, 90, 180))),
    _Family(_products(r"\bH200\b"), 7, 8, _seven((18, 35, 71, 141))),
    _Family(_products(r"\bGH200-144G"), 7, 8, _seven((18, 36, 72, 144))),
    _Family(
        _products(r"\bGH200\b|\bH[12]00-96GB|\bH20\b|\bH[18]00-NVL|\bH100-94GB"),
        7,
        8,
        _seven((12, 24, 47, 94), (12, 24, 48, 96)),
    ),
    _Family(_products(r"\b[AH][18]00\b.*80GB|\bH[18]00\b"), 7, 8, _seven((10, 20, 40, 80))),
    _Family(_products(r"\bA[18]00\b.*40GB|\btesla-a100\b"), 7, 8, _seven((5, 10, 20, 40))),
)
