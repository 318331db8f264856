"""Every line of a ledger explains itself, whatever made it, before and after it was closed."""

from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from app.attribution.charges import ChargeKind, LineStep
from app.store.charges import ChargeStore
from app.units.identity import id_text
from app.units.money import from_nanos
from app.usage.identity import cluster_id
from app.workflows.reopening import reopen_period
from tests.sources.focus_files import a_focus_row
from tests.store.builders import CLUSTER, a_charge, an_hour, charges
from tests.workflows.adjusting_world import NANOS, an_adjusting
from tests.workflows.billed import Bills, a_billed_ledger
from tests.workflows.closing_world import UTC_ZONE, put_hour, put_names
from tests.workflows.explained import Told, explain_adjustments, explain_all, money_of
from tests.workflows.explaining_world import (
    CARDED,
    CLUSTERS,
    OWNED,
    adjusted_november,
    closed_november,
)
from tests.workflows.gateway_days import Days, in_two_clusters


def of(told: list[Told], step: LineStep, **columns: object) -> list[Told]:
    """The lines of a step whose columns have these values."""
    return [
        one
        for one in told
        if one.row.step == step
        and all(getattr(one.row, name) == value for name, value in columns.items())
    ]


@pytest.fixture
def november(database: Engine, tmp_path: Path) -> Engine:
    closed_november(database, tmp_path)
    return database


def test_every_line_of_a_closed_month_explains_itself(november: Engine) -> None:
    told = explain_all(november)

    assert {one.row.step for one in told} == {0, 1, 3, 10, 11, 12, 13}
    assert {cluster_id(name) for name in (*CLUSTERS, "")} - {
        one.row.cluster_id for one in told
    } == {cluster_id("")}
    for check in (
        covered_lines_say_their_commitment,
        owned_lines_say_their_components_and_their_energy,
        carded_lines_say_the_card_and_the_variance,
        moved_lines_say_where_they_went,
        money_lines_say_what_they_rest_on,
        statements_have_the_lines,
    ):
        check(told)


def covered_lines_say_their_commitment(told: list[Told]) -> None:
    """One of two GPUs is covered, for 720 / 720 + 0.50 an hour; half of that for the held half."""
    lines = of(told, LineStep.FIRST_HAND, cluster_id=cluster_id(CLUSTER), kind=ChargeKind.IDLE)
    covered = [one for one in lines if "ri-half" in one.text]
    assert len(covered) == 3
    assert len(lines) == 6
    price = covered[1].figures("Price")
    assert "covered by the reservation ri-half" in price[""]
    assert money_of(price["upfront share of the hour"]) == 1
    assert money_of(price["recurring in the hour"]) == Decimal("0.5")
    assert price["fraction covered"] == "50.0000%, the same fraction of every pool that fits"
    assert price["eligible"] == "7200.000 GPU-seconds"
    (on_demand,) = {one.row.cost_nanos for one in lines} - {one.row.cost_nanos for one in covered}
    # Half a GPU-hour of 4 EUR × 1.25 × 0.9 × 1.05.
    assert from_nanos(on_demand) == Decimal("2.3625")
    shown = next(one for one in lines if one.row.cost_nanos == on_demand).figures("Price")
    assert shown["list price"] == "8 EUR"
    assert shown["exchange rate"] == "1.25 USD for 1 EUR"
    assert shown["imported"] == "version 2, f: r, ada"
    (unused, *_) = of(told, LineStep.COMMITMENT)
    assert "the reservation ri-idle over all clusters" in unused.text
    assert "the commitment names it as its payer" in unused.text
    assert money_of(unused.figures("Commitment")["cost of the hour"]) == 2


