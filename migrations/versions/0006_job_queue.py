"""The job queue's own tables, as the installed procrastinate brings them."""

from typing import Any, cast

import psycopg
from alembic import op
from procrastinate.schema import SchemaManager

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

GRANTS = """
DO $grants$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT oid::regclass AS name, relkind FROM pg_class
        WHERE relname LIKE 'procrastinate\\_%' AND relkind IN ('r', 'S')
            AND relnamespace = 'public'::regnamespace
    LOOP
        IF found.relkind = 'r' THEN
            EXECUTE format(
                'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO gpuledger_service', found.name
            );
        ELSE
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO gpuledger_service', found.name);
        END IF;
    END LOOP;
END
$grants$
"""

DROPS = """
DO $drops$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT oid::regclass AS name FROM pg_class
        WHERE relname LIKE 'procrastinate\\_%' AND relkind = 'r'
            AND relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('DROP TABLE %s CASCADE', found.name);
    END LOOP;
    FOR found IN SELECT oid::regprocedure AS name FROM pg_proc
        WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', found.name);
    END LOOP;
    FOR found IN SELECT oid::regtype AS name FROM pg_type
        WHERE typname LIKE 'procrastinate\\_%' AND typnamespace = 'public'::regnamespace
            AND typtype IN ('e', 'c')
    LOOP
        EXECUTE format('DROP TYPE %s CASCADE', found.name);
    END LOOP;
END
$drops$
"""


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    # Many statements in one text, with percent signs in them: only the driver takes it as it is.
    driver = cast("psycopg.Connection[Any]", op.get_bind().connection.driver_connection)
    driver.execute(SchemaManager.get_schema())
    op.execute(GRANTS)
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    op.execute(DROPS)
    op.execute("RESET ROLE")
