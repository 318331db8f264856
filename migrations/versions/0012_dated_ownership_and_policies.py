"""Dated ownership and policies."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """ALTER TABLE contracts ADD COLUMN zone TEXT COLLATE "C" DEFAULT 'UTC' NOT NULL""",
    """
CREATE TABLE team_affiliations (
    contract_version BIGINT NOT NULL,
    team_id BIGINT NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE NOT NULL,
    department TEXT COLLATE "C" NOT NULL,
    cost_center TEXT COLLATE "C" NOT NULL,
    CONSTRAINT team_affiliations_pkey PRIMARY KEY (contract_version, team_id, valid_from),
    CONSTRAINT team_affiliations_contract_version_fkey FOREIGN KEY (contract_version)
        REFERENCES contracts (version),
    CONSTRAINT team_affiliations_not_empty CHECK (valid_to > valid_from)
)
""",
    """
CREATE TABLE redistribution_weights (
    cluster_id BIGINT NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    charge_id BIGINT NOT NULL,
    debit_id BIGINT NOT NULL,
    charge_kind SMALLINT NOT NULL,
    basis SMALLINT NOT NULL,
    weight BIGINT NOT NULL,
    weight_sum BIGINT NOT NULL,
    CONSTRAINT redistribution_weights_pkey PRIMARY KEY (cluster_id, window_start, charge_id),
    CONSTRAINT redistribution_weights_part_of_all CHECK (weight <= weight_sum)
)
""",
    "CREATE INDEX redistribution_weights_by_charge ON redistribution_weights (charge_id)",
    # Cost centers without dates are those of the contract in force, for all time.
    """
INSERT INTO team_affiliations
SELECT c.version, t.team_id, to_timestamp(0), to_timestamp(253370764800), '', t.cost_center
FROM teams AS t CROSS JOIN (SELECT max(version) AS version FROM contracts) AS c
WHERE c.version IS NOT NULL AND t.cost_center <> ''
""",
)

# What the service may do with each; it owns none of them and truncates none.
RIGHTS = {
    "team_affiliations": "SELECT, INSERT",
    "redistribution_weights": "SELECT, INSERT, DELETE",
}

EVENTS = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("update_from", "UPDATE", "OLD"),
    ("update_to", "UPDATE", "NEW"),
)


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    for name, operation, side in EVENTS:
        op.execute(
            f"CREATE TRIGGER redistribution_weights_closed_{name} AFTER {operation}"
            f" ON redistribution_weights REFERENCING {side} TABLE AS touched"
            f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_periods()"
        )
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute("DELETE FROM charges WHERE step IN (1, 2)")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE contracts DROP COLUMN zone")
    op.execute("RESET ROLE")
