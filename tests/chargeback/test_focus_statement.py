"""The statement view: what each column says, and that no nano is lost on the way."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind
from app.chargeback.focus_cells import csv_blocks, total_of
from app.chargeback.focus_columns import COLUMNS, SPECS, FocusType, View, profile
from app.chargeback.focus_lines import (
    FocusLabels,
    Invoice,
    StatementMismatchError,
    unpriced_table,
    with_rounding,
)
from app.chargeback.focus_statement import statement_columns
from app.units.window import HOUR_MS
from tests.chargeback.focus_building import (
    COMMITTED,
    DECEMBER_MS,
    ENERGY,
    LABELS,
    NAMES,
    NOVEMBER_MS,
    PER_GPU,
    PER_NODE,
    PLATFORM,
    SEARCH,
    SPOT,
    a_line,
    all_sorts,
    lines_of,
    with_invoices,
)
from tests.chargeback.focus_rules import faults, read


def written(
    *rows: dict[str, int], labels: FocusLabels = LABELS, spec: str = "1.3"
) -> list[dict[str, str]]:
    columns = statement_columns(lines_of(*rows), labels, NAMES)
    return read("".join(csv_blocks(profile(spec, View.STATEMENT).names, columns)))


def the_row(**given: int) -> dict[str, str]:
    (row,) = written(a_line(**given))
    return row


def test_two_gpu_hours_at_2_50_are_5_dollars() -> None:
    row = the_row()

    money = ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost")
    assert [row[name] for name in money] == ["5.0", "5.0", "5.0", "6.5"]
    assert (row["PricingQuantity"], row["PricingUnit"]) == ("2.0", "GPU-Hours")
    assert (row["ContractedUnitPrice"], row["ListUnitPrice"]) == ("2.5", "3.25")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("2.0", "GPU-Hours")
    assert (row["ChargeCategory"], row["ChargeFrequency"]) == ("Usage", "Usage-Based")
    assert (row["PricingCategory"], row["ChargeClass"]) == ("Standard", "")


def test_who_is_charged_and_for_what() -> None:
    row = the_row()

    assert row["BillingAccountId"] == "acme-gpu-platform/CC-1001"
    assert (row["SubAccountId"], row["SubAccountType"]) == ("search", "Team")
    assert row["ResourceId"] == "k8s://prod-eu/namespace/search-prod/deployment/ranker"
    assert (row["RegionId"], row["RegionName"]) == ("eu-central-1", "Europe (Frankfurt)")
    assert (row["InvoiceIssuerName"], row["HostProviderName"]) == ("Acme GPU Platform", "AWS")
    assert row["Tags"] == (
        '{"cluster":"prod-eu","cost_center":"CC-1001","namespace":"search-prod","team":"search"}'
    )
    assert row["ChargePeriodStart"] == "2026-11-01T00:00:00Z"
    assert row["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"


def test_a_nodes_price_is_printed_as_it_is_and_its_hours_are_a_share() -> None:
    row = the_row(price_id=PER_NODE, gpu_ms=HOUR_MS, cost_nanos=12_290_000_000)

    assert (row["PricingQuantity"], row["PricingUnit"]) == ("0.125", "Node-Hours")
    assert (row["ContractedUnitPrice"], row["ContractedCost"]) == ("98.32", "12.29")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("1.0", "GPU-Hours")
    assert "GpuCount" not in row["SkuPriceDetails"]


def test_energy_is_counted_in_kilowatt_hours() -> None:
    row = the_row(price_id=ENERGY, gpu_ms=0, cost_nanos=168_000_000)

    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("0.7", "kWh")
    assert (row["PricingUnit"], row["ContractedCost"]) == ("kWh", "0.168")
    assert row["SkuMeter"] == "Energy of GPUs"


def test_a_price_that_does_not_explain_the_money_is_not_printed() -> None:
    row = the_row(price_id=PER_GPU, gpu_ms=HOUR_MS, cost_nanos=2_000_000_000)

    assert (row["ContractedUnitPrice"], row["ContractedCost"]) == ("2.0", "2.0")
    assert row["SkuPriceId"].endswith("/2.0")
    assert row["ListUnitPrice"] == "3.25"


@pytest.mark.parametrize(
    ("given_values", "category"),
    [
        ({}, "Standard"),
        ({"price_id": SPOT, "node_id": 32, "cost_nanos": 1_800_000_000}, "Dynamic"),
        ({"price_id": COMMITTED, "cost_nanos": 3_800_000_000}, "Committed"),
    ],
)
def test_the_pricing_category_says_how_it_was_bought(
    given_values: dict[str, int], category: str
) -> None:
    row = the_row(**given_values)

    assert row["PricingCategory"] == category
    # Commitments are the provider's: their columns are those of the split view.
    assert row["CommitmentDiscountId"] == ""
    assert row["x_Commitment"] == ("h100-2026" if category == "Committed" else "")


@pytest.mark.parametrize("kind", ["redistributed", "true_up", "adjustment", "rounding"])
def test_what_is_no_usage_has_no_quantities_and_no_prices(kind: str) -> None:
    row = the_row(kind=int(ChargeKind[kind.upper()]), gpu_ms=0, cost_nanos=-7)

    assert row["ChargeCategory"] == "Adjustment"
    empty = ("PricingQuantity", "ConsumedQuantity", "ListUnitPrice", "ContractedUnitPrice")
    assert [row[name] for name in (*empty, "SkuId", "SkuPriceId", "PricingUnit")] == [""] * 7
    costs = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
    assert [row[name] for name in costs] == ["-0.000000007"] * 4


def test_a_late_change_is_a_correction_of_its_own_day_in_the_open_period() -> None:
    row = the_row(run_id=71, start_ms=NOVEMBER_MS - 24 * HOUR_MS, cost_nanos=-(10**9))

    assert (row["ChargeClass"], row["ChargeCategory"]) == ("Correction", "Adjustment")
    assert row["ChargePeriodStart"] == "2026-10-31T00:00:00Z"
    assert row["BillingPeriodStart"] == "2026-11-01T00:00:00Z"


def test_nobodys_time_is_charged_to_the_platforms_own_cost_center() -> None:
    row = the_row(kind=4, team_id=0, namespace_id=0, workload_id=0)

    assert (row["SubAccountId"], row["BillingAccountId"]) == (
        "__unallocated__",
        "acme-gpu-platform/CC-9000",
    )
    assert (row["ResourceId"], row["ResourceType"]) == ("k8s://prod-eu/node/gpu-1", "Node")


def test_an_invoice_is_named_where_the_period_is_closed() -> None:
    labels = with_invoices(search=Invoice(number="CB-2026-11-search", version=2, total_minor=500))

    closed, opened = written(a_line(), a_line(team_id=PLATFORM), labels=labels)

    assert (closed["InvoiceId"], closed["x_StatementVersion"]) == ("CB-2026-11-search", "2")
    assert (opened["InvoiceId"], opened["x_Provisional"]) == ("", "true")


def test_one_rounding_row_brings_an_invoice_to_its_total() -> None:
    labels = with_invoices(search=Invoice(number="CB-2026-11-search", version=1, total_minor=858))
    lines = lines_of(a_line(cost_nanos=8_574_000_001), a_line(team_id=PLATFORM))

    rounded = with_rounding(lines, labels, "USD", {NOVEMBER_MS: DECEMBER_MS})

    (row,) = rounded[rounded["kind"] == int(ChargeKind.ROUNDING)].to_dict("records")
    assert (row["team_id"], row["cost_nanos"]) == (SEARCH, 5_999_999)
    assert rounded[rounded["team_id"] == SEARCH]["cost_nanos"].sum() == 8_580_000_000


def test_an_invoice_that_the_export_covers_in_part_gets_no_rounding() -> None:
    labels = with_invoices(search=Invoice(number="CB-2026-11-search", version=1, total_minor=858))
    lines = lines_of(a_line())

    assert with_rounding(lines, labels, "USD", {}).equals(lines)


def test_a_statement_that_is_not_of_these_charges_is_refused() -> None:
    labels = with_invoices(search=Invoice(number="CB-2026-11-search", version=1, total_minor=501))

    with pytest.raises(StatementMismatchError, match=r"CB-2026-11-search version 1 says 5\.01 USD"):
        with_rounding(lines_of(a_line()), labels, "USD", {NOVEMBER_MS: DECEMBER_MS})


def test_what_has_no_price_is_listed_with_its_time() -> None:
    table = unpriced_table(lines_of(a_line(price_id=0, cost_nanos=0)), LABELS)

    assert table.records() == [
        {
            "start": "2026-11-01T00:00:00Z",
            "end": "2026-11-02T00:00:00Z",
            "team": "search",
            "cluster": "prod-eu",
            "node": "gpu-1",
            "namespace": "search-prod",
            "workload": "ranker",
            "gpu_model": "NVIDIA-H100-80GB-HBM3",
            "kind": "used",
            "gpu_seconds": Decimal("7200.000"),
        }
    ]


@pytest.mark.parametrize("spec", SPECS)
def test_a_file_of_all_sorts_has_none_of_the_faults(spec: str) -> None:
    columns = statement_columns(all_sorts(), LABELS, NAMES)
    chosen = profile(spec, View.STATEMENT)

    rows = read("".join(csv_blocks(chosen.names, columns)))

    assert len(rows) == len(all_sorts())
    assert faults(rows, known=[column.name for column in chosen.columns]) == []
    refused = {column.name for column in chosen.all if column.nulls == "refused"}
    assert [(name, row) for row in rows for name in refused if not row[name]] == []
    decimals = {column.name for column in COLUMNS if column.type is FocusType.DECIMAL}
    assert all("." in row[name] for row in rows for name in decimals & set(row) if row[name])


LINES = st.lists(
    st.builds(
        lambda number, kind, price, gpu_ms, nanos, run: a_line(
            start_ms=NOVEMBER_MS + number * HOUR_MS,
            kind=kind,
            price_id=price,
            gpu_ms=gpu_ms,
            cost_nanos=nanos,
            run_id=run,
        ),
        st.integers(0, 700),
        st.sampled_from([int(kind) for kind in ChargeKind]),
        st.sampled_from([0, PER_GPU, PER_NODE, COMMITTED, SPOT, ENERGY, 99]),
        st.integers(-HOUR_MS, 800 * HOUR_MS),
        st.integers(-(10**18), 10**18),
        st.sampled_from([0, 71]),
    ),
    min_size=1,
    max_size=20,
)


@given(LINES)
def test_no_nano_of_any_charge_is_lost(rows: list[dict[str, int]]) -> None:
    lines = lines_of(*rows)

    columns = statement_columns(lines, LABELS, NAMES)
    text = "".join(csv_blocks(profile("1.3", View.STATEMENT).names, columns))

    charged = Decimal(sum(row["cost_nanos"] for row in rows)).scaleb(-9)
    assert total_of(columns) == charged
    read_back = read(text)
    for name in ("BilledCost", "EffectiveCost"):
        assert sum((Decimal(row[name]) for row in read_back), Decimal()) == charged
    found = faults(read_back, known=[column.name for column in COLUMNS])
    assert [fault for fault in found if "stands twice" not in fault] == []
