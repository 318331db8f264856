"""A closed period as finance takes it away: its invoices in a FOCUS file, and its journal."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import View
from app.chargeback.focus_statement import FocusNames
from app.chargeback.journal import totals
from app.store.periods import reopen
from app.store.statements import StatementStore
from app.units.window import Window
from app.workflows.closing import close_period
from app.workflows.exporting import ExportQuestion, focus_export
from app.workflows.journaling import AccountNames, OpenPeriodError, period_journal
from tests.chargeback.focus_rules import read
from tests.workflows.closing_world import (
    DECEMBER_MS,
    TERMS,
    UTC_ZONE,
    an_order,
    put_november,
)

ACCOUNTS = AccountNames(expense="6000", recovery="4000")
NAMES = FocusNames(issuer="Acme", service="GPU Kubernetes", hosts={}, currency="USD")
NOVEMBER = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
LAST_DAY = Window(datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


@pytest.fixture
def closed(database: Engine) -> Engine:
    """November of search (9.003) and ml (3.000000006), closed."""
    put_november(database)
    close_period(an_order(), TERMS, engine=database)
    return database


def exported(engine: Engine, window: Window = NOVEMBER, team: str = "") -> list[dict[str, str]]:
    question = ExportQuestion(window=window, spec="1.3", view=View.STATEMENT, team=team)
    with engine.connect() as connection:
        found = focus_export(connection, question, NAMES, zone=UTC_ZONE)
    return read("".join(csv_blocks(found.profile.names, found.columns)))


def test_the_file_of_a_closed_period_says_what_its_statements_say(closed: Engine) -> None:
    rows = exported(closed)

    with closed.connect() as connection:
        heads = StatementStore(connection).heads(period="2026-11")
    said = {head.number: Decimal(head.total_minor).scaleb(-2) for head in heads}
    found = {
        number: sum((Decimal(r["BilledCost"]) for r in rows if r["InvoiceId"] == number), Decimal())
        for number in said
    }
    assert (
        found
        == said
        == {
            "CB-2026-11-ml": Decimal("3.00"),
            "CB-2026-11-search": Decimal("9.00"),
        }
    )
    rounding = {r["InvoiceId"]: r["BilledCost"] for r in rows if r["x_ChargeKind"] == "rounding"}
    assert rounding == {"CB-2026-11-ml": "-0.000000006", "CB-2026-11-search": "-0.003"}
    assert {row["x_Provisional"] for row in rows} == {"false"}


def test_a_part_of_a_closed_period_is_not_rounded(closed: Engine) -> None:
    rows = exported(closed, LAST_DAY)

    assert {row["x_ChargeKind"] for row in rows} == {"idle"}
    assert sum((Decimal(row["BilledCost"]) for row in rows), Decimal()) == Decimal("12.003000006")


def test_one_team_has_its_own_rounding_only(closed: Engine) -> None:
    assert {row["InvoiceId"] for row in exported(closed, team="ml")} == {"CB-2026-11-ml"}


def test_a_closed_period_is_booked_to_the_cent(closed: Engine) -> None:
    with closed.connect() as connection:
        table = period_journal(connection, "2026-11", ACCOUNTS, zone=UTC_ZONE)

    assert totals(table) == (Decimal("12.00"), Decimal("12.00"))
    assert [row["reference"] for row in table.records()] == [
        *["CB-2026-11-ml v1"] * 2,
        *["CB-2026-11-search v1"] * 2,
    ]
    assert {row["date"] for row in table.records()} == {"2026-11-30"}


def test_a_period_closed_again_takes_back_what_was_booked(closed: Engine) -> None:
    with closed.begin() as connection:
        reopen(connection, "2026-11", reason="wrong owner", author="ada", at_ms=DECEMBER_MS)
    with closed.connect() as connection, pytest.raises(OpenPeriodError, match="is not closed"):
        period_journal(connection, "2026-11", ACCOUNTS, zone=UTC_ZONE)
    close_period(an_order(), TERMS, engine=closed)

    with closed.connect() as connection:
        table = period_journal(connection, "2026-11", ACCOUNTS, zone=UTC_ZONE)

    references = [str(row["reference"]) for row in table.records()]
    assert references[:2] == ["CB-2026-11-ml v1 reversal"] * 2
    assert references[-1] == "CB-2026-11-search v2"
    debits, credited = totals(table)
    assert debits == credited == Decimal("24.00")
