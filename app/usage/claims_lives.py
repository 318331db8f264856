"""One allocation of a claim: what was learned of it, and what follows for its span and pods."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from app.units.window import OPEN_MS
from app.usage.claims import Allocation, Member
from app.usage.claims_allocated import ClaimedDevice
from app.usage.claims_facts import ClaimFacts, DeviceKey
from app.usage.inventory import PodHold

_SECOND_MS = 1_000

# A device, and the share of it where it is given to several claims.
DeviceShare = tuple[DeviceKey, str]
# Bound pods by UID.
Members = Mapping[str, Member]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """When something was seen.

    ``unsure_ms`` is how much earlier it may have happened. ``listed`` says that it was there
    already when everything was listed: when it came is not known.
    """

    at_ms: int
    unsure_ms: int = 0
    listed: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Life:
    """One allocation of a claim: what was learned of it so far.

    ``left_ms`` has each pod that the claim is or was reserved for, and since when no more.
    ``after`` are later allocations of the same devices, ``contested`` are devices that another
    allocation has at the same time.
    """

    claim: ClaimFacts
    seen: Sighting
    keys: frozenset[DeviceShare]
    devices: dict[DeviceShare, ClaimedDevice] = field(default_factory=dict)
    end_ms: int = OPEN_MS
    end_unsure_ms: int = 0
    left_ms: dict[str, int] = field(default_factory=dict)
    after: list["Life"] = field(default_factory=list)
    contested: set[DeviceShare] = field(default_factory=set)
    since_ms: int = 0
    settled: tuple[PodHold, ...] = ()


def allocation_of(life: Life, members: Members) -> Allocation:
    """Return an allocation with the pods that used it, as far as it is known."""
    start_ms, start_unsure_ms = start_of(life, members)
    ends = [life.end_ms, *(start_of(one, members)[0] for one in life.after)]
    end_ms = max(start_ms, min(ends))
    users = [_member_of(life, members, uid) for uid in sorted(life.left_ms)]
    return Allocation(
        claim=life.claim,
        devices=tuple(
            replace(device, physical=device.physical or f"{device.key}")
            if key in life.contested
            else device
            for key, device in life.devices.items()
        ),
        start_ms=start_ms,
        start_unsure_ms=start_unsure_ms,
        end_ms=end_ms,
        end_unsure_ms=life.end_unsure_ms if end_ms == life.end_ms else 0,
        members=tuple(user for user in users if user is not None),
        since_ms=life.since_ms,
        settled=life.settled,
    )


def _member_of(life: Life, members: Members, uid: str) -> Member | None:
    member = members.get(uid)
    if member is None or member.edges.end_ms <= life.left_ms[uid]:
        return member
    edges = replace(member.edges, end_ms=life.left_ms[uid], end_unsure_ms=0)
    return replace(member, edges=edges) if edges.start_ms < edges.end_ms else None


def start_of(life: Life, members: Members) -> tuple[int, int]:
    """Return when an allocation began, and how much later it may have been.

    The API tells it where its feature is on. Else it is the second in which it was seen, or in
    which its first pod was bound, which follows at once. Of an allocation that was there before
    the watch and that no pod uses, only the claim's creation is known.
    """
    if life.settled:
        return min(hold.start_ms for hold in life.settled), 0
    created_ms, told_ms = life.claim.created_ms, life.claim.allocation_ms
    if told_ms is not None:
        return told_ms, 0
    seen_ms = life.seen.at_ms // _SECOND_MS * _SECOND_MS
    bound = (members[uid].edges.start_ms for uid in life.left_ms if uid in members)
    first_ms = min(bound, default=OPEN_MS)
    if first_ms <= life.seen.at_ms:
        return max(created_ms, min(first_ms, seen_ms)), 0
    if life.seen.listed:
        return created_ms, max(0, life.seen.at_ms - created_ms)
    return max(created_ms, seen_ms - life.seen.unsure_ms), life.seen.unsure_ms


def keys_of(claim: ClaimFacts) -> frozenset[DeviceShare]:
    """Return the devices that a claim has for itself, whatever they are."""
    allocated = claim.allocated or ()
    return frozenset((one.key, one.share_id) for one in allocated if not one.admin_access)


def has_ended(lives: Iterable[Life], since_ms: int) -> bool:
    """Say whether an allocation, or a pod's use of one, ended by an instant."""
    return any(
        life.end_ms <= since_ms or any(left_ms <= since_ms for left_ms in life.left_ms.values())
        for life in lives
    )
