"""What may not matter does not, where devices are shared in many ways on few nodes."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.simulator.fleet import Fleet
from app.simulator.modes import Mode
from app.simulator.pods import Pod
from app.simulator.spec import OPEN_MS, Outage
from app.usage.identity import node_id
from tests.oracle.fleet_inputs import node_keys
from tests.oracle.ledger_oracle import Amount, LineKey
from tests.workflows.altered import drawn_names, renamed, renamed_exposition, with_pods
from tests.workflows.ledger_lines import NANOS, Charged, disagreements
from tests.workflows.symmetric import cut_at, most_moved, under_other_names
from tests.workflows.terms import Terms, drawn_seconds, drawn_terms
from tests.workflows.worlds import (
    BEGINS_MS,
    CLUSTER,
    ENDS_MS,
    World,
    a_mixed_spec,
    a_world,
    divided,
    without_kube_state,
)

SEED = 6
MODES = (
    Mode.MIG_MIXED,
    Mode.TIME_SLICING,
    Mode.HAMI,
    Mode.KAI,
    Mode.NEURON,
    Mode.DRA,
    Mode.DRA_PARTITIONS,
)


@dataclass(frozen=True, slots=True)
class Rated:
    """A fleet as it was collected and rated once."""

    fleet: Fleet
    terms: Terms
    charges: pd.DataFrame
    lines: Mapping[LineKey, Charged]


@pytest.fixture(scope="module")
def before(module_database: Engine) -> Rated:
    fleet = Fleet.build(a_mixed_spec(SEED, MODES))
    terms = drawn_terms(SEED, fleet.spec.opens_ms, fleet.spec.closes_ms)
    with a_world(fleet, module_database, exposition=without_kube_state(fleet)) as world:
        charges = rated(world, terms)
        return Rated(fleet, terms, charges, world.lines(charges, terms))


def rated(world: World, terms: Terms, *rows: str) -> pd.DataFrame:
    world.watch()
    world.collect()
    return world.rate(terms, *rows)


def test_other_names_permute_the_charges(before: Rated, database: Engine) -> None:
    """What is left over of a split goes to another of equals then, but no more than that."""
    names = drawn_names(before.fleet, random.Random(SEED).shuffle)
    terms, teams = under_other_names(before.terms, names)
    other = renamed(before.fleet, names)
    exposition = renamed_exposition(before.fleet, names)

    with a_world(before.fleet, database, exposition=exposition, kubernetes_fleet=other) as world:
        after = world.lines(rated(world, terms), terms)
        segments = world.segments(terms)

    uids = {key: uid for uid, key in node_keys(before.fleet.nodes).items()}
    keys = node_keys(other.nodes)
    expected = {
        LineKey(
            keys[names.uids[uids[key.node]]],
            key.state,
            names.uids[key.hold] if key.hold else "",
            teams[key.team],
        ): Amount(Fraction(one.device_ms), Fraction(one.unpriced_ms), Fraction(one.nanos, NANOS))
        for key, one in before.lines.items()
    }
    assert len(expected) > 60
    assert disagreements(after, expected, segments, divided=divided(other)) == []


@pytest.mark.parametrize("mode", [Mode.MIG_MIXED, Mode.KAI, Mode.DRA])
def test_a_change_on_one_node_moves_no_line_of_another(
    before: Rated, database: Engine, mode: Mode
) -> None:
    """Its pods and claims go, its exporter is silent, its price is another."""
    fleet = before.fleet
    changed = [node for node in fleet.nodes if node.mode is mode]

    def elsewhere(pod: Pod) -> Pod | None:
        return pod if pod.node not in changed or not pod.devices else None

    silent = Outage(start_ms=fleet.spec.opens_ms, end_ms=ENDS_MS, target=changed[0].name)
    other = replace(with_pods(fleet, elsewhere), outages=(*fleet.outages, silent))
    row = f",,,,,,{changed[0].name},gpu_hour,99.5,USD,,,this node alone"

    with a_world(other, database, exposition=without_kube_state(other)) as world:
        after = rated(world, before.terms, row)

    own = {node_id(CLUSTER, node.uid) for node in changed}
    others = [
        frame[~frame["node_id"].isin(own)].reset_index(drop=True)
        for frame in (before.charges, after)
    ]
    pd.testing.assert_frame_equal(others[1], others[0])
    mine = [frame[frame["node_id"].isin(own)] for frame in (before.charges, after)]
    assert mine[0]["cost_nanos"].sum() != mine[1]["cost_nanos"].sum()
    assert mine[0]["hold_id"].ne(0).any()
    assert mine[1]["hold_id"].eq(0).all()


def test_a_cut_moves_a_pool_by_a_nano_and_a_line_by_a_nano_per_split(
    before: Rated, database: Engine
) -> None:
    lasting = {one.family: replace(one, from_ms=0, to_ms=OPEN_MS) for one in before.terms.rates}
    whole = replace(before.terms, rates=tuple(lasting.values()))
    draw = random.Random(SEED)
    moved: Counter[int] = Counter()

    fleet = before.fleet
    with a_world(fleet, database, exposition=without_kube_state(fleet)) as world:
        uncut = rated(world, whole)
        for _ in range(6):
            cuts = drawn_seconds(draw, BEGINS_MS, ENDS_MS, count=draw.randint(1, 3))
            after = world.rerated(cut_at(whole, cuts))
            lines = most_moved(uncut, after, ["node_id", "hold_id", "kind", "team_id"])
            assert most_moved(uncut, after, ["node_id"]) <= len(cuts)
            assert lines <= 2 * len(cuts)
            assert most_moved(uncut, after, ["hold_id", "node_id", "kind"], "gpu_ms") == 0
            moved[lines] += 1

    assert sum(count for nanos, count in moved.items() if nanos) > 3
