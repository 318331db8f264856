"""The facts of a window, partitioned by its month, and what is known about the window itself."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    LargeBinary,
    Table,
)

from app.store.tables.columns import METADATA, code, count, instant, number, text


def _facts(
    name: str, *columns: Column[int] | Column[float] | Column[bool] | CheckConstraint
) -> Table:
    return Table(
        name,
        METADATA,
        number("cluster_id", key=True),
        instant("window_start", key=True),
        *columns,
        postgresql_partition_by="RANGE (window_start)",
    )


def _ratio(name: str) -> Column[float]:
    return Column(name, Double, nullable=True)


POOL_USAGE = _facts(
    "pool_usage",
    number("node_id", key=True),
    number("gpu_model_id", key=True),
    instant("started_at", key=True),
    instant("ended_at"),
    number("devices"),
    number("held_ms"),
    number("unobserved_ms"),
    number("stranded_ms"),
    number("unallocated_ms"),
    number("claimed_ms"),
    number("allocatable_ms"),
    number("compute_allocatable_ms"),
    CheckConstraint("ended_at > started_at", name="not_empty"),
    CheckConstraint(
        "least(held_ms, unobserved_ms, stranded_ms, unallocated_ms) >= 0", name="not_negative"
    ),
    # I1: GPU time is conserved.
    CheckConstraint(
        "(held_ms + unobserved_ms + stranded_ms + unallocated_ms) * 1000 = devices *"
        " (extract(epoch FROM ended_at - started_at) * 1000000)::bigint",
        name="conserved",
    ),
)

HOLD_USAGE = _facts(
    "hold_usage",
    number("node_id", key=True),
    number("hold_id", key=True),
    number("gpu_model_id"),
    number("workload_id"),
    instant("started_at"),
    instant("ended_at"),
    number("share_num"),
    number("share_den"),
    number("compute_num"),
    number("compute_den"),
    number("units"),
    code("sharing"),
    number("held_ms"),
    number("active_ms"),
    number("idle_ms"),
    number("unmeasured_ms"),
    code("activity_basis"),
    code("activity_scope"),
    number("band_0_ms"),
    number("band_0_5_ms"),
    number("band_5_20_ms"),
    number("band_20_50_ms"),
    number("band_50_80_ms"),
    number("band_80_100_ms"),
    _ratio("peak_5m_ratio"),
    _ratio("memory_used_max_mib"),
    _ratio("sm_active_ratio"),
    _ratio("dram_active_ratio"),
    number("energy_mj", nullable=True),
    number("start_unsure_ms"),
    number("end_unsure_ms"),
    code("source"),
    count("flags"),
    CheckConstraint("least(held_ms, active_ms, idle_ms, unmeasured_ms) >= 0", name="not_negative"),
    CheckConstraint("active_ms + idle_ms + unmeasured_ms = held_ms", name="conserved"),
    CheckConstraint(
        "band_0_ms + band_0_5_ms + band_5_20_ms + band_20_50_ms + band_50_80_ms + band_80_100_ms"
        " = active_ms + idle_ms",
        name="bands_conserved",
    ),
)

POOL_ENERGY = _facts(
    "pool_energy",
    number("node_id", key=True),
    number("gpu_model_id", key=True),
    number("energy_mj"),
    number("measured_ms"),
    number("boards_measured"),
    number("boards"),
    CheckConstraint(
        "least(energy_mj, measured_ms, boards_measured, boards) >= 0", name="not_negative"
    ),
)

TOKEN_USAGE = _facts(
    "token_usage",
    number("workload_id", key=True),
    number("model_id", key=True),
    number("prompt_tokens", nullable=True),
    number("cached_prompt_tokens", nullable=True),
    number("generation_tokens", nullable=True),
    number("requests_stop", nullable=True),
    number("requests_length", nullable=True),
    number("requests_abort", nullable=True),
    number("requests_error", nullable=True),
    number("requests_other", nullable=True),
    Column("carried", Boolean, nullable=False),
    number("reasoning_tokens", nullable=True),
)

LATENCY_USAGE = _facts(
    "latency_usage",
    number("workload_id", key=True),
    number("model_id", key=True),
    code("metric", key=True),
    Column("le", Double, primary_key=True),
    number("increments"),
)

SERVICE_MINUTES = _facts(
    "service_minutes",
    number("workload_id", key=True),
    number("model_id", key=True),
    instant("minute_at", key=True),
    number("requests"),
    number("prompt_tokens"),
    number("cached_prompt_tokens"),
    number("generation_tokens"),
    _ratio("running"),
    _ratio("waiting"),
    _ratio("cache_use"),
)

COLD_STARTS = _facts(
    "cold_starts",
    number("workload_id", key=True),
    number("hold_id", key=True),
    Column("seconds", Double, nullable=False),
    _ratio("engine_seconds"),
    CheckConstraint("seconds >= 0", name="not_negative"),
)

# `input_marks` counts how often an input of rating (price, owner, policy) changed for the window;
# `rated_*` say which revision and which marks the stored charges were made from.
WINDOW_STATE = Table(
    "window_state",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("revision"),
    Column("partial", Boolean, nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    text("forced_reason"),
    Column("input_marks", BigInteger, nullable=False, server_default="0"),
    number("rated_revision", nullable=True),
    number("rated_marks", nullable=True),
    number("rating_version", nullable=True),
    number("price_version", nullable=True),
    number("contract_version", nullable=True),
    CheckConstraint("revision > 0", name="revision_positive"),
    CheckConstraint("rated_revision <= revision", name="rated_a_known_revision"),
)

WINDOW_EVIDENCE = Table(
    "window_evidence",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    Column("source", text("").type, primary_key=True),
    Column("family", text("").type, primary_key=True),
    number("expected"),
    number("seen"),
)

# `stage` is the workflow that noted it: collect or rate; `line` its place in the stage's list.
WINDOW_NOTES = Table(
    "window_notes",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    Column("stage", text("").type, primary_key=True),
    number("line", key=True),
    text("kind"),
    text("subject"),
    number("quantity"),
    text("detail"),
)
