"""`gpuledger doctor`: what works, what is measured, where the holes are, and what to do."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated

import typer

from app.chargeback.tables import Cell, Table, seconds
from app.cli import arguments
from app.cli.arguments import Cluster, Form
from app.cli.output import Format, console, print_table
from app.findings.advice import Weight
from app.findings.conformance import indications
from app.findings.coverage import COVERAGE_GROUPS, Measure, grouped
from app.units.window import Window, hour_of
from app.wiring import Ledger
from app.wiring.examining import Examined, clocks, examine
from app.wiring.readiness import facts_of
from app.workflows.coverage import Covered, coverage_of
from app.workflows.coverage_tables import overview_table, ratio

_LINE_COLUMNS = (
    *("section", *COVERAGE_GROUPS, "subject", "status"),
    *("gpu_seconds", "gpu_seconds_measured", "time_ratio", "cost_ratio"),
    *("detail", "what_to_do"),
)
_CONFORMANCE_COLUMNS = ("cluster", "area", "id", "level", "kar", "indication", "evidence")
_NO_FIGURES: tuple[Cell, ...] = (None, None, None, None)

Days = Annotated[int, typer.Option("--days", min=1, max=366, help="How many days to look back.")]
Conformance = Annotated[
    bool,
    typer.Option("--conformance", help="Kubernetes AI Conformance: what the evidence points to."),
]


def doctor(
    cluster: Cluster = "",
    days: Days = 7,
    conformance: Conformance = False,
    form: Form = Format.TABLE,
) -> None:
    """Check all that is needed, say what of the last days is measured, and what to do."""
    ledger = arguments.ledger()
    if conformance:
        _print_conformance(ledger, arguments.clusters(ledger.settings, cluster), form)
        return
    chosen = (ledger.settings.cluster(cluster).name,) if cluster else ()
    checks = [
        one
        for one in (
            *examine(ledger.settings, ledger.engine),
            *clocks(ledger.settings, arguments.now_ms),
        )
        if not chosen or one.name == "database" or one.name.startswith(f"{chosen[0]} ")
    ]
    usable = all(one.ok for one in checks if one.name == "database")
    covered = _covered(ledger, days, chosen) if usable else Covered(rows=(), holes=())
    if form is Format.TABLE:
        _print_for_people(checks, covered, days)
    else:
        print_table(Table(_LINE_COLUMNS, (*_check_lines(checks), *_lines(covered))), form)
    if not all(one.ok for one in checks):
        raise typer.Exit(1)


def _covered(ledger: Ledger, days: int, clusters: Sequence[str]) -> Covered:
    """Return the coverage of the last days, up to where every cluster's hours are settled."""
    settings = ledger.settings
    wait = max((one.settle_minutes for one in settings.clusters), default=0)
    end = hour_of(arguments.now() - timedelta(minutes=wait)).start
    window = Window(end - timedelta(days=days), end)
    with ledger.engine.connect() as connection:
        return coverage_of(connection, window, zone=settings.zone, clusters=clusters)


def _print_for_people(checks: Iterable[Examined], covered: Covered, days: int) -> None:
    for one in checks:
        mark, style = ("ok     ", "green") if one.ok else ("failed ", "bold red")
        console().print(mark, style=style, end="")
        console().print(f"{one.name}: {one.detail}", markup=False, soft_wrap=True)
    if covered.rows:
        title = f"Measured in the last {days} days, as a share of GPU time"
        whole = overview_table(grouped(covered.rows, ("cluster",)), ("cluster",))
        print_table(whole, Format.TABLE, title=title)
        print_table(overview_table(covered.rows, COVERAGE_GROUPS), Format.TABLE)
    holes = [hole for hole in covered.holes if hole.advice.weight is not Weight.TOLD]
    if not holes:
        return
    console().print("\nHoles, the worst first:", style="bold")
    by_kind: dict[str, list[str]] = {}
    for hole in holes:
        about = "" if hole.subject == hole.cluster else f" {hole.subject}"
        where = f"{hole.cluster}{about}"
        times = f" (in {hole.hours} hours)" if hole.hours else ""
        by_kind.setdefault(hole.kind, []).append(f"{where}: {hole.detail}{times}")
    todo = {hole.kind: hole.advice for hole in holes}
    for kind, lines in by_kind.items():
        console().print(f"\n{todo[kind].weight.value}: {kind}", style="bold", markup=False)
        for line in lines:
            console().print(f"  {line}", markup=False, soft_wrap=True)
        console().print(f"  → {todo[kind].todo}", markup=False, soft_wrap=True)


def _check_lines(checks: Iterable[Examined]) -> Iterable[tuple[Cell, ...]]:
    for one in checks:
        status = "ok" if one.ok else "failed"
        yield ("check", "", "", "", one.name, status, *_NO_FIGURES, one.detail, "")


def _lines(covered: Covered) -> Iterable[tuple[Cell, ...]]:
    for row in covered.rows:
        for measure in Measure:
            share = row.shares[measure]
            if share.ms:
                whole = share.measured_ms == share.ms
                yield (
                    *("measured", row.cluster, row.namespace, row.service, measure.value),
                    "all" if whole else "part" if share.measured_ms else "nothing",
                    seconds(share.ms),
                    seconds(share.measured_ms),
                    ratio(share.time_ratio),
                    ratio(row.cost_ratio(measure)),
                    *("", ""),
                )
    for hole in covered.holes:
        yield (
            *("hole", hole.cluster, hole.namespace, "", f"{hole.kind} {hole.subject}"),
            hole.advice.weight.value,
            *_NO_FIGURES,
            hole.detail,
            hole.advice.todo,
        )


def _print_conformance(ledger: Ledger, clusters: Iterable[str], form: Format) -> None:
    """Print an indication on every requirement; no certificate, and none of ours to fail."""
    lines = [
        (
            name,
            found.requirement.area,
            found.requirement.id,
            found.requirement.level,
            found.requirement.kar,
            found.indication.value,
            found.evidence,
        )
        for name in clusters
        for found in indications(
            facts_of(ledger.settings.cluster(name), ledger.settings, arguments.now_ms())
        )
    ]
    title = "Kubernetes AI Conformance: indications, no certificate"
    print_table(Table(_CONFORMANCE_COLUMNS, tuple(lines)), form, title=title)
