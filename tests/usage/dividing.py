"""Facts of shared devices, as collecting leaves them, and what policies make of them."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pandas as pd

from app.units.intervals import Spans
from app.units.window import OPEN_MS, Window
from app.usage.kinds import Sharing
from app.usage.policies import DividedUsage
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy
from app.usage.states import device_states
from tests.usage.builders import ALWAYS, WINDOW, a_count, a_hold, counts_of, holds_frame, pools_of

STATES = ("held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms")
DEFAULT = SharePolicy()
COMPUTE = SharePolicy(mig_share=MigSharePolicy.COMPUTE)
PRESENT = SharePolicy(time_slicing=TimeSlicingPolicy.PRESENT)

Row = dict[str, object]


def a_share(
    hold_id: int,
    *,
    share: Fraction,
    compute: Fraction | None = None,
    sharing: Sharing = Sharing.EXCLUSIVE,
    units: int = 1,
    **given: object,
) -> Row:
    other = share if compute is None else compute
    return {
        **a_hold(hold_id, share=(share.numerator, share.denominator), exclusive=False, **given),
        "compute_num": other.numerator,
        "compute_den": other.denominator,
        "sharing": int(sharing),
        "units": units,
        "devices": "",
    }


def slots(
    hold_id: int,
    held: int = 1,
    of: int = 4,
    sharing: Sharing = Sharing.TIME_SLICING,
    **given: object,
) -> Row:
    """A pod that holds some slots of which each device has as many as ``of``."""
    return a_share(hold_id, share=Fraction(held, of), sharing=sharing, units=held, **given)


def an_instance(hold_id: int, share: Fraction, compute: Fraction, **given: object) -> Row:
    return a_share(hold_id, share=share, compute=compute, sharing=Sharing.MIG, **given)


def what_may_be_held(
    node_id: int = 1,
    *,
    default: Fraction | int,
    compute: Fraction | int | None = None,
    **given: int,
) -> Row:
    by_default = Fraction(default)
    by_compute = by_default if compute is None else Fraction(compute)
    return {
        **a_count(node_id, **given),
        "allocatable_num": by_default.numerator,
        "allocatable_den": by_default.denominator,
        "compute_num": by_compute.numerator,
        "compute_den": by_compute.denominator,
    }


def facts_of(
    *holds: Row,
    pools: Iterable[Row],
    counts: Iterable[Row],
    observed: Spans = ALWAYS,
    active: Fraction = Fraction(1, 2),
    window: Window = WINDOW,
) -> DividedUsage:
    """Return facts of which a third is unmeasured and ``active`` of the rest is active."""
    states = device_states(
        window, pools_of(*pools), counts_of(*counts), holds_frame(*holds), observed
    )
    summed = states.hold_segments.groupby("hold_id")["held_ms"].sum()
    held = summed.reindex(states.holds["hold_id"], fill_value=0).to_numpy(dtype=np.int64)
    measured = held * 2 // 3
    busy = measured * active.numerator // active.denominator
    columns = [
        *("node_id", "gpu_model_id", "hold_id", "workload_id", "start_ms", "end_ms"),
        *("share_num", "share_den", "compute_num", "compute_den", "units", "sharing"),
    ]
    usage = states.holds[columns].assign(
        window_start_ms=window.start_ms,
        held_ms=held,
        active_ms=busy,
        idle_ms=measured - busy,
        unmeasured_ms=held - measured,
    )
    return DividedUsage(
        pool_usage=states.pool_usage, hold_usage=usage, hold_segments=states.hold_segments
    )


def held_by(usage: DividedUsage) -> dict[int, int]:
    rows = usage.hold_usage
    return dict(zip(rows["hold_id"].tolist(), rows["held_ms"].tolist(), strict=True))


def states_in(usage: DividedUsage) -> dict[str, int]:
    """Return the milliseconds of every state that is not empty."""
    sums = {name.removesuffix("_ms"): int(usage.pool_usage[name].sum()) for name in STATES}
    return {name: ms for name, ms in sums.items() if ms}


def by_pool(usage: DividedUsage) -> dict[int, pd.DataFrame]:
    return {
        int(node): rows.reset_index(drop=True)
        for node, rows in usage.pool_usage.groupby("node_id", sort=True)
    }


FOREVER = {"start_ms": 0, "end_ms": OPEN_MS}
