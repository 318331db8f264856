"""Bills come in, the ledger is trued up, and every nano of them is found again."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from app.attribution.adjustments import AdjustmentType
from app.chargeback.closing import AcceptLine
from app.errors import InputError
from app.pricing.exchange import ExchangeRate
from app.store.charges import ChargeStore
from app.store.commitments import CommitmentStore
from app.store.price_versions import ImportNote
from app.store.prices import PriceStore
from app.store.provider_bills import ProviderBillStore
from app.units.window import HOUR_MS, from_ms
from app.usage.identity import team_id
from app.workflows.adjusting import adjust_period
from app.workflows.bill_imports import import_bills
from app.workflows.bill_taking import BillRefusedError
from app.workflows.closing import BillingTerms, CloseOrder, close_period, preview
from app.workflows.postings import Adjusting
from tests.pricing.test_commitments import a_commitment
from tests.sources.focus_files import Row, a_focus_row, write_focus
from tests.store.builders import CLUSTER, NOON_MS
from tests.workflows.billed import DAY_MS, DECEMBER_MS, Bills, a_billed_ledger
from tests.workflows.stored import CONTRACT, contract, prices, span

USD = 10**9
ELSEWHERE = {
    "ServiceCategory": "Storage",
    "ServiceName": "Amazon Simple Storage Service",
    "ChargePeriodStart": "2026-11-01T00:00:00Z",
}


@pytest.fixture
def bills(database: Engine, tmp_path: Path) -> Bills:
    a_billed_ledger(database)
    return Bills(database, tmp_path)


def test_the_platform_pays_what_the_provider_charged_beyond_the_pools_cost(bills: Bills) -> None:
    done = bills.take(a_focus_row(cost="300.00"))

    assert bills.lines() == [("gpu-1", "platform", 12 * USD)]
    assert bills.rollup() == 12 * USD
    assert [(one.team, one.moved_nanos) for one in done.moved] == [("platform", 12 * USD)]
    (bill,) = done.bills
    assert (bill.bill.provider, bill.bill.billing_account, bill.version) == ("AWS", "1234", 1)
    assert bill.effective_total == Decimal("300.00")


def test_days_of_india_divide_a_row_of_a_utc_day_at_half_past_six(bills: Bills) -> None:
    """18.5 of the row's 24 hours are on the 23rd of India, 231.25 of 300.00.

    Against them stand the 6.5 hours from noon until 18:30Z, 156.00; against the other 68.75 the 5.5
    hours until midnight UTC, 132.00.
    """
    in_india = replace(bills, zone=ZoneInfo("Asia/Kolkata"))
    in_india.rate()

    in_india.take(a_focus_row(cost="300.00"))

    assert in_india.lines() == [
        ("gpu-1", "platform", -63_250_000_000),
        ("gpu-1", "platform", 75_250_000_000),
    ]
    assert in_india.days() == [("2026-11-23", 75_250_000_000), ("2026-11-24", -63_250_000_000)]
    total = in_india.total()
    assert (total.provider_bill, total.true_up, total.waiting) == (300 * USD, 12 * USD, 0)


def test_another_billing_zone_cuts_the_true_up_anew(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))
    in_india = replace(bills, zone=ZoneInfo("Asia/Kolkata"))

    in_india.rate()

    assert in_india.days() == [("2026-11-23", 75_250_000_000), ("2026-11-24", -63_250_000_000)]
    assert in_india.rollup() == 12 * USD


def test_a_spread_difference_goes_to_those_who_pay_the_nodes_lines(bills: Bills) -> None:
    """Everyone pays 12 of 288, a twenty-fourth, on top of what the node's lines cost them."""
    contract(bills.engine, f"{CONTRACT}policies: {{ true_up: spread }}\n")
    bills.rate()

    bills.take(a_focus_row(cost="300.00"))

    lines = bills.lines()
    assert sum(nanos for _, _, nanos in lines) == 12 * USD
    by_team = {team: nanos for _, team, nanos in lines}
    with bills.engine.connect() as connection:
        charges = ChargeStore(connection, CLUSTER, bills.zone).within(span(12))
    first_hand = charges.groupby("team_id")["cost_nanos"].sum().to_dict()
    assert sum(first_hand.values()) == 288 * USD
    assert {team_id(team): nanos for team, nanos in by_team.items()} == {
        team: nanos * 12 // 288 for team, nanos in first_hand.items()
    }


