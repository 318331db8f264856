"""The faults that a ledger of shared devices could have, and the check that catches each."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.attribution.capacity import UsageMismatchError
from app.simulator.fleet import Fleet
from app.simulator.modes import SHARED_MODES
from app.usage.kinds import Sharing
from tests.oracle.ledger_oracle import Ledger
from tests.workflows.faults import (
    all_on_one,
    each_sharer_whole,
    gaps_free,
    priced_per_sharer,
    split_by_the_whole_hour,
    with_idle_of,
)
from tests.workflows.ledger_lines import disagreements, wrong_totals
from tests.workflows.terms import PLATFORM, Terms, drawn_terms
from tests.workflows.worlds import (
    World,
    a_mixed_spec,
    a_world,
    divided,
    without_kube_state,
)

SEED = 11


@dataclass(frozen=True, slots=True)
class Eventful:
    """A collected fleet that shares its devices in every way."""

    world: World
    terms: Terms
    charges: pd.DataFrame
    pool_usage: pd.DataFrame
    hold_usage: pd.DataFrame
    expected: Ledger

    def walk_check(self, charges: pd.DataFrame) -> list[str]:
        lines = self.world.lines(charges, self.terms)
        segments = self.world.segments(self.terms)
        return disagreements(lines, self.expected, segments, divided=divided(self.world.fleet))

    def sum_check(self, charges: pd.DataFrame) -> list[str]:
        lines = self.world.lines(charges, self.terms)
        return wrong_totals(lines, self.expected, self.world.segments(self.terms))


@pytest.fixture(scope="module")
def eventful(module_database: Engine) -> Iterator[Eventful]:
    fleet = Fleet.build(a_mixed_spec(SEED, SHARED_MODES))
    terms = drawn_terms(SEED, fleet.spec.opens_ms, fleet.spec.closes_ms)
    with a_world(fleet, module_database, exposition=without_kube_state(fleet)) as world:
        world.watch()
        world.collect()
        charges = world.rate(terms)
        pools, holds = world.usage()
        yield Eventful(
            world=world,
            terms=terms,
            charges=charges,
            pool_usage=pools,
            hold_usage=holds,
            expected=world.walked(terms),
        )


def test_without_a_fault_every_check_passes(eventful: Eventful) -> None:
    assert eventful.walk_check(eventful.charges) == []
    assert eventful.sum_check(eventful.charges) == []
    ways = {Sharing.EXCLUSIVE, Sharing.MIG, Sharing.TIME_SLICING, Sharing.MPS, Sharing.FRACTION}
    assert {*ways, Sharing.SHARED_CLAIM} <= set(eventful.hold_usage["sharing"])


def test_a_split_by_the_whole_hour_is_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = split_by_the_whole_hour(eventful.charges)

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def test_a_shared_device_counted_for_each_sharer_is_caught_by_the_sums(
    eventful: Eventful,
) -> None:
    faulty = priced_per_sharer(eventful.charges, eventful.hold_usage)

    assert eventful.sum_check(faulty)
    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        eventful.world.rerated(eventful.terms, hold_usage=each_sharer_whole(eventful.hold_usage))


def equal_sharers(charges: pd.DataFrame) -> pd.DataFrame:
    """Give each holder of a node the same, whatever its share is."""
    held = charges["priced"] & (charges["hold_id"] != 0)
    rows = charges[held]
    total = rows.groupby(["node_id", "start_ms", "kind"])["cost_nanos"].transform("sum")
    count = rows.groupby(["node_id", "start_ms", "kind"])["cost_nanos"].transform("count")
    first = ~rows.duplicated(["node_id", "start_ms", "kind"])
    parts = total // count + (total % count).where(first, 0)
    return pd.concat([rows.assign(cost_nanos=parts), charges[~held]])


def test_equal_parts_of_unequal_shares_are_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = equal_sharers(eventful.charges)

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


@pytest.mark.parametrize("team", ["", PLATFORM])
def test_idle_time_booked_on_nobody_is_caught_by_the_walk(eventful: Eventful, team: str) -> None:
    faulty = with_idle_of(eventful.charges, team)

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def leftovers_free(pool_usage: pd.DataFrame) -> pd.DataFrame:
    """Take what no instance covers, and what is not advertised, for what nobody held."""
    free = pool_usage["unallocated_ms"] + pool_usage["stranded_ms"]
    return pool_usage.assign(unallocated_ms=free, stranded_ms=0)


def test_leftovers_of_instances_read_as_free_are_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = eventful.world.rerated(eventful.terms, pool_usage=leftovers_free(eventful.pool_usage))

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def test_a_gap_of_the_watch_read_as_free_is_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = eventful.world.rerated(eventful.terms, pool_usage=gaps_free(eventful.pool_usage))

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def test_everything_on_one_team_is_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = all_on_one(eventful.charges, "search")

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)
