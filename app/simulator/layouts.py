"""How one simulated node divides its devices over time, and what it says of that."""

from dataclasses import dataclass, field
from fractions import Fraction

from app.simulator.modes import Unit

Texts = tuple[tuple[str, str], ...]
Amounts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A span in which a node's division of its devices and what it shows are constant.

    ``units`` are what healthy, advertised devices can be held by; ``holdable`` is how many devices
    may be held in all, by the larger slices and by compute slices. ``devices`` are those that the
    machine still sees, ``made`` the units that there are, advertised or not. Pods do not outlive a
    layout that ``drains``.
    """

    start_ms: int
    end_ms: int
    units: tuple[Unit, ...] = ()
    made: tuple[Unit, ...] = ()
    devices: tuple[int, ...] = ()
    holdable: Fraction = Fraction(0)
    holdable_compute: Fraction = Fraction(0)
    labels: Texts = ()
    annotations: Texts = ()
    capacity: Amounts = ()
    allocatable: Amounts = ()
    unschedulable: bool = False
    drains: bool = False
    # By resource: what one unit is of a device, by slices and by compute slices.
    shares: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a pod really held of one device in ``[start_ms, end_ms)``.

    ``slots`` is how many of the device's slots that was, 0 where devices are not slotted.
    ``instance`` is the MIG instance's number, -1 where there is none.
    """

    start_ms: int
    end_ms: int
    device: int
    share: Fraction
    compute: Fraction
    slots: int = 0
    instance: int = -1
    profile: str = ""

    def inside(self, start_ms: int, end_ms: int) -> Fraction:
        """Return the device-milliseconds inside a span."""
        return self.share * max(0, min(self.end_ms, end_ms) - max(self.start_ms, start_ms))
