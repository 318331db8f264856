"""The frames of the usage stage: columns and dtypes, declared once and checked at the boundary.

Identities are signed 64-bit numbers (`app.units.identity`), 0 where there is none. Instants are
milliseconds since the epoch, spans half-open, durations device-milliseconds.
"""

import pandas as pd
import pandera.pandas as pa

_INT = "int64"


def _schema(**columns: str) -> pa.DataFrameSchema:
    nullable = {"float64", "Int64"}
    return pa.DataFrameSchema(
        {name: pa.Column(dtype, nullable=dtype in nullable) for name, dtype in columns.items()},
        strict=True,
        coerce=False,
    )


# A node's devices of one model, from the node's creation to its seen deletion (OPEN_MS if alive).
# `devices` is the largest count known for the node's UID.
POOLS = _schema(node_id=_INT, gpu_model_id=_INT, devices=_INT, start_ms=_INT, end_ms=_INT)

# How many devices of a pool may be held, over time: `allocatable_num / allocatable_den`, and under
# the policy `mig_share: compute` `compute_num / compute_den`. Outside these spans none may be held.
POOL_COUNTS = _schema(
    node_id=_INT,
    gpu_model_id=_INT,
    start_ms=_INT,
    end_ms=_INT,
    allocatable_num=_INT,
    allocatable_den=_INT,
    compute_num=_INT,
    compute_den=_INT,
)

# Holds as the inventory knows them (see `PodHold` for the meaning of the unsure edges and shares).
# `sharing` is a `Sharing`, `devices` the UUIDs of the physical devices, comma separated, '' where
# they are not known.
HOLDS = _schema(
    hold_id=_INT,
    node_id=_INT,
    gpu_model_id=_INT,
    workload_id=_INT,
    namespace="str",
    pod="str",
    share_num=_INT,
    share_den=_INT,
    compute_num=_INT,
    compute_den=_INT,
    units=_INT,
    sharing=_INT,
    devices="str",
    exclusive="bool",
    start_ms=_INT,
    end_ms=_INT,
    start_unsure_ms=_INT,
    end_unsure_ms=_INT,
    end_lost="bool",
    source=_INT,
)

# The longest spans of a pool inside a window in which holders and device states are constant.
# held + unobserved + stranded + unallocated = devices × (end − start). `claimed_ms` is the raw sum
# of the holders' shares; above the capacity it says that the pool was oversubscribed.
# `allocatable_ms` is what was held or could be, under the default policies; what it is under
# `mig_share: compute` is `compute_allocatable_ms`.
POOL_USAGE = _schema(
    window_start_ms=_INT,
    node_id=_INT,
    gpu_model_id=_INT,
    start_ms=_INT,
    end_ms=_INT,
    devices=_INT,
    held_ms=_INT,
    unobserved_ms=_INT,
    stranded_ms=_INT,
    unallocated_ms=_INT,
    claimed_ms=_INT,
    allocatable_ms=_INT,
    compute_allocatable_ms=_INT,
)

# Which hold had how much of which of those spans; derived, never stored.
HOLD_SEGMENTS = _schema(
    window_start_ms=_INT,
    hold_id=_INT,
    node_id=_INT,
    gpu_model_id=_INT,
    start_ms=_INT,
    end_ms=_INT,
    held_ms=_INT,
)

# One row a hold and window: active + idle + unmeasured = held. `start_ms`/`end_ms` are the hold's
# span inside the window after cutting; `*_unsure_ms` the part of the uncertainty inside it. The
# bands hold measured milliseconds by activity in percent: 0, (0,5], (5,20], (20,50], (50,80],
# (80,100]; they sum to active + idle. Ratios are 0–1, energy millijoules, null where unknown.
HOLD_USAGE = _schema(
    window_start_ms=_INT,
    node_id=_INT,
    gpu_model_id=_INT,
    hold_id=_INT,
    workload_id=_INT,
    start_ms=_INT,
    end_ms=_INT,
    share_num=_INT,
    share_den=_INT,
    compute_num=_INT,
    compute_den=_INT,
    units=_INT,
    sharing=_INT,
    held_ms=_INT,
    active_ms=_INT,
    idle_ms=_INT,
    unmeasured_ms=_INT,
    activity_basis=_INT,
    activity_scope=_INT,
    band_0_ms=_INT,
    band_0_5_ms=_INT,
    band_5_20_ms=_INT,
    band_20_50_ms=_INT,
    band_50_80_ms=_INT,
    band_80_100_ms=_INT,
    peak_5m_ratio="float64",
    memory_used_max_mib="float64",
    sm_active_ratio="float64",
    dram_active_ratio="float64",
    energy_mj="Int64",
    start_unsure_ms=_INT,
    end_unsure_ms=_INT,
    source=_INT,
    flags=_INT,
)

