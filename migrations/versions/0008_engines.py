"""What engines tell beyond tokens and requests: reasoning, use of their cache, their own start."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"

UPGRADES = (
    "ALTER TABLE token_usage ADD COLUMN reasoning_tokens BIGINT",
    "ALTER TABLE service_minutes ADD COLUMN cache_use DOUBLE PRECISION",
    "ALTER TABLE cold_starts ADD COLUMN engine_seconds DOUBLE PRECISION",
)
DOWNGRADES = (
    "ALTER TABLE cold_starts DROP COLUMN engine_seconds",
    "ALTER TABLE service_minutes DROP COLUMN cache_use",
    "ALTER TABLE token_usage DROP COLUMN reasoning_tokens",
)


def upgrade() -> None:
    """Add what is null in all that was collected without it."""
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in UPGRADES:
        op.execute(statement)
    op.execute("RESET ROLE")


def downgrade() -> None:
    """Drop it."""
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in DOWNGRADES:
        op.execute(statement)
    op.execute("RESET ROLE")
