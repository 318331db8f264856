"""The demo: a simulated fleet through the real pipeline, from the sources to the dashboard."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from app.cli import arguments
from app.cli.demo_inputs import CONTRACT, PRICES
from app.cli.demo_summary import print_summary
from app.cli.ledger import progress
from app.cli.output import console
from app.cli.services import listen, serve_ledger
from app.errors import GpuledgerError, InputError
from app.settings import (
    ClusterSettings,
    KubernetesSettings,
    PrometheusSettings,
    Settings,
    settings_of_environment,
)
from app.simulator.clock import VirtualClock
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.modes import Mode
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec, Outage
from app.store.embedded import drop_database, embedded_url
from app.store.engine import engine_of
from app.store.keys import KeyStore
from app.store.migrating import upgrade
from app.store.naming import NameStore
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from app.web.reading import Scope
from app.wiring import Ledger
from app.workflows.imports import apply_contract, import_prices

if TYPE_CHECKING:
    from app.workflows.watch import WatchCounts

CLUSTER = "demo"
_SEED = 7
# Virtual time between two looks of the watch; resource versions expire after 5 minutes of it.
_STEP_MS = 240_000
_REPLAY_LIMIT_SECONDS = 300.0


class DemoRefusedError(InputError):
    """The data folder holds a ledger that is not the demo's."""


@dataclass(frozen=True, slots=True)
class _Demo:
    """What the steps of the demo share."""

    fleet: Fleet
    ledger: Ledger
    window: Window


