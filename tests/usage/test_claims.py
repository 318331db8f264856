"""Whoever uses a claim holds its devices in equal parts; what is odd is named, never guessed."""

from dataclasses import replace
from fractions import Fraction

import pytest

from app.units.window import OPEN_MS
from app.usage.claims_book import ClaimBook
from app.usage.claims_facts import ClaimFacts, SliceFacts
from app.usage.claims_lives import Sighting
from app.usage.inventory import PodHold, Workload
from app.usage.kinds import Sharing
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, WORKLOAD, a_node
from tests.usage.claiming import (
    H100_MODEL,
    a_claim,
    a_device,
    a_mig_device,
    a_slice,
    a_user,
    amounts,
    bound,
    given,
)

AT_ONCE = Sighting(at_ms=T0 + 250)


def a_book(*slices: SliceFacts) -> ClaimBook:
    """A node with two GPUs, unless other slices are given."""
    book = ClaimBook()
    book.see_node(a_node())
    for one in slices or (a_slice(a_device("gpu-0"), a_device("gpu-1")),):
        book.see_slice(one)
    return book


def use(
    book: ClaimBook, name: str, *, claim: str = "claim-1", start: int = 0, end: int = -1
) -> None:
    """Let a pod use a claim, from second to second."""
    end_ms = OPEN_MS if end < 0 else T0 + end * SECOND
    pod = a_user(name, claim=claim, scheduled_ms=T0 + start * SECOND)
    book.see_pod(pod, a_node(), bound(T0 + start * SECOND, end_ms))


def parts(book: ClaimBook) -> list[tuple[str, int, int, Fraction]]:
    """Holder, start and end in seconds (-1: open) and share of what changed and took time."""
    return sorted(
        (
            hold.pod,
            (hold.start_ms - T0) // SECOND,
            -1 if hold.end_ms == OPEN_MS else (hold.end_ms - T0) // SECOND,
            Fraction(hold.share_num, hold.share_den),
        )
        for hold in book.changes()[0]
        if hold.start_ms < hold.end_ms
    )


def only(book: ClaimBook) -> PodHold:
    (hold,) = book.changes()[0]
    return hold


def test_a_pod_holds_the_devices_of_its_claim() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0", "gpu-1"), pods=("train",)), AT_ONCE)
    use(book, "train")

    hold = only(book)

    assert (hold.namespace, hold.pod, hold.pod_uid) == ("search", "train", "uid-train")
    assert (hold.node_uid, hold.node_name, hold.gpu_model) == ("uid-node-1", "node-1", H100_MODEL)
    assert (hold.resource, hold.units) == ("resource.k8s.io/claim-1/gpu", 2)
    assert (hold.share_num, hold.share_den, hold.compute_share) == (2, 1, (2, 1))
    assert (hold.sharing, hold.exclusive) == (Sharing.EXCLUSIVE, True)
    assert hold.devices == ("GPU-gpu-0", "GPU-gpu-1")
    assert (hold.workload, hold.scheduled_ms) == (WORKLOAD, T0)
    assert (hold.start_ms, hold.end_ms, hold.part_ms) == (T0, OPEN_MS, T0)


def test_a_claim_that_nobody_uses_holds_itself() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("waiting",)), AT_ONCE)

    hold = only(book)

    assert (hold.pod_uid, hold.pod, hold.node_uid) == ("uid-claim-1", "claim-1", "uid-node-1")
    assert hold.workload == Workload(
        namespace="search", kind="ResourceClaim", name="claim-1", uid="uid-claim-1"
    )
    assert hold.labels == (("app", "ranker"),)


def test_pods_at_one_claim_share_it_and_no_finding_can_tell_them_apart() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("a", "b")), AT_ONCE)
    use(book, "a")
    use(book, "b", start=10, end=30)

    holds, _ = book.changes()

    assert [(hold.pod, hold.sharing, hold.exclusive) for hold in holds] == [
        ("a", Sharing.EXCLUSIVE, True),
        ("a", Sharing.SHARED_CLAIM, False),
        ("a", Sharing.EXCLUSIVE, True),
        ("b", Sharing.SHARED_CLAIM, False),
    ]
    # The cold start of a pod is told by its first part alone.
    assert [hold.scheduled_ms for hold in holds] == [T0, None, None, T0 + 10 * SECOND]


