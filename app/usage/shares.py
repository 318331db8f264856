"""What one unit of a resource is of a device, as values."""

from dataclasses import dataclass, field
from fractions import Fraction

from app.usage.kinds import Sharing

WHOLE = Fraction(1)
# Shares are multiplied by a common denominator of up to this one (`app.usage.sweep`).
_FINEST = 10**9
# Longer ones count nothing that exists, and do not fit where they are stored.
_LONGEST_NUMBER = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one unit of a resource is of a device.

    ``share`` counts under the default policies, ``compute`` under ``mig_share: compute``.
    ``exclusive`` says that its holder is alone on the unit: on the device, or on the MIG instance.
    """

    share: Fraction = WHOLE
    compute: Fraction = WHOLE
    sharing: Sharing = Sharing.EXCLUSIVE

    @property
    def exclusive(self) -> bool:
        """Whether nobody else stands on the unit."""
        return self.sharing in (Sharing.EXCLUSIVE, Sharing.MIG)

    def divided(self, slots: int, sharing: Sharing) -> "Slot":
        """Return one of so many slots of this one."""
        if slots == 1:
            return self
        return Slot(share=self.share / slots, compute=self.compute / slots, sharing=sharing)

    def scaled(self, share: Fraction, compute: Fraction) -> "Slot":
        """Return the slot with both shares multiplied."""
        return Slot(share=self.share * share, compute=self.compute * compute, sharing=self.sharing)


def storable(share: Fraction) -> Fraction:
    """Return a share that can be computed with in 64 bits, the nearest to one that cannot."""
    return share.limit_denominator(_FINEST) if share.denominator > _FINEST else share


@dataclass(frozen=True, slots=True)
class UnknownShare:
    """A unit that cannot be said to be any part of a device; ``reason`` is for people."""

    reason: str


WHOLE_DEVICE = Slot()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerators:
    """A node's devices of one model, and what it divides them into.

    ``slots`` has every resource that stands for these devices or parts of them; ``allocatable`` and
    ``compute_allocatable`` are how many devices may be held. ``uuids`` are the physical devices, as
    far as the node tells them.
    """

    gpu_model: str
    devices: int
    slots: dict[str, Slot | UnknownShare] = field(default_factory=dict)
    allocatable: Fraction = Fraction(0)
    compute_allocatable: Fraction = Fraction(0)


def whole_number(text: str) -> int | None:
    """Return a label's number, None where it is none."""
    short = len(text) <= _LONGEST_NUMBER
    return int(text) if short and text.isascii() and text.isdigit() else None
