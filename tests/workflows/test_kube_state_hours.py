"""Hours that kube-state-metrics alone tells of, one of which it is silent in."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS, MINUTE_MS, FleetSpec, Outage
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.store.inventory import InventoryStore
from app.store.usage import UsageStore
from app.units.window import Window, from_ms
from app.workflows.collecting import Collected, CollectFrom, collect_hour
from tests.store.builders import a_count, a_node

CLUSTER = "small"
# 2026-11-23T10:00:00Z.
TEN_MS = 1_795_428_000_000
SILENT = Outage(
    start_ms=TEN_MS + HOUR_MS - 6 * MINUTE_MS,
    end_ms=TEN_MS + 2 * HOUR_MS + 6 * MINUTE_MS,
    target="kube-state-metrics",
)
GPUS = 6


@dataclass(frozen=True, slots=True)
class Source:
    engine: Engine
    url: str

    def collect(self, hour: int) -> Collected:
        given = CollectFrom(
            cluster=CLUSTER,
            source=PrometheusSource(PrometheusSettings(url=self.url)),
            catalogue=load_catalogue(),
            scrape_ms=30_000,
            counter_lookback_ms=24 * HOUR_MS,
            watched=False,
        )
        return collect_hour(given, window(hour), engine=self.engine)


def window(hour: int) -> Window:
    return Window(from_ms(TEN_MS + hour * HOUR_MS), from_ms(TEN_MS + (hour + 1) * HOUR_MS))


@pytest.fixture(scope="module")
def prometheus_url() -> Iterator[str]:
    """Three nodes of two GPUs for three hours; in the second one nobody tells of them."""
    spec = FleetSpec(
        seed=5,
        start_ms=TEN_MS,
        hours=3,
        nodes=3,
        gpus_per_node=2,
        services=1,
        replicas=1,
        trainings=1,
        node_joins=0,
        node_leaves=0,
        unhealthy_devices=0,
        outages=(SILENT,),
    )
    fleet = Fleet.build(spec)
    with SimulatedPrometheus(fleet, lambda: spec.closes_ms) as prometheus:
        yield prometheus.url


@pytest.fixture
def source(database: Engine, prometheus_url: str) -> Source:
    return Source(database, prometheus_url)


def test_the_capacity_of_a_silent_hour_is_there_and_unobserved(source: Source) -> None:
    before, silent, after = (source.collect(hour) for hour in range(3))

    capacities = [one.capacity_ms for one in (before, silent, after)]
    assert capacities == [GPUS * HOUR_MS] * 3
    assert silent.unobserved_ms == GPUS * HOUR_MS
    assert [one.partial for one in (before, silent, after)] == [False, True, False]
    with source.engine.connect() as connection:
        notes = UsageStore(connection, CLUSTER).notes(window(1))
    assert "no_inventory" in set(notes["kind"])


def test_hours_collected_again_change_nothing(source: Source) -> None:
    for hour in range(3):
        source.collect(hour)

    again = [source.collect(hour).result for hour in range(3)]

    assert [(one.revision, one.changed) for one in again] == [(1, False)] * 3


def test_a_node_that_went_while_nobody_told_ends_with_its_last_sighting(source: Source) -> None:
    gone = a_node("gone", created_ms=TEN_MS - HOUR_MS)
    seen_ms = TEN_MS + HOUR_MS - 6 * MINUTE_MS
    with source.engine.begin() as connection:
        InventoryStore(connection, CLUSTER).put_node(gone, [a_count()], at_ms=seen_ms)

    source.collect(2)

    with source.engine.connect() as connection:
        pools = InventoryStore(connection, CLUSTER).pools(window(0)).set_index("devices")
    assert pools.loc[8, "end_ms"] == seen_ms


def test_what_a_node_is_may_be_told_after_its_devices(source: Source) -> None:
    source.collect(0)
    with source.engine.begin() as connection:
        # As one sees nodes before the labels of nodes are exported.
        connection.exec_driver_sql("UPDATE nodes SET instance_type = '', seen_at = created_at")

    source.collect(2)

    with source.engine.connect() as connection:
        nodes = InventoryStore(connection, CLUSTER).nodes()
    assert (nodes["instance_type"] != "").all()
