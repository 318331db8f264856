"""Two simulated days in a real Prometheus, collected with the watch and without, and rated."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from app.simulator.dcgm_series import DCGM_FAMILIES
from app.simulator.exposition import FAMILIES, Exposition
from app.simulator.fleet import Fleet
from app.simulator.hardware import Node
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.openmetrics import write_openmetrics
from app.simulator.placement import EXPORTER_NAMESPACE, MONITORING_NAMESPACE
from app.simulator.scrapes import KUBE_STATE_METRICS, outside, scrape_attempts
from app.simulator.series import Series
from app.simulator.spec import HOUR_MS, MINUTE_MS, SECOND_MS, FleetSpec, Outage
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.store.charges import ChargeStore
from app.store.usage import UsageStore
from app.units.window import Window, to_ms
from app.workflows.collecting import CollectFrom, collect_hour
from app.workflows.imports import apply_contract, import_prices
from app.workflows.rating import rate_window
from tests.real.prometheus import backfill, running_prometheus
from tests.workflows.activity_lines import ENGINE, UTILIZATION
from tests.workflows.replaying import replay
from tests.workflows.terms import Ownership, Rate, Terms

WATCHED, UNWATCHED = "watched", "unwatched"
START = datetime(2026, 11, 3, tzinfo=UTC)
START_MS = to_ms(START)
WINDOW = Window(START, START + timedelta(hours=48))
ZONE = ZoneInfo("Europe/Berlin")
# Half as often as by default, so that loading and reading two days stays within a minute or so.
SCRAPE_MS = 60_000
LOOKBACK_MS = 24 * HOUR_MS

# What the collector reads and these tests look at; the rest of what is exposed is left out.
_LEFT_OUT = {
    *(name for name in DCGM_FAMILIES if name not in (ENGINE, UTILIZATION)),
    "kube_pod_info",
    "kube_pod_start_time",
    "kube_pod_deletion_timestamp",
    *(f"vllm:time_to_first_token_seconds_{part}" for part in ("count", "sum")),
    *(f"vllm:e2e_request_latency_seconds_{part}" for part in ("bucket", "count", "sum", "created")),
    "up",
}
_PHASES = {"Succeeded", "Failed"}
_BOUNDS = {"0.1", "0.5", "1.0", "5.0", "+Inf"}
_SYSTEM = {EXPORTER_NAMESPACE, MONITORING_NAMESPACE}


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> int:
    """Return an instant of the two days."""
    return START_MS + ((day * 24 + hour) * 60 + minute) * MINUTE_MS + second * SECOND_MS


TERMS = Terms(
    rates=(
        Rate(family="p5", price="4.10", to_ms=at(0, 10, 37)),
        Rate(
            family="p5",
            price="3.333333333",
            from_ms=at(0, 10, 37),
            to_ms=at(1, 3, 0, 1),
        ),
        Rate(family="p5", price="4.271828", from_ms=at(1, 3, 0, 1)),
        Rate(family="p4de", price="11.20", unit="node_hour", to_ms=at(1, 9, 30)),
        Rate(family="p4de", price="10.01", unit="node_hour", from_ms=at(1, 9, 30)),
        # Unpriced before; the T4 of n1-standard-32 is never priced.
        Rate(family="g6e", price="1.10", from_ms=at(0, 6, 15, 7)),
    ),
    owners=(
        Ownership(namespaces=("search-*",), team="search"),
        Ownership(namespaces=("ml-*",), team="ml", to_ms=at(1, 12, 34, 56)),
        Ownership(namespaces=("ml-*",), team="foundation", from_ms=at(1, 12, 34, 56)),
        Ownership(namespaces=("ads-*",), team="ads", from_ms=at(0, 20)),
        Ownership(namespaces=("research-*",), team="research"),
    ),
)
# A row that a machine's own price hides: its model is a later column than its type.
HIDDEN_ROW = ",,,,H100,,,gpu_hour,999,USD,,,hidden by the machine's price"


@dataclass(frozen=True, slots=True)
class TwoDays:
    """The fleet, its history as text and in a real Prometheus, and the ledger of both clusters."""

    fleet: Fleet
    history: Path
    engine: Engine
    source: PrometheusSource

    def collect(self, cluster: str, window: Window = WINDOW) -> list[int]:
        """Collect hours; return the revision of each."""
        given = CollectFrom(
            cluster=cluster,
            source=self.source,
            catalogue=load_catalogue(),
            scrape_ms=SCRAPE_MS,
            counter_lookback_ms=LOOKBACK_MS,
            watched=cluster == WATCHED,
        )
        revisions = []
        for hour in window.hours():
            done = collect_hour(given, hour, engine=self.engine)
            assert not done.result.rejected
            assert not done.partial
            revisions.append(done.result.revision)
        return revisions

    def rate(self) -> None:
        options = {
            "engine": self.engine,
            "billing_zone": ZONE,
            "at_ms": WINDOW.end_ms,
            "dry_run": False,
        }
        book = TERMS.price_book(HIDDEN_ROW)
        import_prices(book, file_name="prices.csv", currency="USD", **options)
        apply_contract(TERMS.contract(), file_name="teams.yaml", **options)
        for cluster in (WATCHED, UNWATCHED):
            rate_window(cluster, WINDOW, engine=self.engine, billing_zone=ZONE)

    def charges(self, cluster: str) -> pd.DataFrame:
        with self.engine.connect() as connection:
            return ChargeStore(connection, cluster, ZONE).within(WINDOW)

    def usage(self, cluster: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows of pools and holds."""
        with self.engine.connect() as connection:
            store = UsageStore(connection, cluster)
            return store.pool_usage(WINDOW), store.hold_usage(WINDOW)


