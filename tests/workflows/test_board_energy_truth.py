"""What boards drew through a real collection, against the fleet's own watts and counters."""

from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.hardware import Node
from app.simulator.spec import FleetSpec
from app.store.price_versions import ImportKind
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.money import to_nanos
from app.units.window import HOUR_MS
from app.usage.identity import node_id
from app.workflows.imports import import_prices
from app.workflows.rating import rate_window
from tests.workflows.terms import Ownership, Rate, Terms
from tests.workflows.worlds import CLUSTER, ENDS_MS, TEN_MS, WINDOW, World, a_world

TERMS = Terms(
    rates=(Rate(family="p5", price="3"),), owners=(Ownership(namespaces=("*",), team="search"),)
)
COUNTER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
OWNED = """\
[[assets]]
name = "racks"
nodes = [{nodes}]
gpus = 4
purchase = 43824
salvage = 0
currency = "USD"
in_service = 2026-01-01
life_years = 5
rated_kw = 2.8
board_kw = 0.7
pue = 1.5
tariffs = [{{ price_per_kwh = 0.20 }}]
"""


@pytest.fixture(scope="module")
def world(module_database: Engine) -> Iterator[World]:
    """Three nodes, mostly empty, all of whose boards tell of themselves."""
    fleet = Fleet.build(
        FleetSpec(
            seed=5,
            start_ms=TEN_MS,
            hours=1,
            nodes=3,
            gpus_per_node=4,
            services=1,
            replicas=1,
            restarts_per_replica_day=24.0,
            jobs_per_gpu_hour=0.2,
            prometheus_outages=0,
            target_outages=0,
        )
    )
    with a_world(fleet, module_database) as world:
        world.watch(fleet.spec.closes_ms)
        world.collect()
        yield world


def energy_of(world: World) -> pd.DataFrame:
    with world.engine.connect() as connection:
        return UsageStore(connection, CLUSTER).pool_energy(WINDOW).set_index("node_id", drop=False)


def lives(world: World) -> pd.DataFrame:
    """Return from when to when each node had boards in the hour."""
    pools, _ = world.usage()
    return pools.groupby("node_id").agg(start_ms=("start_ms", "min"), end_ms=("end_ms", "max"))


def told_of(exposition: Exposition, node: Node, start_ms: int, end_ms: int) -> Fraction:
    """Return by how much the counters of a node's boards grew in between."""
    total = Fraction(0)
    for uuid in node.uuids:
        points = sorted(
            {
                (at, int(value))
                for series in exposition.family(COUNTER)
                if dict(series.labels)["UUID"] == uuid
                for at, value in zip(series.at_ms.tolist(), series.value.tolist(), strict=True)
            }
        )
        total += _read(points, end_ms) - _read(points, start_ms)
    return total


def _read(points: list[tuple[int, int]], at_ms: int) -> Fraction:
    at_ms = min(max(at_ms, points[0][0] + 1), points[-1][0])
    after = next(place for place, (at, _) in enumerate(points) if at >= at_ms)
    (low_ms, low), (high_ms, high) = points[after - 1 : after + 1]
    return low + Fraction((high - low) * (at_ms - low_ms), high_ms - low_ms)


def test_every_board_is_measured_and_draws_what_the_fleet_drew(world: World) -> None:
    found = energy_of(world)

    assert len(found) == len(world.fleet.nodes) == 3
    exposition, life = Exposition(world.fleet), lives(world)
    for node in world.fleet.nodes:
        number = node_id(CLUSTER, node.uid)
        row, start_ms, end_ms = found.loc[number], *life.loc[number].tolist()
        assert (row["boards_measured"], row["boards"]) == (node.devices, node.devices)
        assert row["measured_ms"] == node.devices * (end_ms - start_ms)
        told = told_of(exposition, node, start_ms, end_ms)
        # The first millisecond of a board that begins is not read, and each end is rounded down.
        assert abs(row["energy_mj"] - told) <= 1_000 * node.devices
    assert (life["end_ms"] - life["start_ms"]).max() == HOUR_MS


def test_boards_that_nobody_held_drew_the_watts_of_idle_ones(world: World) -> None:
    """The truth: a board without a holder is idle, so that what the holders leave is idle watts."""
    found, life, (pools, holds) = energy_of(world), lives(world), world.usage()
    known = holds.groupby("node_id")["energy_mj"].sum()
    held_ms = pools.groupby("node_id")["held_ms"].sum()
    unknown = {*holds.loc[holds["energy_mj"].isna(), "node_id"]}
    told = {node_id(CLUSTER, node.uid): node for node in world.fleet.nodes}
    told = {number: node for number, node in told.items() if number not in unknown}
    assert {*told} & {*holds["node_id"]}

    sharp = 0
    for number, node in told.items():
        start_ms, end_ms = life.loc[number].tolist()
        spare_ms = node.devices * (end_ms - start_ms) - int(held_ms[number])
        rest = int(found.loc[number, "energy_mj"]) - int(known.get(number, 0))
        # Growth is even between two scrapes, also where a hold begins or ends between them.
        own = holds[holds["node_id"] == number]
        edges = sum(
            int(own.loc[own[name] != at, "units"].sum())
            for name, at in (("start_ms", start_ms), ("end_ms", end_ms))
        )
        smeared = edges * world.fleet.spec.scrape_ms * node.shape.full_watts
        assert abs(rest - spare_ms * node.shape.idle_watts) <= smeared + node.devices
        sharp += spare_ms * node.shape.idle_watts > 2 * smeared
    assert sharp


def test_energy_lines_sum_to_the_boards_energy_at_the_tariff(world: World) -> None:
    names = ", ".join(f'"{node.name}"' for node in world.fleet.nodes)
    world.rate(TERMS)
    import_prices(
        OWNED.format(nodes=names),
        kind=ImportKind.OWNED,
        file_name="owned.toml",
        currency="USD",
        engine=world.engine,
        billing_zone=UTC,
        at_ms=ENDS_MS,
        dry_run=False,
    )

    rate_window(CLUSTER, WINDOW, engine=world.engine, billing_zone=UTC)

    charges = world.charges()
    lines = charges[charges["gpu_ms"] == 0]
    kwh = Decimal(int(energy_of(world)["energy_mj"].sum())) / 3_600_000_000
    assert abs(int(lines["cost_nanos"].sum()) - to_nanos(round(kwh * Decimal("0.3"), 9))) <= 1_000
    assert (lines["hold_id"] == 0).any()
    with world.engine.connect() as connection:
        notes = WindowStore(connection, CLUSTER).rating_notes(WINDOW)
    assert not {"energy_rated", "energy_contradiction"} & {*notes["kind"]}
