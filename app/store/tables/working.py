"""What the service does and says: runs, findings and their messages, reports, API keys."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from app.store.tables.columns import METADATA, instant, number, text

# The journal: instants of execution live here and not in facts.
RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    text("workflow"),
    number("cluster_id"),
    instant("window_start", nullable=True),
    instant("window_end", nullable=True),
    instant("started_at"),
    instant("finished_at", nullable=True),
    text("outcome"),
    Column("counts", JSONB, nullable=False),
    text("message"),
    CheckConstraint("outcome IN ('running', 'ok', 'rejected', 'failed')", name="outcome_known"),
    CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name="finished_once"),
    Index("runs_by_start", "workflow", "started_at"),
)

FINDINGS = Table(
    "findings",
    METADATA,
    number("finding_id", key=True),
    text("kind"),
    text("state"),
    number("episode"),
    text("cluster"),
    text("team"),
    Column("body", JSONB, nullable=False),
    instant("first_seen_at"),
    instant("last_seen_at"),
    instant("resolved_at", nullable=True),
    instant("snoozed_until", nullable=True),
    text("decided_by"),
    text("reason"),
    CheckConstraint(
        "state IN ('open', 'acknowledged', 'snoozed', 'dismissed', 'resolved', 'regressed')",
        name="state_known",
    ),
    CheckConstraint("episode > 0", name="episode_positive"),
    Index("findings_by_state", "state"),
)

# Requests that were carried out, so that the same one again changes nothing.
REQUESTS = Table(
    "requests",
    METADATA,
    Column("idempotency_key", Text(collation="C"), primary_key=True),
    text("request_sha256"),
    instant("carried_out_at"),
)

# One row a message that was due: claimed before it is sent, so that it goes out once.
MESSAGES = Table(
    "messages",
    METADATA,
    number("message_id", key=True),
    text("channel"),
    text("subject"),
    instant("claimed_at"),
    instant("sent_at", nullable=True),
    text("failure"),
)

REPORTS = Table(
    "reports",
    METADATA,
    Column("name", Text(collation="C"), primary_key=True),
    Column("period", Text(collation="C"), primary_key=True),
    number("number", key=True),
    text("sha256"),
    Column("provisional", Boolean, nullable=False),
    instant("made_at"),
    instant("sent_at", nullable=True),
    text("destination"),
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    number("key_id", key=True),
    text("name"),
    text("secret_sha256"),
    text("scope"),
    text("team"),
    instant("created_at"),
    instant("revoked_at", nullable=True),
    CheckConstraint("scope IN ('read', 'write', 'admin')", name="scope_known"),
    Index("api_keys_by_secret", "secret_sha256", unique=True),
    Index("api_keys_by_name_in_force", "name", unique=True, postgresql_where="revoked_at IS NULL"),
)
