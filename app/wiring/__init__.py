"""Builds the parts from the settings: the engine, the clients, and the ledger that uses them."""

from sqlalchemy import Connection

from app.wiring.ledger import (
    FutureWindowError,
    Ledger,
    RejectedError,
    open_ledger,
    refuse_future,
)

__all__ = [
    "Connection",
    "FutureWindowError",
    "Ledger",
    "RejectedError",
    "open_ledger",
    "refuse_future",
]
