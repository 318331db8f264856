"""Budgets, forecasts and anomalies over a ledger of two months of round days."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, insert

from app.chargeback.periods import parse_period
from app.planning.anomalies import AnomalyKind, AnomalyPolicy
from app.planning.budgets import BudgetBasis
from app.sources.team_contract import read_team_contract
from app.store.budgets import BudgetStore
from app.store.contracts import ContractStore
from app.store.naming import NameStore
from app.store.tables.facts import WINDOW_STATE
from app.store.tables.ledger import CHARGE_DAYS, MS_COLUMNS, NANO_COLUMNS
from app.units.window import HOUR_MS, to_ms
from app.usage.identity import cluster_id, gpu_model_id, namespace_id, team_id
from app.workflows.planning import (
    DaysError,
    Subject,
    budget_states,
    cost_anomalies,
    daily_costs,
    latch_budgets,
    outlooks,
    parse_days,
)
from app.workflows.planning_tables import anomaly_table, budget_table, forecast_table

UTC_ZONE = ZoneInfo("UTC")
USD = 10**9
CLUSTER = "prod-eu"
FIRST = date(2026, 9, 1)
DAYS = 75
OCTOBER = parse_period("2026-10", UTC_ZONE)
NOVEMBER = parse_period("2026-11", UTC_ZONE)
POLICY = AnomalyPolicy(deviations=3.5, floor_nanos=100 * USD, floor_ratio=0.2)
CONTRACT = """
teams:
  - { name: search, namespaces: [search], budget: { monthly: "5000" } }
  - { name: ads, namespaces: [ads] }
