"""What shared devices do is told of who is alone on what was measured, and of nobody else."""

from collections import defaultdict
from fractions import Fraction

from sqlalchemy import Engine

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.modes import SHARED_MODES, Mode
from app.simulator.truth import TrueHold
from app.usage.kinds import ActivityScope
from tests.oracle.fleet_inputs import node_keys
from tests.oracle.ledger_oracle import Measured, measured
from tests.workflows.activity_lines import ENGINE, Point
from tests.workflows.terms import drawn_terms
from tests.workflows.worlds import (
    SCRAPE_MS,
    WINDOW,
    a_mixed_spec,
    a_world,
    without_kube_state,
)

SEED = 7
# Where several pods are on one device that nobody can tell apart on it.
CROWDED = (
    *(Mode.TIME_SLICING, Mode.TIME_SLICING_RENAMED, Mode.MPS),
    *(Mode.HAMI, Mode.VGPU, Mode.DRA_CAPACITY),
)
UNWATCHED = (Mode.GAUDI, Mode.TPU, Mode.NEURON)

Instances = dict[tuple[str, str], list[Point]]


def instances(exposition: Exposition) -> Instances:
    """Return the samples of every MIG instance by device and number."""
    points: Instances = defaultdict(list)
    for series in exposition.family(ENGINE):
        labels = dict(series.labels)
        for at_ms, value in zip(series.at_ms.tolist(), series.value.tolist(), strict=True):
            key = (labels["UUID"], labels.get("GPU_I_ID", ""))
            points[key].append((at_ms, Fraction(repr(value))))
    return {key: sorted(found) for key, found in points.items()}


def said(hold: TrueHold, uuids: tuple[str, ...], samples: Instances) -> Measured:
    """Return what the samples of a hold's instances say, by its share of the device."""
    active = spoken = Fraction(0)
    for part in hold.parts:
        one = measured(
            samples[uuids[part.device], str(part.instance)],
            start_ms=max(part.start_ms, WINDOW.start_ms),
            end_ms=min(part.end_ms, WINDOW.end_ms),
            scrape_ms=SCRAPE_MS,
        )
        active += one.active_ms * part.share
        spoken += one.measured_ms * part.share
    return Measured(active, spoken)


def test_activity_is_that_of_instances_and_accuses_no_sharer(database: Engine) -> None:
    fleet = Fleet.build(a_mixed_spec(SEED, SHARED_MODES, mode_changes=False))
    exposition = without_kube_state(fleet)
    samples = instances(exposition)
    uuids = {node.uid: node.uuids for node in fleet.nodes}
    keys = node_keys(fleet.nodes)
    truth = {hold.pod_uid: hold for hold in fleet.truth.holds}
    scopes = defaultdict(set)
    checked = 0

    with a_world(fleet, database, exposition=exposition) as world:
        world.watch()
        world.collect()
        _, usage = world.usage()
        held_by = world.held_by()
        segments = world.segments(drawn_terms(SEED, WINDOW.start_ms, WINDOW.end_ms))

    for row in usage.itertuples():
        hold = truth[held_by[row.hold_id]]
        scope = ActivityScope(row.activity_scope)
        scopes[hold.mode].add(scope)
        if hold.mode not in (Mode.MIG_SINGLE, Mode.MIG_MIXED) or scope is not ActivityScope.DEVICE:
            continue
        expected = said(hold, uuids[hold.node_uid], samples)
        # A segment hands out a millisecond too many or too few.
        loose = segments[keys[hold.node_uid]]
        assert abs(row.active_ms - expected.active_ms) <= loose
        assert abs(row.active_ms + row.idle_ms - expected.measured_ms) <= loose
        checked += row.active_ms > 0
    assert checked > 10
    for mode in CROWDED:
        assert ActivityScope.DEVICE not in scopes[mode], mode
    for mode in UNWATCHED:
        assert scopes[mode] == {ActivityScope.NONE}
