"""Resource claims of a simulated fleet: what was allocated to whom, and when."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from app.simulator.hardware import Node
from app.simulator.layouts import Part
from app.simulator.spec import OPEN_MS

DRIVER = "gpu.nvidia.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A device, or part of one, that was allocated; ``name`` is what its slice calls it.

    ``admin`` access takes nothing. ``consumed_gib`` is set where the device's memory is shared.
    """

    request: str
    name: str
    device: int
    share: Fraction
    compute: Fraction
    admin: bool = False
    profile: str = ""
    share_id: str = ""
    consumed_gib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The claim had its devices in ``[start_ms, end_ms)``."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A pod used the claim in ``[start_ms, end_ms)``."""

    pod_uid: str
    pod: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim: its object exists in ``[created_ms, deleted_ms)``.

    ``owner`` is the pod for which it was made from a template or, where ``extended`` names a
    resource, by the scheduler; empty where it stands for itself.
    """

    uid: str
    namespace: str
    name: str
    node: Node
    device_class: str
    results: tuple[Result, ...]
    created_ms: int
    deleted_ms: int
    allocations: tuple[Allocation, ...]
    reservations: tuple[Reservation, ...]
    owner: str = ""
    owner_uid: str = ""
    claim_name: str = ""
    extended: str = ""

    def allocated_at(self, at_ms: int) -> Allocation | None:
        """Return the allocation that holds at an instant."""
        for one in self.allocations:
            if one.start_ms <= at_ms < one.end_ms:
                return one
        return None

    def reserved_at(self, at_ms: int) -> tuple[Reservation, ...]:
        """Return the pods that use the claim at an instant."""
        return tuple(one for one in self.reservations if one.start_ms <= at_ms < one.end_ms)

    def changes(self) -> tuple[int, ...]:
        """Return the instants at which the object changes, its creation first, not its end."""
        spans = [(one.start_ms, one.end_ms) for one in self.allocations]
        spans += [(one.start_ms, one.end_ms) for one in self.reservations]
        instants = {self.created_ms, *(at for span in spans for at in span)}
        ends = min(self.deleted_ms, OPEN_MS)
        return tuple(sorted(at for at in instants if self.created_ms <= at < ends))

    def parts(self, pod_uid: str) -> tuple[Part, ...]:
        """Return what a pod held by the claim; with '' what the claim held while nobody used it."""
        parts = []
        for one in self.allocations:
            edges: set[int] = {one.start_ms, one.end_ms}
            for user in self.reservations:
                edges |= {
                    at for at in (user.start_ms, user.end_ms) if one.start_ms < at < one.end_ms
                }
            for start, end in pairwise(sorted(edges)):
                users = self.reserved_at(start)
                mine = pod_uid in {user.pod_uid for user in users} if pod_uid else not users
                if mine:
                    parts += self._parts(start, end, max(1, len(users)))
        return tuple(parts)

    def _parts(self, start_ms: int, end_ms: int, users: int) -> list[Part]:
        return [
            Part(
                start_ms=start_ms,
                end_ms=end_ms,
                device=result.device,
                share=result.share / users,
                compute=result.compute / users,
                profile=result.profile,
            )
            for result in self.results
            if not result.admin
        ]