def owned_lines_say_their_components_and_their_energy(told: list[Told]) -> None:
    lines = of(told, LineStep.FIRST_HAND, cluster_id=cluster_id(OWNED))
    fixed = next(one for one in lines if one.row.gpu_ms).figures("Price")
    assert fixed["depreciation"] == "5 USD an hour"
    energy = [one for one in lines if not one.row.gpu_ms]
    rated = next(one for one in energy if one.row.kind == ChargeKind.UNALLOCATED)
    assert rated.figures("Price")["rated power"] == "0.7 kW a GPU"
    assert rated.figures("Charge")[""].startswith("0.7 kWh for")
    # 0.7 kWh × 1.5 × 0.20 × 0.9 × 1.05.
    assert money_of(rated.figures("Money")["energy × price"]) == Decimal("0.19845")
    assert rated.figures("Price")["discount"] == "10 %"
    counted = next(one for one in energy if one.row.kind == ChargeKind.IDLE)
    assert "a counter told" in counted.figures("Price")[""]
    assert "with a leftover nano 0.000000079 USD" in counted.text


def carded_lines_say_the_card_and_the_variance(told: list[Told]) -> None:
    lines = of(told, LineStep.FIRST_HAND, cluster_id=cluster_id(CARDED))
    assert all("by the rate card" in one.figures("Price")[""] for one in lines)
    for one in of(told, LineStep.CARD_VARIANCE):
        money = one.figures("Money")
        sides = [money_of(money[name]) for name in ("actual cost", "teams pay by the rate card")]
        assert sides == [Decimal("9.45"), 10]
        assert sides[0] - sides[1] == money_of(money["charged"])


def moved_lines_say_where_they_went(told: list[Told]) -> None:
    """What all lines of a debit say of themselves is what the debit took."""
    taken: dict[str, int] = {}
    for one in of(told, LineStep.FIRST_HAND):
        debit = one.figures("Redistribution").get("debit")
        if debit:
            taken[debit] = taken.get(debit, 0) + one.row.cost_nanos
    debits = {
        id_text(one.row.charge_id): -one.row.cost_nanos
        for one in told
        if one.row.kind == ChargeKind.REDISTRIBUTED and one.row.cost_nanos < 0
    }
    assert taken == debits
    assert len(debits) == 4
    for credit in of(told, LineStep.CONSUMERS):
        share = credit.figures("Share")[""]
        if credit.row.cost_nanos > 0:
            own, whole = (int(word) for word in share.split(" weighted")[0].split(" of "))
            exact = Decimal("9.3375") * own / whole
            assert abs(from_nanos(credit.row.cost_nanos) - exact) < Decimal("1e-9")


def money_lines_say_what_they_rest_on(told: list[Told]) -> None:
    for one in of(told, LineStep.TRUE_UP):
        assert "AWS 1234 2026-11 version 1, row 1" in one.text
        assert "true_up: spread" in one.figures("Team")["policy"]
        money = one.figures("Money")
        weight, whole = (money_of(part) for part in money["spread by"].split(" of "))
        assert money_of(money["difference"]) == Decimal(16) - whole
        assert money_of(money["charged"]) == money_of(money["difference"]) * weight / whole
    (credit,) = of(told, LineStep.CREDIT)
    # 125.00 over 61 days.
    assert credit.figures("Money")["exact"] == "-2.049180327869 USD"
    assert "100 EUR given back evenly over its span: a gift" in credit.text


def statements_have_the_lines(told: list[Told]) -> None:
    for one in told:
        statement = one.figures("Statement")
        assert statement[""].startswith(f"CB-2026-11-{one.row.team} version 1, closed at")
        assert sum(name.startswith("line ") for name in statement) == 1
        assert "as the closing of 2026-11 pinned it" in one.text or one.row.step in {1, 3}


