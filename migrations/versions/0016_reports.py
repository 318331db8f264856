"""Runs of reports: every file that was written."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE report_runs (
    run_id UUID NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    form TEXT COLLATE "C" NOT NULL,
    definition_sha256 TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    written_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT report_runs_pkey PRIMARY KEY (run_id),
    CONSTRAINT report_runs_counted CHECK (number > 0 AND size_bytes >= 0)
)
""",
    "CREATE INDEX report_runs_by_time ON report_runs (written_at, run_id)",
)


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    # A run that was is never another one.
    op.execute(f"GRANT SELECT, INSERT ON report_runs TO {SERVICE}")
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute("DROP TABLE report_runs")
    op.execute("RESET ROLE")
