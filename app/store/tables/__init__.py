"""The tables as this version wants them; migrations lead there, `app.store.checking` compares."""

from app.store.tables import facts, inventory, ledger, names, working
from app.store.tables.columns import METADATA

# Partitioned by month of window_start.
PARTITIONED = (
    "charges",
    "cold_starts",
    "hold_usage",
    "latency_usage",
    "pool_usage",
    "service_minutes",
    "token_usage",
)

__all__ = ["METADATA", "PARTITIONED", "facts", "inventory", "ledger", "names", "working"]