def test_every_nano_of_the_bill_is_found_again(bills: Bills) -> None:
    """The machine of 22 November: half of its day lies before the node joined at noon."""
    bills.take(
        a_focus_row(cost="300.00"),
        a_focus_row(
            cost="48.00",
            ChargePeriodStart="2026-11-22T00:00:00Z",
            ChargePeriodEnd="2026-11-23T00:00:00Z",
        ),
        a_focus_row("i-00000099", "7.00"),
        a_focus_row("", "5.00", ChargeCategory="Tax", ServiceName="Tax"),
        a_focus_row("", "11.00", CommitmentDiscountStatus="Unused"),
        a_focus_row("bucket", "1.000000001", **ELSEWHERE),
    )

    found = bills.reconcile().reconciliation

    total = found.total
    assert total.provider_bill == 372_000_000_001
    assert total.pool_cost == 288 * USD
    assert total.true_up == 12 * USD
    assert total.not_in_cluster == 24 * USD
    assert total.commitment_unused == 0
    assert total.commitment_difference == 11 * USD
    # 24 are of 22 November, whose hours were never collected.
    assert total.unmatched == (24 + 7 + 5 + 11 + 1) * USD + 1
    assert (total.waiting, total.complete, total.rows) == (0, True, 6)
    assert [(one.resource, one.reason, one.nanos // USD) for one in found.unmatched] == [
        ("i-00000001", "no_pool", 24),
        ("", "commitment_difference", 11),
        ("i-00000099", "no_node", 7),
        ("", "tax", 5),
        ("", "usage", 1),
    ]
    (node,) = found.nodes
    assert (node.cluster, node.node, node.days) == (CLUSTER, "gpu-1", 1)
    assert (node.provider_nanos, node.true_up_nanos) == (300 * USD, 12 * USD)


def test_the_same_bill_gives_the_same_lines_again(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))
    first = bills.whole_lines()

    bills.rate()

    assert bills.whole_lines() == first
    assert bills.rollup() == 12 * USD


def test_a_rating_of_the_days_hours_renews_the_true_up(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))
    prices(
        bills.engine,
        "cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,"
        f"valid_from,valid_to,source\n{CLUSTER},,,,H100,,,gpu_hour,3.50,USD,2026-01-01,,list\n",
    )

    bills.rate()

    # 12 hours of 8 GPUs at 3.50 are 336.
    assert bills.lines() == [("gpu-1", "platform", -36 * USD)]
    assert bills.rollup() == -36 * USD
    assert bills.total().waiting == 0


def test_a_later_import_of_a_period_supersedes_the_earlier_as_a_whole(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"), a_focus_row("i-00000099", "7.00"))

    done = bills.take(a_focus_row(cost="290.00"))

    assert bills.lines() == [("gpu-1", "platform", 2 * USD)]
    assert [(one.team, one.moved_nanos) for one in done.moved] == [("platform", -10 * USD)]
    assert bills.total().provider_bill == 290 * USD
    with bills.engine.connect() as connection:
        first, second = ProviderBillStore(connection).all()
        old = list(ProviderBillStore(connection).rows([first.bill.bill_id]))
        origin = ProviderBillStore(connection).origin(first.bill.bill_id, [1])
    assert (first.version, first.superseded) == (1, True)
    assert (second.version, second.superseded) == (2, False)
    assert [row.nanos for row in old] == [300 * USD, 7 * USD]
    assert origin[1]["EffectiveCost"] == "300.00"


def test_a_machine_that_is_on_the_bill_no_more_loses_its_true_up(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))

    bills.take(a_focus_row("i-00000099", "300.00"))

    assert bills.lines() == []
    assert bills.rollup() == 0


