"""The watch books holds on the node they stood on, whatever becomes of nodes and their labels."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.store.inventory import InventoryStore
from app.units.window import OPEN_MS
from app.usage.identity import gpu_model_id, node_id
from app.usage.states import device_states
from app.workflows.inventories import watched_inventory
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, WINDOW
from tests.workflows.api_objects import H100, a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import CLUSTER, Watching, watching


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def lives(engine: Engine) -> dict[int, tuple[int, int]]:
    """When each node's pool began and ended, after the hour's start."""
    with engine.connect() as connection:
        pools = InventoryStore(connection, CLUSTER).pools(WINDOW)
    return {
        node: (start - T0, end if end == OPEN_MS else end - T0)
        for node, start, end in zip(
            pools["node_id"].tolist(),
            pools["start_ms"].tolist(),
            pools["end_ms"].tolist(),
            strict=True,
        )
    }


def held(engine: Engine) -> dict[int, int]:
    """GPU-milliseconds held on each node in the hour."""
    with engine.connect() as connection:
        known = watched_inventory(connection, CLUSTER, WINDOW)
    states = device_states(WINDOW, known.pools, known.counts, known.holds, known.observed)
    return {
        int(node): int(ms)
        for node, ms in states.pool_usage.groupby("node_id")["held_ms"].sum().items()
    }


def test_a_pod_seen_before_its_node_is_on_it_once_it_is_seen(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    created = T0 + 20 * SECOND
    server.put(a_pod_object(scheduled_ms=T0 + 30 * SECOND))
    watch.apply(1)
    assert watch.holds()["ranker-0"].node_uid == ""

    clock.move_to(T0 + 31 * SECOND)
    server.put(a_node_object(created_ms=created))
    watch.apply(2)

    hold = watch.holds()["ranker-0"]
    assert (hold.node_uid, hold.gpu_model) == ("uid-gpu-1", H100)


def test_a_product_label_that_comes_late_names_the_devices_from_their_first_second(
    server: ApiServer, clock: VirtualClock, watch: Watching, database: Engine
) -> None:
    created = T0 + MINUTE
    clock.move_to(created)
    server.put(a_node_object(created_ms=created, product=""))
    server.put(a_pod_object(scheduled_ms=created + 30 * SECOND))
    watch.apply(2)
    assert watch.holds()["ranker-0"].gpu_model == "unknown"

    clock.move_to(created + 2 * MINUTE)
    server.put(a_node_object(created_ms=created))
    watch.apply(3)
    watch.reach(T0 + HOUR)

    assert watch.holds()["ranker-0"].gpu_model == H100
    with database.connect() as connection:
        known = watched_inventory(connection, CLUSTER, WINDOW)
    usage = device_states(WINDOW, known.pools, known.counts, known.holds, known.observed).pool_usage
    assert set(usage["gpu_model_id"]) == {gpu_model_id(H100)}
    assert usage["held_ms"].sum() == 2 * (HOUR - MINUTE - 30 * SECOND)
    assert usage[
        ["held_ms", "unallocated_ms", "stranded_ms", "unobserved_ms"]
    ].to_numpy().sum() == (8 * (HOUR - MINUTE))


def test_a_deleted_node_ends_when_it_is_gone_and_keeps_the_holds_it_had(
    server: ApiServer, clock: VirtualClock, watch: Watching, database: Engine
) -> None:
    server.put(a_node_object())
    server.put(a_pod_object())
    watch.apply(2)

    clock.move_to(T0 + 20 * MINUTE)
    server.remove(a_node_object())
    watch.apply(3)
    # The garbage collector takes the pod a minute later.
    clock.move_to(T0 + 21 * MINUTE)
    server.remove(a_pod_object(asked_ms=T0 + 21 * MINUTE, grace_seconds=0))
    watch.apply(4)
    watch.reach(T0 + HOUR)

    hold = watch.holds()["ranker-0"]
    assert (hold.node_uid, hold.gpu_model, hold.end_ms) == ("uid-gpu-1", H100, T0 + 21 * MINUTE)
    node = node_id(CLUSTER, "uid-gpu-1")
    assert lives(database) == {node: (-HOUR, 20 * MINUTE)}
    assert held(database) == {node: 2 * 20 * MINUTE}


def test_a_node_replaced_under_its_name_takes_no_hold_of_the_one_before(
    server: ApiServer, clock: VirtualClock, watch: Watching, database: Engine
) -> None:
    first, second = (
        a_node_object(uid="first"),
        a_node_object(uid="second", created_ms=T0 + 10 * MINUTE),
    )
    server.put(first)
    server.put(a_pod_object("old"))
    watch.apply(2)
    clock.move_to(T0 + 8 * MINUTE)
    server.remove(first)
    watch.apply(3)

    clock.move_to(T0 + 10 * MINUTE)
    server.put(second)
    server.put(a_pod_object("new", scheduled_ms=T0 + 12 * MINUTE))
    watch.apply(5)
    clock.move_to(T0 + 13 * MINUTE)
    server.remove(a_pod_object("old"))
    watch.apply(6)
    watch.reach(T0 + HOUR)

    holds = watch.holds()
    assert (holds["old"].node_uid, holds["new"].node_uid) == ("first", "second")
    before, after = node_id(CLUSTER, "first"), node_id(CLUSTER, "second")
    assert lives(database) == {before: (-HOUR, 8 * MINUTE), after: (10 * MINUTE, OPEN_MS)}
    assert held(database) == {before: 2 * 8 * MINUTE, after: 2 * 48 * MINUTE}


def test_a_new_node_is_known_by_its_name_before_the_old_one_is_seen_to_go(
    server: ApiServer, clock: VirtualClock, watch: Watching
) -> None:
    first, second = (
        a_node_object(uid="first"),
        a_node_object(uid="second", created_ms=T0 + 10 * MINUTE),
    )
    server.put(first)
    watch.apply(1)
    clock.move_to(T0 + 12 * MINUTE)

    # The stream of pods is ahead of that of nodes.
    server.put(a_pod_object("new", scheduled_ms=T0 + 12 * MINUTE))
    watch.apply(2)
    server.remove(first)
    server.put(second)
    watch.apply(4)

    assert watch.holds()["new"].node_uid == "second"


def test_a_watch_begun_anew_leaves_a_hold_on_the_node_that_is_gone(
    server: ApiServer, clock: VirtualClock, database: Engine
) -> None:
    server.put(a_node_object())
    server.put(a_pod_object())
    with watching(server, clock, database) as watch:
        assert watch.holds()["ranker-0"].node_uid == "uid-gpu-1"
    clock.move_to(T0 + 5 * MINUTE)
    server.remove(a_node_object())

    with watching(server, clock, database) as again:
        hold = again.holds()["ranker-0"]

    assert (hold.node_uid, hold.gpu_model, hold.end_ms) == ("uid-gpu-1", H100, OPEN_MS)


def test_two_changes_of_a_node_in_one_millisecond_are_both_kept(
    server: ApiServer, watch: Watching, database: Engine
) -> None:
    server.put(a_node_object(product=""))
    server.put(a_node_object())
    watch.apply(2)

    with database.connect() as connection:
        pools = InventoryStore(connection, CLUSTER).pools(WINDOW)
    assert pools["gpu_model_id"].tolist() == [gpu_model_id(H100)]
