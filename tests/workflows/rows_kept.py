"""A fingerprint of everything that a ledger has stored about windows."""

from sqlalchemy import Engine, text

from app.store.fact_frames import FACT_TABLES

TABLES = (
    *(table.name for table in FACT_TABLES),
    "window_state",
    "window_evidence",
    "window_notes",
    "charges",
    "charge_days",
)
# Without them every comparison would hold.
ALWAYS_FILLED = ("pool_usage", "hold_usage", "token_usage", "window_state", "window_evidence")


def fingerprint(engine: Engine) -> dict[str, str]:
    """Return by table a hash of its rows, whatever their order."""
    found = {}
    with engine.connect() as connection:
        for table in TABLES:
            rows = f"SELECT md5(string_agg(r::text, ';' ORDER BY r::text)) FROM {table} r"
            found[table] = str(connection.scalar(text(rows)))
    assert all(found[table] != "None" for table in ALWAYS_FILLED), found
    return found