def test_a_dry_run_shows_the_money_and_stores_nothing(bills: Bills) -> None:
    done = bills.take(a_focus_row(cost="300.00"), dry_run=True)

    assert done.dry_run
    assert [(one.team, one.moved_nanos) for one in done.moved] == [("platform", 12 * USD)]
    assert nothing_stored(bills)


def nothing_stored(bills: Bills) -> bool:
    with bills.engine.connect() as connection:
        tables = ("provider_bills", "provider_bill_rows", "provider_bill_sums", "true_up_days")
        counts = [connection.scalar(text(f"SELECT count(*) FROM {one}")) for one in tables]
    return counts == [0, 0, 0, 0] and not bills.lines()


@pytest.mark.parametrize(
    ("rows", "trouble"),
    [
        (
            (a_focus_row(), a_focus_row(BillingCurrency="EUR")),
            "bill.csv, line 3: the currency is EUR, but USD in bill.csv, line 2.",
        ),
        (
            (a_focus_row(BillingCurrency="EUR"),),
            "bill.csv, line 2: there is no exchange rate of EUR at 2026-11-23T00:00:00Z;",
        ),
        ((a_focus_row(), a_focus_row(cost="x")), "bill.csv, line 3: EffectiveCost 'x' is no"),
        (
            (a_focus_row(), a_focus_row(BillingAccountId="9")),
            "bill.csv, line 3: the billing account is 9, not 1234.",
        ),
        ((), "bill.csv: there is no row."),
    ],
)
def test_a_file_with_one_wrong_row_is_refused_whole(
    bills: Bills, rows: tuple[Row, ...], trouble: str
) -> None:
    with pytest.raises(InputError) as caught:
        bills.take(*rows, account="1234")

    assert caught.value.message.startswith(trouble)
    assert caught.value.hint
    assert nothing_stored(bills)


def test_the_same_files_are_not_imported_twice(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))

    with pytest.raises(BillRefusedError, match="from the same files already, as version 1"):
        bills.take(a_focus_row(cost="300.00"))
    with pytest.raises(BillRefusedError, match="overlaps"):
        bills.take(a_focus_row(BillingPeriodStart="2026-11-15T00:00:00Z"))
    path = write_focus(bills.folder / "a.csv", [a_focus_row()])
    again = write_focus(bills.folder / "b.csv", [a_focus_row()])
    with pytest.raises(BillRefusedError, match="has the same content as"):
        import_bills([path, again], bills.terms())
    assert bills.lines() == [("gpu-1", "platform", 12 * USD)]


def test_a_bill_of_a_running_month_waits_for_the_end_of_the_day(bills: Bills) -> None:
    """The bill comes at noon on 24 November and lists 18 hours of the 23rd."""
    bills.take(
        a_focus_row(cost="225.00", ChargePeriodEnd="2026-11-23T18:00:00Z"),
        at_ms=NOON_MS + 24 * HOUR_MS,
    )

    assert bills.lines() == []
    total = bills.total()
    assert (total.true_up, total.waiting, total.complete) == (-63 * USD, -63 * USD, False)


def test_a_bill_in_another_currency_is_exchanged_at_the_days_rate(bills: Bills) -> None:
    """300 EUR at 1.10 are 330."""
    with bills.engine.begin() as connection:
        rate = ExchangeRate(currency="EUR", rate=Decimal("1.10"), valid_from_ms=NOON_MS - DAY_MS)
        note = ImportNote(imported_ms=NOON_MS, file_name="rates.csv", sha256="0")
        PriceStore(connection).take_rates([rate], note)

    bills.take(a_focus_row(cost="300.00", BillingCurrency="EUR"))

    assert bills.lines() == [("gpu-1", "platform", 42 * USD)]


