"""The database: engine, tables, migrations, and one store a concept; all SQL is here."""
