"""Commands that read the ledger: costs, inference, consumers, explain."""

from typing import Annotated

import typer

from app.attribution.goodput import parse_objective
from app.chargeback.consumers import CONSUMER_FILTERS, consumers_table
from app.chargeback.costs import COST_GROUPS, TIME_GROUPS, Basis, costs_columns, costs_table
from app.chargeback.inference import INFERENCE_GROUPS, inference_columns, inference_table
from app.cli import arguments
from app.cli.arguments import BasisOption, End, Filter, Form, GroupBy, Start
from app.cli.output import Format, console, print_table, status_console
from app.units.identity import id_of_text
from app.wiring.clients import objectives_of
from app.workflows.consumers import consumer_sums
from app.workflows.reading import cost_sums, inference_sums
from app.workflows.succeeding import explained

_COST_FILTERS = tuple(name for name in COST_GROUPS if name not in TIME_GROUPS)
_INFERENCE_FILTERS = tuple(name for name in INFERENCE_GROUPS if name not in TIME_GROUPS)
# What a terminal has room for; CSV and JSON have every column.
_SHOWN_COSTS = (
    "gpu_seconds_held",
    "gpu_seconds_active",
    "used_cost",
    "idle_cost",
    "unmeasured_cost",
    "unallocated_cost",
    "stranded_cost",
    "unobserved_cost",
    "total_cost",
    "currency",
    "complete",
)
_SHOWN_INFERENCE = (
    "requests",
    "prompt_tokens",
    "generation_tokens",
    "total_cost",
    "cost_per_request",
    "cost_per_million_tokens",
    "active_ratio",
    "ttft_p95_seconds",
    "e2e_p95_seconds",
    "complete",
)

_SHOWN_GOODPUT = ("within_objective_ratio", "cost_per_request_within_objective")
_SHOWN_CONSUMERS = (
    *("day", "cluster", "service", "consumer", "team", "matched_by"),
    *("prompt_tokens", "generation_tokens", "weighted_tokens"),
    *("gateway_to_engine_ratio", "reassigned_cost", "currency"),
)


def costs(
    start: Start,
    end: End,
    group_by: GroupBy = "team",
    only: Filter = None,
    basis: BasisOption = Basis.POSTED,
    form: Form = Format.TABLE,
) -> None:
    """Money and GPU time, summed by any columns; every row of the ledger is in it."""
    groups = arguments.columns(group_by, COST_GROUPS)
    filters = arguments.filters(only, _COST_FILTERS)
    window = arguments.window(start, end)
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = cost_sums(
            connection, window, groups, filters, zone=ledger.settings.zone, basis=basis
        )
    table = costs_table(found.rows, groups, ledger.settings.currency)
    assert table.columns == costs_columns(groups)
    shown = (*groups, *_SHOWN_COSTS)
    title = f"Costs from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    print_table(table, form, title=f"{title}, basis {basis.value}", columns=shown)
    arguments.warn_of(found.hours.missing, found.hours.partial, found.hours.pending)


def inference(
    start: Start,
    end: End,
    group_by: GroupBy = "model",
    only: Filter = None,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            help="A latency objective in place of the configured ones, as end_to_end=2.5.",
        ),
    ] = "",
    form: Form = Format.TABLE,
) -> None:
    """Tokens, requests, latency and unit costs by service or model."""
    groups = arguments.columns(group_by, INFERENCE_GROUPS)
    filters = arguments.filters(only, _INFERENCE_FILTERS)
    window = arguments.window(start, end)
    stated = (parse_objective(objective),) if objective else ()
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = inference_sums(
            connection,
            window,
            groups,
            filters,
            zone=ledger.settings.zone,
            objectives=stated or objectives_of(ledger.settings),
        )
    table = inference_table(found.rows, groups)
    assert table.columns == inference_columns(groups)
    good = any(found.rows["objective"])
    shown = (*groups, *_SHOWN_INFERENCE, *(_SHOWN_GOODPUT if good else ()))
    title = f"Inference from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    print_table(table, form, title=title, columns=shown)
    arguments.warn_of(found.hours.missing, found.hours.partial, found.hours.pending)
    if form is Format.TABLE:
        for weights in found.token_weights:
            console().print(
                f"Token weights of {weights.model}: prompt {weights.prompt}, cached"
                f" {weights.cached}, generation {weights.generation}."
            )
        for text in sorted({text for text in found.rows["objective"].tolist() if text}):
            console().print(f"Objective: {text}.")
        for reason in sorted({text for text in found.rows["unit_cost_reason"].tolist() if text}):
            status_console().print(f"Note: no unit cost where {reason}.", style="yellow")


def consumers(
    start: Start,
    end: End,
    only: Filter = None,
    form: Form = Format.TABLE,
) -> None:
    """Who sent tokens to shared services, day by day, and what of their cost is theirs."""
    filters = arguments.filters(only, CONSUMER_FILTERS)
    window = arguments.window(start, end)
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = consumer_sums(connection, window, filters, zone=ledger.settings.zone)
    table = consumers_table(found.rows, ledger.settings.currency)
    title = f"Consumers from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    print_table(table, form, title=title, columns=_SHOWN_CONSUMERS)
    arguments.warn_of(found.hours.missing, found.hours.partial, found.hours.pending)


def explain(
    charge: Annotated[str, typer.Argument(help="The identity of a charge or of an adjustment.")],
) -> None:
    """Say of one line what it rests on: usage, hold, share, price, split, owner, coverage.

    Also where its money went: redistribution, statement, adjustments. Of a charge that was replaced
    it says what stands in its place, of an adjustment what it changed.
    """
    charge_id = id_of_text(charge)
    ledger = arguments.ledger()
    with ledger.engine.connect() as connection:
        found = explained(connection, charge_id, ledger.settings.currency, ledger.settings.zone)
    console().print(found.explanation.text(), markup=False)