def test_requests_of_a_claim_are_holds_of_their_own_and_the_first_tells_the_cold_start() -> None:
    book = a_book()
    allocated = (*given("gpu-0", request="a"), *given("gpu-1", request="b/large"))
    book.see_claim(a_claim(allocated=allocated, pods=("train",)), AT_ONCE)
    use(book, "train")

    holds, _ = book.changes()

    assert [(hold.resource, hold.scheduled_ms) for hold in holds] == [
        ("resource.k8s.io/claim-1/a", T0),
        ("resource.k8s.io/claim-1/b/large", None),
    ]


def test_devices_of_two_models_in_one_request_are_two_holds() -> None:
    other = a_device(
        "gpu-1", attributes={"type": "gpu", "uuid": "GPU-1", "productName": "NVIDIA L4"}
    )
    book = a_book(a_slice(a_device("gpu-0"), other))
    book.see_claim(a_claim(allocated=given("gpu-0", "gpu-1"), pods=("train",)), AT_ONCE)
    use(book, "train")

    holds, _ = book.changes()

    assert [(hold.resource, hold.gpu_model) for hold in holds] == [
        ("resource.k8s.io/claim-1/gpu/node-1/gpu-0", H100_MODEL),
        ("resource.k8s.io/claim-1/gpu/node-1/gpu-1", "NVIDIA-L4"),
    ]


def test_instances_that_together_exceed_their_gpu_are_scaled_while_both_are_there() -> None:
    """3g.40gb is 1/2 by memory and 4g.40gb 4/7 by compute: together 15/14 of an H100."""
    mig = a_slice(
        a_device("gpu-0"), a_mig_device("three", "3g.40gb"), a_mig_device("four", "4g.40gb")
    )
    book = a_book(mig)
    book.see_claim(a_claim("x", allocated=given("three")), AT_ONCE)
    later = Sighting(at_ms=T0 + 60 * SECOND)
    book.see_claim(a_claim("y", allocated=given("four"), allocation_ms=T0 + 20 * SECOND), AT_ONCE)
    book.lose_claim("uid-y", later)

    assert parts(book) == [
        ("x", 0, 20, Fraction(1, 2)),
        ("x", 20, 60, Fraction(7, 15)),
        ("x", 60, -1, Fraction(1, 2)),
        ("y", 20, 60, Fraction(8, 15)),
    ]


def test_compute_slices_count_for_the_other_policy() -> None:
    book = a_book(a_slice(a_device("gpu-0"), a_mig_device("three", "3g.40gb")))
    book.see_claim(a_claim(allocated=given("three")), AT_ONCE)

    hold = only(book)

    assert (hold.share_num, hold.share_den, hold.compute_share) == (1, 2, (3, 7))
    assert (hold.sharing, hold.devices) == (Sharing.MIG, ("GPU-gpu-0",))


def test_consumed_capacity_is_split_over_the_pods_of_its_claim() -> None:
    book = a_book(a_slice(a_device(allow_multiple=True, capacity=amounts(memory=80))))
    result = replace(given("gpu-0")[0], share_id="s-1", consumed=amounts(memory=20))
    book.see_claim(a_claim(allocated=(result,), pods=("a", "b")), AT_ONCE)
    use(book, "a")
    use(book, "b")

    assert parts(book) == [("a", 0, -1, Fraction(1, 8)), ("b", 0, -1, Fraction(1, 8))]


def test_a_device_that_two_claims_name_is_held_once() -> None:
    book = a_book()
    book.see_claim(a_claim("x", allocated=given("gpu-0")), AT_ONCE)
    book.see_claim(a_claim("y", allocated=given("gpu-0")), AT_ONCE)

    half = Fraction(1, 2)
    assert parts(book) == [("x", 0, -1, half), ("y", 0, -1, half)]


