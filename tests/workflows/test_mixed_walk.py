"""The ledger of a fleet that shares devices in every way equals a walk of every millisecond."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from app.simulator.fleet import Fleet
from app.simulator.modes import SHARED_MODES
from tests.oracle.ledger_oracle import HELD, STRANDED, UNALLOCATED, UNOBSERVED
from tests.workflows.ledger_lines import disagreements
from tests.workflows.terms import drawn_terms
from tests.workflows.worlds import a_mixed_spec, a_world, divided, without_kube_state


@pytest.mark.parametrize("seed", [31, 32])
def test_the_ledger_of_mixed_modes_equals_a_walk(database: Engine, seed: int) -> None:
    """Also by the other policies of shares, which rate the same facts."""
    fleet = Fleet.build(a_mixed_spec(seed, SHARED_MODES))
    terms = drawn_terms(seed, fleet.spec.opens_ms, fleet.spec.closes_ms)
    nodes = divided(fleet)

    with a_world(fleet, database, exposition=without_kube_state(fleet)) as world:
        world.watch()
        world.collect()
        lines = world.lines(world.rate(terms), terms)
        expected = world.walked(terms)
        segments = world.segments(terms)

        assert disagreements(lines, expected, segments, divided=nodes) == []
        assert {key.state for key in expected} == {HELD, UNOBSERVED, STRANDED, UNALLOCATED}
        for other in (
            replace(terms, mig_share="compute"),
            replace(terms, time_slicing="present"),
        ):
            lines = world.lines(world.rerated(other), other)
            changed = world.walked(other)
            assert disagreements(lines, changed, segments, divided=nodes) == []
            assert changed != expected
