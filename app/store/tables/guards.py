"""Functions and triggers of the database: partition upkeep, and the guard of closed periods."""

from app.store.tables import PARTITIONED

# Runs with the owner's rights, so that the service can add a month without owning a table. A
# partition is built apart and attached, since CREATE … PARTITION OF would lock out all readers.
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
        'charges', 'cold_starts', 'consumer_usage', 'hold_usage', 'latency_usage', 'pool_usage',
        'reassignments', 'service_minutes', 'token_usage'
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

# A statement-level guard sees all touched rows at once; a row-level one costs five times the load.
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

_EVENTS = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("update_from", "UPDATE", "OLD"),
    ("update_to", "UPDATE", "NEW"),
)

TRIGGERS = tuple(
    f"CREATE TRIGGER {table}_closed_{name} AFTER {operation} ON {table}"
    f" REFERENCING {side} TABLE AS touched"
    f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_periods()"
    for table in PARTITIONED
    for name, operation, side in _EVENTS
)

STATEMENTS = (ENSURE_PARTITIONS, REFUSE_CLOSED_PERIODS, *TRIGGERS)

# The SQLSTATE that both functions raise.
CLOSED_PERIOD_STATE = "GL001"
