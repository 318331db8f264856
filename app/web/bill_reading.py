"""What routes ask of providers' bills."""

from typing import Protocol

from app.chargeback.tables import Table
from app.workflows.reconciling import ReconciliationTables


class BillLedger(Protocol):
    """One request's view of what providers charged."""

    def bills(self) -> Table:
        """Return every version of every bill (`app.workflows.bill_tables`), in order."""
        ...

    def reconciliation(self, period: str) -> ReconciliationTables:
        """Return a month's bills against the ledger; refuse what is no period's name."""
        ...
