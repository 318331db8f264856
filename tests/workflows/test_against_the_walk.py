"""The ledger of a small fleet equals a walk of every millisecond, through all workflows."""

import pytest
from sqlalchemy import Engine

from app.simulator.fleet import Fleet
from tests.oracle.ledger_oracle import HELD, STRANDED, UNALLOCATED, UNOBSERVED
from tests.workflows.activity_lines import exposed_samples, wrong_activity
from tests.workflows.ledger_lines import disagreements
from tests.workflows.terms import drawn_terms
from tests.workflows.worlds import (
    CLUSTER,
    SCRAPE_MS,
    WINDOW,
    a_spec,
    a_world,
    without_kube_state,
)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_ledger_equals_a_walk_of_every_millisecond(database: Engine, seed: int) -> None:
    fleet = Fleet.build(a_spec(seed, gpus_per_node=2 + seed))
    terms = drawn_terms(seed, fleet.spec.opens_ms, fleet.spec.closes_ms)
    exposition = without_kube_state(fleet)

    with a_world(fleet, database, exposition=exposition) as world:
        world.watch()
        world.collect()
        lines = world.lines(world.rate(terms), terms)
        expected = world.walked(terms)
        _, hold_usage = world.usage()

        assert disagreements(lines, expected, world.segments(terms)) == []
        assert {key.state for key in expected} == {HELD, UNOBSERVED, STRANDED, UNALLOCATED}
        assert any(0 < one.unpriced_ms < one.device_ms for one in lines.values())
        samples = exposed_samples(exposition, SCRAPE_MS)
        assert wrong_activity(hold_usage, CLUSTER, fleet, samples, WINDOW) == []
        assert hold_usage["unmeasured_ms"].sum() > 0
        assert hold_usage["active_ms"].sum() > 0
