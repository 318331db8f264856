"""Random histories of claims against a walk over every second, whatever is seen first."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random

from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from app.units.window import OPEN_MS
from app.usage.claims_book import ClaimBook
from app.usage.claims_facts import AllocatedDevice
from app.usage.claims_lives import Sighting
from app.usage.inventory import PodHold
from tests.usage.builders import HOUR, SECOND, T0, a_node
from tests.usage.claiming import a_claim, a_device, a_mig_device, a_slice, a_user, bound, given

SECONDS = 40
# What each partition is of its H100 by slices: compute of 7, memory of 8 (NVIDIA MIG User Guide).
PARTS = {"mig-3g": Fraction(1, 2), "mig-4g": Fraction(4, 7), "gpu-0": Fraction(1)}
SLICE = a_slice(
    a_device("gpu-0", attributes={"type": "gpu", "uuid": "GPU-0", "productName": "NVIDIA H100"}),
    a_device("gpu-1", attributes={"type": "gpu", "uuid": "GPU-1", "productName": "NVIDIA H100"}),
    a_mig_device("mig-3g", "3g.40gb", parent="GPU-1", product="NVIDIA H100 80GB HBM3"),
    a_mig_device("mig-4g", "4g.40gb", parent="GPU-1", product="NVIDIA H100 80GB HBM3"),
)


@dataclass(frozen=True)
class User:
    """A pod of a claim: bound and finished, in seconds; the claim lets go of it later."""

    name: str
    start: int
    end: int
    released: int


@dataclass(frozen=True)
class Use:
    """One allocation of a claim, in seconds."""

    claim: str
    device: str
    start: int
    end: int
    dated: bool
    users: tuple[User, ...]


@st.composite
def uses(draw: st.DrawFn) -> list[Use]:
    """Allocations that follow each other on each device, with pods that come and go."""
    found: list[Use] = []
    for device in PARTS:
        at = draw(st.integers(0, 5))
        for number in range(draw(st.integers(0, 2))):
            end = draw(st.integers(at + 1, at + 16))
            claim = f"claim-{device}-{number}"
            users = []
            for index in range(draw(st.integers(0, 3))):
                start = draw(st.integers(at, end - 1))
                over = draw(st.integers(start + 1, end))
                name = f"pod-{device}-{number}-{index}"
                users.append(User(name, start, over, draw(st.integers(over, end))))
            # Where the API does not date it, an allocation is seen in its second, or its first pod
            # is bound at once.
            found.append(Use(claim, device, at, end, draw(st.booleans()), tuple(users)))
            at = end + draw(st.integers(0, 3))
    return found


def walked(history: Sequence[Use]) -> dict[tuple[str, int], Fraction]:
    """Who holds which share in each second: name of the pod or claim, and second."""
    held: dict[tuple[str, int], Fraction] = defaultdict(Fraction)
    for second in range(SECONDS):
        alive = [use for use in history if use.start <= second < use.end]
        parts = sum((PARTS[use.device] for use in alive if use.device != "gpu-0"), Fraction(0))
        for use in alive:
            share = PARTS[use.device]
            if use.device != "gpu-0" and parts > 1:
                share /= parts
            holders = [user.name for user in use.users if user.start <= second < user.end]
            for holder in holders or [use.claim]:
                held[holder, second] += share / max(len(holders), 1)
    return dict(held)


def told(rows: Mapping[tuple[str, str, int], PodHold]) -> dict[tuple[str, int], Fraction]:
    """The same, from the holds as they are stored."""
    held: dict[tuple[str, int], Fraction] = defaultdict(Fraction)
    for hold in rows.values():
        for second in range(SECONDS):
            at = T0 + second * SECOND
            if hold.start_ms <= at < hold.end_ms:
                held[hold.pod, second] += Fraction(hold.share_num, hold.share_den)
    return dict(held)


class Teller:
    """Tells a book of a history, claims and pods each in their order, but not of one mind."""

    def __init__(self, book: ClaimBook, history: Sequence[Use]) -> None:
        self.book = book
        self.rows: dict[tuple[str, str, int], PodHold] = {}
        self.claims = sorted({(at, use.claim) for use in history for at in _instants_of_claim(use)})
        self.pods = sorted(
            {
                (at, user.name)
                for use in history
                for user in use.users
                for at in (user.start, user.end)
            }
        )
        self._use = {use.claim: use for use in history}
        self._user = {user.name: (user, use) for use in history for user in use.users}

    def claim(self) -> None:
        second, name = self.claims.pop(0)
        use = self._use[name]
        seen = Sighting(at_ms=T0 + second * SECOND + (250 if second < use.end else 0))
        if second >= use.end:
            self.book.lose_claim(f"uid-{name}", seen)
            return
        reserved = tuple(
            user.name for user in use.users if second < user.released or second < user.end
        )
        allocation_ms = T0 + use.start * SECOND if use.dated else None
        allocated: tuple[AllocatedDevice, ...] = given(use.device)
        self.book.see_claim(
            a_claim(name, allocated=allocated, allocation_ms=allocation_ms, pods=reserved), seen
        )

    def pod(self) -> None:
        second, name = self.pods.pop(0)
        user, use = self._user[name]
        start_ms = T0 + user.start * SECOND
        end_ms = T0 + user.end * SECOND if second >= user.end else OPEN_MS
        pod = a_user(name, claim=use.claim, scheduled_ms=start_ms)
        self.book.see_pod(pod, a_node(), bound(start_ms, end_ms))

    def take(self) -> None:
        changed, notes = self.book.changes()
        assert notes == []
        self.rows |= {(hold.pod_uid, hold.resource, hold.part_ms): hold for hold in changed}


def _instants_of_claim(use: Use) -> list[int]:
    return [use.start, *(user.released for user in use.users if user.released < use.end), use.end]


def a_book() -> ClaimBook:
    book = ClaimBook()
    book.see_node(a_node())
    book.see_slice(SLICE)
    return book


@settings(max_examples=80, deadline=None)
@drawn(history=uses(), order=st.randoms(use_true_random=False))
def test_every_second_is_held_by_whom_a_walk_finds(history: list[Use], order: Random) -> None:
    teller = Teller(a_book(), history)

    while teller.claims or teller.pods:
        sides = [teller.claim] * bool(teller.claims) + [teller.pod] * bool(teller.pods)
        order.choice(sides)()
        if order.random() < 0.5:
            teller.take()
    teller.take()

    assert told(teller.rows) == walked(history)


@settings(max_examples=60, deadline=None)
@drawn(history=uses(), stop=st.integers(0, SECONDS), again=st.integers(0, 5))
def test_a_watch_that_begins_again_goes_on_with_the_same_rows(
    history: list[Use], stop: int, again: int
) -> None:
    """Nothing happens between the two watches: what is stored stays, to the row."""
    first = Teller(a_book(), history)
    _tell_until(first, stop)
    book = a_book()
    second = Teller(book, history)
    second.rows = dict(first.rows)
    at_ms = T0 + stop * SECOND + again
    _list(second, history, stop, at_ms)
    lasting = [hold for hold in first.rows.values() if hold.end_ms == OPEN_MS]
    assert book.take_up(lasting, T0 + stop * SECOND) == []

    second.take()
    assert second.rows == first.rows

    second.claims = [one for one in second.claims if one[0] > stop]
    second.pods = [one for one in second.pods if one[0] > stop]
    _tell_until(second, SECONDS * 2)
    assert told(second.rows) == walked(history)


@settings(max_examples=40, deadline=None)
@drawn(history=uses(), stop=st.integers(0, SECONDS))
def test_what_is_settled_is_not_told_again(history: list[Use], stop: int) -> None:
    teller = Teller(a_book(), history)
    _tell_until(teller, stop)
    before = dict(teller.rows)

    teller.book.settle(T0 + stop * SECOND + HOUR)
    teller.take()
    assert teller.rows == before
    _tell_until(teller, SECONDS * 2)

    assert told(teller.rows) == walked(history)


def _tell_until(teller: Teller, second: int) -> None:
    while True:
        times = [
            (events[0][0], index)
            for index, events in enumerate((teller.pods, teller.claims))
            if events and events[0][0] <= second
        ]
        if not times:
            break
        (teller.pod, teller.claim)[min(times)[1]]()
    teller.take()


def _list(teller: Teller, history: Sequence[Use], second: int, at_ms: int) -> None:
    """Show the book what lists at this second say."""
    for use in history:
        for user in use.users:
            if user.start <= second:
                start_ms = T0 + user.start * SECOND
                end_ms = T0 + user.end * SECOND if user.end <= second else OPEN_MS
                pod = a_user(user.name, claim=use.claim, scheduled_ms=start_ms)
                teller.book.see_pod(pod, a_node(), bound(start_ms, end_ms))
        if use.start <= second < use.end:
            reserved = tuple(user.name for user in use.users if second < user.released)
            claim = a_claim(
                use.claim,
                allocated=given(use.device),
                allocation_ms=T0 + use.start * SECOND if use.dated else None,
                pods=reserved,
            )
            teller.book.see_claim(replace(claim), Sighting(at_ms=at_ms, listed=True))
