"""Collect one hour of one cluster: read the sources, compute the usage, replace the facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd
from sqlalchemy import Connection, Engine

from app.sources.catalogue import Catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.kube_state import Inventory, kube_state_inventory
from app.sources.prometheus import PrometheusSource
from app.store.consumers import ConsumerStore
from app.store.inventory import InventoryStore
from app.store.late_facts import put_facts
from app.store.naming import NameStore
from app.store.usage import ReplaceResult
from app.units.window import OPEN_MS, Window
from app.usage import frames
from app.usage.activity import DeviceMetrics, measure
from app.usage.board_energy import board_energy
from app.usage.consumers import ConsumerFacts, consume
from app.usage.evidence import watch_evidence
from app.usage.facts import UsageFacts
from app.usage.holds import pool_counts_of
from app.usage.homeless_devices import notes_on_homeless_devices
from app.usage.models import ModelEntry
from app.usage.notes import notes_frame
from app.usage.oversubscription import notes_on_oversubscription
from app.usage.samples import SampleSet
from app.usage.services import ServiceFacts, ServingMetrics, serve
from app.usage.serving_pods import KnownModels
from app.usage.shown_models import shown_models, with_shown_models
from app.usage.states import device_states
from app.workflows.inventories import (
    Known,
    kube_state_only,
    watched_inventory,
    with_kube_state,
    without_claims,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectFrom:
    """Where a cluster's facts come from, and how they are read.

    ``watched`` is false where kube-state-metrics is the only inventory (mode ``off``). ``models``
    are the names of models, ``devices`` the physical devices by node name or instance type, that a
    person configured.
    """

    cluster: str
    source: PrometheusSource
    catalogue: Catalogue
    scrape_ms: int
    counter_lookback_ms: int
    watched: bool
    devices: Mapping[str, int] = field(default_factory=dict)
    models: tuple[ModelEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What became of an hour, and what it holds."""

    window: Window
    result: ReplaceResult
    partial: bool
    holds: int
    capacity_ms: int
    held_ms: int
    unobserved_ms: int
    generation_tokens: int
    notes: int
    questions: int


def collect_hour(
    given: CollectFrom, window: Window, *, engine: Engine, forced_reason: str = ""
) -> Collected:
    """Collect ``window``, one whole hour, and store it in place of what is there.

    Facts of a closed period's hour are stored beside those that it was closed with. Nothing is
    stored if a source cannot be reached, or if the answer shows less evidence than is stored (see
    `ReplaceResult`).
    """
    with engine.connect() as connection:
        known = watched_inventory(connection, given.cluster, window)
    harvested = harvest(
        given.source,
        given.catalogue,
        window,
        scrape_ms=given.scrape_ms,
        counter_lookback_ms=given.counter_lookback_ms,
    )
    seen = _kube_state(given, window, known)
    if seen is not None:
        fill = with_kube_state if given.watched else kube_state_only
        known = fill(known, seen, given.cluster, window)
    models = shown_models(known.pools, known.nodes, _device_labels(harvested))
    known = replace(known, pools=with_shown_models(known.pools, models))
    consumed = consume(
        window,
        harvested.gateways.counters,
        harvested.gateways.births,
        scrape_ms=given.scrape_ms,
        lookback_ms=given.counter_lookback_ms,
    )
    facts, services = _facts(given, window, known, harvested, seen, consumed)
    with engine.begin() as connection:
        NameStore(connection).ensure_gpu_models(set(models.values()))
        _put_names(connection, given, known, seen, services, window)
        ConsumerStore(connection).put(consumed.consumers, consumed.routes)
        result = put_facts(connection, given.cluster, window, facts, forced_reason=forced_reason)
    return _collected(window, facts, result, harvested.questions)


def _device_labels(harvested: Harvest) -> list[pd.DataFrame]:
    return [harvested.energy.labels, *(samples.labels for _, samples in harvested.activity)]


def _shown(harvested: Harvest) -> list[SampleSet]:
    return [*(samples for _, samples in harvested.activity), harvested.energy]


def _kube_state(given: CollectFrom, window: Window, known: Known) -> Inventory | None:
    """Ask kube-state-metrics where it is the only inventory, or where nobody watched."""
    if given.watched and known.watched.length() == window.length_ms:
        return None
    seen = kube_state_inventory(
        given.source,
        given.catalogue,
        window,
        scrape_ms=given.scrape_ms,
        known_nodes=known.node_uids,
        devices=given.devices,
    )
    return without_claims(known, seen, given.cluster)


