"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    ${upgrades if upgrades else "pass"}
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    ${downgrades if downgrades else "pass"}
    op.execute("RESET ROLE")
