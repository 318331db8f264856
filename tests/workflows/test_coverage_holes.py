"""Holes planted one by one into a simulated cluster: each is reported, with what to do."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import Engine

from app.findings.advice import ADVICE, Weight
from app.findings.coverage import Measure, grouped
from app.simulator.exposition import Exposition, Transform
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS, FleetSpec
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import Window
from app.workflows.collecting import CollectFrom, collect_hour
from app.workflows.coverage import Covered, coverage_of
from app.workflows.imports import apply_contract, import_prices
from app.workflows.rating import rate_window
from tests.cli.spoiling import ACTIVE, UTILIZATION, every, resource, twice, without
from tests.cli.stage import CONTRACT, PRICES
from tests.workflows.worlds import TEN_MS, WINDOW

ZONE = ZoneInfo("UTC")
SCRAPE_MS = 30_000
FLEET = Fleet.build(
    FleetSpec(
        seed=5,
        start_ms=TEN_MS,
        hours=1,
        nodes=2,
        gpus_per_node=4,
        services=2,
        replicas=1,
        requests_per_second=0.5,
        restarts_per_replica_day=24.0,
        rollouts=0,
        trainings=1,
        jobs_per_gpu_hour=1.0,
        unhealthy_devices=0,
        util_only=False,
        node_joins=0,
        node_leaves=0,
        outages=(),
    )
)


# What the sound cluster has to say: two of its namespaces belong to nobody.
BASE = {"unowned"}


def covered(
    engine: Engine,
    cluster: str,
    spoil: Transform | None,
    *,
    scrape_ms: int = SCRAPE_MS,
    rated: bool = True,
    window: Window = WINDOW,
) -> Covered:
    """Collect and rate the fleet's hour as another cluster, and say what is measured of it."""
    exposition = Exposition(FLEET, transform=spoil)
    with SimulatedPrometheus(
        FLEET, lambda: TEN_MS + 2 * HOUR_MS, exposition=exposition
    ) as prometheus:
        given = CollectFrom(
            cluster=cluster,
            source=PrometheusSource(PrometheusSettings(url=prometheus.url)),
            catalogue=load_catalogue(),
            scrape_ms=scrape_ms,
            counter_lookback_ms=24 * HOUR_MS,
            watched=False,
        )
        collect_hour(given, WINDOW, engine=engine)
    if rated:
        rate_window(cluster, WINDOW, engine=engine, billing_zone=UTC)
    with engine.connect() as connection:
        return coverage_of(connection, window, zone=ZONE, clusters=(cluster,))


@pytest.fixture(scope="module")
def ledger(module_database: Engine) -> Engine:
    """Prices for all clusters but one, and owners of most namespaces."""
    options = {"engine": module_database, "billing_zone": ZONE, "at_ms": TEN_MS, "dry_run": False}
    header, _ = PRICES.splitlines()
    rows = [
        f"{name},,,,,,,gpu_hour,3.00,USD,2025-01-01,,round figures"
        for name in (*PLANTED, "sound", "rare", "unrated", "missing")
    ]
    book = "\n".join([header, *rows]) + "\n"
    import_prices(book, file_name="prices.csv", currency="USD", **options)
    apply_contract(CONTRACT, file_name="teams.yaml", **options)
    return module_database


# What is spoiled, what the cluster then says besides, and a word of what to do.
PLANTED: dict[str, tuple[Transform, set[str], str]] = {
    "no exporter": (without("DCGM"), {"unmeasured"}, "dcgm-exporter"),
    "no inventory": (
        without("kube_"),
        {"no_inventory", "partial_hours", "lost_samples"},
        "deploy/kubernetes/rbac.yaml",
    ),
    "twice": (twice, {"duplicate_series"}, "one job only"),
    "no latency": (
        without("vllm:time_to_first", "vllm:e2e"),
        {"latency_unknown", "missing_family"},
        "histograms",
    ),
    "no readiness": (
        without("kube_pod_status_ready_time"),
        {"cold_start_unknown"},
        "kube_pod_status_ready_time",
    ),
    "unknown profile": (
        resource("nvidia_com_mig_9g_1gb"),
        {"unknown_share"},
        "nvidia.com/gpu.product",
    ),
    "no numbers": (every(3, np.nan, ACTIVE), {"dropped_samples", "lost_samples"}, "blanks of DCGM"),
}


