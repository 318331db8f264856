"""What the watch stores of claims is what the simulated fleet knows of them, in every second."""

from collections import defaultdict
from fractions import Fraction

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.store.inventory import InventoryStore
from app.units.window import from_ms, hour_of
from app.usage.inventory import PodHold
from tests.simulator.mixed import BY_CLAIMS, mixed_fleet
from tests.workflows.replaying import replay

CLUSTER = "claims"

Held = dict[tuple[str, int], tuple[Fraction, Fraction]]


def true_holds(fleet: Fleet, seconds: list[int]) -> Held:
    """Share and compute share of each holder in each second."""
    held: dict[tuple[str, int], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for hold in fleet.truth.holds:
        if hold.mode.by_claims:
            for part in hold.parts:
                for at_ms in seconds:
                    if part.start_ms <= at_ms < part.end_ms:
                        held[hold.pod, at_ms][0] += part.share
                        held[hold.pod, at_ms][1] += part.compute
    return {key: (one[0], one[1]) for key, one in held.items()}


def stored_holds(rows: tuple[PodHold, ...], seconds: list[int]) -> Held:
    held: dict[tuple[str, int], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for hold in rows:
        if hold.resource.startswith("resource.k8s.io/"):
            for at_ms in seconds:
                if hold.start_ms <= at_ms < hold.end_ms:
                    held[hold.pod, at_ms][0] += Fraction(hold.share_num, hold.share_den)
                    held[hold.pod, at_ms][1] += Fraction(*hold.compute_share)
    return {key: (one[0], one[1]) for key, one in held.items()}


@pytest.mark.parametrize("seed", [1, 5, 19])
def test_the_watch_finds_who_held_what_by_claims(database: Engine, seed: int) -> None:
    fleet = mixed_fleet(seed=seed, modes=BY_CLAIMS)
    clock = VirtualClock(fleet.spec.start_ms)
    end_ms = fleet.spec.end_ms
    with SimulatedKubernetes(fleet, clock) as kubernetes:
        replay(CLUSTER, kubernetes=kubernetes, clock=clock, engine=database, until_ms=end_ms)

    with database.connect() as connection:
        rows = InventoryStore(connection, CLUSTER).holds.within(hour_of(from_ms(end_ms - 1)))
    seconds = [*range(fleet.spec.start_ms, end_ms, 1_000)]
    truth = true_holds(fleet, seconds)
    assert len({share for share, _ in truth.values()}) > 4
    assert "ResourceClaim" in {hold.workload_kind for hold in fleet.truth.holds}
    assert stored_holds(rows, seconds) == truth
