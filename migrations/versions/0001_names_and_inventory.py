"""Roles, names and what Kubernetes said."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

# Roles belong to the whole server: another database of it may have made them already.
ROLES = """
DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['gpuledger_owner', 'gpuledger_service'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another upgrade was quicker
        END;
        -- A superuser may work as any role; another login needs to be a member.
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL; -- somebody else made the roles and has to have granted them
            END;
        END IF;
    END LOOP;
    -- What the owner makes in this database is all it may do; the service may only look around.
    GRANT CREATE, USAGE ON SCHEMA public TO gpuledger_owner;
    GRANT USAGE ON SCHEMA public TO gpuledger_service;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT SELECT ON alembic_version TO gpuledger_service;
END
$roles$
"""

TABLES = (
    """
CREATE TABLE clusters (
    cluster_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    CONSTRAINT clusters_pkey PRIMARY KEY (cluster_id),
    CONSTRAINT clusters_unique_name UNIQUE (name),
    CONSTRAINT clusters_name_given CHECK (name <> '')
)
""",
    """
CREATE TABLE gpu_models (
    gpu_model_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    CONSTRAINT gpu_models_pkey PRIMARY KEY (gpu_model_id),
    CONSTRAINT gpu_models_unique_name UNIQUE (name),
    CONSTRAINT gpu_models_name_given CHECK (name <> '')
)
""",
    """
CREATE TABLE namespaces (
    namespace_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    CONSTRAINT namespaces_pkey PRIMARY KEY (namespace_id),
    CONSTRAINT namespaces_unique_name UNIQUE (name),
    CONSTRAINT namespaces_name_given CHECK (name <> '')
)
""",
    """
CREATE TABLE models (
    model_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    CONSTRAINT models_pkey PRIMARY KEY (model_id),
    CONSTRAINT models_unique_name UNIQUE (name),
    CONSTRAINT models_name_given CHECK (name <> '')
)
""",
    """
CREATE TABLE teams (
    team_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    cost_center TEXT COLLATE "C" NOT NULL,
    CONSTRAINT teams_pkey PRIMARY KEY (team_id),
    CONSTRAINT teams_unique_name UNIQUE (name),
    CONSTRAINT teams_name_given CHECK (name <> '')
)
""",
    """
CREATE TABLE nodes (
    cluster_id BIGINT NOT NULL,
    node_id BIGINT NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    zone TEXT COLLATE "C" NOT NULL,
    instance_type TEXT COLLATE "C" NOT NULL,
    capacity_type TEXT COLLATE "C" NOT NULL,
    labels JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT nodes_pkey PRIMARY KEY (cluster_id, node_id),
    CONSTRAINT nodes_deleted_after_created CHECK (deleted_at >= created_at)
)
""",
    """
CREATE TABLE node_counts (
    cluster_id BIGINT NOT NULL,
    node_id BIGINT NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    devices INTEGER NOT NULL,
    allocatable INTEGER NOT NULL,
    CONSTRAINT node_counts_pkey PRIMARY KEY (cluster_id, node_id, gpu_model_id, started_at),
    CONSTRAINT node_counts_not_empty CHECK (until > started_at),
    CONSTRAINT node_counts_not_negative CHECK (devices >= 0 AND allocatable >= 0),
    CONSTRAINT node_counts_one_at_a_time EXCLUDE USING gist (cluster_id WITH =, node_id WITH
        =, gpu_model_id WITH =, tstzrange(started_at, until) WITH &&)
)
""",
    """
CREATE TABLE workloads (
    cluster_id BIGINT NOT NULL,
    workload_id BIGINT NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    CONSTRAINT workloads_pkey PRIMARY KEY (cluster_id, workload_id)
)
""",
    """
CREATE TABLE holds (
    cluster_id BIGINT NOT NULL,
    hold_id BIGINT NOT NULL,
    pod_uid TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    pod TEXT COLLATE "C" NOT NULL,
    node_id BIGINT NOT NULL,
    node_uid TEXT COLLATE "C" NOT NULL,
    node_name TEXT COLLATE "C" NOT NULL,
    gpu_model_id BIGINT NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    units INTEGER NOT NULL,
    share_num BIGINT NOT NULL,
    share_den BIGINT NOT NULL,
    exclusive BOOLEAN NOT NULL,
    workload_id BIGINT NOT NULL,
    labels JSONB NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    start_unsure_ms BIGINT NOT NULL,
    end_unsure_ms BIGINT NOT NULL,
    end_lost BOOLEAN NOT NULL,
    scheduled_at TIMESTAMP WITH TIME ZONE,
    ready_at TIMESTAMP WITH TIME ZONE,
    source SMALLINT NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT holds_pkey PRIMARY KEY (cluster_id, hold_id),
    CONSTRAINT holds_ended_after_started CHECK (ended_at >= started_at),
    CONSTRAINT holds_share_positive CHECK (share_num > 0 AND share_den > 0),
    CONSTRAINT holds_unsure_not_negative CHECK (start_unsure_ms >= 0 AND end_unsure_ms >= 0)
)
""",
    "CREATE INDEX holds_by_end ON holds (cluster_id, ended_at)",
    "CREATE INDEX holds_by_pod ON holds (cluster_id, pod_uid)",
    """
CREATE TABLE watch_spans (
    cluster_id BIGINT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT watch_spans_pkey PRIMARY KEY (cluster_id, started_at),
    CONSTRAINT watch_spans_until_after_started CHECK (until >= started_at)
)
""",
    """
CREATE TABLE inventory_notes (
    cluster_id BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT inventory_notes_pkey PRIMARY KEY (cluster_id, kind, subject, detail)
)
""",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "clusters": "SELECT, INSERT, UPDATE, DELETE",
    "gpu_models": "SELECT, INSERT, UPDATE, DELETE",
    "namespaces": "SELECT, INSERT, UPDATE, DELETE",
    "models": "SELECT, INSERT, UPDATE, DELETE",
    "teams": "SELECT, INSERT, UPDATE, DELETE",
    "nodes": "SELECT, INSERT, UPDATE, DELETE",
    "node_counts": "SELECT, INSERT, UPDATE, DELETE",
    "workloads": "SELECT, INSERT, UPDATE, DELETE",
    "holds": "SELECT, INSERT, UPDATE, DELETE",
    "watch_spans": "SELECT, INSERT, UPDATE, DELETE",
    "inventory_notes": "SELECT, INSERT, UPDATE, DELETE",
}


def upgrade() -> None:
    op.execute(ROLES)
    # Exclusion constraints compare identities with =, which needs this in GiST.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
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
