"""Late facts and adjustments."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE late_facts (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    revision BIGINT NOT NULL,
    partial BOOLEAN NOT NULL,
    content_sha256 BYTEA NOT NULL,
    forced_reason TEXT COLLATE "C" NOT NULL,
    adjusted BOOLEAN NOT NULL,
    pool_usage BYTEA NOT NULL,
    hold_usage BYTEA NOT NULL,
    token_usage BYTEA NOT NULL,
    latency_usage BYTEA NOT NULL,
    service_minutes BYTEA NOT NULL,
    cold_starts BYTEA NOT NULL,
    consumer_usage BYTEA NOT NULL,
    pool_energy BYTEA NOT NULL,
    evidence BYTEA NOT NULL,
    notes BYTEA NOT NULL,
    CONSTRAINT late_facts_pkey PRIMARY KEY (cluster_id, window_start, revision),
    CONSTRAINT late_facts_revision_counts CHECK (revision > 0)
)
""",
    "CREATE INDEX late_facts_to_adjust ON late_facts (window_start) WHERE NOT adjusted",
    """
CREATE TABLE adjustment_runs (
    run_id BIGINT NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    type SMALLINT NOT NULL,
    posting_period TEXT COLLATE "C" NOT NULL,
    posted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    rating_version BIGINT NOT NULL,
    price_version BIGINT NOT NULL,
    contract_version BIGINT NOT NULL,
    CONSTRAINT adjustment_runs_pkey PRIMARY KEY (run_id),
    CONSTRAINT adjustment_runs_reason_given CHECK (reason <> ''),
    CONSTRAINT adjustment_runs_author_given CHECK (author <> ''),
    CONSTRAINT adjustment_runs_type_known CHECK (type IN (1, 2, 3, 4))
)
""",
    "CREATE INDEX adjustment_runs_by_period ON adjustment_runs (period, run_id)",
    """
CREATE TABLE adjustments (
    adjustment_id BIGINT NOT NULL,
    run_id BIGINT NOT NULL,
    posted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    day DATE NOT NULL,
    node_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    namespace_id BIGINT NOT NULL,
    team_id BIGINT NOT NULL,
    charge_kind SMALLINT NOT NULL,
    price_id BIGINT NOT NULL,
    step SMALLINT NOT NULL,
    consumer_id BIGINT NOT NULL,
    charge_id BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    gpu_ms BIGINT NOT NULL,
    unpriced_ms BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    CONSTRAINT adjustments_pkey PRIMARY KEY (adjustment_id),
    CONSTRAINT adjustments_run_id_fkey FOREIGN KEY (run_id) REFERENCES adjustment_runs (run_id),
    CONSTRAINT adjustments_posted_later CHECK (posted_at >= window_start),
    CONSTRAINT adjustments_changes_something
        CHECK (gpu_ms <> 0 OR unpriced_ms <> 0 OR cost_nanos <> 0)
)
""",
    "CREATE INDEX adjustments_by_posting ON adjustments (posted_at)",
    "CREATE INDEX adjustments_by_usage ON adjustments (window_start)",
    "CREATE INDEX adjustments_by_run ON adjustments (run_id)",
    "CREATE INDEX adjustments_by_charge ON adjustments (charge_id)",
    """
CREATE TABLE replaced_charges (
    charge_id BIGINT NOT NULL,
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    node_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    step SMALLINT NOT NULL,
    consumer_id BIGINT NOT NULL,
    CONSTRAINT replaced_charges_pkey PRIMARY KEY (charge_id)
)
""",
)

# Late facts, runs and adjustments are written once; only whether late facts were adjusted changes.
RIGHTS = {
    "late_facts": "SELECT, INSERT, UPDATE (adjusted)",
    "adjustment_runs": "SELECT, INSERT",
    "adjustments": "SELECT, INSERT",
    "replaced_charges": "SELECT, INSERT",
}

# What is posted belongs to its period's statement: into a closed one nothing can be posted.
REFUSE_CLOSED_ADJUSTMENTS = """
CREATE FUNCTION refuse_closed_adjustments() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
DECLARE
    period text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('billing_periods', 0));
    SELECT p.name INTO period FROM billing_periods AS p
    WHERE p.closed_at IS NOT NULL AND EXISTS (
        SELECT FROM touched AS t WHERE t.posted_at >= p.started_at AND t.posted_at < p.until
    )
    ORDER BY p.started_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing period % is closed: no adjustment is posted into it', period
            USING ERRCODE = 'GL001';
    END IF;
    RETURN NULL;
END
$body$
"""
TRIGGER = """
CREATE TRIGGER adjustments_closed_insert AFTER INSERT ON adjustments
REFERENCING NEW TABLE AS touched
FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_adjustments()
"""


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    op.execute(REFUSE_CLOSED_ADJUSTMENTS)
    op.execute(TRIGGER)
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_closed_adjustments()")
    op.execute("RESET ROLE")
