"""The tables as this version wants them; migrations lead there, `app.store.checking` compares."""

from app.store.tables import consumers, facts, inventory, ledger, names, working
from app.store.tables.columns import METADATA

# Partitioned by month of window_start.
PARTITIONED = (
    "charges",
    "cold_starts",
    "consumer_usage",
    "hold_usage",
    "latency_usage",
    "pool_usage",
    "reassignments",
    "service_minutes",
    "token_usage",
)

__all__ = [
    "METADATA",
    "PARTITIONED",
    "consumers",
    "facts",
    "inventory",
    "ledger",
    "names",
    "working",
]
