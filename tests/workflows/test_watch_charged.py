"""What the watch saw is charged to the second, whatever the scrapes missed."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from app.attribution.charges import ChargeKind
from app.simulator.clock import VirtualClock
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.store.charges import ChargeStore
from app.workflows.collecting import CollectFrom, collect_hour
from app.workflows.rating import rate_window
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, WINDOW
from tests.workflows.api_objects import a_node_object, a_pod_object
from tests.workflows.api_server import ApiServer
from tests.workflows.stored import UTC_ZONE, prices
from tests.workflows.watching import CLUSTER, watching

EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}


@pytest.fixture
def prometheus() -> Iterator[str]:
    """The address of a Prometheus without a single series."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/values"):
            return json_reply({"status": "success", "data": []})
        if request.path.endswith("/buildinfo"):
            return json_reply({"status": "success", "data": {"version": "2.42.0"}})
        return json_reply(EMPTY)

    with scripted_server(answer) as server:
        yield server.url


def test_a_pod_of_20_seconds_between_two_scrapes_is_charged_20_seconds(
    prometheus: str, database: Engine
) -> None:
    clock = VirtualClock(T0 - MINUTE)
    start, end = T0 + 10 * MINUTE + SECOND, T0 + 10 * MINUTE + 21 * SECOND
    with ApiServer() as server:
        server.put(a_node_object())
        with watching(server, clock, database) as watched:
            clock.move_to(start)
            server.put(a_pod_object(gpus=2, scheduled_ms=start))
            watched.apply(1)
            clock.move_to(end)
            server.remove(a_pod_object(gpus=2, scheduled_ms=start, finished_ms=end))
            watched.apply(2)
            watched.reach(T0 + HOUR)
    prices(database)  # 3.00 for a GPU and hour

    collected = collect_hour(
        CollectFrom(
            cluster=CLUSTER,
            source=PrometheusSource(PrometheusSettings(url=prometheus)),
            catalogue=load_catalogue(),
            scrape_ms=30_000,
            counter_lookback_ms=24 * HOUR,
            watched=True,
        ),
        WINDOW,
        engine=database,
    )
    rate_window(CLUSTER, WINDOW, engine=database, billing_zone=UTC_ZONE)

    assert (collected.held_ms, collected.unobserved_ms) == (2 * 20 * SECOND, 0)
    with database.connect() as connection:
        charges = ChargeStore(connection, CLUSTER, UTC_ZONE).within(WINDOW)
    lines = charges.set_index("kind")[["gpu_ms", "cost_nanos"]]
    assert dict(zip(lines.index, map(tuple, lines.to_numpy().tolist()), strict=True)) == {
        ChargeKind.UNMEASURED: (2 * 20 * SECOND, 33_333_333),
        ChargeKind.UNALLOCATED: (8 * HOUR - 2 * 20 * SECOND, 24_000_000_000 - 33_333_333),
    }
