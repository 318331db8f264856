"""Usage of holds measured by samples as builders give them."""

from collections.abc import Sequence

import pandas as pd

from app.usage.activity import DeviceMetrics, measure
from app.usage.kinds import ActivityBasis
from app.usage.samples import DEVICE_LABELS, SampleSet, no_samples
from app.usage.states import device_states
from tests.usage.builders import (
    ALWAYS,
    HOUR,
    SECOND,
    T0,
    WINDOW,
    a_count,
    a_pool,
    counts_of,
    holds_frame,
    pools_of,
)

SCRAPE = 30 * SECOND
NODES = pd.DataFrame(
    {"node_id": [1, 2], "node_name": pd.Series(["node-1", "node-2.example.org"], dtype="str")}
)
NOTHING = no_samples(DEVICE_LABELS)
NO_FIGURE = NOTHING.labels.assign(value=pd.Series([], dtype="float64"))
BANDS = [
    "band_0_ms",
    "band_0_5_ms",
    "band_5_20_ms",
    "band_20_50_ms",
    "band_50_80_ms",
    "band_80_100_ms",
]


def measured(  # noqa: PLR0913 - a builder has a keyword for each kind of samples
    holds: Sequence[dict[str, object]],
    engine: SampleSet = NOTHING,
    *,
    util: SampleSet = NOTHING,
    sharers: SampleSet = NOTHING,
    energy: SampleSet = NOTHING,
    memory: pd.DataFrame = NO_FIGURE,
    sm_active: pd.DataFrame = NO_FIGURE,
    devices: int = 2,
    scrape_ms: int = SCRAPE,
) -> pd.DataFrame:
    states = device_states(
        WINDOW,
        pools_of(a_pool(devices=devices), a_pool(2, devices=devices)),
        counts_of(a_count(allocatable=devices), a_count(2, allocatable=devices)),
        holds_frame(*holds),
        ALWAYS,
    )
    metrics = DeviceMetrics(
        activity=((ActivityBasis.GR_ENGINE_ACTIVE, engine), (ActivityBasis.GPU_UTIL, util)),
        sharers=sharers,
        energy=energy,
        memory_used_max_mib=memory,
        sm_active_mean=sm_active,
        dram_active_mean=NO_FIGURE,
    )
    usage = measure(WINDOW, states, metrics, NODES, scrape_ms)
    assert (
        usage["active_ms"] + usage["idle_ms"] + usage["unmeasured_ms"] == usage["held_ms"]
    ).all()
    assert (usage[BANDS].sum(axis=1) == usage["active_ms"] + usage["idle_ms"]).all()
    return usage.set_index("hold_id", drop=False)


def every(
    scrape: int, value: float, *, start: int = -2 * SCRAPE, end: int = HOUR + SCRAPE
) -> list[tuple[int, float]]:
    return [(T0 + at, value) for at in range(start, end + 1, scrape)]


def named(device: str = "GPU-a", pod: str = "pod-100", **labels: str) -> dict[str, str]:
    return {"device": device, "namespace": "search" if pod else "", "pod": pod} | labels


def times(usage: pd.DataFrame, hold_id: int = 100) -> dict[str, int]:
    row = usage.loc[hold_id]
    return {name: int(row[f"{name}_ms"]) for name in ("active", "idle", "unmeasured")}


def split(*, active: int = 0, idle: int = 0, unmeasured: int = 0) -> dict[str, int]:
    return {"active": active, "idle": idle, "unmeasured": unmeasured}
