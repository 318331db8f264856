"""Whether a database is what this version wants: columns, constraints, indexes, triggers, rights.

The wanted schema is built from the models in a schema of its own, described by the catalogue in the
same words as the real one, and rolled back. So what Alembic does not compare is compared as well.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, Engine, text

from app.store.engine import SERVICE_ROLE
from app.store.tables import METADATA, guards

_WANTED = "gpuledger_wanted"

# Each row is one fact about a table, in words that do not name the schema.
_FACTS = """
WITH ours AS (
    SELECT c.oid, c.relname, c.relkind FROM pg_class AS c
    WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition AND c.relname NOT LIKE 'procrastinate\\_%'
        AND c.relname <> 'alembic_version'
)
SELECT o.relname || ' is ' || coalesce('partitioned by ' || pg_get_partkeydef(o.oid), 'a table')
FROM ours AS o
UNION ALL
SELECT o.relname || '.' || a.attname || ' is ' || format_type(a.atttypid, a.atttypmod)
    || coalesce(' collated ' || quote_ident(l.collname), '')
    || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
    || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM ours AS o JOIN pg_attribute AS a ON a.attrelid = o.oid
LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef AS d ON d.adrelid = o.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT o.relname || ' has ' || n.conname || ': ' || pg_get_constraintdef(n.oid)
FROM ours AS o JOIN pg_constraint AS n ON n.conrelid = o.oid
WHERE n.contype <> 'n'
UNION ALL
SELECT o.relname || ' has ' || i.relname || ': ' || pg_get_indexdef(i.oid)
FROM ours AS o JOIN pg_index AS x ON x.indrelid = o.oid JOIN pg_class AS i ON i.oid = x.indexrelid
UNION ALL
SELECT o.relname || ' has ' || t.tgname || ': ' || pg_get_triggerdef(t.oid)
    || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' (disabled)' END
FROM ours AS o JOIN pg_trigger AS t ON t.tgrelid = o.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
    || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END
    || coalesce(' set ' || array_to_string(p.proconfig, ', '), '') || ': ' || p.prosrc
FROM pg_proc AS p
WHERE p.pronamespace = CAST(:schema AS regnamespace) AND p.prokind = 'f'
    AND p.proname NOT LIKE 'procrastinate\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.objid = p.oid AND e.deptype = 'e')
"""

# What the service may do beyond its rights would make the guards worthless.
_EXCESS = """
SELECT c.relname || ': ' || :role || ' may ' || p.privilege
FROM pg_class AS c, unnest(ARRAY['TRUNCATE', 'TRIGGER', 'REFERENCES']) AS p(privilege)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND has_table_privilege(:role, c.oid, p.privilege)
UNION ALL
SELECT c.relname || ': ' || :role || ' owns it'
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND pg_get_userbyid(c.relowner) = :role
UNION ALL
SELECT c.relname || ': ' || :role || ' may write into the partition, past the guard'
FROM pg_class AS c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS p(privilege)
WHERE c.relnamespace = 'public'::regnamespace AND c.relispartition AND c.relkind = 'r'
    AND has_table_privilege(:role, c.oid, p.privilege)
"""
_LACKING = """
SELECT c.relname || ': ' || :role || ' may not ' || p.privilege
FROM pg_class AS c, unnest(ARRAY['SELECT']) AS p(privilege)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition AND NOT has_table_privilege(:role, c.oid, p.privilege)
"""


def check(engine: Engine) -> tuple[str, ...]:
    """Return how the database differs from this version's models; () if it does not.

    ``engine`` works as a login that may create a schema; whatever it creates is rolled back.
    """
    with engine.connect() as connection, connection.begin() as transaction:
        found = _facts(connection, "public")
        rights = _rights(connection)
        wanted = _wanted(connection)
        transaction.rollback()
    missing = [f"missing: {fact}" for fact in sorted(wanted - found)]
    unexpected = [f"unexpected: {fact}" for fact in sorted(found - wanted)]
    return (*missing, *unexpected, *rights)


def _wanted(connection: Connection) -> frozenset[str]:
    connection.execute(text(f"CREATE SCHEMA {_WANTED}"))
    connection.execute(text(f"SET LOCAL search_path = {_WANTED}, public"))
    METADATA.create_all(connection, checkfirst=False)
    for statement in guards.STATEMENTS:
        connection.execute(text(statement))
    return _facts(connection, _WANTED)


def _facts(connection: Connection, schema: str) -> frozenset[str]:
    rows: Iterable[str] = connection.scalars(text(_FACTS), {"schema": schema})
    return frozenset(row.replace(f"{schema}.", "") for row in rows)


def _rights(connection: Connection) -> tuple[str, ...]:
    known = connection.scalar(
        text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": SERVICE_ROLE}
    )
    if not known:
        return (f"missing: role {SERVICE_ROLE}",)
    return tuple(
        sorted(
            row
            for query in (_EXCESS, _LACKING)
            for row in connection.scalars(text(query), {"role": SERVICE_ROLE})
        )
    )
