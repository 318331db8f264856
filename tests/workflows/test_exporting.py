"""FOCUS exports over the database: what is read, at which grain, and that the sums agree."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, func, insert, select

from app.attribution.charges import ChargeKind
from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import SpecError, View
from app.chargeback.focus_lines import ExportGrain
from app.chargeback.focus_statement import FocusNames
from app.pricing.rows import PriceRow, PriceUnit
from app.store.charges import ChargeStore
from app.store.naming import NameStore
from app.store.prices import PriceStore
from app.store.tables.adjustments import ADJUSTMENT_RUNS, ADJUSTMENTS
from app.store.tables.ledger import CHARGES
from app.units.window import HOUR_MS, Window, to_ms
from app.usage.identity import cluster_id, gpu_model_id, team_id
from app.workflows.exporting import (
    ExportQuestion,
    ExportWindowError,
    FocusExport,
    focus_export,
)
from tests.chargeback.focus_rules import faults, read
from tests.store.builders import CLUSTER, H100, NOON_MS, a_charge, an_hour, charges

NAMES = FocusNames(issuer="Acme", service="GPU Kubernetes", hosts={}, currency="USD")
DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
PRICE = PriceRow(
    unit=PriceUnit.GPU_HOUR,
    price=Decimal("3.00"),
    list_price=Decimal("3.50"),
    currency="USD",
    valid_from_ms=NOON_MS - HOUR_MS,
)


def exported(
    connection: Connection,
    *,
    window: Window = DAY,
    spec: str = "1.3",
    grain: ExportGrain = ExportGrain.DAY,
    zone: str = "UTC",
) -> FocusExport:
    question = ExportQuestion(window=window, spec=spec, view=View.STATEMENT, grain=grain)
    return focus_export(connection, question, NAMES, zone=ZoneInfo(zone))


def rows_of(export: FocusExport) -> list[dict[str, str]]:
    return read("".join(csv_blocks(export.profile.names, export.columns)))


@pytest.fixture
def charged(ledger: Connection) -> Connection:
    """Two hours of search: 3 USD each, one GPU-hour unpriced, 6 USD that nobody held."""
    names = NameStore(ledger)
    names.ensure_gpu_models([H100])
    names.ensure_namespaces(["search-prod"])
    names.ensure_teams({"search": "CC-1001"})
    PriceStore(ledger).import_rows([PRICE], imported_ms=NOON_MS, file_name="p.csv", sha256="0")
    store = ChargeStore(ledger, CLUSTER, UTC)
    for after in (0, 1):
        hour = an_hour(after)
        store.replace(
            hour,
            charges(
                a_charge(hour, ChargeKind.USED, price_id=PRICE.price_id),
                a_charge(
                    hour,
                    ChargeKind.UNALLOCATED,
                    team="",
                    gpu_ms=2 * HOUR_MS,
                    cost_nanos=6_000_000_000,
                    price_id=PRICE.price_id,
                ),
                *([a_charge(hour, ChargeKind.IDLE, cost_nanos=None)] if after else []),
            ),
        )
    return ledger


def test_a_day_is_one_row_a_line_and_sums_to_the_charges(charged: Connection) -> None:
    export = exported(charged)

    rows = rows_of(export)

    assert sorted((row["x_ChargeKind"], row["BilledCost"]) for row in rows) == [
        ("unallocated", "12.0"),
        ("used", "6.0"),
    ]
    assert {row["ChargePeriodEnd"] for row in rows} == {"2026-11-24T00:00:00Z"}
    assert {row["BillingPeriodStart"] for row in rows} == {"2026-11-01T00:00:00Z"}
    assert {row["ContractedUnitPrice"] for row in rows} == {"3.0"}
    assert {row["ListUnitPrice"] for row in rows} == {"3.5"}
    assert faults(rows, known=[column.name for column in export.profile.columns]) == []


def test_an_hour_a_row_where_hours_are_asked_for(charged: Connection) -> None:
    rows = rows_of(exported(charged, grain=ExportGrain.HOUR))

    used = [row for row in rows if row["x_ChargeKind"] == "used"]
    assert [row["ChargePeriodStart"] for row in used] == [
        "2026-11-23T12:00:00Z",
        "2026-11-23T13:00:00Z",
    ]
    assert [row["ChargePeriodEnd"] for row in used][-1] == "2026-11-23T14:00:00Z"
    charged_nanos = charged.scalar(select(func.sum(CHARGES.c.cost_nanos)))
    billed = sum((Decimal(row["BilledCost"]) for row in rows), Decimal())
    assert billed.scaleb(9) == charged_nanos


def test_time_without_a_price_stands_beside_the_file(charged: Connection) -> None:
    export = exported(charged)

    (row,) = export.unpriced.records()
    assert (row["team"], row["gpu_seconds"]) == ("search", Decimal("3600.000"))
    assert not [one for one in rows_of(export) if one["x_ChargeKind"] == "idle"]


def test_a_day_of_another_zone_is_cut_where_the_window_is(charged: Connection) -> None:
    rows = rows_of(exported(charged, zone="Asia/Kolkata"))

    # 2026-11-23 in Kolkata began at 18:30 of the day before, when the window had not begun.
    assert {row["ChargePeriodStart"] for row in rows} == {"2026-11-23T00:00:00Z"}
    assert {row["ChargePeriodEnd"] for row in rows} == {"2026-11-23T18:30:00Z"}
    assert {row["BillingPeriodStart"] for row in rows} == {"2026-10-31T18:30:00Z"}


def test_a_late_change_stands_in_the_period_it_is_posted_in(charged: Connection) -> None:
    used = to_ms(datetime(2026, 10, 30, 5, tzinfo=UTC))
    run = {
        "run_id": 71,
        "period": "2026-10",
        "type": 1,
        "posting_period": "2026-11",
        "posted_at": NOON_MS,
        "reason": "a node came late",
        "author": "finance",
        "rating_version": 1,
        "price_version": 1,
        "contract_version": 0,
    }
    line = dict.fromkeys((column.name for column in ADJUSTMENTS.columns), 0) | {
        "adjustment_id": 1,
        "run_id": 71,
        "posted_at": NOON_MS,
        "cluster_id": cluster_id(CLUSTER),
        "window_start": used,
        "day": datetime(2026, 10, 30, tzinfo=UTC).date(),
        "gpu_model_id": gpu_model_id(H100),
        "team_id": team_id("search"),
        "charge_kind": 1,
        "started_at": used,
        "ended_at": used + HOUR_MS,
        "gpu_ms": HOUR_MS,
        "cost_nanos": 3_000_000_000,
    }
    charged.execute(insert(ADJUSTMENT_RUNS).values(run))
    charged.execute(insert(ADJUSTMENTS).values(line))

    (row,) = [one for one in rows_of(exported(charged)) if one["ChargeClass"] == "Correction"]

    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == (
        "2026-10-30T00:00:00Z",
        "2026-10-31T00:00:00Z",
    )
    assert row["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
    assert (row["BilledCost"], row["x_Reason"]) == ("3.0", "a node came late (finance)")


def test_an_unknown_version_and_a_window_of_years_are_refused(ledger: Connection) -> None:
    with pytest.raises(SpecError, match=r"no export of FOCUS '1\.9'"):
        exported(ledger, spec="1.9")
    years = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ExportWindowError, match="at most 367 days"):
        exported(ledger, window=years)


def test_an_empty_window_is_a_header(ledger: Connection) -> None:
    assert exported(ledger).rows == 0
    assert rows_of(exported(ledger)) == []
