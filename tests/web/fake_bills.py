"""Two versions of one bill and its reconciliation, in round figures."""

from decimal import Decimal

from app.chargeback.periods import PeriodError
from app.chargeback.reconciliation_tables import NODE_COLUMNS, SUMMARY_COLUMNS, UNMATCHED_COLUMNS
from app.chargeback.tables import Cell, Table
from app.workflows.bill_tables import BILL_COLUMNS
from app.workflows.reconciling import ReconciliationTables

_MONEY = {"provider_bill": Decimal(10), "pool_cost": Decimal(7), "true_up": Decimal("3.00")}


class FakeBills:
    """Answers the same bill for every month."""

    def bills(self) -> Table:
        return _table(
            BILL_COLUMNS,
            {"version": 1, "superseded": True, "period_start": "2026-10-01T00:00:00Z"},
            {"version": 2, "superseded": False, "period_start": "2026-10-01T00:00:00Z"},
        )

    def reconciliation(self, period: str) -> ReconciliationTables:
        if period[:2] != "20":
            message = f"{period!r} is not a period."
            raise PeriodError(message, hint="Write a month as 2026-10.")
        of_bill: dict[str, Cell] = {"period": period, "complete": True, **_MONEY}
        return ReconciliationTables(
            summary=_table(SUMMARY_COLUMNS, of_bill, {**of_bill, "provider": ""}),
            unmatched=_table(UNMATCHED_COLUMNS, {"reason": "tax"}, {"reason": "no_node"}),
            nodes=_table(NODE_COLUMNS, {"node": "gpu-1", "true_up": Decimal("3.00")}),
        )


def _table(columns: tuple[str, ...], *rows: dict[str, Cell]) -> Table:
    same: dict[str, Cell] = {"provider": "AWS", "billing_account": "1234", "currency": "USD"}
    return Table(
        columns, tuple(tuple({**same, **row}.get(name, "") for name in columns) for row in rows)
    )