@contextmanager
def two_days(folder: Path, engine: Engine) -> Iterator[TwoDays]:
    """Build everything; the watch follows the fleet while promtool loads its history."""
    fleet = a_fleet()
    history = folder / "fleet.om"
    exposition = Exposition(fleet, transform=_needed)
    write_openmetrics(
        fleet,
        history,
        [name for name in FAMILIES if name not in _LEFT_OUT],
        exposition=exposition,
    )
    with ThreadPoolExecutor(1) as beside:
        loaded = beside.submit(backfill, history, folder / "prometheus")
        clock = VirtualClock(fleet.spec.opens_ms)
        with SimulatedKubernetes(fleet, clock) as kubernetes:
            replay(
                WATCHED,
                kubernetes=kubernetes,
                clock=clock,
                engine=engine,
                until_ms=WINDOW.end_ms,
            )
        loaded.result()
    with running_prometheus(folder / "prometheus") as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        days = TwoDays(fleet, history, engine, source)
        for cluster in (WATCHED, UNWATCHED):
            assert set(days.collect(cluster)) == {1}
        days.rate()
        yield days


def uid_of(cluster: str, node: Node) -> str:
    """Return the UID of a node in the ledger; kube-state-metrics exports none."""
    return node.uid if cluster == WATCHED else f"ksm:{node.name}@{node.created_ms}"


def scrapes_of_kube_state(fleet: Fleet) -> npt.NDArray[np.int64]:
    """Return the instants at which kube-state-metrics told what there was."""
    times = scrape_attempts(fleet.spec, KUBE_STATE_METRICS)
    up = outside(times, fleet.outages, "") & outside(times, fleet.outages, KUBE_STATE_METRICS)
    return times[up]


def a_fleet() -> Fleet:
    """Return five nodes of four GPUs, on which outages of every kind of target hurt.

    One goes over the end of an hour, one has a restart inside, one the end of a pod.
    """
    spec = FleetSpec(
        seed=11,
        start_ms=START_MS,
        hours=48,
        nodes=5,
        gpus_per_node=4,
        scrape_ms=SCRAPE_MS,
        services=3,
        replicas=1,
        restarts_per_replica_day=12.0,
        rollouts=1,
        trainings=2,
        jobs_per_gpu_hour=0.12,
        short_job_share=0.25,
        outages=(),
    )
    fleet = Fleet.build(spec)
    engines = [pod for pod in fleet.pods if pod.service is not None and len(pod.runs) > 4]
    restarted = engines[0].runs[3].end_ms
    ended = next(
        pod
        for pod in fleet.pods
        if at(1, 8) < pod.finished_ms < at(1, 22) and pod.removed_ms - pod.finished_ms < MINUTE_MS
    )
    silent = (
        (at(0, 5, 20, 13), at(0, 5, 27, 41), ""),
        (at(0, 9, 40, 5), at(0, 9, 48, 1), fleet.nodes[0].name),
        (ended.finished_ms - 3 * MINUTE_MS, ended.removed_ms + 4 * MINUTE_MS, KUBE_STATE_METRICS),
        (at(0, 6, 51), at(0, 7, 9), engines[1].name),
        (restarted - 2 * MINUTE_MS, restarted + MINUTE_MS, engines[0].name),
    )
    outages = tuple(Outage(start_ms=low, end_ms=high, target=name) for low, high, name in silent)
    return Fleet.build(replace(spec, outages=outages))


def _needed(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
    """Leave out what tells nothing here: it would be half of the text that promtool reads.

    These are phases that never came, pods of the system, the coarse activity of devices with a
    better one, and most of the bounds of latencies.
    """

    def tells(one: Series) -> bool:
        labels = dict(one.labels)
        if name == UTILIZATION:
            return "T4" in labels["modelName"]
        if name.endswith("_bucket"):
            return labels["le"] in _BOUNDS
        if not name.startswith("kube_pod_"):
            return True
        ended = labels.get("phase", "Failed") in _PHASES and bool(one.value.any())
        return ended and labels["namespace"] not in _SYSTEM

    return tuple(one for one in made if tells(one))
