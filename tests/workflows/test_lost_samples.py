"""Collecting an hour again when Prometheus has forgotten some of it: refused, nothing changes."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from app.simulator.fleet import Fleet
from app.simulator.spec import MINUTE_MS, FleetSpec
from app.store.windows import WindowStore
from tests.workflows.rows_kept import fingerprint
from tests.workflows.terms import drawn_terms
from tests.workflows.worlds import CLUSTER, SCRAPE_MS, TEN_MS, WINDOW, World, a_world

# How much of what Prometheus knew is gone, counted from the start of the hour, and of which family
# that leaves less.
LOSSES = [
    (2 * 60 * MINUTE_MS, "prometheus/activity"),
    (60 * MINUTE_MS, "prometheus/generation_tokens"),
    (59 * MINUTE_MS, "prometheus/energy"),
    (SCRAPE_MS, "prometheus/running"),
    # Only what lay before the hour: its counters then have nothing to grow from.
    (0, "prometheus/counter_beginnings"),
]


def a_long_fleet() -> Fleet:
    """Return a fleet that lives before, during and after the hour."""
    return Fleet.build(
        FleetSpec(
            seed=5,
            start_ms=TEN_MS,
            hours=1,
            nodes=2,
            gpus_per_node=4,
            services=2,
            replicas=1,
            restarts_per_replica_day=24.0,
            jobs_per_gpu_hour=0.5,
            prometheus_outages=0,
            target_outages=0,
        )
    )


@pytest.fixture(scope="module")
def world(module_database: Engine) -> Iterator[World]:
    """An hour that was collected and rated when Prometheus still knew all of it."""
    fleet = a_long_fleet()
    with a_world(fleet, module_database) as world:
        world.watch(fleet.spec.closes_ms)
        assert world.collect().result.revision == 1
        world.rate(drawn_terms(5, TEN_MS, WINDOW.end_ms))
        yield world


@pytest.mark.parametrize(("lost_ms", "family"), LOSSES)
def test_an_hour_that_expired_in_part_is_refused(world: World, lost_ms: int, family: str) -> None:
    before = fingerprint(world.engine)
    world.prometheus.oldest_ms = TEN_MS + lost_ms

    collected = world.collect()

    world.prometheus.oldest_ms = 0
    assert family in collected.result.rejected
    assert not collected.result.changed
    assert fingerprint(world.engine) == before


def test_an_hour_that_is_still_known_is_collected_again_without_a_change(world: World) -> None:
    before = fingerprint(world.engine)
    world.prometheus.oldest_ms = TEN_MS - 6 * MINUTE_MS

    again = world.collect()

    world.prometheus.oldest_ms = 0
    assert (again.result.revision, again.result.changed, again.result.rejected) == (1, False, ())
    assert fingerprint(world.engine) == before


@pytest.mark.parametrize(("lost_ms", "family"), [LOSSES[1], (30 * MINUTE_MS, "pod_requests")])
def test_without_a_watch_expired_scrapes_are_missed_as_well(
    database: Engine, lost_ms: int, family: str
) -> None:
    with a_world(a_long_fleet(), database) as world:
        assert world.collect(watched=False).result.revision == 1
        before = fingerprint(database)
        world.prometheus.oldest_ms = TEN_MS + lost_ms

        collected = world.collect(watched=False)

    assert any(lost.endswith(family) for lost in collected.result.rejected)
    assert fingerprint(database) == before


def test_force_takes_the_smaller_answer_and_says_why(database: Engine) -> None:
    with a_world(a_long_fleet(), database) as world:
        whole = world.collect(watched=False)
        world.prometheus.oldest_ms = TEN_MS + 30 * MINUTE_MS

        forced = world.collect(watched=False, forced_reason="the first half was a load test")

    with database.connect() as connection:
        (state,) = WindowStore(connection, CLUSTER).within(WINDOW)
    assert (forced.result.revision, forced.result.changed) == (2, True)
    assert forced.generation_tokens < whole.generation_tokens
    assert state.forced_reason == "the first half was a load test"
    assert state.pending
