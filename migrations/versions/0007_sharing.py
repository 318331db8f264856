"""Shares of devices: by policy and way of sharing, in holds, counts and usage."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"

UPGRADES = (
    """
ALTER TABLE node_counts
    ADD COLUMN allocatable_num BIGINT,
    ADD COLUMN allocatable_den BIGINT NOT NULL DEFAULT 1,
    ADD COLUMN compute_num BIGINT,
    ADD COLUMN compute_den BIGINT NOT NULL DEFAULT 1,
    DROP CONSTRAINT node_counts_not_negative
""",
    "UPDATE node_counts SET allocatable_num = allocatable, compute_num = allocatable",
    """
ALTER TABLE node_counts
    DROP COLUMN allocatable,
    ALTER COLUMN allocatable_num SET NOT NULL,
    ALTER COLUMN compute_num SET NOT NULL,
    ALTER COLUMN allocatable_den DROP DEFAULT,
    ALTER COLUMN compute_den DROP DEFAULT,
    ADD CONSTRAINT node_counts_not_negative
        CHECK (least(devices, allocatable_num, compute_num) >= 0),
    ADD CONSTRAINT node_counts_divisor_positive CHECK (least(allocatable_den, compute_den) > 0)
""",
    """
ALTER TABLE holds
    ADD COLUMN compute_num BIGINT,
    ADD COLUMN compute_den BIGINT,
    ADD COLUMN sharing SMALLINT NOT NULL DEFAULT 1,
    ADD COLUMN devices TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN part_ms BIGINT NOT NULL DEFAULT 0
""",
    "UPDATE holds SET compute_num = share_num, compute_den = share_den",
    """
ALTER TABLE holds
    ALTER COLUMN compute_num SET NOT NULL,
    ALTER COLUMN compute_den SET NOT NULL,
    ALTER COLUMN sharing DROP DEFAULT,
    ALTER COLUMN devices DROP DEFAULT,
    ALTER COLUMN part_ms DROP DEFAULT,
    ADD CONSTRAINT holds_compute_share_positive CHECK (compute_num > 0 AND compute_den > 0)
""",
    """
ALTER TABLE pool_usage
    ADD COLUMN allocatable_ms BIGINT,
    ADD COLUMN compute_allocatable_ms BIGINT
""",
    """
UPDATE pool_usage SET allocatable_ms = held_ms + unallocated_ms,
    compute_allocatable_ms = held_ms + unallocated_ms
""",
    """
ALTER TABLE pool_usage
    ALTER COLUMN allocatable_ms SET NOT NULL,
    ALTER COLUMN compute_allocatable_ms SET NOT NULL
""",
    """
ALTER TABLE hold_usage
    ADD COLUMN compute_num BIGINT,
    ADD COLUMN compute_den BIGINT,
    ADD COLUMN units BIGINT,
    ADD COLUMN sharing SMALLINT
""",
    """
UPDATE hold_usage SET compute_num = share_num, compute_den = share_den,
    units = share_num / share_den, sharing = 1
""",
    """
ALTER TABLE hold_usage
    ALTER COLUMN compute_num SET NOT NULL,
    ALTER COLUMN compute_den SET NOT NULL,
    ALTER COLUMN units SET NOT NULL,
    ALTER COLUMN sharing SET NOT NULL
""",
)

DOWNGRADES = (
    """
ALTER TABLE hold_usage
    DROP COLUMN compute_num, DROP COLUMN compute_den, DROP COLUMN units, DROP COLUMN sharing
""",
    "ALTER TABLE pool_usage DROP COLUMN allocatable_ms, DROP COLUMN compute_allocatable_ms",
    """
ALTER TABLE holds
    DROP CONSTRAINT holds_compute_share_positive,
    DROP COLUMN compute_num, DROP COLUMN compute_den, DROP COLUMN sharing,
    DROP COLUMN devices, DROP COLUMN part_ms
""",
    """
ALTER TABLE node_counts
    ADD COLUMN allocatable INTEGER,
    DROP CONSTRAINT node_counts_not_negative,
    DROP CONSTRAINT node_counts_divisor_positive
""",
    "UPDATE node_counts SET allocatable = allocatable_num / allocatable_den",
    """
ALTER TABLE node_counts
    ALTER COLUMN allocatable SET NOT NULL,
    DROP COLUMN allocatable_num, DROP COLUMN allocatable_den,
    DROP COLUMN compute_num, DROP COLUMN compute_den,
    ADD CONSTRAINT node_counts_not_negative CHECK (devices >= 0 AND allocatable >= 0)
""",
)


def upgrade() -> None:
    """Keep what the ledger has: it knew whole devices only."""
    _run(UPGRADES)


def downgrade() -> None:
    """Fractions of devices are lost."""
    _run(DOWNGRADES)


def _run(statements: tuple[str, ...]) -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in statements:
        op.execute(statement)
    op.execute("RESET ROLE")
