"""Hours that kube-state-metrics alone tells of, one of which it is silent in."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.series import Series
from app.simulator.spec import HOUR_MS, MINUTE_MS, FleetSpec, Outage
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.usage import UsageStore
from app.units.window import Window, from_ms
from app.usage.products import canonical_model
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

    def collect(self, hour: int, *, watched: bool = False) -> Collected:
        given = CollectFrom(
            cluster=CLUSTER,
            source=PrometheusSource(PrometheusSettings(url=self.url)),
            catalogue=load_catalogue(),
            scrape_ms=30_000,
            counter_lookback_ms=24 * HOUR_MS,
            watched=watched,
        )
        return collect_hour(given, window(hour), engine=self.engine)


def window(hour: int) -> Window:
    return Window(from_ms(TEN_MS + hour * HOUR_MS), from_ms(TEN_MS + (hour + 1) * HOUR_MS))


@pytest.fixture(scope="module")
def fleet() -> Fleet:
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
    return Fleet.build(spec)


@pytest.fixture(scope="module")
def prometheus_url(fleet: Fleet) -> Iterator[str]:
    with SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms) as prometheus:
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


def test_nodes_count_once_when_a_watch_tells_their_own_uids(source: Source, fleet: Fleet) -> None:
    source.collect(0)
    with source.engine.begin() as connection:
        store = InventoryStore(connection, CLUSTER)
        made_up = [*store.known_nodes().values()]
        for node in fleet.nodes:
            own = a_node(node.name, uid=node.uid, created_ms=node.created_ms)
            store.put_node(own, [a_count(2, 2)], at_ms=TEN_MS + 2 * HOUR_MS)
        for uid in made_up:
            store.end_node(uid, TEN_MS + HOUR_MS)

    again = source.collect(0, watched=True)

    assert again.capacity_ms == GPUS * HOUR_MS


def test_nodes_without_labels_have_the_models_that_their_exporters_show(
    fleet: Fleet, database: Engine
) -> None:
    def unlabeled(family: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
        return () if family == "kube_node_labels" else made

    exposition = Exposition(fleet, transform=unlabeled)
    now = fleet.spec.closes_ms
    with SimulatedPrometheus(fleet, lambda: now, exposition=exposition) as prometheus:
        Source(database, prometheus.url).collect(0)

    with database.connect() as connection:
        store, names = UsageStore(connection, CLUSTER), NameStore(connection).gpu_models()
        models = {names[model] for model in store.pool_usage(window(0))["gpu_model_id"]}
        notes = store.notes(window(0))
    assert models == {canonical_model(node.shape.model_name) for node in fleet.nodes}
    assert "node_labels" in set(notes.loc[notes["kind"] == "missing_family", "subject"])
