"""Providers' bills, the nodes' identities at their providers, and the days of the true-up."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE provider_bills (
    bill_id BIGINT NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    billing_account TEXT COLLATE "C" NOT NULL,
    period_start TIMESTAMP WITH TIME ZONE NOT NULL,
    period_end TIMESTAMP WITH TIME ZONE NOT NULL,
    version BIGINT NOT NULL,
    imported_at TIMESTAMP WITH TIME ZONE NOT NULL,
    covered_until TIMESTAMP WITH TIME ZONE NOT NULL,
    file_names TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    spec TEXT COLLATE "C" NOT NULL,
    columns TEXT COLLATE "C" NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    row_count BIGINT NOT NULL,
    kept_count BIGINT NOT NULL,
    billed_total NUMERIC NOT NULL,
    effective_total NUMERIC NOT NULL,
    effective_nanos BIGINT NOT NULL,
    CONSTRAINT provider_bills_pkey PRIMARY KEY (bill_id),
    CONSTRAINT provider_bills_one_version
        UNIQUE (provider, billing_account, period_start, version),
    CONSTRAINT provider_bills_not_empty CHECK (period_end > period_start),
    CONSTRAINT provider_bills_version_counts CHECK (version > 0)
)
""",
    """
CREATE TABLE provider_bill_rows (
    bill_id BIGINT NOT NULL,
    row_number BIGINT NOT NULL,
    charge_start TIMESTAMP WITH TIME ZONE NOT NULL,
    charge_end TIMESTAMP WITH TIME ZONE NOT NULL,
    category SMALLINT NOT NULL,
    unused BOOLEAN NOT NULL,
    compute BOOLEAN NOT NULL,
    service TEXT COLLATE "C" NOT NULL,
    resource_id TEXT COLLATE "C" NOT NULL,
    resource_name TEXT COLLATE "C" NOT NULL,
    tags TEXT COLLATE "C" NOT NULL,
    columns TEXT COLLATE "C" NOT NULL,
    effective_nanos BIGINT NOT NULL,
    CONSTRAINT provider_bill_rows_pkey PRIMARY KEY (bill_id, row_number),
    CONSTRAINT provider_bill_rows_not_empty CHECK (charge_end > charge_start)
)
""",
    """
CREATE INDEX provider_bill_rows_by_charge_start ON provider_bill_rows (bill_id, charge_start)
""",
    """
CREATE TABLE provider_bill_sums (
    bill_id BIGINT NOT NULL,
    service_category TEXT COLLATE "C" NOT NULL,
    service TEXT COLLATE "C" NOT NULL,
    category SMALLINT NOT NULL,
    row_count BIGINT NOT NULL,
    effective_nanos BIGINT NOT NULL,
    CONSTRAINT provider_bill_sums_pkey PRIMARY KEY (bill_id, service_category, service, category)
)
""",
    """
CREATE TABLE true_up_days (
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    marks BIGINT NOT NULL,
    done_marks BIGINT NOT NULL,
    CONSTRAINT true_up_days_pkey PRIMARY KEY (started_at),
    CONSTRAINT true_up_days_not_empty CHECK (until > started_at),
    CONSTRAINT true_up_days_done_a_known_mark CHECK (done_marks <= marks)
)
""",
    """ALTER TABLE nodes ADD COLUMN provider_id TEXT COLLATE "C" DEFAULT '' NOT NULL""",
)

# What the service may do with each; a bill, once taken, is neither changed nor deleted.
RIGHTS = {
    "provider_bills": "SELECT, INSERT",
    "provider_bill_rows": "SELECT, INSERT",
    "provider_bill_sums": "SELECT, INSERT",
    "true_up_days": "SELECT, INSERT, UPDATE, DELETE",
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
    op.execute("DELETE FROM charges WHERE step = 11")
    op.execute("UPDATE charge_days SET true_up_nanos = 0 WHERE true_up_nanos <> 0")
    op.execute("ALTER TABLE nodes DROP COLUMN provider_id")
    for table in ("true_up_days", "provider_bill_sums", "provider_bill_rows", "provider_bills"):
        op.execute(f"DROP TABLE {table}")
    op.execute("RESET ROLE")
