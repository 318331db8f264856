"""Charges, their rollups and inputs."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE charges (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    node_id BIGINT NOT NULL,
    charge_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    namespace_id BIGINT NOT NULL,
    team_id BIGINT NOT NULL,
    kind SMALLINT NOT NULL,
    price_id BIGINT NOT NULL,
    step SMALLINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    gpu_ms BIGINT NOT NULL,
    cost_nanos BIGINT,
    CONSTRAINT charges_pkey PRIMARY KEY (cluster_id, window_start, node_id, charge_id),
    CONSTRAINT charges_ended_after_started CHECK (ended_at >= started_at)
) PARTITION BY RANGE (window_start)
""",
    "CREATE INDEX charges_by_id ON charges (charge_id)",
    """
CREATE TABLE charge_days (
    cluster_id BIGINT NOT NULL,
    day DATE NOT NULL,
    team_id BIGINT NOT NULL,
    namespace_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    used_ms BIGINT NOT NULL,
    idle_ms BIGINT NOT NULL,
    unmeasured_ms BIGINT NOT NULL,
    unallocated_ms BIGINT NOT NULL,
    stranded_ms BIGINT NOT NULL,
    unobserved_ms BIGINT NOT NULL,
    unpriced_ms BIGINT NOT NULL,
    used_nanos BIGINT NOT NULL,
    idle_nanos BIGINT NOT NULL,
    unmeasured_nanos BIGINT NOT NULL,
    unallocated_nanos BIGINT NOT NULL,
    stranded_nanos BIGINT NOT NULL,
    unobserved_nanos BIGINT NOT NULL,
    commitment_unused_nanos BIGINT NOT NULL,
    redistributed_nanos BIGINT NOT NULL,
    true_up_nanos BIGINT NOT NULL,
    adjustment_nanos BIGINT NOT NULL,
    rounding_nanos BIGINT NOT NULL,
    CONSTRAINT charge_days_pkey PRIMARY KEY (cluster_id, day, team_id, namespace_id, gpu_model_id)
)
""",
    """
CREATE TABLE billing_periods (
    name TEXT COLLATE "C" NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT billing_periods_pkey PRIMARY KEY (name),
    CONSTRAINT billing_periods_not_empty CHECK (until > started_at),
    CONSTRAINT billing_periods_no_overlap EXCLUDE USING gist (tstzrange(started_at, until)
        WITH &&)
)
""",
    """
CREATE TABLE price_imports (
    version BIGINT NOT NULL,
    imported_at TIMESTAMP WITH TIME ZONE NOT NULL,
    file_name TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    added BIGINT NOT NULL,
    superseded BIGINT NOT NULL,
    CONSTRAINT price_imports_pkey PRIMARY KEY (version)
)
""",
    """
CREATE TABLE price_rows (
    price_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    cluster TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    instance_type TEXT COLLATE "C" NOT NULL,
    gpu_model TEXT COLLATE "C" NOT NULL,
    capacity_type TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    price NUMERIC(30, 12) NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE,
    source TEXT COLLATE "C" NOT NULL,
    superseded_version BIGINT,
    CONSTRAINT price_rows_pkey PRIMARY KEY (price_id, version),
    CONSTRAINT price_rows_not_negative CHECK (price >= 0),
    CONSTRAINT price_rows_not_empty CHECK (valid_to > valid_from),
    CONSTRAINT price_rows_unit_known CHECK (unit IN ('gpu_hour', 'node_hour')),
    CONSTRAINT price_rows_superseded_later CHECK (superseded_version > version),
    CONSTRAINT price_rows_one_at_a_time EXCLUDE USING gist (cluster WITH =, provider WITH =,
        region WITH =, instance_type WITH =, gpu_model WITH =, capacity_type WITH =, node WITH =,
        unit WITH =, tstzrange(valid_from, valid_to) WITH &&) WHERE (superseded_version IS NULL),
    CONSTRAINT price_rows_version_fkey FOREIGN KEY(version) REFERENCES price_imports (version)
)
""",
    """
CREATE TABLE contracts (
    version BIGINT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL,
    file_name TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    yaml TEXT COLLATE "C" NOT NULL,
    CONSTRAINT contracts_pkey PRIMARY KEY (version)
)
""",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "charges": "SELECT, INSERT, DELETE",
    "charge_days": "SELECT, INSERT, UPDATE, DELETE",
    "billing_periods": "SELECT",
    "price_imports": "SELECT, INSERT",
    "price_rows": "SELECT, INSERT, UPDATE",
    "contracts": "SELECT, INSERT",
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
