"""What routes answer of bills, over the database."""

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from app.web.stored_bills import StoredBills
from tests.sources.focus_files import COLUMNS_1_3, a_focus_row, write_focus
from tests.workflows.billed import Bills, a_billed_ledger


@dataclass(frozen=True, slots=True)
class Request(StoredBills):
    """One request's view of the database."""

    connection: Connection
    zone: ZoneInfo
    currency: str


def test_bills_and_their_reconciliation_are_read_as_they_are_stored(
    database: Engine, tmp_path: Path
) -> None:
    a_billed_ledger(database)
    bills = Bills(database, tmp_path)
    bills.take(a_focus_row(cost="300.00"))
    bills.take(a_focus_row(cost="301.00"))
    path = write_focus(tmp_path / "late.parquet", [a_focus_row(cost="302.00")], COLUMNS_1_3)
    bills.take_file(path)

    with database.connect() as connection:
        asked = Request(connection, bills.zone, "USD")
        listed = asked.bills().records()
        found = asked.reconciliation("2026-11")

    assert [(row["version"], row["superseded"], row["spec"]) for row in listed] == [
        (1, True, "1.0"),
        (2, True, "1.0"),
        (3, False, "1.3"),
    ]
    bill, total = found.summary.records()
    assert str(bill["true_up"]) == str(total["true_up"]) == "14.00"
    assert [row["node"] for row in found.nodes.records()] == ["gpu-1"]
    assert found.unmatched.rows == ()
