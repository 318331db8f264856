"""Functions and triggers around billing periods: who may change their state, what they freeze.

The service may read the periods and nothing else: their state changes through functions that run
with the owner's rights, and that write down who did it and why.
"""

# Every write of guarded rows shares the lock that a change of a period takes alone: a closing waits
# for the writes under way, and those that come later find the period closed.
# A statement-level guard sees all touched rows at once; a row-level one costs five times the load.
REFUSE_CLOSED_PERIODS = """
CREATE OR REPLACE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
DECLARE
    first_window timestamptz;
    last_window timestamptz;
    period text;
BEGIN
    SELECT min(window_start), max(window_start) INTO first_window, last_window FROM touched;
    IF first_window IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('billing_periods', 0));
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

# The hours of a closed period keep what they were rated from; that inputs changed may be marked.
REFUSE_CLOSED_STATES = """
CREATE FUNCTION refuse_closed_states() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
DECLARE
    period text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('billing_periods', 0));
    SELECT p.name INTO period
    FROM before AS b FULL JOIN touched AS t USING (cluster_id, window_start)
    JOIN billing_periods AS p ON p.closed_at IS NOT NULL
        AND window_start >= p.started_at AND window_start < p.until
    WHERE (
        b.revision, b.partial, b.content_sha256, b.rated_revision,
        b.rating_version, b.price_version, b.contract_version
    ) IS DISTINCT FROM (
        t.revision, t.partial, t.content_sha256, t.rated_revision,
        t.rating_version, t.price_version, t.contract_version
    )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing period % is closed: % of % is refused',
            period, TG_OP, TG_TABLE_NAME USING ERRCODE = 'GL001';
    END IF;
    RETURN NULL;
END
$body$
"""

REFUSE_CLOSED_DAYS = """
CREATE FUNCTION refuse_closed_days() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
DECLARE
    period text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('billing_periods', 0));
    SELECT p.name INTO period FROM billing_periods AS p
    WHERE p.closed_at IS NOT NULL AND EXISTS (
        SELECT FROM touched AS t
        WHERE t.day >= (p.started_at AT TIME ZONE p.zone)::date
            AND t.day < (p.until AT TIME ZONE p.zone)::date
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

# Statements and pins are written by the closing they belong to, and by nothing after it.
REFUSE_SETTLED_VERSIONS = """
CREATE FUNCTION refuse_settled_versions() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
DECLARE
    settled text;
BEGIN
    SELECT t.period || ' version ' || t.version INTO settled FROM touched AS t
    WHERE NOT EXISTS (
        SELECT FROM billing_periods AS p
        WHERE p.name = t.period AND p.closed_at IS NULL AND p.version + 1 = t.version
    )
    ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing period % is not being closed: % of % is refused',
            settled, TG_OP, TG_TABLE_NAME USING ERRCODE = 'GL001';
    END IF;
    RETURN NULL;
END
$body$
"""

REFUSE_UNFINISHED_CLOSINGS = """
CREATE FUNCTION refuse_unfinished_closings() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $body$
BEGIN
    PERFORM FROM billing_periods AS p WHERE p.name = NEW.period AND p.version >= NEW.version;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the billing period % was not closed as version %',
            NEW.period, NEW.version USING ERRCODE = 'GL002';
    END IF;
    RETURN NULL;
END
$body$
"""

DEFINE_BILLING_PERIODS = """
CREATE FUNCTION define_billing_periods(
    names text[], starts timestamptz[], ends timestamptz[], zone_name text,
    defined_by text, defined_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    broken record;
    made bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('billing_periods', 0));
    SELECT p.name INTO broken
    FROM unnest(names, starts, ends) AS w(name, started_at, until)
    JOIN billing_periods AS p ON p.name = w.name
    WHERE (p.version > 0 OR p.closed_at IS NOT NULL)
        AND (p.started_at, p.until, p.zone) <> (w.started_at, w.until, zone_name)
    ORDER BY p.started_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing period % was closed before: its span stays as it is',
            broken.name USING ERRCODE = 'GL002';
    END IF;
    DELETE FROM billing_periods AS p
    USING unnest(names, starts, ends) AS w(name, started_at, until)
    WHERE p.name = w.name
        AND (p.started_at, p.until, p.zone) <> (w.started_at, w.until, zone_name);
    SELECT w.name, p.name AS other INTO broken
    FROM unnest(names, starts, ends) AS w(name, started_at, until)
    JOIN billing_periods AS p
        ON p.name <> w.name AND w.started_at < p.until AND w.until > p.started_at
    ORDER BY w.started_at, p.started_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing periods % and % overlap', broken.name, broken.other
            USING ERRCODE = 'GL002';
    END IF;
    WITH fresh AS (
        INSERT INTO billing_periods (name, started_at, until, zone)
        SELECT w.name, w.started_at, w.until, zone_name
        FROM unnest(names, starts, ends) AS w(name, started_at, until)
        ON CONFLICT (name) DO NOTHING RETURNING name
    ), noted AS (
        INSERT INTO period_events (period, version, event, at, reason, author)
        SELECT f.name, 0, 'defined', defined_at, '', defined_by FROM fresh AS f
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) INTO made FROM fresh;
    SELECT p.name, p.next_name INTO broken FROM (
        SELECT name, until, lead(name) OVER by_start AS next_name,
            lead(started_at) OVER by_start AS next_start
        FROM billing_periods WINDOW by_start AS (ORDER BY started_at)
    ) AS p WHERE p.next_start <> p.until ORDER BY p.until LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'there would be a gap between the billing periods % and %',
            broken.name, broken.next_name USING ERRCODE = 'GL002';
    END IF;
    RETURN made;
END
$body$
"""

CLOSE_BILLING_PERIOD = """
CREATE FUNCTION close_billing_period(
    period_name text, closing_version bigint, closed_by text, closing_at timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    p record;
    earlier timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('billing_periods', 0));
    SELECT * INTO p FROM billing_periods AS b WHERE b.name = period_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no billing period %', period_name USING ERRCODE = 'GL002';
    END IF;
    IF p.closed_at IS NOT NULL OR p.version + 1 <> closing_version THEN
        RAISE EXCEPTION 'the billing period % was closed meanwhile, as version %',
            period_name, p.version USING ERRCODE = 'GL002';
    END IF;
    IF p.until > closing_at THEN
        RAISE EXCEPTION 'the billing period % has not ended', period_name
            USING ERRCODE = 'GL002';
    END IF;
    SELECT min(w.window_start) INTO earlier FROM window_state AS w
    WHERE w.window_start < p.started_at AND NOT EXISTS (
        SELECT FROM billing_periods AS c WHERE c.closed_at IS NOT NULL
            AND w.window_start >= c.started_at AND w.window_start < c.until
    );
    IF earlier IS NOT NULL THEN
        RAISE EXCEPTION 'the hour % before the billing period % is open', earlier, period_name
            USING ERRCODE = 'GL002';
    END IF;
    IF NOT EXISTS (
        SELECT FROM period_versions AS v
        WHERE v.period = period_name AND v.version = closing_version AND v.statements = (
            SELECT count(*) FROM statements AS s
            WHERE s.period = period_name AND s.version = closing_version
        )
    ) THEN
        RAISE EXCEPTION 'the billing period % has no pins and statements of version %',
            period_name, closing_version USING ERRCODE = 'GL002';
    END IF;
    UPDATE billing_periods SET closed_at = closing_at, version = closing_version
    WHERE name = period_name;
    INSERT INTO period_events (period, version, event, at, reason, author)
    VALUES (period_name, closing_version, 'closed', closing_at, '', closed_by);
END
$body$
"""

REOPEN_BILLING_PERIOD = """
CREATE FUNCTION reopen_billing_period(
    period_name text, reopen_reason text, reopened_by text, reopening_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    p record;
    later text;
BEGIN
    IF btrim(coalesce(reopen_reason, '')) = '' OR btrim(coalesce(reopened_by, '')) = '' THEN
        RAISE EXCEPTION 'the billing period % is reopened with a reason and a name only',
            period_name USING ERRCODE = 'GL002';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('billing_periods', 0));
    SELECT * INTO p FROM billing_periods AS b WHERE b.name = period_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no billing period %', period_name USING ERRCODE = 'GL002';
    END IF;
    IF p.closed_at IS NULL THEN
        RAISE EXCEPTION 'the billing period % is open', period_name USING ERRCODE = 'GL002';
    END IF;
    SELECT b.name INTO later FROM billing_periods AS b
    WHERE b.closed_at IS NOT NULL AND b.started_at >= p.until
    ORDER BY b.started_at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the billing period % is closed and follows %', later, period_name
            USING ERRCODE = 'GL002';
    END IF;
    UPDATE billing_periods SET closed_at = NULL WHERE name = period_name;
    INSERT INTO period_events (period, version, event, at, reason, author)
    VALUES (period_name, p.version, 'reopened', reopening_at, reopen_reason, reopened_by);
    RETURN p.version;
END
$body$
"""

_EVENTS = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("update_from", "UPDATE", "OLD"),
    ("update_to", "UPDATE", "NEW"),
)


