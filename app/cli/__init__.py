"""The command line: reads arguments and the clock, calls the ledger, prints."""

from app.cli.main import app, main

__all__ = ["app", "main"]
