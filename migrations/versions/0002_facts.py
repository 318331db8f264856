"""The facts of a window."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE pool_usage (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    node_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    devices BIGINT NOT NULL,
    held_ms BIGINT NOT NULL,
    unobserved_ms BIGINT NOT NULL,
    stranded_ms BIGINT NOT NULL,
    unallocated_ms BIGINT NOT NULL,
    claimed_ms BIGINT NOT NULL,
    CONSTRAINT pool_usage_pkey PRIMARY KEY (cluster_id, window_start, node_id, gpu_model_id,
        started_at),
    CONSTRAINT pool_usage_not_empty CHECK (ended_at > started_at),
    CONSTRAINT pool_usage_not_negative CHECK (least(held_ms, unobserved_ms, stranded_ms,
        unallocated_ms) >= 0),
    CONSTRAINT pool_usage_conserved CHECK ((held_ms + unobserved_ms + stranded_ms +
        unallocated_ms) * 1000 = devices * (extract(epoch FROM ended_at - started_at) *
        1000000)::bigint)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE hold_usage (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    node_id BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    share_num BIGINT NOT NULL,
    share_den BIGINT NOT NULL,
    held_ms BIGINT NOT NULL,
    active_ms BIGINT NOT NULL,
    idle_ms BIGINT NOT NULL,
    unmeasured_ms BIGINT NOT NULL,
    activity_basis SMALLINT NOT NULL,
    activity_scope SMALLINT NOT NULL,
    band_0_ms BIGINT NOT NULL,
    band_0_5_ms BIGINT NOT NULL,
    band_5_20_ms BIGINT NOT NULL,
    band_20_50_ms BIGINT NOT NULL,
    band_50_80_ms BIGINT NOT NULL,
    band_80_100_ms BIGINT NOT NULL,
    peak_5m_ratio DOUBLE PRECISION,
    memory_used_max_mib DOUBLE PRECISION,
    sm_active_ratio DOUBLE PRECISION,
    dram_active_ratio DOUBLE PRECISION,
    energy_mj BIGINT,
    start_unsure_ms BIGINT NOT NULL,
    end_unsure_ms BIGINT NOT NULL,
    source SMALLINT NOT NULL,
    flags INTEGER NOT NULL,
    CONSTRAINT hold_usage_pkey PRIMARY KEY (cluster_id, window_start, node_id, hold_id),
    CONSTRAINT hold_usage_not_negative CHECK (least(held_ms, active_ms, idle_ms,
        unmeasured_ms) >= 0),
    CONSTRAINT hold_usage_conserved CHECK (active_ms + idle_ms + unmeasured_ms = held_ms),
    CONSTRAINT hold_usage_bands_conserved CHECK (band_0_ms + band_0_5_ms + band_5_20_ms +
        band_20_50_ms + band_50_80_ms + band_80_100_ms = active_ms + idle_ms)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE token_usage (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    workload_id BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    prompt_tokens BIGINT,
    cached_prompt_tokens BIGINT,
    generation_tokens BIGINT,
    requests_stop BIGINT,
    requests_length BIGINT,
    requests_abort BIGINT,
    requests_error BIGINT,
    requests_other BIGINT,
    carried BOOLEAN NOT NULL,
    CONSTRAINT token_usage_pkey PRIMARY KEY (cluster_id, window_start, workload_id, model_id)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE latency_usage (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    workload_id BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    metric SMALLINT NOT NULL,
    le DOUBLE PRECISION NOT NULL,
    increments BIGINT NOT NULL,
    CONSTRAINT latency_usage_pkey PRIMARY KEY (cluster_id, window_start, workload_id,
        model_id, metric, le)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE service_minutes (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    workload_id BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    minute_at TIMESTAMP WITH TIME ZONE NOT NULL,
    requests BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    generation_tokens BIGINT NOT NULL,
    running DOUBLE PRECISION,
    waiting DOUBLE PRECISION,
    CONSTRAINT service_minutes_pkey PRIMARY KEY (cluster_id, window_start, workload_id,
        model_id, minute_at)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE cold_starts (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    workload_id BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    CONSTRAINT cold_starts_pkey PRIMARY KEY (cluster_id, window_start, workload_id, hold_id),
    CONSTRAINT cold_starts_not_negative CHECK (seconds >= 0)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE window_state (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    revision BIGINT NOT NULL,
    partial BOOLEAN NOT NULL,
    content_sha256 BYTEA NOT NULL,
    forced_reason TEXT COLLATE "C" NOT NULL,
    input_marks BIGINT DEFAULT '0' NOT NULL,
    rated_revision BIGINT,
    rated_marks BIGINT,
    rating_version BIGINT,
    price_version BIGINT,
    contract_version BIGINT,
    CONSTRAINT window_state_pkey PRIMARY KEY (cluster_id, window_start),
    CONSTRAINT window_state_revision_positive CHECK (revision > 0),
    CONSTRAINT window_state_rated_a_known_revision CHECK (rated_revision <= revision)
)
""",
    """
CREATE TABLE window_evidence (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    family TEXT COLLATE "C" NOT NULL,
    expected BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    CONSTRAINT window_evidence_pkey PRIMARY KEY (cluster_id, window_start, source, family)
)
""",
    """
CREATE TABLE window_notes (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    stage TEXT COLLATE "C" NOT NULL,
    line BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    CONSTRAINT window_notes_pkey PRIMARY KEY (cluster_id, window_start, stage, line)
)
""",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "pool_usage": "SELECT, INSERT, DELETE",
    "hold_usage": "SELECT, INSERT, DELETE",
    "token_usage": "SELECT, INSERT, DELETE",
    "latency_usage": "SELECT, INSERT, DELETE",
    "service_minutes": "SELECT, INSERT, DELETE",
    "cold_starts": "SELECT, INSERT, DELETE",
    "window_state": "SELECT, INSERT, UPDATE, DELETE",
    "window_evidence": "SELECT, INSERT, UPDATE, DELETE",
    "window_notes": "SELECT, INSERT, UPDATE, DELETE",
}


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("RESET ROLE")
