"""Periods that close: their state, what they freeze, their pins and statements."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE period_events (
    period TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    CONSTRAINT period_events_pkey PRIMARY KEY (period, version, event, at),
    CONSTRAINT period_events_event_known CHECK (event IN ('defined', 'closed', 'reopened')),
    CONSTRAINT period_events_author_given CHECK (author <> ''),
    CONSTRAINT period_events_reopened_with_reason CHECK (event <> 'reopened' OR reason <> '')
)
""",
    """
CREATE TABLE period_versions (
    period TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    zone TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    price_version BIGINT NOT NULL,
    contract_version BIGINT NOT NULL,
    rating_version BIGINT NOT NULL,
    settings JSONB NOT NULL,
    accepted JSONB NOT NULL,
    statements BIGINT NOT NULL,
    charges_nanos BIGINT NOT NULL,
    adjustments_nanos BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    CONSTRAINT period_versions_pkey PRIMARY KEY (period, version),
    CONSTRAINT period_versions_version_positive CHECK (version > 0),
    CONSTRAINT period_versions_not_empty CHECK (until > started_at)
)
""",
    """
CREATE TABLE period_pins (
    period TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    revision BIGINT NOT NULL,
    rating_version BIGINT NOT NULL,
    price_version BIGINT NOT NULL,
    contract_version BIGINT NOT NULL,
    CONSTRAINT period_pins_pkey PRIMARY KEY (period, version, cluster_id, window_start),
    CONSTRAINT period_pins_period_fkey FOREIGN KEY (period, version)
        REFERENCES period_versions (period, version)
)
""",
    "CREATE INDEX period_pins_by_window ON period_pins (cluster_id, window_start)",
    """
CREATE TABLE statements (
    number TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    total_nanos BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    csv_sha256 TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    csv BYTEA NOT NULL,
    CONSTRAINT statements_pkey PRIMARY KEY (number, version),
    CONSTRAINT statements_version_positive CHECK (version > 0),
    CONSTRAINT statements_period_fkey FOREIGN KEY (period, version)
        REFERENCES period_versions (period, version),
    CONSTRAINT statements_sha256_of_body CHECK (sha256 = encode(sha256(body), 'hex')),
    CONSTRAINT statements_sha256_of_csv CHECK (csv_sha256 = encode(sha256(csv), 'hex'))
)
""",
    "CREATE UNIQUE INDEX statements_by_period ON statements (period, version, team)",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "period_events": "SELECT",
    "period_versions": "SELECT, INSERT",
    "period_pins": "SELECT, INSERT",
    "statements": "SELECT, INSERT",
}

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

BEFORE = """
CREATE OR REPLACE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql AS $body$
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

FUNCTIONS = (
    REFUSE_CLOSED_STATES,
    REFUSE_CLOSED_DAYS,
    REFUSE_SETTLED_VERSIONS,
    REFUSE_UNFINISHED_CLOSINGS,
    DEFINE_BILLING_PERIODS,
    CLOSE_BILLING_PERIOD,
    REOPEN_BILLING_PERIOD,
)
# What the service may call; triggers need no right.
CALLED = (
    "define_billing_periods(text[], timestamptz[], timestamptz[], text, text, timestamptz)",
    "close_billing_period(text, bigint, text, timestamptz)",
    "reopen_billing_period(text, text, text, timestamptz)",
)
EVENTS = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("update_from", "UPDATE", "OLD"),
    ("update_to", "UPDATE", "NEW"),
)
ALL = tuple(name for name, _, _ in EVENTS)
GUARDED = (
    ("charge_days", "refuse_closed_days", ALL),
    ("window_evidence", "refuse_closed_periods", ALL),
    ("window_state", "refuse_closed_periods", ("insert", "delete")),
    ("period_versions", "refuse_settled_versions", ALL),
    ("period_pins", "refuse_settled_versions", ALL),
    ("statements", "refuse_settled_versions", ALL),
)
STATES_TRIGGER = """
CREATE TRIGGER window_state_closed_update AFTER UPDATE ON window_state
REFERENCING OLD TABLE AS before NEW TABLE AS touched
FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_states()
"""
FINISHED_TRIGGER = """
CREATE CONSTRAINT TRIGGER period_versions_finished AFTER INSERT ON period_versions
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unfinished_closings()
"""
MINUTES_TRIGGER = """
CREATE TRIGGER service_minutes_closed_delete AFTER DELETE ON service_minutes
REFERENCING OLD TABLE AS touched
FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_periods()
"""


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute("ALTER TABLE billing_periods ADD COLUMN version BIGINT DEFAULT '0' NOT NULL")
    op.execute(
        "ALTER TABLE billing_periods ADD COLUMN zone TEXT COLLATE \"C\" DEFAULT 'UTC' NOT NULL"
    )
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    op.execute(REFUSE_CLOSED_PERIODS)
    for function in FUNCTIONS:
        op.execute(function)
    for called in CALLED:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {called} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {called} TO {SERVICE}")
    for table, function, events in GUARDED:
        for name, operation, side in EVENTS:
            if name in events:
                op.execute(
                    f"CREATE TRIGGER {table}_closed_{name} AFTER {operation} ON {table}"
                    f" REFERENCING {side} TABLE AS touched"
                    f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
                )
    op.execute(STATES_TRIGGER)
    op.execute(FINISHED_TRIGGER)
    # Minutes are kept for a while only, also those of closed periods.
    op.execute("DROP TRIGGER service_minutes_closed_delete ON service_minutes")
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute(MINUTES_TRIGGER)
    op.execute("DROP TRIGGER window_state_closed_update ON window_state")
    for table, _, events in GUARDED[:3]:
        for name in events:
            op.execute(f"DROP TRIGGER {table}_closed_{name} ON {table}")
    for table in ("statements", "period_pins", "period_versions", "period_events"):
        op.execute(f"DROP TABLE {table}")
    for called in CALLED:
        op.execute(f"DROP FUNCTION {called}")
    for function in (
        "refuse_unfinished_closings",
        "refuse_settled_versions",
        "refuse_closed_days",
        "refuse_closed_states",
    ):
        op.execute(f"DROP FUNCTION {function}()")
    op.execute(BEFORE)
    op.execute("ALTER TABLE billing_periods DROP COLUMN zone")
    op.execute("ALTER TABLE billing_periods DROP COLUMN version")
    op.execute("RESET ROLE")
