"""Commands that fill the ledger: watch, collect, rate, detect, notify."""

from collections import Counter
from enum import Enum
from functools import partial
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli import arguments
from app.cli.arguments import Cluster, End, Start
from app.cli.output import console, say_error, status_console
from app.errors import GpuledgerError
from app.sources.prometheus import PrometheusError
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window
from app.wiring import Ledger, RejectedError, refuse_future
from app.workflows.collecting import Collected

# Under which names, and by which questions, everything was read: for the explanation of a charge.
_SILENT_NOTES = ("alias", "query", "lora_adapter")
_MOST_NOTES = 30


class Stage(Enum):
    """Which step's notes are meant."""

    COLLECT = "collect"
    RATE = "rate"


def progress() -> Progress:
    """Return a progress bar on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=status_console(),
    )


def watch(cluster: Cluster = "") -> None:
    """Follow one cluster's nodes and pods until stopped; holds are stored as they change."""
    ledger = arguments.ledger()
    names = arguments.clusters(ledger.settings, cluster)
    if len(names) > 1:
        message = "There are several clusters."
        raise arguments.ArgumentError(
            message, hint=f"Use --cluster with one of {', '.join(names)}."
        )
    status_console().print(f"Watching {names[0]}. Stop with Ctrl+C.")
    ledger.watch(names[0], clock=arguments.now_ms, stop=lambda _counts: False)


def collect(
    start: Start,
    end: End,
    cluster: Cluster = "",
    force: Annotated[
        bool, typer.Option("--force", help="Take an answer with less evidence than is stored.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why --force is right.")] = "",
) -> None:
    """Collect usage facts of whole hours from Prometheus and the stored holds."""
    if force and not reason.strip():
        message = "--force needs a reason."
        raise arguments.ArgumentError(message, hint="Say why, as --reason 'DCGM was reinstalled'.")
    if reason and not force:
        message = "--reason stands without --force."
        raise arguments.ArgumentError(message, hint="Add --force, or leave the reason out.")
    window = arguments.window(start, end)
    ledger = arguments.ledger()
    names = arguments.clusters(ledger.settings, cluster)
    # Before the first hour is collected, so that a wrong argument leaves nothing behind.
    refuse_future(window, arguments.now())
    failures: list[GpuledgerError] = []
    hours = list(window.hours())
    done: dict[str, list[Collected]] = {name: [] for name in names}
    with progress() as bar:
        for name in names:
            task = bar.add_task(f"Collecting {name}", total=len(hours))
            try:
                for hour in hours:
                    try:
                        done[name].append(ledger.collect(name, hour, forced_reason=reason.strip()))
                    except RejectedError as error:
                        failures.append(error)
                    bar.advance(task)
            except PrometheusError as error:
                # The other clusters have a Prometheus of their own.
                failures.append(error)
    for name in names:
        _say_collected(name, done[name])
    say_notes(ledger, tuple(name for name in names if done[name]), window, Stage.COLLECT)
    for failure in failures:
        say_error(failure)
    if failures:
        raise typer.Exit(1)


def rate(start: Start, end: End, cluster: Cluster = "") -> None:
    """Price collected hours and book them on teams."""
    window = arguments.window(start, end)
    ledger = arguments.ledger()
    names = arguments.clusters(ledger.settings, cluster)
    rate_all(ledger, names, window)
    say_notes(ledger, names, window, Stage.RATE)


def rate_all(ledger: Ledger, names: tuple[str, ...], window: Window) -> None:
    """Rate the collected hours of several clusters, with progress."""
    with progress() as bar:
        for name in names:
            task = bar.add_task(f"Rating {name}", total=window.length_ms // HOUR_MS)
            counts = ledger.rate(name, window, progress=partial(bar.advance, task))
            console().print(f"{name}: {counts.hours} hours rated, {counts.charges} charges.")


def say_notes(ledger: Ledger, names: tuple[str, ...], window: Window, stage: "Stage") -> None:
    """Say on standard error what was odd in the window; how it was read goes without saying."""
    with ledger.engine.connect() as connection:
        for name in names:
            match stage:
                case Stage.COLLECT:
                    notes = UsageStore(connection, name).notes(window)
                case Stage.RATE:
                    notes = WindowStore(connection, name).rating_notes(window)
            notes = notes.loc[~notes["kind"].isin(_SILENT_NOTES)]
            lines = zip(notes["kind"], notes["subject"], notes["detail"], strict=True)
            shown = list(dict.fromkeys(lines))
            for kind, subject, detail in shown[:_MOST_NOTES]:
                words = f"Note: {name}: {kind} {subject}".rstrip()
                status_console().print(f"{words}: {detail}", style="yellow", markup=False)
            if len(shown) > _MOST_NOTES:
                rest = len(shown) - _MOST_NOTES
                status_console().print(f"Note: {name}: {rest} more such lines.", style="yellow")


def detect(
    at: Annotated[str, typer.Option("--at", help="Look at the hours before this instant.")],
) -> None:
    """Look for waste: idle holds and unallocated pools."""
    result = arguments.ledger().detect(arguments.instant(at, "--at"))
    console().print(
        f"{result.found} findings in the hours from {result.window.start:%Y-%m-%d %H:%M} to"
        f" {result.window.end:%Y-%m-%d %H:%M} UTC, {result.to_announce} to announce;"
        f" {result.cannot_tell} subjects have too little evidence to tell."
    )
    for name in result.clusters_without_evidence:
        status_console().print(
            f"Note: {name} was left out: not all of these hours are collected and rated.",
            style="yellow",
        )


def notify() -> None:
    """Send new findings to Slack, each once."""
    ledger = arguments.ledger()
    if not ledger.settings.slack_webhook_url and not ledger.settings.slack_webhooks:
        message = "No Slack webhook is set."
        raise arguments.ArgumentError(
            message, hint="Set GPULEDGER_SLACK_WEBHOOK_URL or GPULEDGER_SLACK_WEBHOOKS."
        )
    result = ledger.notify()
    console().print(f"{result.sent} messages sent.")
    # The same webhook fails the same way for every message of its channel.
    for failure, count in Counter(result.failures).items():
        words = f"{failure} ({count} messages)" if count > 1 else failure
        status_console().print(f"gpuledger: {words}", style="bold red", markup=False)
    if result.failures:
        raise typer.Exit(1)


def _say_collected(name: str, collected: list[Collected]) -> None:
    if not collected:
        return
    capacity = sum(one.capacity_ms for one in collected) / HOUR_MS
    held = sum(one.held_ms for one in collected) / HOUR_MS
    unobserved = sum(one.unobserved_ms for one in collected) / HOUR_MS
    changed = sum(one.result.changed for one in collected)
    partial = sum(one.partial for one in collected)
    console().print(
        f"{name}: {len(collected)} hours, {changed} changed, {partial} partial; {capacity:,.1f}"
        f" GPU-hours of capacity, {held:,.1f} held, {unobserved:,.1f} unobserved;"
        f" {sum(one.generation_tokens for one in collected):,} tokens generated."
    )
