"""The watch follows claims and slices where they are served, and keeps who held what by them."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.store.inventory import InventoryStore
from app.units.window import OPEN_MS
from app.usage.inventory import PodHold
from app.usage.kinds import Sharing
from tests.sources.dra_objects import (
    API_VERSIONS,
    a_claim_object,
    a_class_object,
    a_gpu,
    a_result,
    a_slice_object,
)
from tests.usage.builders import MINUTE, SECOND, T0, WINDOW
from tests.workflows.api_objects import JsonObject, a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import CLUSTER, Watching, watching

MODEL = "NVIDIA-H100-80GB-HBM3"


def a_user(
    name: str,
    *,
    claim: str = "train-claim",
    scheduled_ms: int | None = T0,
    finished_ms: int | None = None,
    extended: bool = False,
) -> JsonObject:
    """A pod that uses a claim, its own or the one made for its extended resource."""
    pod = a_pod_object(
        name, gpus=1 if extended else 0, scheduled_ms=scheduled_ms, finished_ms=finished_ms
    )
    spec, status = pod["spec"], pod["status"]
    assert isinstance(spec, dict)
    assert isinstance(status, dict)
    if extended:
        status["extendedResourceClaimStatus"] = {
            "resourceClaimName": claim,
            "requestMappings": [
                {"containerName": "main", "requestName": "gpu", "resourceName": "nvidia.com/gpu"}
            ],
        }
    else:
        spec["containers"] = [{"name": "main", "resources": {"claims": [{"name": "gpu"}]}}]
        spec["resourceClaims"] = [{"name": "gpu", "resourceClaimName": claim}]
    return pod


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(serves=API_VERSIONS) as server:
        server.put(a_node_object(devices=0, product=""))
        server.put(a_slice_object(a_gpu("gpu-0"), a_gpu("gpu-1")))
        server.put(a_class_object())
        yield server


def rows(database: Engine) -> list[PodHold]:
    """What is stored and took any time."""
    with database.connect() as connection:
        holds = InventoryStore(connection, CLUSTER).holds.within(WINDOW)
    return [hold for hold in holds if hold.start_ms < hold.end_ms]


def spans(database: Engine) -> list[tuple[str, int, int, Fraction]]:
    """Holder, start and end in seconds after the hour's start (-1: open), and share."""
    return sorted(
        (
            hold.pod,
            (hold.start_ms - T0) // SECOND,
            -1 if hold.end_ms == OPEN_MS else (hold.end_ms - T0) // SECOND,
            Fraction(hold.share_num, hold.share_den),
        )
        for hold in rows(database)
    )


def devices(database: Engine) -> list[tuple[int, int]]:
    """Devices and allocatable ones of the only node, over time."""
    with database.connect() as connection:
        store = InventoryStore(connection, CLUSTER)
        counts, pools = store.counts(WINDOW), store.pools(WINDOW)
    return [(int(pools["devices"].max()), int(num)) for num in counts["allocatable_num"].tolist()]


def notes(database: Engine) -> set[tuple[str, str]]:
    with database.connect() as connection:
        frame = InventoryStore(connection, CLUSTER).notes(WINDOW)
    return {*zip(frame["kind"], frame["subject"], strict=True)}


def test_a_pod_holds_what_its_claim_was_given(
    server: ApiServer, database: Engine, watch: Watching
) -> None:
    results = (a_result("gpu-0"), a_result("gpu-1"))
    server.put(a_claim_object("train-claim", *results, allocated_ms=T0, pods=("train-0",)))
    server.put(a_user("train-0"))
    watch.apply(2)

    (hold,) = rows(database)
    assert (hold.pod, hold.node_uid, hold.gpu_model) == ("train-0", "uid-gpu-1", MODEL)
    assert (hold.units, hold.share_num, hold.share_den) == (2, 2, 1)
    assert (hold.sharing, hold.devices) == (Sharing.EXCLUSIVE, ("GPU-gpu-0", "GPU-gpu-1"))
    assert hold.scheduled_ms == T0
    assert devices(database) == [(2, 2)]