def test_access_for_administrators_holds_nothing_beside_the_holder() -> None:
    book = a_book()
    watched = tuple(replace(one, admin_access=True) for one in given("gpu-0", "gpu-1"))
    book.see_claim(a_claim("monitor", allocated=watched, pods=("agent",)), AT_ONCE)
    book.see_claim(a_claim("x", allocated=given("gpu-0"), pods=("train",)), AT_ONCE)
    use(book, "agent", claim="monitor")
    use(book, "train", claim="x")

    assert parts(book) == [("train", 0, -1, Fraction(1))]


def test_a_claim_given_to_another_ends_where_the_next_one_begins() -> None:
    """The end is told late; but the device cannot have been given away before it was free."""
    book = a_book()
    book.see_claim(a_claim("x", allocated=given("gpu-0")), AT_ONCE)
    book.lose_claim("uid-x", Sighting(at_ms=T0 + 50 * SECOND))
    book.see_claim(
        a_claim("y", allocated=given("gpu-0"), allocation_ms=T0 + 40 * SECOND),
        Sighting(at_ms=T0 + 51 * SECOND),
    )

    assert parts(book) == [("x", 0, 40, Fraction(1)), ("y", 40, -1, Fraction(1))]


def test_a_claim_may_be_given_devices_again() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("a",)), AT_ONCE)
    use(book, "a", end=20)
    book.see_claim(a_claim(allocated=None), Sighting(at_ms=T0 + 30 * SECOND))
    again = a_claim(allocated=given("gpu-1"), allocation_ms=T0 + 60 * SECOND, pods=("b",))
    book.see_claim(again, Sighting(at_ms=T0 + 60 * SECOND))
    use(book, "b", start=61)

    one = Fraction(1)
    assert parts(book) == [
        ("a", 0, 20, one),
        ("b", 61, -1, one),
        ("claim-1", 20, 30, one),
        ("claim-1", 60, 61, one),
    ]


def undated(pods: tuple[str, ...] = ()) -> ClaimFacts:
    return a_claim(allocated=given("gpu-0"), allocation_ms=None, pods=pods)


def test_an_undated_allocation_began_in_the_second_in_which_it_was_seen() -> None:
    book = a_book()
    book.see_claim(undated(), Sighting(at_ms=T0 + 5_900))

    hold = only(book)

    assert (hold.start_ms - T0, hold.start_unsure_ms) == (5_000, 0)


def test_an_undated_allocation_that_was_told_late_is_unsure() -> None:
    book = a_book()
    book.see_claim(undated(), Sighting(at_ms=T0 + 50 * SECOND, unsure_ms=20 * SECOND))

    hold = only(book)

    assert (hold.start_ms - T0, hold.start_unsure_ms) == (30 * SECOND, 20 * SECOND)


def test_an_undated_allocation_that_was_there_began_with_its_first_pod() -> None:
    book = a_book()
    listed = Sighting(at_ms=T0 + HOUR, listed=True)
    book.see_claim(undated(pods=("a",)), listed)
    use(book, "a", start=90)

    assert parts(book) == [("a", 90, -1, Fraction(1))]


def test_of_an_undated_allocation_that_nobody_uses_only_the_creation_is_known() -> None:
    book = a_book()
    book.see_claim(undated(), Sighting(at_ms=T0 + HOUR, listed=True))

    hold = only(book)

    assert (hold.start_ms, hold.start_unsure_ms) == (T0 - MINUTE, HOUR + MINUTE)


def test_an_end_that_was_told_late_is_unsure() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0")), AT_ONCE)
    book.lose_claim("uid-claim-1", Sighting(at_ms=T0 + MINUTE, unsure_ms=10 * SECOND))

    hold = only(book)

    assert (hold.end_ms - T0, hold.end_unsure_ms) == (MINUTE, 10 * SECOND)


def test_a_part_that_turns_out_not_to_be_ends_where_it_began() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("a",)), AT_ONCE)
    told = only(book)
    use(book, "a")

    void, hold = book.changes()[0]

    assert (void.pod, void.part_ms, void.end_ms) == ("claim-1", told.part_ms, told.start_ms)
    assert (hold.pod, hold.end_ms) == ("a", OPEN_MS)