# What the boards of a pool drew in a window, held or not, by their counters; no row where none
# speaks. `measured_ms` is for how long boards' counters spoke, `boards_measured` how many of the
# pool's `boards` were measured all the time.
POOL_ENERGY = _schema(
    window_start_ms=_INT,
    node_id=_INT,
    gpu_model_id=_INT,
    energy_mj=_INT,
    measured_ms=_INT,
    boards_measured=_INT,
    boards=_INT,
)

# Growth of one logical counter series in a window. `uncounted` is a first value that may be older
# than the window and is therefore no growth; `carried` says that growth crossed a gap of more than
# 2 scrapes; `duplicates` counts copies of the series that were left out.
GROWTH = _schema(
    namespace="str",
    pod="str",
    target="str",
    model="str",
    quantity="str",
    outcome="str",
    le="str",
    engine="str",
    layer="str",
    role="str",
    growth=_INT,
    uncounted=_INT,
    carried="bool",
    resets=_INT,
    samples=_INT,
    duplicates=_INT,
)

# What a service served, by model: null where the engine publishes nothing of the kind. Cached
# tokens are a part of the prompt's, reasoning tokens of the generated ones: never added to them.
TOKEN_USAGE = _schema(
    window_start_ms=_INT,
    workload_id=_INT,
    model_id=_INT,
    prompt_tokens="Int64",
    cached_prompt_tokens="Int64",
    generation_tokens="Int64",
    reasoning_tokens="Int64",
    requests_stop="Int64",
    requests_length="Int64",
    requests_abort="Int64",
    requests_error="Int64",
    requests_other="Int64",
    carried="bool",
)

# Observations of a latency per bucket, by its upper bound in seconds (not cumulative; +Inf too).
LATENCY_USAGE = _schema(
    window_start_ms=_INT,
    workload_id=_INT,
    model_id=_INT,
    metric=_INT,
    le="float64",
    increments=_INT,
)

# The shape of a service's traffic by minute; running and waiting are means over the samples, summed
# over replicas. `cache_use` is the KV cache in use: the mean ratio (0–1) of the hour over replicas.
SERVICE_MINUTES = _schema(
    minute_ms=_INT,
    workload_id=_INT,
    model_id=_INT,
    requests=_INT,
    prompt_tokens=_INT,
    cached_prompt_tokens=_INT,
    generation_tokens=_INT,
    running="float64",
    waiting="float64",
    cache_use="float64",
)

# Pods of services that became ready in the window: seconds from scheduled to first ready, and the
# part that the engine itself says it took to start, null where it does not.
COLD_STARTS = _schema(
    window_start_ms=_INT,
    workload_id=_INT,
    hold_id=_INT,
    seconds="float64",
    engine_seconds="float64",
)

# Expected and seen samples of a window by source and family.
EVIDENCE = _schema(source="str", family="str", expected=_INT, seen=_INT)

# Named lines about a window: what was odd, on what, how much of it.
NOTES = _schema(kind="str", subject="str", quantity=_INT, detail="str")


def empty(schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return a frame of ``schema`` without rows."""
    dtypes = {name: str(column.dtype) for name, column in schema.columns.items()}
    return pd.DataFrame(
        {
            name: pd.Series([], dtype="str" if dtype.startswith("str") else dtype)
            for name, dtype in dtypes.items()
        }
    )
