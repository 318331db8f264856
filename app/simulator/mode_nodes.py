"""The nodes of the shared modes: how their devices are divided, and what happens to them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from app.simulator.dice import dice, uid
from app.simulator.hardware import ADVERTISING_MS, Node
from app.simulator.layouts import Amounts, Layout
from app.simulator.mode_shapes import (
    CPX_PARTITIONS,
    NEURON_CORES,
    VGPU_SPLIT,
    hami_register,
    labels_of,
    resources_of,
    shape_of,
)
from app.simulator.modes import (
    MIXED_GEOMETRIES,
    SHARED_GPU,
    SINGLE_GEOMETRIES,
    WHOLE_GPU,
    Mode,
    Unit,
    equal_units,
    mig_units,
)
from app.simulator.spec import HOUR_MS, OPEN_MS, SECOND_MS, FleetSpec

_REPLICAS = (2, 3, 4, 5)
# A node that comes again under its name was away for so long, in seconds.
_AWAY_SECONDS = (20, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Division:
    """How the devices are divided during a span; ``down`` says that the plugin tells of none."""

    start_ms: int
    end_ms: int
    geometry: tuple[str, ...] = ()
    replicas: int = 1
    down: bool = False
    drains: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """What happens to a node in a span: ``device`` is the one that it concerns, if any."""

    kind: str  # "sick", "lost", "down" or "cordoned"
    start_ms: int
    end_ms: int
    device: int = -1


def build_mode_nodes(spec: FleetSpec) -> tuple[Node, ...]:
    """Return the nodes of the modes that the fleet is asked for, after its whole ones."""
    return tuple(
        node
        for order, mode in enumerate(spec.modes)
        for node in _lives(spec, mode, spec.nodes + order)
    )


def _lives(spec: FleetSpec, mode: Mode, number: int) -> Iterator[Node]:
    """Yield a machine, and its successor under the same name where it is replaced."""
    name = f"{mode.value}-{number:04d}"
    draw = dice(spec.seed, "mode-node", name)
    born = spec.opens_ms - int(draw.integers(2, 30 * 24)) * HOUR_MS
    replaced = OPEN_MS
    if spec.mode_changes and draw.random() < 0.25:  # noqa: PLR2004 - one machine in four
        replaced = _instant(spec, draw.uniform(0.3, 0.7))
    yield _node(spec, mode, number, name, life=(born, replaced), again=0)
    if replaced < OPEN_MS:
        back = replaced + int(draw.integers(*_AWAY_SECONDS)) * SECOND_MS
        yield _node(spec, mode, number, name, life=(back, OPEN_MS), again=1)


def _node(
    spec: FleetSpec, mode: Mode, number: int, name: str, *, life: tuple[int, int], again: int
) -> Node:
    shape = shape_of(mode, spec.gpus_per_node)
    uuids = tuple(
        f"GPU-{uid(spec.seed, 'device', name, str(again), str(index))}"
        for index in range(spec.gpus_per_node)
    )
    node = Node(
        name=name,
        uid=uid(spec.seed, "node", name, str(again)),
        number=number,
        shape=shape,
        created_ms=life[0],
        advertised_ms=life[0] + ADVERTISING_MS,
        drain_ms=life[1],
        deleted_ms=life[1],
        uuids=uuids,
        mode=mode,
    )
    draw = dice(spec.seed, "mode-layouts", name, str(again))
    divisions = list(_divisions(spec, draw, node))
    troubles = list(_troubles(spec, draw, node))
    return replace(node, layouts=tuple(_layouts(node, divisions, troubles)))


def _instant(spec: FleetSpec, where: float) -> int:
    """Return a whole second at a part of the asked span."""
    at_ms = spec.start_ms + int((spec.end_ms - spec.start_ms) * where)
    return at_ms // SECOND_MS * SECOND_MS


def _divisions(spec: FleetSpec, draw: np.random.Generator, node: Node) -> Iterator[_Division]:
    """Yield how the devices are divided: MIG is made anew once they are drained, slots at once."""
    low, high = node.advertised_ms, node.deleted_ms
    first, second = _two_ways(draw, node.mode)
    change = _instant(spec, draw.uniform(0.2, 0.8))
    changes = spec.mode_changes and low < change < high and draw.random() < 0.7  # noqa: PLR2004 - most machines
    if not changes or first == second:
        yield _Division(start_ms=low, end_ms=high, geometry=first[0], replicas=first[1])
        return
    pause = int(draw.integers(10, 50)) * SECOND_MS if first[0] else 0
    made = min(change + pause, high)
    yield _Division(
        start_ms=low,
        end_ms=change,
        geometry=first[0],
        replicas=first[1],
        drains=bool(pause),
    )
    if pause:
        yield _Division(
            start_ms=change, end_ms=made, geometry=first[0], replicas=first[1], down=True
        )
    if made < high:
        yield _Division(start_ms=made, end_ms=high, geometry=second[0], replicas=second[1])


def _two_ways(
    draw: np.random.Generator, mode: Mode
) -> tuple[tuple[tuple[str, ...], int], tuple[tuple[str, ...], int]]:
    """Return how devices are divided at first and later: instances of a device, or slots."""
    if mode in (Mode.MIG_SINGLE, Mode.MIG_MIXED):
        known = SINGLE_GEOMETRIES if mode is Mode.MIG_SINGLE else MIXED_GEOMETRIES
        picks = draw.permutation(len(known))
        return (known[int(picks[0])], 1), (known[int(picks[1])], 1)
    if mode.slotted:
        picks = draw.permutation(len(_REPLICAS))
        return ((), _REPLICAS[int(picks[0])]), ((), _REPLICAS[int(picks[1])])
    return ((), 1), ((), 1)


def _troubles(spec: FleetSpec, draw: np.random.Generator, node: Node) -> Iterator[_Trouble]:
    """Yield what goes wrong; a machine with one device keeps it."""
    length = spec.end_ms - spec.start_ms
    for kind in ("sick", "lost", "down", "cordoned"):
        start = _instant(spec, draw.uniform(0.05, 0.85))
        lasts = int(length * draw.uniform(0.05, 0.25)) // SECOND_MS * SECOND_MS + SECOND_MS
        device = int(draw.integers(0, node.devices))
        wanted = spec.mode_changes and draw.random() < 0.5  # noqa: PLR2004 - every second machine
        if not wanted or start <= node.advertised_ms or start >= node.deleted_ms:
            continue
        if node.mode.by_claims and kind in ("sick", "down"):
            continue
        if kind in ("sick", "lost") and node.devices == 1:
            continue
        concerns = device if kind in ("sick", "lost") else -1
        end = min(start + lasts, node.deleted_ms)
        yield _Trouble(kind=kind, start_ms=start, end_ms=end, device=concerns)


def _layouts(node: Node, divisions: list[_Division], troubles: list[_Trouble]) -> Iterator[Layout]:
    spans = [(one.start_ms, one.end_ms) for one in divisions]
    spans += [(one.start_ms, one.end_ms) for one in troubles]
    edges = {edge for span in spans for edge in span}
    for start, end in pairwise(sorted(edges)):
        division = next(one for one in divisions if one.start_ms <= start < one.end_ms)
        met = [one for one in troubles if one.start_ms <= start < one.end_ms]
        yield _layout(node, replace(division, start_ms=start, end_ms=end), met)


def _layout(node: Node, division: _Division, met: list[_Trouble]) -> Layout:
    lost = {one.device for one in met if one.kind == "lost"}
    sick = {one.device for one in met if one.kind == "sick"} - lost
    down = division.down or any(one.kind == "down" for one in met)
    present = [device for device in range(node.devices) if device not in lost]
    healthy = [device for device in present if device not in sick] if not down else []
    made = [] if division.down else present
    units = tuple(unit for device in healthy for unit in _units(node.mode, division, device))
    each = resources_of(node.mode, division.geometry, division.replicas)
    register = (hami_register(node.shape, node.uuids, frozenset(sick | lost)),)
    return Layout(
        start_ms=division.start_ms,
        end_ms=division.end_ms,
        units=units,
        made=tuple(unit for device in made for unit in _units(node.mode, division, device)),
        devices=tuple(present),
        holdable=_sum(unit.share for unit in units),
        holdable_compute=_sum(unit.compute for unit in units),
        labels=labels_of(
            node.mode,
            node.shape,
            len(present),
            geometry=division.geometry,
            replicas=division.replicas,
        ),
        annotations=register if node.mode is Mode.HAMI else (),
        capacity=_times(node, each, len(present)),
        allocatable=_times(node, each, len(healthy)),
        unschedulable=any(one.kind == "cordoned" for one in met),
        drains=division.drains,
        shares={
            unit.resource: (unit.share, unit.compute) for unit in _units(node.mode, division, 0)
        },
    )


def _times(node: Node, each: Amounts, devices: int) -> Amounts:
    amounts = tuple((name, count * devices) for name, count in each)
    # What may only look at all devices is advertised beside them, and is none.
    return (*amounts, ("gpu.intel.com/monitoring", 1)) if node.mode is Mode.INTEL else amounts


# Into how many units of what a device is divided where that never changes.
_EVEN = {
    Mode.VGPU: ("k8s.amazonaws.com/vgpu", VGPU_SPLIT),
    Mode.AMD_CPX: ("amd.com/cpx_nps4", CPX_PARTITIONS),
    Mode.NEURON: ("aws.amazon.com/neuroncore", NEURON_CORES),
}


def _units(mode: Mode, division: _Division, device: int) -> tuple[Unit, ...]:
    if mode in (Mode.MIG_SINGLE, Mode.MIG_MIXED):
        return mig_units(division.geometry, device, single=mode is Mode.MIG_SINGLE)
    if mode.slotted:
        resource = SHARED_GPU if mode is Mode.TIME_SLICING_RENAMED else WHOLE_GPU
        return equal_units(resource, division.replicas, device)
    if mode in _EVEN:
        return equal_units(*_EVEN[mode], device)
    # Fractions are declared and claims name devices: both are of whole ones.
    each = resources_of(mode, (), 1) or ((WHOLE_GPU, 1),)
    return equal_units(each[0][0], 1, device)


def _sum(parts: Iterator[Fraction]) -> Fraction:
    return sum(parts, Fraction(0))
