"""Consumers of shared services, and the redistribution of what they used."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE consumers (
    consumer_id BIGINT NOT NULL,
    gateway TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    key_alias TEXT COLLATE "C" NOT NULL,
    end_user TEXT COLLATE "C" NOT NULL,
    CONSTRAINT consumers_pkey PRIMARY KEY (consumer_id),
    CONSTRAINT consumers_gateway_given CHECK (gateway <> '')
)
""",
    """
CREATE TABLE gateway_routes (
    route_id BIGINT NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    target_model TEXT COLLATE "C" NOT NULL,
    cluster TEXT COLLATE "C" NOT NULL,
    backend_namespace TEXT COLLATE "C" NOT NULL,
    backend TEXT COLLATE "C" NOT NULL,
    CONSTRAINT gateway_routes_pkey PRIMARY KEY (route_id)
)
""",
    """
CREATE TABLE consumer_usage (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    consumer_id BIGINT NOT NULL,
    route_id BIGINT NOT NULL,
    prompt_tokens BIGINT,
    cached_prompt_tokens BIGINT,
    generation_tokens BIGINT,
    reasoning_tokens BIGINT,
    requests BIGINT,
    carried BOOLEAN NOT NULL,
    CONSTRAINT consumer_usage_pkey PRIMARY KEY (cluster_id, window_start, consumer_id, route_id)
) PARTITION BY RANGE (window_start)
""",
    """
CREATE TABLE reassignments (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    workload_id BIGINT NOT NULL,
    charge_id BIGINT NOT NULL,
    debit_id BIGINT NOT NULL,
    consumer_id BIGINT NOT NULL,
    scope SMALLINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    generation_tokens BIGINT NOT NULL,
    weighted_tokens NUMERIC(38, 6) NOT NULL,
    all_weighted_tokens NUMERIC(38, 6) NOT NULL,
    gateway_tokens BIGINT NOT NULL,
    engine_tokens BIGINT,
    CONSTRAINT reassignments_pkey PRIMARY KEY (cluster_id, window_start, workload_id, charge_id),
    CONSTRAINT reassignments_part_of_all CHECK (weighted_tokens <= all_weighted_tokens)
) PARTITION BY RANGE (window_start)
""",
    "CREATE INDEX reassignments_by_charge ON reassignments (charge_id)",
    """
CREATE TABLE redistributed_days (
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    marks BIGINT NOT NULL,
    done_marks BIGINT NOT NULL,
    CONSTRAINT redistributed_days_pkey PRIMARY KEY (started_at),
    CONSTRAINT redistributed_days_not_empty CHECK (until > started_at),
    CONSTRAINT redistributed_days_done_a_known_mark CHECK (done_marks <= marks)
)
""",
    "ALTER TABLE charges ADD COLUMN consumer_id BIGINT DEFAULT '0' NOT NULL",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "consumers": "SELECT, INSERT, UPDATE, DELETE",
    "gateway_routes": "SELECT, INSERT, UPDATE, DELETE",
    "consumer_usage": "SELECT, INSERT, DELETE",
    "reassignments": "SELECT, INSERT, DELETE",
    "redistributed_days": "SELECT, INSERT, UPDATE, DELETE",
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

BEFORE = """'charges', 'cold_starts', 'hold_usage', 'latency_usage', 'pool_usage',
        'service_minutes', 'token_usage'"""
AFTER = """'charges', 'cold_starts', 'consumer_usage', 'hold_usage', 'latency_usage', 'pool_usage',
        'reassignments', 'service_minutes', 'token_usage'"""
PARTITIONED = ("consumer_usage", "reassignments")
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
    op.execute("DELETE FROM charges WHERE step > 0")
    op.execute("ALTER TABLE charges DROP COLUMN consumer_id")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("RESET ROLE")
