"""A share that changes under a running pod is another part of its hold, from that instant on."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.store.inventory import InventoryStore
from app.units.window import OPEN_MS
from tests.usage.builders import MINUTE, T0, WINDOW
from tests.workflows.api_objects import JsonObject, a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import CLUSTER, Watching, watching


def a_sliced_node(replicas: int, *, devices: int = 2, advertised: bool = True) -> JsonObject:
    node = a_node_object(
        product="NVIDIA-L4-SHARED", devices=devices * replicas if advertised else 0
    )
    metadata = node["metadata"]
    assert isinstance(metadata, dict)
    metadata["labels"] |= {
        "nvidia.com/gpu.count": str(devices),
        "nvidia.com/gpu.replicas": str(replicas),
        "nvidia.com/gpu.sharing-strategy": "time-slicing",
    }
    return node


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.put(a_sliced_node(2))
        server.put(a_pod_object(gpus=1))
        yield server


def parts(database: Engine) -> list[tuple[int, int, Fraction]]:
    """Start and end in minutes (-1: open), and share."""
    with database.connect() as connection:
        holds = InventoryStore(connection, CLUSTER).holds.within(WINDOW)
    return [
        (
            (hold.start_ms - T0) // MINUTE,
            -1 if hold.end_ms == OPEN_MS else (hold.end_ms - T0) // MINUTE,
            Fraction(hold.share_num, hold.share_den),
        )
        for hold in holds
    ]


def counts(database: Engine) -> list[tuple[int, int]]:
    """Since which minute how many devices may be held, in order."""
    with database.connect() as connection:
        frame = InventoryStore(connection, CLUSTER).counts(WINDOW)
    rows = frame.sort_values("start_ms")[["start_ms", "allocatable_num"]].to_numpy().tolist()
    return [((start_ms - T0) // MINUTE, allocatable) for start_ms, allocatable in rows]


def test_another_number_of_slots_is_another_part(
    server: ApiServer, clock: VirtualClock, watch: Watching, database: Engine
) -> None:
    clock.move_to(T0 + 20 * MINUTE)
    server.put(a_sliced_node(4))
    watch.apply(1)
    assert parts(database) == [(0, 20, Fraction(1, 2)), (20, -1, Fraction(1, 4))]

    clock.move_to(T0 + 30 * MINUTE)
    server.put(a_pod_object(gpus=1, finished_ms=T0 + 29 * MINUTE))
    watch.apply(2)
    assert parts(database) == [(0, 20, Fraction(1, 2)), (20, 29, Fraction(1, 4))]


def test_what_changed_unwatched_is_another_part_since_it_was_seen(
    server: ApiServer, clock: VirtualClock, database: Engine
) -> None:
    with watching(server, clock, database) as first:
        first.reach(T0 + MINUTE)
    clock.move_to(T0 + 10 * MINUTE)
    server.put(a_sliced_node(4))

    with watching(server, clock, database):
        assert parts(database) == [(0, 10, Fraction(1, 2)), (10, -1, Fraction(1, 4))]


def test_a_device_plugin_that_is_down_changes_no_share_of_running_pods(
    server: ApiServer, clock: VirtualClock, watch: Watching, database: Engine
) -> None:
    clock.move_to(T0 + 20 * MINUTE)
    server.put(a_sliced_node(2, advertised=False))
    watch.apply(1)
    clock.move_to(T0 + 25 * MINUTE)
    server.put(a_sliced_node(2))
    watch.apply(2)

    assert parts(database) == [(0, -1, Fraction(1, 2))]
    assert counts(database)[1:] == [(20, 0), (25, 2)]


def test_a_pod_that_gives_devices_back_holds_less_from_then_on(
    server: ApiServer, clock: VirtualClock, watch: Watching, database: Engine
) -> None:
    server.put(a_pod_object(gpus=2))
    watch.apply(1)
    clock.move_to(T0 + 20 * MINUTE)
    server.put(a_pod_object(gpus=1))
    watch.apply(2)
    clock.move_to(T0 + 30 * MINUTE)
    server.put(a_pod_object(gpus=0))
    watch.apply(3)

    # Another number at the instant of its start is put right there.
    assert parts(database) == [(0, 20, Fraction(1)), (20, 30, Fraction(1, 2))]
