"""Partition upkeep and the guard of closed periods."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

ENSURE_PARTITIONS = """
CREATE FUNCTION ensure_fact_partitions(month date) RETURNS integer
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
        'charges', 'cold_starts', 'hold_usage', 'latency_usage', 'pool_usage',
        'service_minutes', 'token_usage'
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

REFUSE_CLOSED_PERIODS = """
CREATE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    first_window timestamptz;
    last_window timestamptz;
    period text;
BEGIN
    SELECT min(window_start), max(window_start) INTO first_window, last_window FROM touched;
    PERFORM FROM billing_periods
    WHERE closed_at IS NOT NULL AND started_at <= last_window AND until > first_window;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT p.name INTO period FROM billing_periods AS p
    WHERE p.closed_at IS NOT NULL AND EXISTS (
        SELECT FROM touched AS t
        WHERE t.window_start >= p.started_at AND t.window_start < p.until
    )
    ORDER BY p.started_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing period % is closed: % of % is refused',
            period, TG_OP, TG_TABLE_NAME USING ERRCODE = 'GL001';
    END IF;
    RETURN NULL;
END
$body$
"""

PARTITIONED = (
    "charges",
    "cold_starts",
    "hold_usage",
    "latency_usage",
    "pool_usage",
    "service_minutes",
    "token_usage",
)
EVENTS = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("update_from", "UPDATE", "OLD"),
    ("update_to", "UPDATE", "NEW"),
)


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute(ENSURE_PARTITIONS)
    op.execute(REFUSE_CLOSED_PERIODS)
    for table in PARTITIONED:
        for name, operation, side in EVENTS:
            op.execute(
                f"CREATE TRIGGER {table}_closed_{name} AFTER {operation} ON {table}"
                f" REFERENCING {side} TABLE AS touched"
                f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_periods()"
            )
    op.execute("REVOKE EXECUTE ON FUNCTION ensure_fact_partitions(date) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION ensure_fact_partitions(date) TO {SERVICE}")
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for table in PARTITIONED:
        for name, _, _ in EVENTS:
            op.execute(f"DROP TRIGGER {table}_closed_{name} ON {table}")
    op.execute("DROP FUNCTION refuse_closed_periods()")
    op.execute("DROP FUNCTION ensure_fact_partitions(date)")
    op.execute("RESET ROLE")
