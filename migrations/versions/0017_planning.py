"""Thresholds of budgets, each reached once a period."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE budget_crossings (
    period TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    basis TEXT COLLATE "C" NOT NULL,
    threshold NUMERIC(9, 6) NOT NULL,
    crossed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    nanos BIGINT NOT NULL,
    budget_nanos BIGINT NOT NULL,
    CONSTRAINT budget_crossings_pkey PRIMARY KEY (period, team, basis, threshold),
    CONSTRAINT budget_crossings_basis_known CHECK (basis IN ('spent', 'forecast')),
    CONSTRAINT budget_crossings_budget_positive CHECK (budget_nanos > 0)
)
""",
)

# A threshold is reached once a period: nobody takes that back.
RIGHTS = {"budget_crossings": "SELECT, INSERT"}


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
