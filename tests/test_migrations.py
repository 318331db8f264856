"""The migrations lead to what the models say, and back."""

from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.store.checking import check
from app.store.engine import OWNER_ROLE, SERVICE_ROLE, SchemaError, engine_of
from app.store.migrating import (
    configuration,
    downgrade,
    migrations_folder,
    require_head,
    upgrade,
)
from app.store.tables import PARTITIONED


def test_there_is_one_head() -> None:
    heads = ScriptDirectory.from_config(configuration()).get_heads()

    assert len(heads) == 1


def test_upgrading_an_empty_database_gives_exactly_the_models(empty_database: URL) -> None:
    engine = engine_of(empty_database, role=None)

    before, after = upgrade(engine)
    differences = check(engine)
    engine.dispose()

    assert (before, differences) == ("", ())
    assert after == ScriptDirectory.from_config(configuration()).get_current_head()


def test_a_login_that_owns_its_database_and_is_no_superuser_can_upgrade_it(
    empty_database: URL,
) -> None:
    superuser = engine_of(empty_database, role=None)
    with superuser.begin() as connection:
        connection.execute(text("CREATE ROLE ledger_login LOGIN CREATEROLE"))
        for role in (OWNER_ROLE, SERVICE_ROLE):
            connection.execute(text(f"GRANT {role} TO ledger_login WITH ADMIN OPTION"))
        connection.execute(text(f"ALTER DATABASE {empty_database.database} OWNER TO ledger_login"))
    login = empty_database.set(username="ledger_login")
    engine, service = engine_of(login, role=None), engine_of(login)

    upgrade(engine)
    differences = check(engine)
    with service.begin() as connection:
        made = connection.scalar(text("SELECT ensure_fact_partitions('2026-11-01')"))
        connection.execute(text("INSERT INTO clusters VALUES (1, 'prod-eu')"))
    engine.dispose()
    service.dispose()
    with superuser.begin() as connection:
        connection.execute(text("REASSIGN OWNED BY ledger_login TO postgres"))
        connection.execute(text("DROP OWNED BY ledger_login"))
        connection.execute(text("DROP ROLE ledger_login"))
    superuser.dispose()

    assert (differences, made) == ((), len(PARTITIONED))


def test_upgrading_again_changes_nothing(owner: Engine) -> None:
    before, after = upgrade(owner)

    assert before == after
    assert check(owner) == ()


def test_every_revision_can_be_taken_back_and_applied_again(empty_database: URL) -> None:
    engine = engine_of(empty_database, role=None)
    upgrade(engine)

    downgrade(engine, "base")
    with engine.connect() as connection:
        left = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p', 'S') AND relname <> 'alembic_version'"
            )
        ).all()
    upgrade(engine)
    differences = check(engine)
    engine.dispose()

    assert left == []
    assert differences == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE price_rows DROP CONSTRAINT price_rows_one_at_a_time", "price_rows_one_at"),
        ("ALTER TABLE hold_usage DROP CONSTRAINT hold_usage_conserved", "hold_usage_conserved"),
        ("DROP TRIGGER charges_closed_insert ON charges", "charges_closed_insert"),
        ("ALTER TABLE charges DISABLE TRIGGER charges_closed_delete", "closed_delete"),
        ("DROP INDEX charges_by_id", "charges_by_id"),
        ("ALTER TABLE clusters ADD COLUMN owner text", "clusters.owner is text"),
        ('ALTER TABLE nodes ALTER COLUMN name TYPE text COLLATE "default"', "nodes.name is"),
        (f"GRANT TRUNCATE ON charges TO {SERVICE_ROLE}", "may TRUNCATE"),
        (f"REVOKE SELECT ON charges FROM {SERVICE_ROLE}", "may not SELECT"),
        ("CREATE TABLE stray (id bigint)", "stray is a table"),
    ],
)
def test_a_change_made_by_hand_is_named(owner: Engine, change: str, said: str) -> None:
    with owner.begin() as connection:
        connection.execute(text(change))

    differences = check(owner)

    assert differences
    assert all(said in difference or "stray" in difference for difference in differences)


def test_partitions_and_the_job_queue_are_no_differences(database: Engine, owner: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("SELECT ensure_fact_partitions('2026-11-01')"))

    assert check(owner) == ()


def test_alembic_finds_nothing_to_generate(database: Engine, owner: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("SELECT ensure_fact_partitions('2026-11-01')"))

    with owner.connect() as connection:
        command.check(configuration(connection))


def test_a_database_that_was_never_migrated_is_refused_with_the_command(
    empty_database: URL,
) -> None:
    engine = engine_of(empty_database, role=None)

    with (
        pytest.raises(SchemaError, match="revision none") as refusal,
        engine.connect() as connection,
    ):
        require_head(connection)
    engine.dispose()

    assert "gpuledger db upgrade" in refusal.value.hint


def test_a_migrated_database_is_at_the_head(database: Engine) -> None:
    with database.connect() as connection:
        require_head(connection)
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))

    assert revision == ScriptDirectory.from_config(configuration()).get_current_head()


def test_revisions_import_nothing_of_ours() -> None:
    revisions = sorted(Path(migrations_folder(), "versions").glob("*.py"))

    assert revisions
    assert [path.name for path in revisions if "app." in path.read_text()] == []
