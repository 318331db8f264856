"""What may not matter does not: names, other pools, and cuts where nothing changes."""

import random
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.attribution.charges import ChargeKind
from app.simulator.fleet import Fleet
from app.simulator.pods import Pod
from app.simulator.spec import Outage
from app.usage.identity import node_id
from tests.workflows.altered import drawn_names, renamed, renamed_exposition, with_pods
from tests.workflows.symmetric import cut_at, most_moved, named, under_other_names
from tests.workflows.terms import Ownership, Rate, Terms, drawn_seconds, drawn_terms
from tests.workflows.worlds import (
    BEGINS_MS,
    CLUSTER,
    ENDS_MS,
    a_spec,
    a_world,
    without_kube_state,
)

SEED = 6


def a_fleet() -> Fleet:
    return Fleet.build(a_spec(SEED))


def terms_of(fleet: Fleet) -> Terms:
    return drawn_terms(SEED, fleet.spec.opens_ms, fleet.spec.closes_ms)


def test_other_names_permute_the_charges(module_database: Engine, database: Engine) -> None:
    fleet = a_fleet()
    terms = terms_of(fleet)
    names = drawn_names(fleet, random.Random(SEED).shuffle)
    other_terms, teams = under_other_names(terms, names)

    with a_world(fleet, module_database, exposition=without_kube_state(fleet)) as world:
        world.watch()
        world.collect()
        before = named(world.rate(terms), world, terms.teams())
    other = renamed(fleet, names)
    exposition = renamed_exposition(fleet, names)
    with a_world(fleet, database, exposition=exposition, kubernetes_fleet=other) as world:
        world.watch()
        world.collect()
        after = named(world.rate(other_terms), world, other_terms.teams())

    assert len(before) > 40
    assert after == Counter(
        {
            (names.nodes[node], names.pods.get(pod, ""), teams[team], *rest): count
            for (node, pod, team, *rest), count in before.items()
        }
    )


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_a_change_on_one_pool_moves_no_line_of_another(
    module_database: Engine, database: Engine, changed: int
) -> None:
    """Its pods go, its exporter is silent, its price is another: no line of other pools moves."""
    fleet = a_fleet()
    terms = terms_of(fleet)
    node = fleet.nodes[changed]

    def elsewhere(pod: Pod) -> Pod | None:
        return pod if pod.node is None or pod.node.uid != node.uid or not pod.devices else None

    silent = Outage(start_ms=fleet.spec.opens_ms, end_ms=ENDS_MS, target=node.name)
    other = replace(with_pods(fleet, elsewhere), outages=(*fleet.outages, silent))
    row = f",,,,,,{node.name},gpu_hour,99.5,USD,,,this node alone"

    with a_world(fleet, module_database, exposition=without_kube_state(fleet)) as world:
        world.watch()
        world.collect()
        before = world.rate(terms)
    with a_world(other, database, exposition=without_kube_state(other)) as world:
        world.watch()
        world.collect()
        after = world.rate(terms, row)

    own = node_id(CLUSTER, node.uid)
    others = [frame[frame["node_id"] != own].reset_index(drop=True) for frame in (before, after)]
    pd.testing.assert_frame_equal(others[1], others[0])
    mine = [frame[frame["node_id"] == own] for frame in (before, after)]
    assert mine[0]["cost_nanos"].sum() != mine[1]["cost_nanos"].sum()
    assert set(mine[1]["kind"]) <= {
        ChargeKind.UNALLOCATED,
        ChargeKind.STRANDED,
        ChargeKind.UNOBSERVED,
    }


def test_a_cut_moves_a_pool_by_a_nano_and_a_line_by_a_nano_per_split(database: Engine) -> None:
    """Where a price ends and an equal one begins there are two segments instead of one.

    Both are rounded and both are split, so that a pool moves by a nano at most, and a line by one
    for each of the two splits that it takes part in instead of one.
    """
    fleet = a_fleet()
    prices = {"p5": "4.123457", "p4de": "2.8", "g6e": "1.1"}
    whole = Terms(
        rates=tuple(Rate(family=name, price=price) for name, price in prices.items()),
        owners=(
            Ownership(namespaces=("search-*",), team="search"),
            Ownership(namespaces=("ml-*",), team="ml"),
        ),
    )
    draw = random.Random(SEED)
    moved: Counter[int] = Counter()

    with a_world(fleet, database, exposition=without_kube_state(fleet)) as world:
        world.watch()
        world.collect()
        before = world.rate(whole)
        for _ in range(12):
            cuts = drawn_seconds(draw, BEGINS_MS, ENDS_MS, count=draw.randint(1, 3))
            after = world.rerated(cut_at(whole, cuts))
            pools = most_moved(before, after, ["node_id"])
            lines = most_moved(before, after, ["node_id", "hold_id", "kind", "team_id"])
            assert pools <= len(cuts)
            assert lines <= 2 * len(cuts)
            assert most_moved(before, after, ["hold_id", "node_id", "kind"], "gpu_ms") == 0
            moved[lines] += 1

    # Cuts are felt; otherwise nothing would have been cut.
    assert sum(count for nanos, count in moved.items() if nanos) > 6