def test_a_model_that_is_learned_later_is_put_right_and_stays_known() -> None:
    book = ClaimBook()
    book.see_node(a_node())
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("a",)), AT_ONCE)
    use(book, "a")
    holds, notes = book.changes()
    assert [(hold.gpu_model, hold.share_num) for hold in holds] == [("unknown", 1)]
    assert [note.kind for note in notes] == ["claim_without_slice"]

    book.see_slice(a_slice(a_device("gpu-0")))
    (named,), notes = book.changes()
    assert (named.gpu_model, named.devices, notes) == (H100_MODEL, ("GPU-gpu-0",), [])
    assert named.part_ms == holds[0].part_ms

    book.lose_slice("slice-1")
    use(book, "a", end=60)
    (ended, left), notes = book.changes()
    assert (ended.gpu_model, ended.end_ms) == (H100_MODEL, T0 + MINUTE)
    assert (left.pod, left.gpu_model) == ("claim-1", H100_MODEL)
    assert [note.kind for note in notes] == ["claim_without_slice"]


def test_hosts_of_one_device_hold_equal_parts_of_its_chips_each_on_its_own_node() -> None:
    tpu = replace(a_device("tpu-2x4", attributes={}, capacity=amounts(tpus=8)), node_name="")
    book = a_book(a_slice(tpu, driver="tpu.google.com", pool="pod-slice", node_name=""))
    taken = given("tpu-2x4", driver="tpu.google.com", pool="pod-slice")
    claim = replace(a_claim(allocated=taken, pods=("a", "b")), node_name="")
    book.see_claim(claim, AT_ONCE)
    for name, node in (("a", "node-1"), ("b", "node-2")):
        pod = replace(a_user(name), node_name=node)
        book.see_pod(pod, a_node(node), bound(T0, OPEN_MS))

    holds, _ = book.changes()

    assert [(hold.pod, hold.node_uid, hold.share_num) for hold in holds] == [
        ("a", "uid-node-1", 4),
        ("b", "uid-node-2", 4),
    ]


def test_a_node_that_took_the_name_of_a_claims_node_does_not_have_its_devices() -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0")), AT_ONCE)
    assert only(book).node_uid == "uid-node-1"

    book.see_node(replace(a_node(), uid="uid-other", created_ms=T0 + MINUTE))

    # Without a node's identity the stored one is kept.
    assert only(book).node_uid == ""


def test_a_share_that_cannot_be_stored_exactly_is_rounded_down() -> None:
    book = a_book(a_slice(a_device(allow_multiple=True, capacity=amounts(memory=2**61 - 1))))
    result = replace(given("gpu-0")[0], share_id="s-1", consumed=amounts(memory=2**59))
    book.see_claim(a_claim(allocated=(result,)), AT_ONCE)

    hold = only(book)

    assert hold.share_den <= 10**9
    assert abs(hold.share_num / hold.share_den - 0.25) < 1e-9


@pytest.mark.parametrize("ended", [True, False])
def test_what_is_over_is_forgotten_and_what_lasts_goes_on(*, ended: bool) -> None:
    book = a_book()
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("a", "b")), AT_ONCE)
    use(book, "a", end=60)
    use(book, "b")
    book.changes()
    last = Sighting(at_ms=T0 + 90 * SECOND)
    book.see_claim(a_claim(allocated=given("gpu-0"), pods=("b",)), last)
    if ended:
        book.lose_claim("uid-claim-1", last)
    book.changes()

    book.settle(T0 + 3 * HOUR)

    assert book.changes() == ([], [])
    assert book.serves("search", "claim-1") is not ended
    assert book.allocated_uids() == (set() if ended else {"uid-claim-1"})
    use(book, "b", end=4 * 3600)
    one = Fraction(1)
    goes_on = [("b", 60, 4 * 3600, one), ("claim-1", 4 * 3600, -1, one)]
    assert parts(book) == ([] if ended else goes_on)
