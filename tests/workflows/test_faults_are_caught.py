"""Faults that a ledger could have, and the check that catches each.

The fleet is one that the real workflows collected. Most faults leave every sum right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.attribution.capacity import UsageMismatchError
from app.simulator.fleet import Fleet
from app.simulator.pods import GPU_RESOURCE
from app.simulator.spec import SECOND_MS, Outage
from app.store.inventory import InventoryStore
from app.usage.identity import hold_id
from app.usage.kinds import UsageFlag
from app.usage.states import device_states
from tests.oracle.ledger_oracle import Ledger, LineKey
from tests.workflows.activity_lines import DeviceSamples, exposed_samples, wrong_activity
from tests.workflows.altered import crowded
from tests.workflows.faults import (
    all_on_one,
    each_sharer_whole,
    gaps_free,
    gaps_idle,
    priced_per_sharer,
    split_by_the_whole_hour,
    with_idle_of,
)
from tests.workflows.ledger_lines import Charged, disagreements, wrong_totals
from tests.workflows.terms import PLATFORM, Terms, drawn_terms
from tests.workflows.worlds import (
    BEGINS_MS,
    CLUSTER,
    SCRAPE_MS,
    WINDOW,
    World,
    a_spec,
    a_world,
    without_kube_state,
)

SEED = 23
OVERLAP_MS = 10 * SECOND_MS
GAP_MS = 150 * SECOND_MS


@dataclass(frozen=True, slots=True)
class Eventful:
    """A collected fleet in which everything happens that a fault could get wrong."""

    world: World
    terms: Terms
    charges: pd.DataFrame
    pool_usage: pd.DataFrame
    hold_usage: pd.DataFrame
    expected: Ledger
    samples: DeviceSamples

    def walk_check(self, charges: pd.DataFrame) -> list[str]:
        """Compare every line with the walk of every millisecond."""
        return disagreements(self.lines(charges), self.expected, self.world.segments(self.terms))

    def sum_check(self, charges: pd.DataFrame) -> list[str]:
        """Compare each node's cost with the price of its capacity."""
        return wrong_totals(self.lines(charges), self.expected, self.world.segments(self.terms))

    def activity_check(self, hold_usage: pd.DataFrame) -> list[str]:
        """Compare each hold's measured and active time with what the samples say."""
        return wrong_activity(hold_usage, CLUSTER, self.world.fleet, self.samples, WINDOW)

    def lines(self, charges: pd.DataFrame) -> dict[LineKey, Charged]:
        return self.world.lines(charges, self.terms)


@pytest.fixture(scope="module")
def eventful(module_database: Engine) -> Iterator[Eventful]:
    fleet = crowded(Fleet.build(a_spec(SEED)), OVERLAP_MS)
    silent = Outage(start_ms=BEGINS_MS, end_ms=BEGINS_MS + GAP_MS, target=fleet.nodes[0].name)
    fleet = replace(fleet, outages=(silent,))
    terms = drawn_terms(SEED, fleet.spec.opens_ms, fleet.spec.closes_ms)
    exposition = without_kube_state(fleet)
    with a_world(fleet, module_database, exposition=exposition) as world:
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
            samples=exposed_samples(exposition, SCRAPE_MS),
        )


def test_without_a_fault_every_check_passes(eventful: Eventful) -> None:
    assert eventful.walk_check(eventful.charges) == []
    assert eventful.sum_check(eventful.charges) == []
    assert eventful.activity_check(eventful.hold_usage) == []
    pd.testing.assert_frame_equal(eventful.world.rerated(eventful.terms), eventful.charges)


def test_a_split_by_the_whole_hour_is_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = split_by_the_whole_hour(eventful.charges)

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def test_a_shared_device_counted_for_each_sharer_is_caught_by_the_sums(
    eventful: Eventful,
) -> None:
    shared = eventful.hold_usage["flags"] & UsageFlag.OVERSUBSCRIBED > 0
    assert shared.sum() > 1

    faulty = priced_per_sharer(eventful.charges, eventful.hold_usage)

    assert eventful.sum_check(faulty)
    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        eventful.world.rerated(eventful.terms, hold_usage=each_sharer_whole(eventful.hold_usage))


@pytest.mark.parametrize("team", ["", PLATFORM])
def test_idle_time_booked_on_nobody_is_caught_by_the_walk(eventful: Eventful, team: str) -> None:
    faulty = with_idle_of(eventful.charges, team)

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def test_a_gap_of_samples_read_as_idle_is_caught_by_the_activity(eventful: Eventful) -> None:
    faulty = gaps_idle(eventful.hold_usage)

    assert eventful.activity_check(faulty)
    # Neither sums nor lines can tell: the holder pays for both.
    charges = eventful.world.rerated(eventful.terms, hold_usage=faulty)
    assert eventful.walk_check(charges) == []


def test_a_gap_of_the_watch_read_as_free_is_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = eventful.world.rerated(eventful.terms, pool_usage=gaps_free(eventful.pool_usage))

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)


def without_late(eventful: Eventful, late: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Collect without a hold whose row comes too late: its time is free instead."""
    with eventful.world.engine.connect() as connection:
        store = InventoryStore(connection, CLUSTER)
        holds = store.holds.frame(WINDOW)
        states = device_states(
            WINDOW,
            store.pools(WINDOW),
            store.counts(WINDOW),
            holds[holds["hold_id"] != late].reset_index(drop=True),
            store.watched(WINDOW),
        )
    usage = eventful.hold_usage
    return states.pool_usage, usage[usage["hold_id"] != late].reset_index(drop=True)


def test_a_late_row_that_is_dropped_is_caught_by_the_walk(eventful: Eventful) -> None:
    """The row is that of a pod which lived for less than a scrape."""
    crowd = eventful.hold_usage.loc[
        eventful.hold_usage["flags"] & UsageFlag.OVERSUBSCRIBED > 0, "hold_id"
    ].tolist()
    brief = [
        hold_id(CLUSTER, one.pod_uid, GPU_RESOURCE)
        for one in eventful.world.fleet.truth.holds
        if one.end_ms - one.start_ms < SCRAPE_MS and one.inside(WINDOW.start_ms, WINDOW.end_ms)
    ]
    late = next(hold for hold in brief if hold not in crowd)

    pools, holds = without_late(eventful, late)
    faulty = eventful.world.rerated(eventful.terms, pool_usage=pools, hold_usage=holds)

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)
    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        eventful.world.rerated(eventful.terms, hold_usage=holds)


def test_everything_on_one_team_is_caught_by_the_walk(eventful: Eventful) -> None:
    faulty = all_on_one(eventful.charges, "search")

    assert eventful.sum_check(faulty) == []
    assert eventful.walk_check(faulty)