def close_november(bills: Bills) -> None:
    """Close the month with all that is in the way: only 12 hours of it were ever collected."""
    terms = BillingTerms(zone=bills.zone, currency="USD", settings={})
    order = CloseOrder(period="2026-11", author="ada", at_ms=DECEMBER_MS)
    found = preview(order, terms, engine=bills.engine).obstacles
    accept = tuple(AcceptLine("accept.csv", one.cells(), "a small month") for one in found)
    close_period(replace(order, accept=accept), terms, engine=bills.engine)


def posted(bills: Bills) -> list[tuple[int, str, int]]:
    """The adjustments of the true-up: type, period in which they are booked, nanos."""
    with bills.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT type, posting_period, cost_nanos FROM adjustments"
                " JOIN adjustment_runs USING (run_id) WHERE step = 11 ORDER BY run_id"
            )
        )
        return [(row[0], row[1], row[2]) for row in rows]


def test_what_a_later_bill_changes_of_a_closed_day_is_an_adjustment(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))
    close_november(bills)

    dry = bills.take(a_focus_row(cost="310.00"), dry_run=True)
    done = bills.take(a_focus_row(cost="310.00"))

    assert bills.lines() == [("gpu-1", "platform", 12 * USD)]
    assert posted(bills) == [(AdjustmentType.TRUE_UP, "2026-12", 10 * USD)]
    assert (done.days, done.closed_days) == (1, 1)
    for one in (dry, done):
        assert [(team.team, team.moved_nanos) for team in one.moved] == [("platform", 10 * USD)]
    total = bills.total()
    assert (total.true_up, total.waiting, total.complete) == (22 * USD, 0, True)


def test_a_bill_back_to_what_it_was_takes_the_adjustment_back(bills: Bills) -> None:
    bills.take(a_focus_row(cost="300.00"))
    close_november(bills)
    bills.take(a_focus_row(cost="310.00"))
    given = Adjusting(engine=bills.engine, billing_zone=bills.zone, at_ms=DECEMBER_MS + DAY_MS)

    adjusted = adjust_period("2026-11", given)
    bills.take(a_focus_row(cost="300.00"))

    # Late facts are no bills: their adjustment leaves the true-up alone.
    assert not adjusted.posted
    assert [nanos for _, _, nanos in posted(bills)] == [10 * USD, -10 * USD]
    assert (bills.total().true_up, bills.total().waiting) == (12 * USD, 0)


def test_the_ledgers_unused_commitments_stand_against_the_bill_of_their_account(
    bills: Bills,
) -> None:
    """Unused were 4.00 by the ledger and 11.00 by the provider: 7.00 are explained by nothing."""
    bought = a_commitment(
        billing_account="1234", term_start_ms=NOON_MS, term_end_ms=NOON_MS + DAY_MS
    )
    with bills.engine.begin() as connection:
        note = ImportNote(imported_ms=NOON_MS, file_name="commitments.csv", sha256="0")
        CommitmentStore(connection).take([bought], note)
        (stored,) = PriceStore(connection).inputs().commitments
        connection.execute(
            text(
                "INSERT INTO charges (cluster_id, window_start, node_id, charge_id, gpu_model_id,"
                " hold_id, workload_id, namespace_id, team_id, kind, price_id, step, started_at,"
                " ended_at, gpu_ms, cost_nanos) VALUES (0, :at, 0, 1, 0, 0, 0, 0, 0, 7, :price, 10,"
                " :at, :at, 0, 4000000000)"
            ),
            {"at": from_ms(NOON_MS), "price": stored.price_id},
        )

    bills.take(a_focus_row("", "11.00", CommitmentDiscountStatus="Unused"))

    total = bills.total()
    assert (total.provider_bill, total.commitment_unused) == (11 * USD, 4 * USD)
    assert (total.commitment_difference, total.unmatched) == (7 * USD, 7 * USD)
