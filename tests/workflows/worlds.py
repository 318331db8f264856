"""A small simulated fleet through the real workflows: watch, collect, import, rate."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Engine, select

from app.attribution.owners import Ownership
from app.attribution.rating import RatingInput, rate
from app.pricing.book import PriceBook
from app.simulator.clock import VirtualClock
from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.kube_state_series import KUBE_STATE_FAMILIES
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.modes import SHARED_MODES, Mode
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.series import Series
from app.simulator.spec import HOUR_MS, MINUTE_MS, FleetSpec
from app.sources.catalogue import load_catalogue
from app.sources.price_book import read_price_book
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.sources.team_contract import read_team_contract
from app.store.charges import ChargeStore
from app.store.holds import HoldStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.tables.inventory import HOLDS
from app.store.usage import UsageStore
from app.units.window import Window, from_ms
from app.workflows.collecting import Collected, CollectFrom, collect_hour
from app.workflows.imports import apply_contract, import_prices
from app.workflows.rating import rate_window
from tests.oracle.fleet_inputs import node_keys, oracle_holds, oracle_nodes
from tests.oracle.ledger_oracle import Ledger, LineKey, Span
from tests.workflows.ledger_lines import Charged, charged_lines, segments_by_node
from tests.workflows.replaying import replay
from tests.workflows.terms import Terms
from tests.workflows.walking import added, told_until, walked

CLUSTER = "small"
# 2026-11-23T10:00:00Z, a Monday.
TEN_MS = 1_795_428_000_000
WINDOW = Window(from_ms(TEN_MS), from_ms(TEN_MS + HOUR_MS))
# The fleets live for ten minutes from here, with a minute more on both sides. Nothing happens in
# the hour's last minute: the watch comes to its end, and what goes on then goes on.
BEGINS_MS = TEN_MS + 48 * MINUTE_MS
ENDS_MS = BEGINS_MS + 10 * MINUTE_MS
LEAD_MS = MINUTE_MS
SCRAPE_MS = 30_000


def a_spec(seed: int, **options: object) -> FleetSpec:
    """Return at most three nodes for ten minutes in which much happens."""
    events: dict[str, object] = {
        "nodes": 3,
        "gpus_per_node": 4,
        "services": 2,
        "replicas": 1,
        "requests_per_second": 1.0,
        "restarts_per_replica_day": 300.0,
        "rollouts": 1,
        "trainings": 1,
        "jobs_per_gpu_hour": 8.0,
        "short_job_share": 0.6,
        "unhealthy_devices": 2,
        "prometheus_outages": 0,
        "target_outages": 2,
    }
    return FleetSpec(
        seed=seed,
        start_ms=BEGINS_MS,
        hours=0,
        minutes=10,
        lead_ms=LEAD_MS,
        scrape_ms=SCRAPE_MS,
        **{**events, **options},
    )


def a_mixed_spec(seed: int, modes: Sequence[Mode], **options: object) -> FleetSpec:
    """Return a whole node and one of each mode, among whose pods much happens, too."""
    few: dict[str, object] = {
        "nodes": 1,
        "gpus_per_node": 3,
        "services": 1,
        "modes": tuple(modes),
        "mode_pod_minutes": 4,
    }
    return a_spec(seed, **{**few, **options})


def divided(fleet: Fleet) -> frozenset[str]:
    """Return the nodes whose devices are divided, as the oracle calls them."""
    keys = node_keys(fleet.nodes)
    return frozenset(keys[node.uid] for node in fleet.nodes if node.layouts)


def drawn_modes(seed: int, count: int) -> tuple[Mode, ...]:
    """Return some modes, each once."""
    return tuple(Random(seed).sample(SHARED_MODES, count))


@dataclass(frozen=True, slots=True)
class World:
    """A fleet, its servers and a ledger of it."""

    fleet: Fleet
    engine: Engine
    prometheus: SimulatedPrometheus
    kubernetes: SimulatedKubernetes
    clock: VirtualClock

    def watch(self, until_ms: int = WINDOW.end_ms) -> None:
        """Follow the fleet from where the clock stands."""
        replay(
            CLUSTER,
            kubernetes=self.kubernetes,
            clock=self.clock,
            engine=self.engine,
            until_ms=until_ms,
        )

    def collect(self, *, watched: bool = True, forced_reason: str = "") -> Collected:
        """Collect the hour in which the fleet lives."""
        given = CollectFrom(
            cluster=CLUSTER,
            source=PrometheusSource(PrometheusSettings(url=self.prometheus.url)),
            catalogue=load_catalogue(),
            scrape_ms=SCRAPE_MS,
            counter_lookback_ms=24 * HOUR_MS,
            watched=watched,
        )
        return collect_hour(given, WINDOW, engine=self.engine, forced_reason=forced_reason)

    def rate(self, terms: Terms, *rows: str) -> pd.DataFrame:
        """Import the terms and more ``rows`` of prices, rate the hour, return its charges."""
        options = {
            "engine": self.engine,
            "billing_zone": ZoneInfo("UTC"),
            "at_ms": ENDS_MS,
            "dry_run": False,
        }
        book = terms.price_book(*rows)
        import_prices(book, file_name="prices.csv", currency="USD", **options)
        apply_contract(terms.contract(), file_name="teams.yaml", **options)
        rate_window(CLUSTER, WINDOW, engine=self.engine, billing_zone=UTC)
        return self.charges()

    def rerated(
        self,
        terms: Terms,
        *,
        pool_usage: pd.DataFrame | None = None,
        hold_usage: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return the charges by other terms or other usage than the stored, without storing any."""
        rows = read_price_book(terms.price_book(), filename="prices.csv", billing_currency="USD")
        contract = read_team_contract(terms.contract(), filename="teams.yaml")
        stored_pools, stored_holds = self.usage()
        holding = stored_holds if hold_usage is None else hold_usage
        with self.engine.connect() as connection:
            given = RatingInput(
                cluster=CLUSTER,
                pool_usage=stored_pools if pool_usage is None else pool_usage,
                hold_usage=holding,
                nodes=InventoryStore(connection, CLUSTER).nodes(),
                gpu_models=NameStore(connection).gpu_models(),
                holds=HoldStore(connection, CLUSTER).owners(holding["hold_id"].tolist()),
                price_book=PriceBook(rows),
                ownership=Ownership(contract),
                billing_zone=UTC,
            )
        charges = rate(given).charges
        key = ["window_start_ms", "node_id", "charge_id"]
        return charges.sort_values(key, ignore_index=True)

    def charges(self) -> pd.DataFrame:
        with self.engine.connect() as connection:
            return ChargeStore(connection, CLUSTER, UTC).within(WINDOW)

    def usage(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the stored rows of pools and holds."""
        with self.engine.connect() as connection:
            store = UsageStore(connection, CLUSTER)
            return store.pool_usage(WINDOW), store.hold_usage(WINDOW)

    def notes(self) -> pd.DataFrame:
        with self.engine.connect() as connection:
            return UsageStore(connection, CLUSTER).notes(WINDOW)

    def watched(self) -> tuple[Span, ...]:
        """Return when the ledger says that somebody watched."""
        with self.engine.connect() as connection:
            spans = InventoryStore(connection, CLUSTER).watched(WINDOW)
        return tuple(
            Span(start_ms=start, end_ms=end)
            for start, end in zip(spans.start.tolist(), spans.end.tolist(), strict=True)
        )

    def lines(self, charges: pd.DataFrame, terms: Terms) -> dict[LineKey, Charged]:
        parts = self.held_by()
        return charged_lines(charges, CLUSTER, self.fleet, terms.teams(), parts)

    def held_by(self) -> dict[int, str]:
        """Return who has each stored hold: the UID of a pod or of a claim."""
        with self.engine.connect() as connection:
            stored = connection.execute(select(HOLDS.c.hold_id, HOLDS.c.pod_uid))
            return {row.hold_id: row.pod_uid for row in stored}

    def segments(self, terms: Terms) -> Counter[str]:
        pools, _ = self.usage()
        return segments_by_node(pools, terms.borders(), CLUSTER, self.fleet)

    def walked(
        self, terms: Terms, observed: Sequence[Span] | None = None, **given: object
    ) -> Ledger:
        """Walk the hour: every millisecond of the fleet's life, every second before and after.

        Observed is by default what the ledger says was watched, and held is what was told.
        """
        seen = self.watched() if observed is None else observed
        spec, truth = self.fleet.spec, self.fleet.truth
        holds = oracle_holds(truth, mig_share=terms.mig_share, time_slicing=terms.time_slicing)
        told = {
            "nodes": oracle_nodes(truth, mig_share=terms.mig_share),
            "holds": told_until(holds, spec.closes_ms),
            **given,
        }
        edges = (WINDOW.start_ms, spec.opens_ms, spec.closes_ms, WINDOW.end_ms)
        spans = [Span(start_ms=low, end_ms=high) for low, high in pairwise(edges)]
        return added(
            walked(truth, terms, span, seen, step_ms=step_ms, **told)
            for span, step_ms in zip(spans, (1_000, 1, 1_000), strict=True)
        )


def without_kube_state(fleet: Fleet) -> Exposition:
    """Expose everything but kube-state-metrics: what nobody watched then nobody saw."""

    def transform(name: str, made: tuple[Series, ...]) -> tuple[Series, ...]:
        return () if name in KUBE_STATE_FAMILIES else made

    return Exposition(fleet, transform=transform)


@contextmanager
def a_world(
    fleet: Fleet,
    engine: Engine,
    *,
    exposition: Exposition | None = None,
    kubernetes_fleet: Fleet | None = None,
) -> Iterator[World]:
    """Serve a fleet as it is, or told otherwise by its metrics or its API."""
    clock = VirtualClock(fleet.spec.opens_ms)
    told = kubernetes_fleet or fleet
    with (
        SimulatedPrometheus(
            fleet, lambda: fleet.spec.closes_ms, exposition=exposition
        ) as prometheus,
        SimulatedKubernetes(told, clock) as kubernetes,
    ):
        yield World(told, engine, prometheus, kubernetes, clock)
