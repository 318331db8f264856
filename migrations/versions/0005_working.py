"""Runs, findings, messages, reports, API keys."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE runs (
    run_id UUID NOT NULL,
    workflow TEXT COLLATE "C" NOT NULL,
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE,
    window_end TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT COLLATE "C" NOT NULL,
    counts JSONB NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    CONSTRAINT runs_pkey PRIMARY KEY (run_id),
    CONSTRAINT runs_outcome_known CHECK (outcome IN ('running', 'ok', 'rejected', 'failed')),
    CONSTRAINT runs_finished_once CHECK ((outcome = 'running') = (finished_at IS NULL))
)
""",
    "CREATE INDEX runs_by_start ON runs (workflow, started_at)",
    """
CREATE TABLE findings (
    finding_id BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    episode BIGINT NOT NULL,
    cluster TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    body JSONB NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    snoozed_until TIMESTAMP WITH TIME ZONE,
    decided_by TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    CONSTRAINT findings_pkey PRIMARY KEY (finding_id),
    CONSTRAINT findings_state_known CHECK (state IN ('open', 'acknowledged', 'snoozed',
        'dismissed', 'resolved', 'regressed')),
    CONSTRAINT findings_episode_positive CHECK (episode > 0)
)
""",
    "CREATE INDEX findings_by_state ON findings (state)",
    """
CREATE TABLE requests (
    idempotency_key TEXT COLLATE "C" NOT NULL,
    request_sha256 TEXT COLLATE "C" NOT NULL,
    carried_out_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (idempotency_key)
)
""",
    """
CREATE TABLE messages (
    message_id BIGINT NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    failure TEXT COLLATE "C" NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (message_id)
)
""",
    """
CREATE TABLE reports (
    name TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    provisional BOOLEAN NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    destination TEXT COLLATE "C" NOT NULL,
    CONSTRAINT reports_pkey PRIMARY KEY (name, period, number)
)
""",
    """
CREATE TABLE api_keys (
    key_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    secret_sha256 TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_keys_scope_known CHECK (scope IN ('read', 'write', 'admin'))
)
""",
    "CREATE UNIQUE INDEX api_keys_by_name_in_force ON api_keys (name) WHERE revoked_at IS NULL",
    "CREATE UNIQUE INDEX api_keys_by_secret ON api_keys (secret_sha256)",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "runs": "SELECT, INSERT, UPDATE, DELETE",
    "findings": "SELECT, INSERT, UPDATE, DELETE",
    "requests": "SELECT, INSERT, UPDATE, DELETE",
    "messages": "SELECT, INSERT, UPDATE, DELETE",
    "reports": "SELECT, INSERT, UPDATE, DELETE",
    "api_keys": "SELECT, INSERT, UPDATE, DELETE",
}


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("RESET ROLE")
