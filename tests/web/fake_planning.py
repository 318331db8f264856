"""Budgets, forecasts, anomalies and break-even of three teams, in round figures."""

from decimal import Decimal

from app.chargeback.tables import Cell, Table
from app.web.planning_reading import AnomalyQuestion, BreakEvenQuestion, MonthQuestion
from app.workflows.break_even import COLUMNS as BREAK_EVEN_COLUMNS
from app.workflows.planning_tables import (
    ANOMALY_COLUMNS,
    BUDGET_COLUMNS,
    FORECAST_COLUMNS,
)

TEAMS = ("ads", "ml", "search")


class FakePlanning:
    """Answers the same figures for every question, of one team if a key is of one."""

    def budgets(self, question: MonthQuestion) -> Table:
        return _table(BUDGET_COLUMNS, question.team, period=question.period or "2026-11")

    def forecast(self, question: MonthQuestion) -> Table:
        return _table(FORECAST_COLUMNS, question.team, period=question.period or "2026-11")

    def anomalies(self, question: AnomalyQuestion) -> Table:
        day, by = question.first.isoformat(), question.by.value
        return _table(ANOMALY_COLUMNS, question.team, key="subject", day=day, by=by)

    def break_even(self, question: BreakEvenQuestion) -> Table:
        return _table(BREAK_EVEN_COLUMNS, question.team, key="model", provider="somebody")


def _table(columns: tuple[str, ...], team: str, key: str = "team", **cells: Cell) -> Table:
    rows = [
        tuple({key: name, "currency": "USD", **cells}.get(column, Decimal(1)) for column in columns)
        for name in ([team] if team else TEAMS)
    ]
    return Table(columns, tuple(rows))
