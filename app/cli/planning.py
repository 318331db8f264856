"""Commands on what may come: budgets, forecasts, anomalies, break-even with hosted models."""

from pathlib import Path
from typing import Annotated

import typer

from app.chargeback.costs import TIME_GROUPS
from app.chargeback.inference import INFERENCE_GROUPS
from app.cli import arguments
from app.cli.arguments import End, Filter, Form, Start
from app.cli.output import Format, console, print_table
from app.planning.break_even import HostedPrice
from app.sources.hosted_prices import read_hosted_prices
from app.store.budgets import BudgetStore
from app.wiring.clients import anomaly_policy, hosted_prices_of, model_entries
from app.workflows.break_even import compare_with_hosted
from app.workflows.planning import (
    Subject,
    budget_states,
    cost_anomalies,
    latch_budgets,
    month_of,
    outlooks,
    parse_days,
)
from app.workflows.planning_tables import anomaly_table, budget_table, forecast_table

_FILTERS = tuple(name for name in INFERENCE_GROUPS if name not in TIME_GROUPS)
_SHOWN_BUDGETS = (
    *("team", "budget", "spent_cost", "remaining", "used_ratio", "forecast_cost"),
    *("forecast_low", "forecast_high", "thresholds_reached", "currency", "complete"),
)
_SHOWN_FORECAST = (
    *("team", "spent_cost", "forecast_cost", "forecast_low", "forecast_high"),
    *("forecast_days", "currency", "complete"),
)
_SHOWN_ANOMALIES = (
    *("day", "subject", "kind", "cost", "expected_cost", "deviations", "measure"),
    *("explanation", "currency"),
)
_SHOWN = (
    *("model", "provider", "price_date", "tokens", "total_cost", "hosted_cost", "difference"),
    *("currency", "break_even_ratio", "active_ratio", "reachable", "reason"),
)


def break_even(
    start: Start,
    end: End,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", help="A hosted API's price list (CSV); else the shipped one."),
    ] = None,
    only: Filter = None,
    form: Form = Format.TABLE,
) -> None:
    """What served models cost beside hosted ones, and from which volume on that is less."""
    filters = arguments.filters(only, _FILTERS)
    window = arguments.window(start, end)
    ledger = arguments.ledger()
    settings = ledger.settings
    listed = _prices(prices) if prices else hosted_prices_of(settings)
    with ledger.engine.connect() as connection:
        found = compare_with_hosted(
            connection,
            window,
            filters,
            listed,
            zone=settings.zone,
            currency=settings.currency,
            models=model_entries(settings.models),
        )
    title = f"Break-even from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    print_table(
        found.table(settings.currency), form, title=f"{title}, reserved basis", columns=_SHOWN
    )
    arguments.warn_of(found.hours.missing, found.hours.partial, found.hours.pending)
    if form is Format.TABLE:
        console().print(
            "total_cost is that of all held time. break_even_ratio × the tokens of the window is"
            " where both cost the same; it is reachable where the GPUs had the idle time for it."
        )


def budgets(
    period: Annotated[str, typer.Option("--period", help="A month, as 2026-10.")] = "",
    only: Filter = None,
    latch: Annotated[
        bool, typer.Option("--latch", help="Keep which thresholds are reached, as the worker does.")
    ] = False,
    form: Form = Format.TABLE,
) -> None:
    """What teams may spend in a month, have spent, and will have spent at its end."""
    filters = arguments.filters(only, ("team",))
    ledger = arguments.ledger()
    settings, at = ledger.settings, arguments.now()
    month = month_of(period, at, settings.zone)
    with ledger.engine.begin() as connection:
        if latch:
            latch_budgets(connection, month, at, zone=settings.zone)
        states = budget_states(connection, month, at, filters, zone=settings.zone)
        reached = BudgetStore(connection).within(month.name)
    table = budget_table(month.name, states, reached, settings.currency)
    print_table(table, form, title=f"Budgets of {month.name}", columns=_SHOWN_BUDGETS)
    if not states and form is Format.TABLE:
        console().print("No team has a budget then: budget: {monthly: …} in the team contract.")


def forecast(
    period: Annotated[str, typer.Option("--period", help="A month, as 2026-10.")] = "",
    only: Filter = None,
    form: Form = Format.TABLE,
) -> None:
    """What teams will have spent at the end of a month, with the interval of 19 in 20."""
    filters = arguments.filters(only, ("team",))
    ledger = arguments.ledger()
    settings, at = ledger.settings, arguments.now()
    month = month_of(period, at, settings.zone)
    with ledger.engine.connect() as connection:
        found = outlooks(connection, month, at, filters, zone=settings.zone)
    table = forecast_table(found, settings.currency)
    print_table(table, form, title=f"Forecast of {month.name}", columns=_SHOWN_FORECAST)
    reasons = {one.forecast.reason for one in found if one.forecast.reason}
    if form is Format.TABLE:
        for reason in sorted(reasons):
            console().print(f"No forecast: {reason}.")


def anomalies(
    start: Annotated[str, typer.Option("--start", help="First day, as 2026-11-01.")],
    end: Annotated[str, typer.Option("--end", help="First day after, as 2026-11-08.")],
    by: Annotated[Subject, typer.Option("--by", help="Whose daily cost.")] = Subject.TEAM,
    only: Filter = None,
    form: Form = Format.TABLE,
) -> None:
    """Days of teams or services that cost far more or less than such days did."""
    filters = arguments.filters(only, ("team", "cluster", "namespace"))
    first, after = parse_days(start, end)
    ledger = arguments.ledger()
    settings = ledger.settings
    with ledger.engine.connect() as connection:
        found = cost_anomalies(
            connection,
            by,
            first,
            after,
            filters,
            zone=settings.zone,
            policy=anomaly_policy(settings),
        )
    title = f"Anomalies of {by.value}s from {first} to {after}"
    table = anomaly_table(by.value, found, settings.currency)
    print_table(table, form, title=title, columns=_SHOWN_ANOMALIES)


def _prices(path: Path) -> tuple[HostedPrice, ...]:
    return read_hosted_prices(arguments.file_text(path), filename=path.name)