def test_pods_share_a_claim_as_they_come_and_go_and_the_claim_holds_the_rest(
    server: ApiServer, database: Engine, clock: VirtualClock, watch: Watching
) -> None:
    claim = "train-claim"
    server.put(a_claim_object(claim, a_result(), allocated_ms=T0, pods=("a",)))
    server.put(a_user("a", scheduled_ms=T0 + 10 * SECOND))
    clock.move_to(T0 + 20 * SECOND)
    server.put(a_claim_object(claim, a_result(), allocated_ms=T0, pods=("a", "b")))
    server.put(a_user("b", scheduled_ms=T0 + 20 * SECOND))
    watch.apply(4)
    clock.move_to(T0 + 50 * SECOND)
    server.put(a_user("a", scheduled_ms=T0 + 10 * SECOND, finished_ms=T0 + 40 * SECOND))
    server.put(a_user("b", scheduled_ms=T0 + 20 * SECOND, finished_ms=T0 + 45 * SECOND))
    server.put(a_claim_object(claim, a_result(), allocated_ms=T0))
    watch.apply(7)
    clock.move_to(T0 + 60 * SECOND)
    server.put(a_claim_object(claim))
    watch.apply(8)

    half = Fraction(1, 2)
    assert spans(database) == [
        ("a", 10, 20, Fraction(1)),
        ("a", 20, 40, half),
        ("b", 20, 40, half),
        ("b", 40, 45, Fraction(1)),
        (claim, 0, 10, Fraction(1)),
        (claim, 45, 60, Fraction(1)),
    ]
    by_claim = [hold for hold in rows(database) if hold.pod == claim]
    assert {hold.workload.kind for hold in by_claim} == {"ResourceClaim"}
    assert {hold.node_uid for hold in by_claim} == {"uid-gpu-1"}


@pytest.mark.parametrize("pod_first", [True, False])
def test_an_extended_resource_behind_a_claim_is_counted_once(
    server: ApiServer, database: Engine, watch: Watching, *, pod_first: bool
) -> None:
    claim = a_claim_object(
        "web-0-extended", a_result(), allocated_ms=T0, pods=("web-0",), extended_for="web-0"
    )
    pod = a_user("web-0", claim="web-0-extended", extended=True)
    for number, item in enumerate((pod, claim) if pod_first else (claim, pod)):
        server.put(item)
        watch.apply(number + 1)

    (hold,) = rows(database)
    assert (hold.pod, hold.share_num, hold.end_ms) == ("web-0", 1, OPEN_MS)
    assert hold.resource == "resource.k8s.io/web-0-extended/gpu"


def test_a_claim_marked_for_extended_resources_takes_the_place_of_a_request_without_a_mapping(
    server: ApiServer, database: Engine, watch: Watching
) -> None:
    server.put(a_pod_object("web-0", gpus=1))
    watch.apply(1)
    server.put(
        a_claim_object("x", a_result(), allocated_ms=T0, pods=("web-0",), extended_for="web-0")
    )
    pod = a_pod_object("web-0", gpus=1)
    spec = pod["spec"]
    assert isinstance(spec, dict)
    spec["resourceClaims"] = [{"name": "x", "resourceClaimName": "x"}]
    server.put(pod)
    watch.apply(3)

    assert [hold.resource for hold in rows(database)] == ["resource.k8s.io/x/gpu"]


def test_a_slice_that_comes_later_names_the_model_and_one_that_goes_leaves_the_hold(
    server: ApiServer, database: Engine, clock: VirtualClock
) -> None:
    one = a_slice_object(a_gpu("gpu-0"), a_gpu("gpu-1"))
    server.remove(one)
    server.put(a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("train-0",)))
    server.put(a_user("train-0"))
    with watching(server, clock, database) as watch:
        assert [hold.gpu_model for hold in rows(database)] == ["unknown"]
        assert ("claim_without_slice", "search-prod/train-claim") in notes(database)
        clock.move_to(T0 + MINUTE)
        server.put(one)
        watch.apply(1)
        assert [hold.gpu_model for hold in rows(database)] == [MODEL]
        clock.move_to(T0 + 2 * MINUTE)
        server.remove(one)
        watch.apply(2)

    (hold,) = rows(database)
    assert (hold.gpu_model, hold.start_ms, hold.end_ms) == (MODEL, T0, OPEN_MS)
    assert devices(database)[-1][0] == 2


def test_a_watch_that_begins_again_stores_the_same_rows(
    server: ApiServer, database: Engine, clock: VirtualClock
) -> None:
    claim = a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("a", "b"))
    with watching(server, clock, database) as first:
        server.put(claim)
        server.put(a_user("a"))
        clock.move_to(T0 + MINUTE)
        server.put(a_user("b", scheduled_ms=T0 + MINUTE))
        first.apply(3)
        first.reach(T0 + 5 * MINUTE)
    before = rows(database)

    clock.move_to(T0 + 10 * MINUTE)
    with watching(server, clock, database) as second:
        assert rows(database) == before
        clock.move_to(T0 + 11 * MINUTE)
        server.remove(a_user("b", scheduled_ms=T0 + MINUTE))
        second.apply(1)

    half = Fraction(1, 2)
    assert spans(database) == [
        ("a", 0, 60, Fraction(1)),
        ("a", 60, 660, half),
        ("a", 660, -1, Fraction(1)),
        ("b", 60, 660, half),
    ]