def demo(
    days: Annotated[int, typer.Option("--days", min=1, max=14, help="How much to simulate.")] = 1,
    no_serve: Annotated[
        bool, typer.Option("--no-serve", help="End by itself instead of serving.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
) -> None:
    """Simulate a fleet, collect, rate, detect and report it, and serve the dashboard."""
    settings = settings_of_environment()
    listener = None if no_serve else listen("127.0.0.1", port)
    end = from_ms(to_ms(arguments.now()) // HOUR_MS * HOUR_MS)
    window = Window(end - timedelta(days=days), end)
    spec = _spec(window)
    _prepare_database(settings.data_dir)
    with _prometheus_process(spec) as prometheus_url, progress() as bar:
        fleet = Fleet.build(spec)
        clock = VirtualClock(spec.opens_ms)
        with SimulatedKubernetes(fleet, clock) as kubernetes:
            ledger = _open(settings, prometheus_url, kubernetes.url)
            given = _Demo(fleet, ledger, window)
            _replay(given, kubernetes, clock, bar)
            _collect(given, bar)
        _rate(given, bar)
        _detect(given)
    secret = _key(ledger)
    report = ledger.publish("weekly_chargeback", f"{window.start:%G-W%V}")
    print_summary(ledger, window, report)
    if listener is None:
        console().print("Read on: .venv/bin/gpuledger costs --help. The ledger stays in", end=" ")
        console().print(str(settings.data_dir), markup=False)
        return
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/#key={secret}"
    console().print(f"Dashboard: {address}  (Ctrl+C ends it)", soft_wrap=True)
    serve_ledger(ledger, listener)


def _spec(window: Window) -> FleetSpec:
    """Return the fleet: one node's exporter is silent for a while, so that time is unmeasured."""
    spec = FleetSpec(
        seed=_SEED,
        start_ms=window.start_ms,
        hours=window.length_ms // HOUR_MS,
        outages=(),
        modes=(Mode.MIG_MIXED, Mode.TIME_SLICING, Mode.KAI),
        mode_changes=False,
        mode_pods_per_node=6,
        mode_pod_minutes=240,
    )
    node = Fleet.build(spec).nodes[0].name
    start_ms = window.start_ms + 6 * HOUR_MS
    silent = Outage(start_ms=start_ms, end_ms=start_ms + HOUR_MS // 6, target=node)
    return replace(spec, outages=(silent,))


def _prepare_database(data_dir: Path) -> None:
    """Make an empty, upgraded database; refuse to overwrite anything but an earlier demo."""
    engine = engine_of(embedded_url(data_dir), role=None)
    upgrade(engine)
    with engine.connect() as connection:
        others = set(NameStore(connection).clusters().values()) - {CLUSTER}
    engine.dispose()
    if others:
        message = f"The ledger in {data_dir} holds {', '.join(sorted(others))}."
        raise DemoRefusedError(
            message, hint="Set GPULEDGER_DATA_DIR to another folder for the demo."
        )
    drop_database(data_dir)
    upgrade(engine_of(embedded_url(data_dir), role=None))


def _open(settings: Settings, prometheus_url: str, kubernetes_url: str) -> Ledger:
    cluster = ClusterSettings(
        name=CLUSTER,
        prometheus=PrometheusSettings(url=prometheus_url),
        kubernetes=KubernetesSettings(mode="url", url=kubernetes_url),
    )
    demo_settings = settings.model_copy(
        update={
            "clusters": (cluster,),
            "database_url": None,
            "report_out": settings.data_dir / "reports",
        }
    )
    url = embedded_url(settings.data_dir)
    return Ledger(demo_settings, url, engine_of(url), arguments.now)


def _replay(
    given: _Demo, kubernetes: SimulatedKubernetes, clock: VirtualClock, bar: Progress
) -> None:
    """Let the watch follow the fleet's life at high speed."""
    spec = given.fleet.spec
    reached = threading.Event()
    failures: list[GpuledgerError] = []
    until = {"ms": 0}

    def stop(counts: "WatchCounts") -> bool:
        until["ms"] = counts.until_ms
        return counts.until_ms >= spec.end_ms

    def follow() -> None:
        try:
            given.ledger.watch(CLUSTER, clock=clock, stop=stop)
        except GpuledgerError as error:
            failures.append(error)
        reached.set()

    task = bar.add_task("Watching pods and nodes", total=spec.hours)
    threading.Thread(target=follow, name="demo-watch", daemon=True).start()
    pause = threading.Event()
    for _ in range(int(_REPLAY_LIMIT_SECONDS / 0.002)):
        if reached.is_set():
            break
        delivered = min(kubernetes.delivered_ms("pods"), kubernetes.delivered_ms("nodes"))
        if delivered >= clock() and until["ms"] >= clock() - _STEP_MS:
            clock.move_to(min(clock() + _STEP_MS, spec.closes_ms))
        bar.update(task, completed=max(0, until["ms"] - spec.start_ms) // HOUR_MS)
        pause.wait(0.002)
    if failures:
        raise failures[0]
    bar.update(task, completed=spec.hours)


def _collect(given: _Demo, bar: Progress) -> None:
    hours = list(given.window.hours())
    task = bar.add_task("Collecting from Prometheus", total=len(hours))
    for hour in hours:
        given.ledger.collect(CLUSTER, hour)
        bar.advance(task)


def _rate(given: _Demo, bar: Progress) -> None:
    ledger = given.ledger
    at_ms = to_ms(arguments.now())
    import_prices(
        PRICES,
        file_name="demo-prices.csv",
        currency=ledger.settings.currency,
        engine=ledger.engine,
        billing_zone=ledger.settings.zone,
        at_ms=at_ms,
        dry_run=False,
    )
    apply_contract(
        CONTRACT,
        file_name="demo-teams.yaml",
        engine=ledger.engine,
        billing_zone=ledger.settings.zone,
        at_ms=at_ms,
        dry_run=False,
    )
    task = bar.add_task("Rating", total=given.window.length_ms // HOUR_MS)
    ledger.rate(CLUSTER, given.window, progress=lambda hours: bar.advance(task, hours))


def _detect(given: _Demo) -> None:
    given.ledger.detect(given.window.end)


def _key(ledger: Ledger) -> str:
    # A web framework is more than most commands should wait for.
    from app.web.auth import new_secret, secret_sha256  # noqa: PLC0415 see above

    secret = new_secret()
    with ledger.engine.begin() as connection:
        KeyStore(connection).create(
            "demo",
            secret_sha256(secret),
            scope=Scope.WRITE.value,
            team="",
            created_ms=to_ms(arguments.now()),
        )
    return secret


@contextmanager
def _prometheus_process(spec: FleetSpec) -> Iterator[str]:
    """Serve the simulated Prometheus from a process of its own: it computes while we do."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_prometheus, args=(spec, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield str(ours.recv())
    finally:
        ours.close()
        process.join(timeout=5)
        if process.is_alive():
            process.terminate()


def _serve_prometheus(spec: FleetSpec, pipe: Pipe) -> None:
    fleet = Fleet.build(spec)
    with SimulatedPrometheus(fleet, lambda: spec.closes_ms) as server:
        pipe.send(server.url)
        try:
            pipe.recv()
        except EOFError:
            return