def kinds(found: Covered) -> set[str]:
    return {hole.kind for hole in found.holes if hole.advice.weight is not Weight.TOLD}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_hole_is_reported_with_what_to_do(ledger: Engine, name: str) -> None:
    spoil, expected, word = PLANTED[name]

    found = covered(ledger, name, spoil)

    assert kinds(found) - BASE == expected
    assert any(word in hole.advice.todo for hole in found.holes if hole.kind in expected)
    assert {hole.kind for hole in found.holes} <= ADVICE.keys()
    assert {hole.cluster for hole in found.holes} == {name}


def test_a_sound_cluster_is_measured_whole_and_says_how_it_was_read(ledger: Engine) -> None:
    found = covered(ledger, "sound", None)

    (whole,) = grouped(found.rows, ())
    assert kinds(found) == BASE
    assert whole.ms == 8 * HOUR_MS
    assert whole.nanos == 24_000_000_000
    full = {measure for measure in Measure if whole.shares[measure].time_ratio == 1}
    assert full == {*Measure} - {Measure.OWNERSHIP}
    read = {hole.subject: hole.detail for hole in found.holes if hole.kind == "alias"}
    assert read["gr_engine_active"] == f"Read as {ACTIVE}."


def test_without_one_exporter_nothing_of_utilization_is_measured(ledger: Engine) -> None:
    found = covered(ledger, "no exporter", without("DCGM"))

    (whole,) = grouped(found.rows, ())
    assert whole.shares[Measure.GPU_UTILIZATION].measured_ms == 0
    assert whole.shares[Measure.TOKEN_THROUGHPUT].time_ratio == 1
    lost = sum(hole.quantity for hole in found.holes if hole.kind == "unmeasured")
    assert lost == whole.shares[Measure.GPU_UTILIZATION].ms


def test_a_family_under_another_name_is_told(ledger: Engine) -> None:
    found = covered(ledger, "no fine metric", without(ACTIVE))

    told = {hole.subject: hole.detail for hole in found.holes if hole.kind == "alias"}
    assert told["gpu_util"] == f"Read as {UTILIZATION}."
    assert {"missing_family", "unpriced"} <= kinds(found)


def test_what_has_no_price_has_a_share_of_time_and_none_of_money(ledger: Engine) -> None:
    found = covered(ledger, "unpriced", None)

    (whole,) = grouped(found.rows, ())
    assert kinds(found) == {*BASE, "unpriced"}
    assert whole.shares[Measure.PRICE].measured_ms == 0
    assert {whole.cost_ratio(measure) for measure in Measure} == {None}


def test_samples_that_come_rarely_are_told(ledger: Engine) -> None:
    found = covered(ledger, "rare", None, scrape_ms=SCRAPE_MS // 3)

    assert "scrape_interval" in kinds(found)


def test_an_hour_without_charges_has_neither_owner_nor_price(ledger: Engine) -> None:
    found = covered(ledger, "unrated", None, rated=False)

    (whole,) = grouped(found.rows, ())
    assert kinds(found) == {"unrated_hours"}
    assert whole.ms == 8 * HOUR_MS
    assert whole.shares[Measure.OWNERSHIP].measured_ms == 0
    assert whole.shares[Measure.PRICE].measured_ms == 0
    assert whole.shares[Measure.GPU_UTILIZATION].time_ratio == 1
    assert whole.shares[Measure.LATENCY].time_ratio == 1


def test_hours_that_were_never_collected_are_counted(ledger: Engine) -> None:
    longer = Window(WINDOW.start, WINDOW.end + timedelta(hours=2))

    found = covered(ledger, "missing", None, window=longer)

    (hole,) = (one for one in found.holes if one.kind == "missing_hours")
    assert (hole.quantity, hole.detail) == (2, "2 of 3 hours were never collected.")