def test_adjustments_say_what_was_and_what_changed(november: Engine) -> None:
    before = {one.row.charge_id: one.text for one in explain_all(november)}
    adjusted_november(november)

    told = explain_adjustments(november)

    stands: dict[int, int] = {}
    for one in told:
        money, line = one.figures("Money"), one.row.charge_id
        stands[line] = stands.get(line, _closed(november, line)) + one.row.cost_nanos
        assert money_of(money["stands at"]) == from_nanos(stands[line])
        posting = one.figures("Adjustment")
        assert posting["posting period"] == "2026-12"
        assert posting["run"] == str(one.row.run_id)
    assert {one.figures("Adjustment")["type"] for one in told} == {"late_facts", "correction"}
    assert any(one.figures("Adjustment")["author"] == "ada" for one in told)
    # A closed charge keeps its words, whatever prices and facts came later, and tells the posting.
    for one in explain_all(november):
        assert one.text.startswith(before[one.row.charge_id])
        posted = [step for step in one.found.explanation.steps if step.title == "Adjusted"]
        assert bool(posted) == (one.row.charge_id in stands)
        if posted:
            assert money_of(dict(posted[-1].figures)["stands_at"]) == from_nanos(
                stands[one.row.charge_id]
            )


def _closed(engine: Engine, charge_id: int) -> int:
    query = "SELECT cost_nanos FROM charges WHERE charge_id = :id"
    with engine.connect() as connection:
        return connection.scalar(text(query), {"id": charge_id}) or 0


def test_a_charge_of_a_reopened_period_names_the_statement_it_was_on(november: Engine) -> None:
    reopen_period("2026-11", reason="wrong", author="ada", given=an_adjusting(november))

    for one in explain_all(november):
        assert one.figures("Statement")[""] == (
            f"CB-2026-11-{one.row.team} version 1 had it; 2026-11 was opened again"
        )


@pytest.mark.parametrize("world", [in_two_clusters])
def test_lines_whose_making_is_not_stored_are_explained_as_far_as_they_go(
    database: Engine, world: Callable[[Days], Days]
) -> None:
    world(Days(database, UTC)).redistribute()

    told = explain_all(database)

    assert {one.row.step for one in told} == {0, 3}
    first = next(one for one in told if one.row.step == 0)
    assert first.figures("Split")[""].startswith("the segments are not known")
    assert "2026-11 is open" in first.figures("Statement")[""]


def test_days_of_another_zone_and_a_bill_that_changed(database: Engine, tmp_path: Path) -> None:
    """18.5 of the row's 24 hours are on the 23rd of India, 231.25 of 300.00 against 156.00."""
    zone = ZoneInfo("Asia/Kolkata")
    a_billed_ledger(database)
    bills = Bills(database, tmp_path, zone)
    bills.rate()
    bills.take(a_focus_row(cost="300.00"))

    first, second = of(explain_all(database, zone), LineStep.TRUE_UP)

    assert money_of(first.figures("Money")["provider charged"]) == Decimal("231.25")
    assert money_of(first.figures("Money")["pool cost"]) == 156
    assert money_of(second.figures("Money")["difference"]) == Decimal("-63.25")
    assert "from 2026-11-22T18:30:00Z to 2026-11-23T18:30:00Z" in first.text
    with database.begin() as connection:
        connection.execute(text("SET LOCAL ROLE gpuledger_owner"))
        connection.execute(text("UPDATE provider_bill_rows SET effective_nanos = 240000000000"))
    for one in of(explain_all(database, zone), LineStep.TRUE_UP):
        assert "another run will make the line again" in one.figures("Money")[""]


def test_a_charge_that_the_facts_do_not_give_says_so(database: Engine) -> None:
    with database.begin() as connection:
        put_names(connection)
        put_hour(connection, an_hour(), a_charge(an_hour(), cost_nanos=3 * NANOS, price_id=5))
        lines = charges(a_charge(an_hour(1), ChargeKind.UNALLOCATED, cost_nanos=None))
        ChargeStore(connection, CLUSTER, UTC_ZONE).replace(an_hour(1), lines)

    known, unknown = explain_all(database)

    assert "the versions of the price book do not name" in known.text
    assert "the segments are not known" in known.text
    assert unknown.figures("Money")[""] == "none, as there is no price"
