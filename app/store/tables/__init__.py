"""The tables as this version wants them; migrations lead there, `app.store.checking` compares."""

from app.store.tables import (
    adjustments,
    commitments,
    consumers,
    facts,
    inventory,
    ledger,
    names,
    ownership,
    periods,
    planning,
    price_inputs,
    provider_bills,
    redistribution,
    report_runs,
    working,
)
from app.store.tables.columns import METADATA

# Partitioned by month of window_start.
PARTITIONED = (
    "allotments",
    "charges",
    "cold_starts",
    "commitment_hours",
    "consumer_usage",
    "hold_usage",
    "latency_usage",
    "pool_energy",
    "pool_usage",
    "reassignments",
    "service_minutes",
    "token_usage",
)

__all__ = [
    "METADATA",
    "PARTITIONED",
    "adjustments",
    "commitments",
    "consumers",
    "facts",
    "inventory",
    "ledger",
    "names",
    "ownership",
    "periods",
    "planning",
    "price_inputs",
    "provider_bills",
    "redistribution",
    "report_runs",
    "working",
]
