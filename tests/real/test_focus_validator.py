"""What `focus-validator` says of both views: nothing, but where its rules contradict each other."""

from pathlib import Path

import pytest

from app.chargeback.focus_columns import View, profile
from app.chargeback.focus_lines import Invoice
from app.chargeback.focus_split import OriginCharge, PodTime, split_columns
from app.chargeback.focus_statement import statement_columns
from app.delivery.focus_files import write_focus
from app.units.window import HOUR_MS
from tests.chargeback.focus_building import NAMES, all_sorts, an_origin, with_invoices
from tests.real.focus_validator import CRITERIA, RULES_1_3, SPLIT_CRITERION, validate

# The rules of 1.3 are only on some machines; those of 1.2 come with the validator.
SPECS = ("1.2", "1.3") if RULES_1_3.is_dir() else ("1.2",)
# In the model of 1.2 one of the two always fails, whatever a row says, and with it what holds them.
INVOICE = frozenset({"InvoiceId-C-004-C", "InvoiceId-C-005-C"})
INVOICE_PARENTS = frozenset({"InvoiceId-C-003-C", "InvoiceId-C-000-O"})
# The model of 1.3 asks for this price to be null and not to be null where there is no SkuPriceId:
# the condition of C-012-C is that of C-011-C. Rows without quantities have none.
NO_SKU = frozenset(
    {
        "CAU-PricingCurrencyContractedUnitPrice-C-012-C",
        "CAU-PricingCurrencyContractedUnitPrice-C-003-M",
    }
)


def contradictions(spec: str) -> frozenset[str]:
    return INVOICE | INVOICE_PARENTS if spec == "1.2" else NO_SKU


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("spec", SPECS)
def test_a_statement_of_all_sorts_has_no_fault(tmp_path: Path, spec: str, suffix: str) -> None:
    labels = with_invoices(search=Invoice(number="CB-2026-11-search", version=1, total_minor=1))
    path = tmp_path / f"statement.{suffix}"

    write_focus(path, profile(spec, View.STATEMENT), statement_columns(all_sorts(), labels, NAMES))
    verdict = validate(path, spec)

    assert verdict.failed <= contradictions(spec)
    assert verdict.passed > 280


# Of a CSV the validator guesses that an account of digits alone is a number; Parquet has types.
@pytest.mark.parametrize(
    ("suffix", "account"), [("csv", "subscriptions/0a1b"), ("parquet", "123456789012")]
)
@pytest.mark.parametrize("spec", SPECS)
def test_a_split_bill_has_no_fault(tmp_path: Path, spec: str, suffix: str, account: str) -> None:
    def pod(name: str, hours: int) -> PodTime:
        return PodTime(
            resource_id=f"k8s://prod-eu/namespace/search-prod/pod/{name}",
            name=name,
            labels=(("app", name),),
            gpu_ms=hours * HOUR_MS,
        )

    accounts = {"BillingAccountId": account, "SubAccountId": account}
    thirds = (pod("a", 1), pod("b", 1), pod("c", 1))
    origins = [
        an_origin("98.32", pods=(pod("a", 4), pod("b", 3)), free_ms=HOUR_MS, **accounts),
        an_origin("10.000001", key="bill/2", pods=thirds, **accounts),
        an_origin("0.09", key="bill/3", **accounts),
    ]
    path = tmp_path / f"split.{suffix}"
    chosen = profile(spec, View.SPLIT)

    write_focus(path, chosen, split_columns(origins, chosen))
    claimed = (*CRITERIA, SPLIT_CRITERION) if spec == "1.3" else CRITERIA
    verdict = validate(path, spec, claimed)

    assert verdict.failed <= contradictions(spec)
    assert verdict.passed > 280


def test_the_validator_sees_a_planted_fault(tmp_path: Path) -> None:
    faulty: list[OriginCharge] = [an_origin("98.32", ChargeCategory="Rent")]
    path = tmp_path / "faulty.csv"
    chosen = profile("1.2", View.SPLIT)

    write_focus(path, chosen, split_columns(faulty, chosen))

    assert "ChargeCategory-C-003-M" in validate(path, "1.2").failed
