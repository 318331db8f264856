"""Our own checks of FOCUS files see what `focus-validator` does not: each fault is planted once."""

import pytest

from app.chargeback.focus_cells import csv_blocks
from app.chargeback.focus_columns import View, profile
from app.chargeback.focus_split import PodTime, split_columns
from app.chargeback.focus_statement import statement_columns
from app.units.window import HOUR_MS
from tests.chargeback.focus_building import LABELS, NAMES, a_line, an_origin, lines_of
from tests.chargeback.focus_rules import faults, read

STATEMENT = profile("1.3", View.STATEMENT)
SPLIT = profile("1.3", View.SPLIT)


def a_statement() -> list[dict[str, str]]:
    columns = statement_columns(lines_of(a_line()), LABELS, NAMES)
    return read("".join(csv_blocks(STATEMENT.names, columns)))


def a_split() -> list[dict[str, str]]:
    pod = PodTime(resource_id="k8s://pod/a", name="a", labels=(), gpu_ms=HOUR_MS)
    columns = split_columns([an_origin("98.32", pods=(pod,), free_ms=HOUR_MS)], SPLIT)
    return read("".join(csv_blocks(SPLIT.names, columns)))


def seen(rows: list[dict[str, str]]) -> list[str]:
    return faults(rows, known=[column.name for column in STATEMENT.columns])


def test_what_is_written_has_none() -> None:
    assert seen(a_statement()) == []
    assert seen(a_split()) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("ChargePeriodStart", "2026-11-01T00:00:00", "ChargePeriodStart"),
        ("ChargePeriodStart", "2026-11-01T00:00:00+00:00", "ChargePeriodStart"),
        ("BillingPeriodEnd", "2026-12-01T00:00:00.000000Z", "BillingPeriodEnd"),
        ("BillingPeriodEnd", "2026-10-01T00:00:00Z", "Billing period does not end"),
        ("EffectiveCost", "4.0", "EffectiveCost is not BilledCost"),
        ("ListCost", "6.500000000000001", "ListCost 6.500000000000001 is not 6.5"),
        ("BilledCost", "5", "BilledCost '5'"),
        ("PricingQuantity", "2E0", "PricingQuantity"),
        ("ConsumedUnit", "GPU Hours", "ConsumedUnit 'GPU Hours'"),
        ("Tags", '{"team":{"name":"search"}}', "nested Tags"),
        ("SkuPriceDetails", '{"GpuModel":"H100"}', "SkuPriceDetails GpuModel"),
        ("InvoiceId", " ", "a blank text for null"),
    ],
)
def test_a_planted_fault_of_a_cell_is_seen(name: str, text: str, fault: str) -> None:
    (row,) = a_statement()

    found = seen([row | {name: text}])

    assert any(fault in one for one in found)


def test_a_row_that_stands_twice_and_a_column_without_x_are_seen() -> None:
    (row,) = a_statement()

    assert seen([row, row]) == ["a row stands twice"]
    assert "GpuModel has no x_" in seen([row | {"GpuModel": "H100"}])


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (
            {"AllocatedMethodDetails": '{"Elements":[{"AllocatedRatio":0.4}]}'},
            "sum to 0.9",
        ),
        ({"AllocatedResourceName": ""}, "do not go together"),
        ({"AllocatedMethodId": ""}, "method details without a method"),
    ],
)
def test_a_planted_fault_of_a_split_is_seen(cells: dict[str, str], fault: str) -> None:
    pod, rest = a_split()

    found = seen([pod | cells, rest])

    assert any(fault in one for one in found)
