"""A ledger whose one node cost 288.00 on 23 November, for bills of its provider."""

from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from app.chargeback.periods import parse_period
from app.chargeback.reconciliation import Reconciled
from app.store.inventory import InventoryStore
from app.units.window import HOUR_MS
from app.workflows.bill_imports import BillTerms, ImportedBills, import_bills
from app.workflows.rating import rate_window
from app.workflows.reconciling import ReconciledPeriod, reconciliation_of
from tests.sources.focus_files import Row, write_focus
from tests.store.builders import CLUSTER, NOON_MS, a_count, a_node
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span

DAY_MS = 24 * HOUR_MS
DECEMBER_MS = NOON_MS + 30 * DAY_MS


def a_billed_ledger(engine: Engine) -> None:
    """8 GPUs of the machine i-00000001, 12 hours from noon, 3.00 an hour."""
    prices(engine)
    contract(engine)
    collect(engine, hours=12)
    with engine.begin() as connection:
        node = replace(a_node(), provider_id="aws:///us-east-1a/i-00000001")
        InventoryStore(connection, CLUSTER).put_node(node, [a_count()], at_ms=NOON_MS)
    rate_window(CLUSTER, span(12), engine=engine, billing_zone=UTC_ZONE)


@dataclass(frozen=True, slots=True)
class Bills:
    """What is done with bills of such a ledger, and what comes of it."""

    engine: Engine
    folder: Path
    zone: ZoneInfo = UTC_ZONE

    def take(
        self, *rows: Row, at_ms: int = DECEMBER_MS, dry_run: bool = False, account: str = ""
    ) -> ImportedBills:
        path = write_focus(self.folder / "bill.csv", rows)
        return import_bills(
            [path],
            self.terms(at_ms),
            billing_account=account,
            dry_run=dry_run,
        )

    def take_file(self, path: Path) -> ImportedBills:
        return import_bills([path], self.terms())

    def terms(self, at_ms: int = DECEMBER_MS) -> BillTerms:
        return BillTerms(engine=self.engine, currency="USD", billing_zone=self.zone, at_ms=at_ms)

    def rate(self) -> None:
        rate_window(CLUSTER, span(12), engine=self.engine, billing_zone=self.zone)

    def lines(self) -> list[tuple[str, str, int]]:
        """The true-up lines: node, team, nanos."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT n.name, coalesce(t.name, ''), c.cost_nanos FROM charges AS c"
                    " JOIN nodes AS n USING (cluster_id, node_id) LEFT JOIN teams AS t"
                    " USING (team_id) WHERE c.kind = 9 AND c.step = 11 ORDER BY 1, 2, 3"
                )
            ).all()
        return [(row[0], row[1], row[2]) for row in rows]

    def whole_lines(self) -> list[tuple[object, ...]]:
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT * FROM charges WHERE step = 11 ORDER BY 1, 4"))
            return [tuple(row) for row in rows]

    def rollup(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(text("SELECT sum(true_up_nanos) FROM charge_days")) or 0)

    def days(self) -> list[tuple[str, int]]:
        """The true-up in the rollup, by billing day."""
        query = "SELECT day, sum(true_up_nanos) FROM charge_days GROUP BY day ORDER BY day"
        with self.engine.connect() as connection:
            rows = connection.execute(text(query)).all()
        return [(str(row[0]), int(row[1])) for row in rows if row[1]]

    def reconcile(self) -> ReconciledPeriod:
        with self.engine.connect() as connection:
            return reconciliation_of(connection, parse_period("2026-11", self.zone), self.zone)

    def total(self) -> Reconciled:
        return self.reconcile().reconciliation.total