def closed_triggers(table: str, function: str, events: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the triggers that let ``function`` look at the rows that a statement touches."""
    return tuple(
        f"CREATE TRIGGER {table}_closed_{name} AFTER {operation} ON {table}"
        f" REFERENCING {side} TABLE AS touched"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        for name, operation, side in _EVENTS
        if not events or name in events
    )


_STATES_TRIGGER = (
    "CREATE TRIGGER window_state_closed_update AFTER UPDATE ON window_state"
    " REFERENCING OLD TABLE AS before NEW TABLE AS touched"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_states()"
)
# Until the end of its transaction a closing may be unfinished.
_FINISHED_TRIGGER = (
    "CREATE CONSTRAINT TRIGGER period_versions_finished AFTER INSERT ON period_versions"
    " DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION refuse_unfinished_closings()"
)

TRIGGERS = (
    *closed_triggers("charge_days", "refuse_closed_days"),
    *closed_triggers("window_evidence", "refuse_closed_periods"),
    *closed_triggers("window_state", "refuse_closed_periods", ("insert", "delete")),
    _STATES_TRIGGER,
    *(
        trigger
        for table in ("period_versions", "period_pins", "statements")
        for trigger in closed_triggers(table, "refuse_settled_versions")
    ),
    _FINISHED_TRIGGER,
)

FUNCTIONS = (
    REFUSE_CLOSED_PERIODS,
    REFUSE_CLOSED_STATES,
    REFUSE_CLOSED_DAYS,
    REFUSE_SETTLED_VERSIONS,
    REFUSE_UNFINISHED_CLOSINGS,
    DEFINE_BILLING_PERIODS,
    CLOSE_BILLING_PERIOD,
    REOPEN_BILLING_PERIOD,
)

# The SQLSTATEs that the functions raise: a closed period's rows, a state a period may not take.
CLOSED_PERIOD_STATE = "GL001"
PERIOD_STATE = "GL002"
