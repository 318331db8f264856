"""Device states of holds, pools and counts as builders give them, and what they sum to."""

from app.units.intervals import Spans
from app.units.window import Window
from app.usage.states import DeviceStates, device_states
from tests.usage.builders import (
    ALWAYS,
    WINDOW,
    a_count,
    a_pool,
    counts_of,
    holds_frame,
    pools_of,
)

STATES = ["held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms"]


def states_of(
    *holds: dict[str, object],
    pools: tuple[dict[str, int], ...] = (a_pool(),),
    counts: tuple[dict[str, int], ...] = (a_count(),),
    observed: Spans = ALWAYS,
    window: Window = WINDOW,
) -> DeviceStates:
    return device_states(
        window, pools_of(*pools), counts_of(*counts), holds_frame(*holds), observed
    )


def totals(states: DeviceStates) -> dict[str, int]:
    return {name: int(states.pool_usage[name].sum()) for name in STATES}


def held_by(states: DeviceStates) -> dict[int, int]:
    summed = states.hold_segments.groupby("hold_id")["held_ms"].sum()
    return {int(key): int(value) for key, value in summed.items()}


def state(*, held: int = 0, unobserved: int = 0, stranded: int = 0, unallocated: int = 0) -> object:
    return {
        "held_ms": held,
        "unobserved_ms": unobserved,
        "stranded_ms": stranded,
        "unallocated_ms": unallocated,
    }
