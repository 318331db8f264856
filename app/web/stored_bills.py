"""Providers' bills over the database."""

from zoneinfo import ZoneInfo

from app.chargeback.tables import Table
from app.store.provider_bills import ProviderBillStore
from app.wiring import Connection
from app.workflows.bill_tables import bill_table
from app.workflows.reconciling import ReconciliationTables, reconciliation_tables


class StoredBills:
    """See `app.web.bill_reading.BillLedger`."""

    __slots__ = ()
    connection: Connection
    zone: ZoneInfo
    currency: str

    def bills(self) -> Table:
        """Return every version of every bill."""
        return bill_table(ProviderBillStore(self.connection).all(), self.currency)

    def reconciliation(self, period: str) -> ReconciliationTables:
        """Return a month's bills against the ledger."""
        return reconciliation_tables(self.connection, period, self.zone, self.currency)
