"""How Alembic reaches the database: the caller's connection, or the configured one."""

import os
from pathlib import Path

from alembic import context
from sqlalchemy import Connection

from app.store.engine import open_engine
from app.store.migrating import is_ours
from app.store.tables import METADATA


def _run(connection: Connection) -> None:
    # Timeouts come with the connection: a statement before this call would leave the upgrade
    # uncommitted, without an error.
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        include_name=is_ours,
        compare_type=True,
        compare_server_default=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    engine = open_engine(
        os.environ.get("GPULEDGER_DATABASE_URL"),
        Path(os.environ.get("GPULEDGER_DATA_DIR", "./var")),
        role=None,
    )
    with engine.connect() as opened:
        _run(opened)
    engine.dispose()
