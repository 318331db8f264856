"""Budgets, forecasts, anomalies and break-even over the database."""

from zoneinfo import ZoneInfo

from app.chargeback.tables import Table
from app.store.budgets import BudgetStore
from app.store.dimensions import Filters
from app.web.planning_reading import AnomalyQuestion, BreakEvenQuestion, MonthQuestion
from app.wiring import Connection
from app.wiring.planning import PlanningTerms
from app.workflows.break_even import compare_with_hosted
from app.workflows.planning import budget_states, cost_anomalies, month_of, outlooks
from app.workflows.planning_tables import anomaly_table, budget_table, forecast_table


class StoredPlanning:
    """See `app.web.planning_reading.PlanningLedger`."""

    __slots__ = ()
    connection: Connection
    zone: ZoneInfo
    currency: str
    planning: PlanningTerms

    def budgets(self, question: MonthQuestion) -> Table:
        """Return where teams with a budget stand."""
        month = month_of(question.period, question.at, self.zone)
        filters = _of_team(question.team)
        states = budget_states(self.connection, month, question.at, filters, zone=self.zone)
        reached = BudgetStore(self.connection).within(month.name)
        return budget_table(month.name, states, reached, self.currency)

    def forecast(self, question: MonthQuestion) -> Table:
        """Return what teams will have spent at the end of the month."""
        month = month_of(question.period, question.at, self.zone)
        filters = _of_team(question.team)
        found = outlooks(self.connection, month, question.at, filters, zone=self.zone)
        return forecast_table(found, self.currency)

    def anomalies(self, question: AnomalyQuestion) -> Table:
        """Return the days that are off."""
        found = cost_anomalies(
            self.connection,
            question.by,
            question.first,
            question.after,
            _of_team(question.team),
            zone=self.zone,
            policy=self.planning.policy,
        )
        return anomaly_table(question.by.value, found, self.currency)

    def break_even(self, question: BreakEvenQuestion) -> Table:
        """Return own cost beside hosted prices."""
        return compare_with_hosted(
            self.connection,
            question.window,
            _of_team(question.team),
            self.planning.hosted,
            zone=self.zone,
            currency=self.currency,
            models=self.planning.models,
        ).table(self.currency)


def _of_team(team: str) -> Filters:
    return (("team", (team,)),) if team else ()
