"""What pods ask for on nodes that hand out units or declared fractions, and who keeps them free."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from app.simulator.dice import suffix, uid
from app.simulator.hardware import Node
from app.simulator.layouts import Amounts, Layout
from app.simulator.mode_pods import Ask, Room, Seat, arrivals, pod_of
from app.simulator.modes import WHOLE_GPU, Mode
from app.simulator.pods import Container, Outcome, Pod, Profile
from app.simulator.spec import OPEN_MS, SECOND_MS, FleetSpec

RESERVATION_NAMESPACE = "kai-resource-reservation"


def place_units(spec: FleetSpec, node: Node, number: int) -> Iterator[Pod]:
    """Yield the pods of a node whose devices are handed out in units or declared fractions."""
    room = Room(node)
    groups: dict[int, _Group] = {}
    ended: list[_Group] = []
    for at_ms, stays_ms, key, draw in arrivals(spec, node):
        room.free_at(at_ms)
        layout = node.layout_at(at_ms)
        if layout is None or layout.unschedulable or not layout.units:
            continue
        ask = _ask(draw, room, layout)
        if ask is None:
            continue
        pod = pod_of(spec, node, ask, at_ms=at_ms, stays_ms=stays_ms, key=key, number=number)
        if pod is None:
            continue
        room.taken += [(seat, pod.finished_ms) for seat in ask.seats]
        if node.mode is Mode.KAI and any(seat.slot for seat in ask.seats):
            pod = _in_group(spec, groups, ended, pod)
        number += 1
        yield pod
    for group in (*ended, *groups.values()):
        number += 1
        yield _reservation(spec, group, number)


def _ask(draw: np.random.Generator, room: Room, layout: Layout) -> Ask | None:
    mode = room.node.mode
    if mode is Mode.HAMI:
        return _hami_ask(draw, room, layout)
    if mode is Mode.KAI:
        return _kai_ask(draw, room, layout)
    if mode is Mode.INTEL and draw.random() < 0.15:  # noqa: PLR2004 - some pods only look
        return Ask(seats=(), resource="gpu.intel.com/monitoring", units=1)
    seats = room.open_seats(layout)
    if not seats:
        return None
    if mode is Mode.NEURON and draw.random() < 0.5:  # noqa: PLR2004 - every second pod takes a chip
        return _neuron_ask(seats)
    resource = sorted({seat.resource for seat in seats})
    wanted = resource[int(draw.integers(0, len(resource)))]
    mine = [seat for seat in seats if seat.resource == wanted]
    if mode in (Mode.VGPU, Mode.AMD_CPX):
        mine = [seat for seat in mine if seat.device == mine[0].device]
    units = min(len(mine), int(draw.choice([1, 1, 1, 2, 3])))
    return Ask(seats=tuple(mine[:units]), resource=wanted, units=units)


def _neuron_ask(seats: list[Seat]) -> Ask | None:
    """Ask for a chip with both of its cores."""
    for seat in seats:
        both = tuple(one for one in seats if one.device == seat.device)
        if len(both) == 2:  # noqa: PLR2004 - a chip has two cores
            return Ask(seats=both, resource="aws.amazon.com/neuron", units=1)
    return None


def _hami_ask(draw: np.random.Generator, room: Room, layout: Layout) -> Ask | None:
    """Ask for a part of a device by memory and cores; the larger part counts."""
    memory = room.node.shape.memory_mib
    percent = int(draw.choice([10, 20, 25, 30, 50, 100]))
    mib = int(draw.integers(1_000, memory // 2))
    cores = int(draw.choice([0, 10, 25, 40]))
    form = int(draw.integers(0, 3))
    # The scheduler notes what it gave in whole MiB; a note that got lost leaves what was asked for.
    noted = draw.random() < 0.75  # noqa: PLR2004 - three in four
    given = mib if form == 1 else memory * percent // 100 if form == 0 else memory
    share = Fraction(given, memory) if noted or form else Fraction(percent, 100)
    more: Amounts = ()
    if form == 0:
        more = (("nvidia.com/gpumem-percentage", percent),)
    elif form == 1:
        share = max(share, Fraction(cores, 100))
        more = (("nvidia.com/gpumem", mib), *((("nvidia.com/gpucores", cores),) if cores else ()))
    healthy = sorted({unit.device for unit in layout.units})
    fitting = [device for device in healthy if room.used(device) + share <= 1]
    if not fitting:
        return None
    seat = Seat(fitting[0], 1, WHOLE_GPU, share)
    allocated = f"{room.node.uuids[fitting[0]]},NVIDIA,{given},{cores if form == 1 else 0}:;"
    return Ask(
        seats=(seat,),
        resource=WHOLE_GPU,
        units=1,
        more=more,
        annotations=(("hami.io/vgpu-devices-allocated", allocated),) if noted else (),
    )


def _kai_ask(draw: np.random.Generator, room: Room, layout: Layout) -> Ask | None:
    """Ask for a whole device, or by notes on the pod for a part of one."""
    healthy = sorted({unit.device for unit in layout.units})
    if draw.random() < 0.2:  # noqa: PLR2004 - one pod in five wants a device alone
        empty = [device for device in healthy if not room.used(device)]
        if not empty:
            return None
        seat = Seat(empty[0], 0, WHOLE_GPU, Fraction(1))
        return Ask(seats=(seat,), resource=WHOLE_GPU, units=1)
    if draw.random() < 0.5:  # noqa: PLR2004 - every second one says it in memory
        mib = int(draw.integers(2_000, room.node.shape.memory_mib // 2))
        share, note = Fraction(mib, room.node.shape.memory_mib), ("gpu-memory", str(mib))
    else:
        text = ("0.5", "0.25", "0.2", "0.75", "0.1")[int(draw.integers(0, 5))]
        share, note = Fraction(text), ("gpu-fraction", text)
    fitting = [device for device in healthy if room.used(device) + share <= 1]
    if not fitting:
        return None
    return Ask(seats=(Seat(fitting[-1], 1, WHOLE_GPU, share),), annotations=(note,))


@dataclass(slots=True)
class _Group:
    """Fraction pods that one reservation pod keeps a device for."""

    name: str
    node: Node
    device: int
    start_ms: int
    end_ms: int


def _in_group(spec: FleetSpec, groups: dict[int, _Group], ended: list[_Group], pod: Pod) -> Pod:
    """Put a pod into the group of its device, a fresh one where the last was given back."""
    assert pod.node is not None
    device = pod.devices[0]
    group = groups.get(device)
    if group is None or group.end_ms <= pod.scheduled_ms:
        if group is not None:
            ended.append(group)
        name = uid(spec.seed, "gpu-group", pod.uid)
        group = _Group(name, pod.node, device, pod.scheduled_ms, pod.finished_ms)
        groups[device] = group
    group.end_ms = max(group.end_ms, pod.finished_ms)
    labels = (*pod.labels, ("runai-gpu-group", group.name), ("kai.scheduler/queue", "default"))
    return replace(pod, labels=tuple(sorted(labels)))


def _reservation(spec: FleetSpec, group: _Group, number: int) -> Pod:
    """Return the pod that requests the whole device; it is not who holds it."""
    name = f"gpu-reservation-{group.node.name}-{suffix(spec.seed, group.name)}"
    started = min(group.start_ms + SECOND_MS, group.end_ms)
    return Pod(
        uid=uid(spec.seed, "pod", RESERVATION_NAMESPACE, name),
        namespace=RESERVATION_NAMESPACE,
        name=name,
        labels=(
            ("app.kubernetes.io/name", "resource-reservation"),
            ("runai-gpu-group", group.name),
        ),
        owner=None,
        containers=(
            Container(name="resource-reservation", kind="app", image="reservation:1", gpus=1),
        ),
        profile=Profile.NONE,
        node=group.node,
        devices=(group.device,),
        created_ms=group.start_ms,
        scheduled_ms=group.start_ms,
        started_ms=started,
        runs=(),
        delete_requested_ms=group.end_ms,
        grace_seconds=30,
        finished_ms=group.end_ms,
        removed_ms=group.end_ms,
        outcome=Outcome.DELETED if group.end_ms < OPEN_MS else Outcome.RUNNING,
        address=f"10.{200 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}",
        reserves=True,
    )
