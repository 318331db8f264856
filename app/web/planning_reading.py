"""What the routes of budgets, forecasts, anomalies and break-even need of the ledger."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from app.chargeback.tables import Table
from app.units.window import Window
from app.workflows.planning import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthQuestion:
    """A month ('' is the one that goes on), seen from an instant; of one team, or of all ('')."""

    period: str
    at: datetime
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyQuestion:
    """Whose days are judged, from ``first`` until before ``after``; of one team or of all ('')."""

    by: Subject
    first: date
    after: date
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvenQuestion:
    """Which hours' tokens are compared with hosted prices; of one team or of all ('')."""

    window: Window
    team: str


class PlanningLedger(Protocol):
    """One request's view of what was planned and what may come."""

    def budgets(self, question: MonthQuestion) -> Table:
        """Return where teams with a budget stand (`workflows.planning_tables.BUDGET_COLUMNS`)."""
        ...

    def forecast(self, question: MonthQuestion) -> Table:
        """Return what teams will have spent (`workflows.planning_tables.FORECAST_COLUMNS`)."""
        ...

    def anomalies(self, question: AnomalyQuestion) -> Table:
        """Return the days that are off (`workflows.planning_tables.ANOMALY_COLUMNS`)."""
        ...

    def break_even(self, question: BreakEvenQuestion) -> Table:
        """Return own cost beside hosted prices (`workflows.break_even.COLUMNS`)."""
        ...