def test_what_ended_unwatched_ends_with_the_pods_or_when_it_was_last_watched(
    server: ApiServer, database: Engine, clock: VirtualClock
) -> None:
    claim = a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("a", "b", "c"))
    with watching(server, clock, database) as first:
        server.put(claim)
        for name in ("a", "b", "c"):
            server.put(a_user(name))
        first.apply(4)
        first.reach(T0 + 5 * MINUTE)
    clock.move_to(T0 + 10 * MINUTE)
    server.remove(a_user("b"))
    server.put(a_user("c", finished_ms=T0 + 8 * MINUTE))
    server.put(a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("a",)))

    with watching(server, clock, database):
        third, half = Fraction(1, 3), Fraction(1, 2)
        assert spans(database) == [
            ("a", 0, 300, third),
            ("a", 300, 480, half),
            ("a", 480, -1, Fraction(1)),
            ("b", 0, 300, third),
            ("c", 0, 300, third),
            ("c", 300, 480, half),
        ]
    assert [hold.end_lost for hold in rows(database) if hold.pod == "b"] == [True]


def test_a_claim_that_went_unwatched_ends_with_its_pod(
    server: ApiServer, database: Engine, clock: VirtualClock
) -> None:
    claim = a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("a",))
    with watching(server, clock, database) as first:
        server.put(claim)
        server.put(a_user("a"))
        first.apply(2)
        first.reach(T0 + 5 * MINUTE)
    clock.move_to(T0 + 10 * MINUTE)
    server.remove(claim)
    server.put(a_user("a", finished_ms=T0 + 8 * MINUTE))

    with watching(server, clock, database):
        assert spans(database) == [("a", 0, 480, Fraction(1))]


def test_an_expired_watch_of_claims_lists_everything_again(
    server: ApiServer, database: Engine, clock: VirtualClock, watch: Watching
) -> None:
    watch.reach(T0 + MINUTE)
    server.go_down()
    server.put(a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("a",)))
    server.put(a_user("a"))
    server.faults.oldest = server.version + 1
    clock.move_to(T0 + 2 * MINUTE)
    server.faults.down = False
    watch.wait_for(lambda: watch.counts.lists > 1, "another list")

    assert spans(database) == [("a", 0, -1, Fraction(1))]


@pytest.mark.parametrize("silent", ["resourceclaims", "resourceslices"])
def test_the_watch_reaches_only_as_far_as_all_its_streams(
    server: ApiServer, clock: VirtualClock, watch: Watching, silent: str
) -> None:
    server.faults.silent = frozenset({silent})
    clock.move_to(T0 + MINUTE)
    for number in range(3):
        server.bookmark()
        server.put(a_user(f"pod-{number}", scheduled_ms=T0 + MINUTE))
        watch.apply(number + 1)
    assert watch.counts.until_ms == T0

    server.faults.silent = frozenset()
    watch.reach(T0 + 2 * MINUTE)

    assert {name for name, _ in server.opened} >= {"nodes", "pods", silent}
    assert watch.spans() == [(0, 2 * MINUTE)]


def test_without_the_right_to_read_classes_claims_are_followed_all_the_same(
    server: ApiServer, database: Engine, clock: VirtualClock
) -> None:
    server.faults.forbidden = frozenset({"deviceclasses"})
    server.put(a_claim_object("train-claim", a_result(), allocated_ms=T0, pods=("a",)))
    server.put(a_user("a"))

    with watching(server, clock, database):
        assert spans(database) == [("a", 0, -1, Fraction(1))]


def test_without_the_right_to_read_claims_the_watch_goes_on_and_says_so(
    server: ApiServer, database: Engine, clock: VirtualClock
) -> None:
    server.faults.forbidden = frozenset({"resourceclaims"})
    server.put(a_user("web-0", claim="x", extended=True))

    with watching(server, clock, database) as watch:
        watch.reach(T0 + MINUTE)
        # Its claim cannot be seen: what it requested is what is known.
        assert [hold.resource for hold in rows(database)] == ["nvidia.com/gpu"]

    assert ("dra_forbidden", CLUSTER) in notes(database)


def test_rights_that_are_taken_away_lead_to_another_list_and_end_what_cannot_be_seen(
    server: ApiServer, database: Engine, watch: Watching
) -> None:
    name = "web-0-extended"
    results = (a_result(),)
    server.put(
        a_claim_object(name, *results, allocated_ms=T0, pods=("web-0",), extended_for="web-0")
    )
    server.put(a_user("web-0", claim=name, extended=True))
    watch.apply(2)
    watch.reach(T0 + MINUTE)
    server.go_down()
    server.faults.forbidden = frozenset({"resourceclaims", "resourceslices"})
    server.faults.down = False

    watch.wait_for(lambda: watch.counts.lists > 1, "another list")
    watch.reach(T0 + 2 * MINUTE)

    assert ("dra_forbidden", CLUSTER) in notes(database)
    # Its request, which the claim served, is not counted a second time.
    assert spans(database) == [("web-0", 0, 60, Fraction(1))]
    assert [hold.end_lost for hold in rows(database)] == [True]
