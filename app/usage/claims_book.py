"""Follows claims, slices and the pods that use them; tells what changed in who holds what."""

from collections.abc import Iterable
from dataclasses import replace

from app.units.window import OPEN_MS
from app.usage.claims import CLAIM_PREFIX, Member, claim_holds
from app.usage.claims_allocated import claimed_devices
from app.usage.claims_devices import DeviceList, list_devices
from app.usage.claims_facts import ClaimFacts, DeviceKey, SliceFacts
from app.usage.claims_lives import (
    DeviceShare,
    Life,
    Sighting,
    allocation_of,
    has_ended,
    keys_of,
    start_of,
)
from app.usage.edges import Edges
from app.usage.inventory import NodeFacts, PodFacts, PodHold
from app.usage.notes import Note

# What ended so long ago is settled: nothing that is still to come changes it.
_SETTLED_AFTER_MS = 3_600_000

# One part of what a holder has: its UID, the resource, and the start of the part.
_Part = tuple[str, str, int]


class ClaimBook:
    """What is known of claims; `changes` gives the holds that differ from those given before."""

    def __init__(self) -> None:
        self._lives: dict[str, list[Life]] = {}
        self._members: dict[str, Member] = {}
        self._nodes: dict[str, NodeFacts] = {}
        self._slices: dict[str, SliceFacts] = {}
        self._listed: DeviceList | None = None
        # Claims by the pods they are or were reserved for, by their devices, by physical devices of
        # which they have parts, by nodes, and by their names.
        self._of_pod: dict[str, set[str]] = {}
        self._of_device: dict[DeviceShare, list[Life]] = {}
        self._of_place: dict[str, set[str]] = {}
        self._of_node: dict[str, set[str]] = {}
        self._of_name: dict[tuple[str, str], str] = {}
        self._told: dict[str, dict[_Part, PodHold]] = {}
        self._touched: set[str] = set()

    @property
    def devices(self) -> DeviceList:
        """The accelerators of all slices."""
        if self._listed is None:
            self._listed = list_devices(self._slices.values())
        return self._listed

    def see_slice(self, one: SliceFacts) -> None:
        """Take a slice as it is; claims whose devices it lists become known by it."""
        self._slices[one.name] = one
        self._listed = None
        for device in one.devices:
            key = DeviceKey(one.driver, one.pool, device.name)
            for life in self._of_device.get((key, ""), ()):
                self._touched.add(life.claim.uid)
        for (key, share_id), lives in self._of_device.items():
            if share_id and (key.driver, key.pool) == (one.driver, one.pool):
                self._touched |= {life.claim.uid for life in lives}

    def lose_slice(self, name: str) -> None:
        """Forget a slice; what claims were given of it stays known."""
        self._slices.pop(name, None)
        self._listed = None

    def see_node(self, node: NodeFacts) -> None:
        """Take a node as it is; claims that nobody uses stand on it."""
        self._nodes[node.name] = node
        self._touched |= self._of_node.get(node.name, set())

    def see_pod(self, pod: PodFacts, node: NodeFacts | None, edges: Edges | None) -> None:
        """Take a pod as it is; ``edges`` is when it was bound and not finished, None if never."""
        if not pod.claims:
            return
        if edges is None:
            self._members.pop(pod.uid, None)
        else:
            self._members[pod.uid] = Member(pod=pod, node=node, edges=edges)
        self._touched |= self._of_pod.get(pod.uid, set())

    def see_claim(self, claim: ClaimFacts, seen: Sighting) -> None:
        """Take a claim as it is."""
        life = self._open_life(claim.uid)
        keys = keys_of(claim)
        if life is not None and (claim.allocated is None or keys != life.keys):
            self.lose_claim(claim.uid, seen)
            life = None
        if claim.allocated is None:
            return
        if life is None:
            life = self._begin(claim, keys, seen)
        life.claim = claim
        reserved = {pod.uid for pod in claim.reserved_for}
        for uid in life.left_ms.keys() - reserved:
            life.left_ms[uid] = min(life.left_ms[uid], seen.at_ms)
        for uid in reserved:
            life.left_ms[uid] = OPEN_MS
            self._of_pod.setdefault(uid, set()).add(claim.uid)
        self._touched.add(claim.uid)

    def lose_claim(self, uid: str, seen: Sighting) -> None:
        """Take it that a claim has lost its allocation, or is gone itself."""
        life = self._open_life(uid)
        if life is not None:
            life.end_ms, life.end_unsure_ms = seen.at_ms, seen.unsure_ms
            self._touched.add(uid)

    def take_up(self, stored: Iterable[PodHold], since_ms: int) -> list[PodHold]:
        """Go on with holds that lasted when the last watch ended; return those of ended claims.

        To be called once everything listed was seen and before `changes`.
        """
        left: list[PodHold] = []
        for hold in stored:
            name = hold.resource.removeprefix(CLAIM_PREFIX).partition("/")[0]
            life = self._open_life(self._of_name.get((hold.namespace, name), ""))
            told = None if life is None else life.claim.allocation_ms
            if life is None or (told is not None and told > since_ms):
                left.append(hold)
                continue
            life.since_ms = since_ms
            life.settled = (*life.settled, hold)
            if hold.pod_uid != life.claim.uid and hold.pod_uid not in life.left_ms:
                # Let go meanwhile: it had finished before, if it is still there to say so.
                member = self._members.get(hold.pod_uid)
                finished = member is not None and member.edges.end_ms != OPEN_MS
                life.left_ms[hold.pod_uid] = OPEN_MS if finished else since_ms
                self._of_pod.setdefault(hold.pod_uid, set()).add(life.claim.uid)
        return left

    def serves(self, namespace: str, name: str) -> bool:
        """Say whether a claim of that name is or was allocated."""
        return (namespace, name) in self._of_name

    def allocated_uids(self) -> set[str]:
        """Return the UIDs of claims to which something is allocated."""
        return {uid for uid in self._lives if self._open_life(uid) is not None}

    def resources_of(self, pod_uid: str) -> set[str]:
        """Return the resources that claims gave to a pod, as last told."""
        parts = (part for uid in self._of_pod.get(pod_uid, ()) for part in self._told.get(uid, ()))
        return {resource for holder, resource, _ in parts if holder == pod_uid}

    def changes(self) -> tuple[list[PodHold], list[Note]]:
        """Return holds that are not as they were told before, and what is odd about claims.

        A part that was told and turned out not to be ends where it began.
        """
        changed: list[PodHold] = []
        notes: list[Note] = []
        # Which claims take parts of one device is known only after all was learned.
        for uid in sorted(self._touched & self._lives.keys()):
            notes += self._learn(uid)
        while self._touched:
            around = self._around(min(self._touched))
            self._touched -= {min(self._touched), *around}
            lives = [life for uid in sorted(around) for life in self._lives[uid]]
            together = [allocation_of(life, self._members) for life in lives]
            fresh: dict[str, dict[_Part, PodHold]] = {uid: {} for uid in around}
            for one in together:
                for hold in claim_holds(one, together, self._nodes):
                    fresh[one.claim.uid][hold.pod_uid, hold.resource, hold.part_ms] = hold
            for uid in sorted(around):
                changed += _differing(self._told.get(uid, {}), fresh[uid])
                self._told[uid] = fresh[uid]
        return changed, notes

    def settle(self, at_ms: int) -> None:
        """Forget what ended an hour before ``at_ms``; what lasts goes on from there."""
        since_ms = at_ms - _SETTLED_AFTER_MS
        ended = {uid for uid, lives in self._lives.items() if has_ended(lives, since_ms)}
        while ended:
            around = self._around(ended.pop())
            ended -= around
            for uid in around:
                self._settle_claim(uid, since_ms)
        used = {uid for uid, claims in self._of_pod.items() if claims}
        for uid, member in [*self._members.items()]:
            if uid not in used and member.edges.end_ms <= since_ms:
                del self._members[uid]

    def _settle_claim(self, uid: str, since_ms: int) -> None:
        parts = self._told.get(uid, {})
        self._told[uid] = {part: hold for part, hold in parts.items() if hold.end_ms > since_ms}
        lasting = [hold for hold in self._told[uid].values() if hold.start_ms <= since_ms]
        kept = [life for life in self._lives[uid] if life.end_ms > since_ms]
        for life in self._lives[uid]:
            if life not in kept:
                self._forget(life)
                continue
            if start_of(life, self._members)[0] <= since_ms:
                life.since_ms, life.settled = since_ms, tuple(lasting)
            for pod_uid, left_ms in [*life.left_ms.items()]:
                member = self._members.get(pod_uid)
                end_ms = left_ms if member is None else min(left_ms, member.edges.end_ms)
                if end_ms <= since_ms:
                    self._unlink(life, pod_uid)
        over = self._lives[uid]
        self._lives[uid] = kept
        if not kept:
            del self._lives[uid]
            self._told.pop(uid)
            name = (over[-1].claim.namespace, over[-1].claim.name)
            if self._of_name.get(name) == uid:
                del self._of_name[name]
            for device in (device for life in over for device in life.devices.values()):
                self._of_place.get(device.physical, set()).discard(uid)
                self._of_node.get(device.node_name, set()).discard(uid)

    def _forget(self, life: Life) -> None:
        for key in life.keys:
            self._of_device[key] = [one for one in self._of_device.get(key, ()) if one is not life]
            if not self._of_device[key]:
                del self._of_device[key]
        for pod_uid in [*life.left_ms]:
            self._unlink(life, pod_uid)

    def _unlink(self, life: Life, pod_uid: str) -> None:
        del life.left_ms[pod_uid]
        claims = self._of_pod.get(pod_uid, set())
        claims.discard(life.claim.uid)
        if not claims:
            self._of_pod.pop(pod_uid, None)

    def _open_life(self, uid: str) -> Life | None:
        lives = self._lives.get(uid)
        return lives[-1] if lives and lives[-1].end_ms == OPEN_MS else None

    def _begin(self, claim: ClaimFacts, keys: frozenset[DeviceShare], seen: Sighting) -> Life:
        life = Life(claim=claim, seen=seen, keys=keys)
        for key in keys:
            for other in self._of_device.setdefault(key, []):
                if other.end_ms == OPEN_MS:
                    life.contested.add(key)
                    other.contested.add(key)
                else:
                    other.after.append(life)
                self._touched.add(other.claim.uid)
            self._of_device[key].append(life)
        self._lives.setdefault(claim.uid, []).append(life)
        self._of_name[claim.namespace, claim.name] = claim.uid
        return life

    def _around(self, *uids: str) -> set[str]:
        """Return claims together with those that bear on their shares or their ends."""
        found: set[str] = set()
        open_ends = set(uids)
        while open_ends:
            uid = open_ends.pop()
            found.add(uid)
            for life in self._lives.get(uid, ()):
                for key in life.keys:
                    open_ends |= {one.claim.uid for one in self._of_device.get(key, ())}
                for device in life.devices.values():
                    open_ends |= self._of_place.get(device.physical, set())
            open_ends -= found
        return found & self._lives.keys()

    def _learn(self, uid: str) -> list[Note]:
        """Take up what the slices say of a claim's devices; what they said once stays known."""
        notes: list[Note] = []
        for life in self._lives[uid]:
            if life.end_ms != OPEN_MS and life.devices:
                continue
            found, odd = claimed_devices(life.claim, self.devices)
            notes += odd
            for device in found:
                key = (device.key, device.share_id)
                if key not in life.devices or device.key in self.devices.devices:
                    life.devices[key] = device
                    self._of_node.setdefault(device.node_name, set()).add(uid)
                    if device.physical:
                        self._of_place.setdefault(device.physical, set()).add(uid)
        return notes


def _differing(before: dict[_Part, PodHold], fresh: dict[_Part, PodHold]) -> list[PodHold]:
    changed = [hold for part, hold in fresh.items() if before.get(part) != hold]
    gone = [hold for part, hold in before.items() if part not in fresh]
    void = [replace(one, end_ms=one.start_ms, start_unsure_ms=0, end_unsure_ms=0) for one in gone]
    return [*(one for one, was in zip(void, gone, strict=True) if one != was), *changed]