"""


def fill(
    ledger: Connection, costs: dict[tuple[str, date], int], missing: date | None = None
) -> None:
    """Store days of 100.00 a team: 50 GPU-hours at 2.00, but for those in ``costs``."""
    names = NameStore(ledger)
    names.ensure_cluster(CLUSTER)
    names.ensure_teams({"search": "", "ads": ""})
    ContractStore(ledger).apply(
        CONTRACT,
        applied_ms=0,
        file_name="teams.yaml",
        sha256="x",
        contract=read_team_contract(CONTRACT, filename="teams.yaml", zone=UTC_ZONE),
        zone=UTC_ZONE,
    )
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    rows = [
        {
            **dict.fromkeys((*MS_COLUMNS, *NANO_COLUMNS), 0),
            "cluster_id": cluster_id(CLUSTER),
            "day": day,
            "team_id": team_id(team),
            "namespace_id": namespace_id(team),
            "gpu_model_id": gpu_model_id("H100"),
            "used_ms": costs.get((team, day), 100) * HOUR_MS // 2,
            "used_nanos": costs.get((team, day), 100) * USD,
        }
        for day in days
        for team in ("search", "ads")
    ]
    ledger.execute(insert(CHARGE_DAYS), rows)
    begins = [to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC)) for day in days]
    hours = [
        {
            "cluster_id": cluster_id(CLUSTER),
            "window_start": begin + hour * HOUR_MS,
            "revision": 1,
            "partial": False,
            "content_sha256": b"",
            "forced_reason": "",
            "input_marks": 0,
            "rated_revision": 1,
            "rated_marks": 0,
        }
        for day, begin in zip(days, begins, strict=True)
        for hour in range(24)
        if day != missing or hour
    ]
    ledger.execute(insert(WINDOW_STATE), hours)


def at(day: int, month: int = 11) -> datetime:
    return datetime(2026, month, day, 9, tzinfo=UTC)


def test_a_month_is_forecast_from_its_days_and_those_before(ledger: Connection) -> None:
    fill(ledger, {})

    found = {one.team: one for one in outlooks(ledger, NOVEMBER, at(11), zone=UTC_ZONE)}

    # Ten days of 100.00 and the eleventh so far are spent; twenty days come, the eleventh first.
    assert found["search"].spent_nanos == 1_100 * USD
    assert found["search"].forecast.nanos == pytest.approx(3_000 * USD)
    assert found["search"].forecast.days == 56
    assert found["search"].complete


def test_a_month_that_is_over_has_cost_what_it_has_cost(ledger: Connection) -> None:
    fill(ledger, {})

    found = outlooks(ledger, OCTOBER, at(11), (("team", ("ads",)),), zone=UTC_ZONE)

    assert [(one.team, one.forecast.nanos) for one in found] == [("ads", 3_100 * USD)]


def test_a_new_ledger_says_that_it_knows_too_little(ledger: Connection) -> None:
    fill(ledger, {})

    found = outlooks(ledger, parse_period("2026-09", UTC_ZONE), at(7, month=9), zone=UTC_ZONE)

    assert {one.forecast.reason for one in found} == {
        "not enough data: 6 complete days of at least 8"
    }
    table = forecast_table(found, "USD")
    assert table.records()[0]["forecast_cost"] is None


def test_a_day_without_an_hour_is_neither_learned_from_nor_judged(ledger: Connection) -> None:
    hole = date(2026, 11, 9)
    fill(ledger, {("search", hole): 900}, missing=hole)

    daily = daily_costs(ledger, Subject.TEAM, hole, hole + timedelta(days=2), zone=UTC_ZONE)
    found = cost_anomalies(
        ledger, Subject.TEAM, hole, date(2026, 11, 10), zone=UTC_ZONE, policy=POLICY
    )

    assert [one.complete for one in daily["search"]] == [False, True]
    assert found == ()


def test_a_budget_shows_what_is_spent_left_and_expected(ledger: Connection) -> None:
    fill(ledger, {("search", date(2026, 11, 4)): 1_600})

    (state,) = budget_states(ledger, NOVEMBER, at(11), zone=UTC_ZONE)
    table = budget_table("2026-11", [state], [], "USD")

    # Ten days of 100.00 and one of 1,600.00.
    assert state.spent_nanos == 2_600 * USD
    (row,) = table.records()
    assert (row["team"], row["budget"], row["remaining"], row["used_ratio"]) == (
        "search",
        Decimal("5000.00"),
        Decimal("2400.00"),
        Decimal("0.5200"),
    )


def test_a_threshold_is_latched_once_a_period(ledger: Connection) -> None:
    fill(ledger, {("search", date(2026, 11, 4)): 1_600, ("search", date(2026, 10, 4)): 4_000})

    first = latch_budgets(ledger, NOVEMBER, at(11), zone=UTC_ZONE)
    again = latch_budgets(ledger, NOVEMBER, at(12), zone=UTC_ZONE)
    october = latch_budgets(ledger, OCTOBER, at(12), zone=UTC_ZONE)

    half = Fraction(1, 2)
    assert [(one.crossing.basis, one.crossing.threshold) for one in first] == [
        (BudgetBasis.SPENT, half)
    ]
    assert again == ()
    assert [one.crossing.threshold for one in october] == [half, Fraction(9, 10), Fraction(1)]
    kept = BudgetStore(ledger).within("2026-11")
    assert [one.crossed_ms for one in kept] == [to_ms(at(11))]
    (row,) = budget_table(
        "2026-11", budget_states(ledger, NOVEMBER, at(12), zone=UTC_ZONE), kept, "USD"
    ).records()
    assert row["thresholds_reached"] == "spent 50% on 2026-11-11"


def test_a_spike_of_a_team_is_told_and_no_other_day(ledger: Connection) -> None:
    spike = date(2026, 11, 10)
    fill(ledger, {("ads", spike): 700})

    found = cost_anomalies(
        ledger, Subject.TEAM, date(2026, 11, 2), date(2026, 11, 14), zone=UTC_ZONE, policy=POLICY
    )

    (row,) = anomaly_table("team", found, "USD").records()
    assert (row["subject"], row["day"], row["kind"]) == ("ads", "2026-11-10", "spike")
    assert (row["cost"], row["expected_cost"]) == (Decimal("700.00"), Decimal("100.00"))
    assert found[0].kind is AnomalyKind.SPIKE


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-11-02", "2026-11-02", "0 days"),
        ("2026-11-02", "2026-11-01", "-1 days"),
        ("2026-01-01", "2026-11-01", "304 days"),
        ("yesterday", "2026-11-01", "are no days"),
    ],
)
def test_spans_that_cannot_be_judged_are_refused(start: str, end: str, said: str) -> None:
    with pytest.raises(DaysError, match=said):
        parse_days(start, end)
