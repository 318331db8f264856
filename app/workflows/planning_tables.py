"""Budgets, forecasts and anomalies as the tables that people and programs read."""

from collections.abc import Sequence
from decimal import Decimal

from app.chargeback.tables import Cell, Table, amount
from app.planning.anomalies import Anomaly
from app.planning.budgets import BudgetState
from app.planning.forecast import INTERVAL_RATIO, Forecast
from app.store.budgets import LatchedCrossing
from app.units.window import from_ms
from app.workflows.planning import Outlook

_FORECAST = ("forecast_cost", "forecast_low", "forecast_high", "forecast_days", "forecast_reason")
BUDGET_COLUMNS = (
    *("period", "team", "budget", "spent_cost", "remaining", "used_ratio"),
    *_FORECAST,
    *("thresholds_reached", "currency", "complete"),
)
FORECAST_COLUMNS = ("period", "team", "spent_cost", *_FORECAST, "interval", "currency", "complete")
ANOMALY_COLUMNS = (
    *("day", "by", "subject", "kind", "cost", "expected_cost", "difference"),
    *("cost_at_old_prices", "deviations", "compared_days", "measure", "explanation", "currency"),
)
CROSSING_COLUMNS = (
    *("period", "team", "basis", "threshold", "crossed_at", "cost", "budget", "currency"),
)


def budget_table(
    period: str, states: Sequence[BudgetState], reached: Sequence[LatchedCrossing], currency: str
) -> Table:
    """Return where teams stand with their budgets, and which thresholds were reached when."""
    said = {
        team: "; ".join(_reached(one) for one in reached if one.crossing.team == team)
        for team in {one.crossing.team for one in reached}
    }
    rows = tuple(
        (
            period,
            state.budget.team,
            amount(state.budget.nanos),
            amount(state.spent_nanos),
            amount(state.remaining_nanos),
            state.used_ratio,
            *_forecast(state.forecast),
            said.get(state.budget.team, ""),
            currency,
            state.complete,
        )
        for state in states
    )
    return Table(BUDGET_COLUMNS, rows)


def forecast_table(outlooks: Sequence[Outlook], currency: str) -> Table:
    """Return what teams will have spent at the end of the period, with its interval."""
    rows = tuple(
        (
            one.period,
            one.team,
            amount(one.spent_nanos),
            *_forecast(one.forecast),
            Decimal(str(INTERVAL_RATIO)),
            currency,
            one.complete,
        )
        for one in outlooks
    )
    return Table(FORECAST_COLUMNS, rows)


def anomaly_table(by: str, found: Sequence[Anomaly], currency: str) -> Table:
    """Return the days that are off, with what they were measured by."""
    rows = tuple(
        (
            one.day.isoformat(),
            by,
            one.subject,
            one.kind.value,
            amount(one.nanos),
            amount(one.expected_nanos),
            amount(one.nanos - one.expected_nanos),
            amount(one.at_old_prices_nanos),
            None if one.deviations is None else Decimal(f"{one.deviations:.2f}"),
            one.compared_days,
            one.measure,
            one.explanation,
            currency,
        )
        for one in found
    )
    return Table(ANOMALY_COLUMNS, rows)


def crossing_table(found: Sequence[LatchedCrossing], currency: str) -> Table:
    """Return thresholds that were reached, and with how much money."""
    rows = tuple(
        (
            one.period,
            one.crossing.team,
            one.crossing.basis.value,
            _ratio(one),
            from_ms(one.crossed_ms).isoformat().replace("+00:00", "Z"),
            amount(one.crossing.nanos),
            amount(one.crossing.budget_nanos),
            currency,
        )
        for one in found
    )
    return Table(CROSSING_COLUMNS, rows)


def _forecast(ahead: Forecast | None) -> tuple[Cell, ...]:
    if ahead is None:
        return (None, None, None, 0, "nothing was spent in the last eight weeks")
    bounds = (ahead.nanos, ahead.low_nanos, ahead.high_nanos)
    money = (None if nanos is None else amount(nanos) for nanos in bounds)
    return (*money, ahead.days, ahead.reason)


def _reached(one: LatchedCrossing) -> str:
    word = f"{one.crossing.basis.value} {_ratio(one):.0%}"
    return f"{word} on {from_ms(one.crossed_ms):%Y-%m-%d}"


def _ratio(one: LatchedCrossing) -> Decimal:
    threshold = one.crossing.threshold
    return (Decimal(threshold.numerator) / Decimal(threshold.denominator)).normalize()
