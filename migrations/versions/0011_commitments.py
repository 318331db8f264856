"""Commitments, the allotment of what they cover, and what the boards of a pool drew."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE commitments (
    price_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    commitment TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    billing_account TEXT COLLATE "C" NOT NULL,
    clusters JSONB NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    instance_type TEXT COLLATE "C" NOT NULL,
    gpu_model TEXT COLLATE "C" NOT NULL,
    capacity_type TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    quantity NUMERIC(30, 12) NOT NULL,
    upfront NUMERIC(30, 12) NOT NULL,
    recurring_per_hour NUMERIC(30, 12) NOT NULL,
    discount_ratio NUMERIC(30, 12) NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    term_start TIMESTAMP WITH TIME ZONE NOT NULL,
    term_end TIMESTAMP WITH TIME ZONE NOT NULL,
    payer TEXT COLLATE "C" NOT NULL,
    allotment TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    superseded_version BIGINT,
    CONSTRAINT commitments_pkey PRIMARY KEY (price_id, version),
    CONSTRAINT commitments_named CHECK (commitment <> ''),
    CONSTRAINT commitments_not_empty CHECK (term_end > term_start),
    CONSTRAINT commitments_quantity_positive CHECK (quantity > 0),
    CONSTRAINT commitments_not_negative CHECK (upfront >= 0 AND recurring_per_hour >= 0),
    CONSTRAINT commitments_discount_a_ratio CHECK (discount_ratio >= 0 AND discount_ratio < 1),
    CONSTRAINT commitments_superseded_later CHECK (superseded_version > version),
    CONSTRAINT commitments_version_fkey FOREIGN KEY(version) REFERENCES price_imports (version)
)
""",
    """
CREATE TABLE cluster_accounts (
    cluster_id BIGINT NOT NULL,
    billing_account TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    CONSTRAINT cluster_accounts_pkey PRIMARY KEY (cluster_id)
)
""",
    """
CREATE TABLE allotted_hours (
    billing_account TEXT COLLATE "C" NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    fingerprint BYTEA NOT NULL,
    CONSTRAINT allotted_hours_pkey PRIMARY KEY (billing_account, window_start)
)
""",
    """
CREATE TABLE allotments (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    node_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    price_id BIGINT NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    covered_ms BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    CONSTRAINT allotments_pkey PRIMARY KEY
        (cluster_id, window_start, node_id, gpu_model_id, started_at, price_id),
    CONSTRAINT allotments_not_empty CHECK (ended_at > started_at),
    CONSTRAINT allotments_covers_something CHECK (covered_ms > 0 AND cost_nanos >= 0)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE commitment_hours (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    price_id BIGINT NOT NULL,
    billing_account TEXT COLLATE "C" NOT NULL,
    committed BIGINT NOT NULL,
    used BIGINT NOT NULL,
    eligible_ms BIGINT NOT NULL,
    covered_ms BIGINT NOT NULL,
    eligible_nanos BIGINT NOT NULL,
    covered_nanos BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    used_nanos BIGINT NOT NULL,
    CONSTRAINT commitment_hours_pkey PRIMARY KEY (cluster_id, window_start, price_id),
    CONSTRAINT commitment_hours_used_part_of_cost CHECK (used_nanos <= cost_nanos),
    CONSTRAINT commitment_hours_covered_part_of_eligible CHECK (covered_ms <= eligible_ms)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE pool_energy (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    node_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    energy_mj BIGINT NOT NULL,
    measured_ms BIGINT NOT NULL,
    boards_measured BIGINT NOT NULL,
    boards BIGINT NOT NULL,
    CONSTRAINT pool_energy_pkey PRIMARY KEY (cluster_id, window_start, node_id, gpu_model_id),
    CONSTRAINT pool_energy_not_negative CHECK
        (least(energy_mj, measured_ms, boards_measured, boards) >= 0)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE INDEX charges_derived ON charges (cluster_id, window_start)
WHERE step <> 0 AND step <> 13
""",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "commitments": "SELECT, INSERT, UPDATE (superseded_version)",
    "cluster_accounts": "SELECT, INSERT, UPDATE, DELETE",
    "allotted_hours": "SELECT, INSERT, UPDATE, DELETE",
    "allotments": "SELECT, INSERT, DELETE",
    "commitment_hours": "SELECT, INSERT, DELETE",
    "pool_energy": "SELECT, INSERT, DELETE",
}

ENSURE_PARTITIONS = """
CREATE OR REPLACE FUNCTION ensure_fact_partitions(month date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    lower_bound timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    upper_bound timestamptz :=
        (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    parent text;
    child text;
    made integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY[
        {tables}
    ] LOOP
        child := parent || to_char(month, '_YYYYMM');
        CONTINUE WHEN to_regclass(child) IS NOT NULL;
        IF EXISTS (
            SELECT FROM billing_periods
            WHERE closed_at IS NOT NULL AND started_at < upper_bound AND until > lower_bound
        ) THEN
            RAISE EXCEPTION 'a partition of % for % would open a closed billing period',
                parent, to_char(month, 'YYYY-MM') USING ERRCODE = 'GL001';
        END IF;
        PERFORM pg_advisory_xact_lock(hashtextextended('ensure_fact_partitions', 0));
        CONTINUE WHEN to_regclass(child) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            parent, child, lower_bound, upper_bound
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$body$
"""

BEFORE = """'charges', 'cold_starts', 'consumer_usage', 'hold_usage', 'latency_usage', 'pool_usage',
        'reassignments', 'service_minutes', 'token_usage'"""
AFTER = """'allotments', 'charges', 'cold_starts', 'commitment_hours', 'consumer_usage',
        'hold_usage', 'latency_usage', 'pool_energy', 'pool_usage', 'reassignments',
        'service_minutes', 'token_usage'"""
PARTITIONED = ("allotments", "commitment_hours", "pool_energy")
# Months that have charges get what else belongs to a month, unless a closed period keeps them.
EXISTING_MONTHS = """
SELECT ensure_fact_partitions(to_date(right(inhrelid::regclass::text, 6), 'YYYYMM'))
FROM pg_inherits WHERE inhparent = 'charges'::regclass
AND NOT EXISTS (SELECT FROM billing_periods WHERE closed_at IS NOT NULL)
"""
EVENTS = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("update_from", "UPDATE", "OLD"),
    ("update_to", "UPDATE", "NEW"),
)


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    op.execute(ENSURE_PARTITIONS.replace("{tables}", AFTER))
    op.execute(EXISTING_MONTHS)
    for table in PARTITIONED:
        for name, operation, side in EVENTS:
            op.execute(
                f"CREATE TRIGGER {table}_closed_{name} AFTER {operation} ON {table}"
                f" REFERENCING {side} TABLE AS touched"
                f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_periods()"
            )
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute(ENSURE_PARTITIONS.replace("{tables}", BEFORE))
    op.execute("DROP INDEX charges_derived")
    op.execute("DELETE FROM charges WHERE step IN (10, 12, 13)")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("RESET ROLE")
