"""Late facts of closed periods, the adjustments they lead to, and the charges that gave way."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
)

from app.store.tables.columns import METADATA, code, instant, number, text
from app.store.tables.period_guards import closed_triggers

# The frames of an hour's facts, each a stream of Arrow IPC in a column of its name.
LATE_FRAMES = (
    "pool_usage",
    "hold_usage",
    "token_usage",
    "latency_usage",
    "service_minutes",
    "cold_starts",
    "consumer_usage",
    "pool_energy",
    "evidence",
    "notes",
)

# Facts that were collected when the period of their hour was closed: they stand beside those that
# the closed charges were made from. `adjusted` says that an adjustment was made from them.
LATE_FACTS = Table(
    "late_facts",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("revision", key=True),
    Column("partial", Boolean, nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    text("forced_reason"),
    Column("adjusted", Boolean, nullable=False),
    *(Column(name, LargeBinary, nullable=False) for name in LATE_FRAMES),
    CheckConstraint("revision > 0", name="revision_counts"),
    Index("late_facts_to_adjust", "window_start", postgresql_where="NOT adjusted"),
)

# One posting: all its lines or none. The versions are those that it was computed by; those of the
# last correction since a period was closed are the ones that later adjustments go by.
ADJUSTMENT_RUNS = Table(
    "adjustment_runs",
    METADATA,
    number("run_id", key=True),
    text("period"),
    code("type"),
    text("posting_period"),
    instant("posted_at"),
    text("reason"),
    text("author"),
    number("rating_version"),
    number("price_version"),
    number("contract_version"),
    CheckConstraint("reason <> ''", name="reason_given"),
    CheckConstraint("author <> ''", name="author_given"),
    CheckConstraint("type IN (1, 2, 3, 4)", name="type_known"),
    Index("adjustment_runs_by_period", "period", "run_id"),
)

# What a posting changes: the difference of a line of the ledger, under the line's own key columns.
ADJUSTMENTS = Table(
    "adjustments",
    METADATA,
    number("adjustment_id", key=True),
    Column("run_id", ForeignKey("adjustment_runs.run_id"), nullable=False),
    instant("posted_at"),
    number("cluster_id"),
    instant("window_start"),
    Column("day", Date, nullable=False),
    number("node_id"),
    number("gpu_model_id"),
    number("hold_id"),
    number("workload_id"),
    number("namespace_id"),
    number("team_id"),
    code("charge_kind"),
    number("price_id"),
    code("step"),
    number("consumer_id"),
    # The adjusted line's; a line that only the late facts have never was a charge.
    number("charge_id"),
    instant("started_at"),
    instant("ended_at"),
    number("gpu_ms"),
    # The part of gpu_ms that no price covers.
    number("unpriced_ms"),
    number("cost_nanos"),
    CheckConstraint("posted_at >= window_start", name="posted_later"),
    CheckConstraint("gpu_ms <> 0 OR unpriced_ms <> 0 OR cost_nanos <> 0", name="changes_something"),
    Index("adjustments_by_posting", "posted_at"),
    Index("adjustments_by_usage", "window_start"),
    Index("adjustments_by_run", "run_id"),
    Index("adjustments_by_charge", "charge_id"),
)

# Identities of charges that a rating took away, and what each of them was about: the charge that
# stands there instead is the one with the same subject.
REPLACED_CHARGES = Table(
    "replaced_charges",
    METADATA,
    number("charge_id", key=True),
    number("cluster_id"),
    instant("window_start"),
    number("node_id"),
    number("gpu_model_id"),
    number("hold_id"),
    number("workload_id"),
    code("kind"),
    code("step"),
    number("consumer_id"),
)

# What is posted belongs to its period's statement: into a closed one nothing can be posted. The
# lock is the one that a closing waits for.
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
GUARDS = (
    REFUSE_CLOSED_ADJUSTMENTS,
    *closed_triggers("adjustments", "refuse_closed_adjustments", ("insert",)),
)