def _facts(
    given: CollectFrom,
    window: Window,
    known: Known,
    harvested: Harvest,
    seen: Inventory | None,
    consumed: ConsumerFacts,
) -> tuple[UsageFacts, ServiceFacts]:
    states = device_states(window, known.pools, known.counts, known.holds, known.observed)
    energy = harvested.energy
    metrics = DeviceMetrics(
        activity=harvested.activity,
        sharers=harvested.sharers,
        energy=energy,
        memory_used_max_mib=harvested.memory_used_max_mib,
        sm_active_mean=harvested.sm_active_mean,
        dram_active_mean=harvested.dram_active_mean,
    )
    services = serve(
        window,
        ServingMetrics(
            counters=harvested.counters,
            buckets=harvested.buckets,
            births=harvested.births,
            gauges=harvested.gauges,
            adapters=harvested.adapters,
        ),
        known.holds,
        known.readiness,
        cluster=given.cluster,
        scrape_ms=given.scrape_ms,
        lookback_ms=given.counter_lookback_ms,
        known=KnownModels(pods=known.pods, entries=given.models),
    )
    asked = [seen] if seen is not None else []
    facts = UsageFacts(
        pool_usage=states.pool_usage,
        hold_usage=measure(window, states, metrics, known.nodes, given.scrape_ms),
        pool_energy=board_energy(window, states.pool_usage, energy, known.nodes, given.scrape_ms),
        token_usage=services.token_usage,
        latency_usage=services.latency_usage,
        service_minutes=services.service_minutes,
        cold_starts=services.cold_starts,
        consumer_usage=consumed.usage,
        evidence=_evidence(given, window, known, [harvested, *asked]),
        notes=_united(
            [
                known.notes,
                states.notes,
                notes_frame(notes_on_oversubscription(states.pool_usage, known.nodes)),
                notes_frame(notes_on_homeless_devices(_shown(harvested), known.nodes)),
                services.notes,
                consumed.notes,
                harvested.notes,
                *(one.notes for one in asked),
            ]
        ),
        partial=harvested.partial or known.partial or any(one.partial for one in asked),
    )
    return facts, services


def _evidence(
    given: CollectFrom, window: Window, known: Known, asked: list[Harvest | Inventory]
) -> pd.DataFrame:
    """Return `EVIDENCE`: the samples of every family, and for how many seconds was watched."""
    rows = [one.evidence for one in asked]
    if given.watched:
        rows.append(watch_evidence(window.length_ms, known.watched.length()))
    return pd.concat(rows, ignore_index=True)


def _united(notes: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in notes if len(frame)]
    if not filled:
        return frames.empty(frames.NOTES)
    return pd.concat(filled, ignore_index=True).drop_duplicates(ignore_index=True)


def _put_names(
    connection: Connection,
    given: CollectFrom,
    known: Known,
    seen: Inventory | None,
    services: ServiceFacts,
    window: Window,
) -> None:
    """Store what the facts name by identity: nodes, pods, workloads, models."""
    store = InventoryStore(connection, given.cluster)
    NameStore(connection).ensure_models(services.models)
    store.holds.put_workloads(services.workloads)
    if seen is None:
        return
    watched = set(known.node_uids.values()) if given.watched else set()
    last_ms = int(seen.observed.end.max(initial=window.start_ms))
    ends: dict[str, int] = {}
    for span in sorted(seen.nodes, key=lambda span: span.start_ms):
        if span.node.uid in watched:
            continue
        counts, _ = pool_counts_of(span.node)
        store.put_node(span.node, counts, at_ms=span.start_ms)
        # What a node is may be told later than its devices are.
        store.put_node_facts([span.node], at_ms=min(span.end_ms, last_ms))
        ends[span.node.uid] = span.end_ms
    for uid, end_ms in ends.items():
        if end_ms < OPEN_MS:
            store.end_node(uid, end_ms)
    if not given.watched and seen.observed.length():
        store.end_unseen(window, {span.node.uid for span in seen.nodes})
    store.holds.put(seen.holds, seen_ms=window.end_ms)


def _collected(
    window: Window, facts: UsageFacts, result: ReplaceResult, questions: int
) -> Collected:
    states = ("held_ms", "unobserved_ms", "stranded_ms", "unallocated_ms")
    sums = {name: int(facts.pool_usage[name].sum()) for name in states}
    return Collected(
        window=window,
        result=result,
        partial=facts.partial,
        holds=len(facts.hold_usage),
        capacity_ms=sum(sums.values()),
        held_ms=sums["held_ms"],
        unobserved_ms=sums["unobserved_ms"],
        generation_tokens=int(facts.token_usage["generation_tokens"].fillna(0).sum()),
        notes=len(facts.notes),
        questions=questions,
    )
