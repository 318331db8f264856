"""`gpuledger export`: files of a simulated ledger, what the validator says, what is refused."""

import csv
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from tests.chargeback.focus_rules import faults, read
from tests.cli.commands import CommandLine
from tests.cli.stage import SPAN
from tests.real.focus_validator import CRITERIA, RULES_1_3, SPLIT_CRITERION, validate
from tests.real.test_focus_validator import contradictions
from tests.sources.focus_files import COLUMNS_1_3, a_focus_row, write_focus

SPECS = ("1.2", "1.3") if RULES_1_3.is_dir() else ("1.2",)
DAY = ("--start", "2025-11-03T00:00Z", "--end", "2025-11-04T00:00Z")


def rows_of(path: Path) -> list[dict[str, str]]:
    return read(path.read_bytes().decode())


def billed(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["BilledCost"]) for row in rows), Decimal())


@pytest.mark.parametrize("spec", SPECS)
def test_the_ledgers_charges_are_a_file_without_a_fault(standing: CommandLine, spec: str) -> None:
    path = standing.folder / f"focus-{spec}.csv"

    done = standing.run("export", "focus", *SPAN, "--spec", spec, "--out", str(path)).done()

    rows = rows_of(path)
    costs = standing.run("costs", *SPAN, "--format", "csv").done().rows()
    assert billed(rows) == sum((Decimal(row["total_cost"]) for row in costs), Decimal()) > 0
    assert f"{len(rows)} rows of FOCUS {spec}" in done.out
    assert "provisional" in done.err
    known = [name for name in rows[0] if not name.startswith("x_")]
    assert faults(rows, known=known) == []
    verdict = validate(path, spec)
    assert verdict.failed <= contradictions(spec)
    assert verdict.passed > 280


@pytest.mark.parametrize("spec", SPECS)
def test_a_bill_of_its_nodes_is_split_without_a_fault(standing: CommandLine, spec: str) -> None:
    standing.run("export", "focus", *SPAN, "--out", "s.csv").done()
    nodes = sorted({row["x_Node"] for row in rows_of(standing.folder / "s.csv")} - {""})
    bill = [a_priced_row(node, number) for number, node in enumerate(nodes)]
    write_focus(standing.folder / f"bill-{spec}.csv", bill, [*bill[0]])
    # The second version of the file finds its bill imported already.
    standing.run("bills", "import", f"bill-{spec}.csv")
    path = standing.folder / f"split-{spec}.csv"

    standing.run(
        "export", "focus", *DAY, "--view", "split", "--spec", spec, "--out", str(path)
    ).done()

    rows = rows_of(path)
    for row in bill:
        own = [one for one in rows if one["ResourceName"] == row["ResourceName"]]
        assert billed(own) == Decimal(row["BilledCost"])
        assert {one["ListUnitPrice"] for one in own} == {"12.0"}
    assert len(rows) > len(bill)
    claimed = (*CRITERIA, SPLIT_CRITERION) if spec == "1.3" else CRITERIA
    assert validate(path, spec, claimed).failed <= contradictions(spec)


def a_priced_row(node: str, number: int) -> Mapping[str, str]:
    """A day of a node as a provider of every criterion writes it."""
    more = {
        "AvailabilityZone": "eu-1a",
        "BillingAccountId": "acme/1234",
        "BillingAccountType": "Management",
        "BillingPeriodEnd": "2025-12-01T00:00:00Z",
        "BillingPeriodStart": "2025-11-01T00:00:00Z",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": "2025-11-04T00:00:00Z",
        "ChargePeriodStart": "2025-11-03T00:00:00Z",
        "ConsumedQuantity": "24.0",
        "ConsumedUnit": "Hours",
        "ContractedUnitPrice": "12.0",
        "ListUnitPrice": "12.0",
        "PricingCategory": "Standard",
        "PricingQuantity": "24.0",
        "RegionId": "eu-1",
        "RegionName": "Europe",
        "ResourceName": node,
        "ResourceType": "Instance",
        "ServiceSubcategory": "Virtual Machines",
        "SkuId": "SKU1",
        "SkuMeter": "Instance Hours",
        "SkuPriceDetails": '{"InstanceType":"gpu.large"}',
        "SkuPriceId": "SKU1/1",
        "SubAccountId": "acme/gpu",
        "SubAccountName": "gpu",
        "SubAccountType": "Member",
        "Tags": '{"team":"platform"}',
    }
    row = dict(a_focus_row(f"machine-{number}", cost="288.0", **more))
    names = [*dict.fromkeys((*COLUMNS_1_3, *row))]
    return {name: row.get(name, "") for name in names}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--spec", "1.9"), "1.9"),
        (("--view", "both"), "both"),
        (("--grain", "minute"), "minute"),
    ],
)
def test_what_is_not_offered_is_refused(
    standing: CommandLine, words: tuple[str, ...], said: str
) -> None:
    ended = standing.run("export", "focus", *SPAN, *words, "--out", "no.csv")

    assert ended.code == 2
    assert said in ended.err
    assert not (standing.folder / "no.csv").exists()


def test_bad_windows_and_paths_are_one_clear_error(standing: CommandLine) -> None:
    backwards = ("--start", SPAN[3], "--end", SPAN[1])

    standing.run("export", "focus", *backwards, "--out", "no.csv").refused("is not after the start")
    standing.run("export", "focus", *SPAN, "--out", "no/no.csv").refused("There is no folder no.")
    standing.run("export", "focus", *SPAN, "--out", "no.txt").refused("what kind of file it is")
    standing.run("export", "focus", *SPAN, "--out", f"no{'x' * 251}.csv").refused("is too long")
    standing.run("export", "journal", "--period", "2025-11", "--out", "no/j.csv").refused(
        "There is no folder no."
    )
    assert not list(standing.folder.glob("no*"))


def test_a_split_without_a_bill_is_refused(empty: CommandLine) -> None:
    empty.run("export", "focus", *SPAN, "--view", "split", "--out", "s.csv").refused(
        "No row of a provider's bill begins in the window."
    )


def test_an_open_period_has_a_journal_only_if_it_is_asked_for(standing: CommandLine) -> None:
    asked = ("export", "journal", "--period", "2025-11", "--out", "journal.csv")

    standing.run(*asked).refused("The billing period 2025-11 is not closed.")
    assert not (standing.folder / "journal.csv").exists()
    done = standing.run(*asked, "--provisional").done()

    with (standing.folder / "journal.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["date"] for row in rows} == {"2025-11-30"}
    assert all(row["external_id"].endswith("/provisional") for row in rows)
    sides = [sum((Decimal(r[side] or 0) for r in rows), Decimal()) for side in ("debit", "credit")]
    assert sides[0] == sides[1] > 0
    assert f"debits {sides[0]}" in done.out
    blank = sum(1 for row in rows if not row["cost_center"])
    assert (f"{blank} lines have no cost center" in done.err) is (blank > 0)
