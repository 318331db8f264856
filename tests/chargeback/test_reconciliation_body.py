"""The page that finance puts beside the providers' bills."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.reconciliation import Reconciled, Reconciliation
from app.chargeback.reconciliation_body import reconciliation_body
from tests.chargeback.builders import USD

PARTS = ("pool_cost", "commitment_unused", "not_in_cluster", "true_up", "unmatched")
GROUPS = ("provider", "billing_account")
NANOS = st.integers(-(10**13), 10**13)


def a_bill(provider: str = "AWS", account: str = "1", **nanos: int) -> Reconciled:
    bill = sum(nanos.get(name, 0) for name in PARTS)
    return Reconciled(provider=provider, billing_account=account, provider_bill=bill, **nanos)


def found(*bills: Reconciled) -> Reconciliation:
    return Reconciliation(bills=bills, total=a_bill("", ""), unmatched=(), nodes=())


def test_a_bill_is_the_sum_of_what_the_ledger_knows_of_it() -> None:
    # 100.00 on the bill: 90.00 of pools, 4.00 unused, 5.00 outside, 1.50 more, -0.50 unmatched.
    bill = a_bill(
        pool_cost=90 * USD,
        commitment_unused=4 * USD,
        not_in_cluster=5 * USD,
        true_up=3 * USD // 2,
        unmatched=-USD // 2,
        rows=7,
    )

    body = reconciliation_body(found(bill), GROUPS, {}, "USD")

    assert body.keys == [("AWS", "1")]
    assert body.figures[0]["provider_bill"] == Decimal("100.00")
    assert body.figures[0]["unmatched"] == Decimal("-0.50")
    assert body.total["rows"] == 7
    assert dict(body.facts) == {"provider_bills": 1}


def test_bills_of_a_provider_are_one_row_where_it_is_grouped_so() -> None:
    bills = [a_bill("AWS", "1", pool_cost=USD), a_bill("AWS", "2", pool_cost=USD, waiting_days=1)]

    body = reconciliation_body(found(*bills), ("provider",), {}, "USD")

    assert body.keys == [("AWS",)]
    assert body.figures[0]["pool_cost"] == Decimal("2.00")
    assert body.complete == [False]


def test_a_filter_leaves_other_bills_out_of_the_total() -> None:
    bills = [a_bill("AWS", pool_cost=USD), a_bill("GCP", pool_cost=5 * USD)]

    body = reconciliation_body(found(*bills), GROUPS, {"provider": ("GCP",)}, "USD")

    assert body.total["provider_bill"] == Decimal("5.00")


def test_a_month_without_a_bill_has_zeros_and_no_row() -> None:
    body = reconciliation_body(found(), GROUPS, {}, "JPY")

    assert body.keys == []
    assert str(body.total["provider_bill"]) == "0"
    assert dict(body.facts) == {"provider_bills": 0}


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(PARTS, NANOS)), min_size=1, max_size=5))
def test_cents_add_up_across_and_down(bills: list[dict[str, int]]) -> None:
    every = [a_bill(account=f"{number}", **bill) for number, bill in enumerate(bills)]

    body = reconciliation_body(found(*every), GROUPS, {}, "USD")

    for line in (*body.figures, body.total):
        assert sum(Decimal(str(line[name])) for name in PARTS) == line["provider_bill"]
    exact = Decimal(sum(bill.provider_bill for bill in every)).scaleb(-9)
    assert body.total["provider_bill"] == round(exact, 2)
