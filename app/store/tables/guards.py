"""Functions and triggers of the database: partition upkeep, and the guard of closed periods."""

from app.store.tables import PARTITIONED, adjustments, period_guards, redistribution

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
        'allotments', 'charges', 'cold_starts', 'commitment_hours', 'consumer_usage',
        'hold_usage', 'latency_usage', 'pool_energy', 'pool_usage', 'reassignments',
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

# Minutes are kept for a while only, also those of closed periods: no charge is made from them.
_FORGOTTEN = "service_minutes"

TRIGGERS = tuple(
    trigger
    for table in PARTITIONED
    for trigger in period_guards.closed_triggers(
        table,
        "refuse_closed_periods",
        ("insert", "update_from", "update_to") if table == _FORGOTTEN else (),
    )
)

STATEMENTS = (
    ENSURE_PARTITIONS,
    *period_guards.FUNCTIONS,
    *TRIGGERS,
    *period_guards.TRIGGERS,
    *adjustments.GUARDS,
    *redistribution.GUARDS,
)

CLOSED_PERIOD_STATE = period_guards.CLOSED_PERIOD_STATE
