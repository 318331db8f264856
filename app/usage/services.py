"""What services served: tokens, requests, latencies and cold starts, by workload and model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.appearing import without_false_gaps
from app.usage.growth import Increments, growth_of, increments
from app.usage.inventory import Workload
from app.usage.kinds import LatencyMetric, Quantity
from app.usage.layers import authoritative, repeated
from app.usage.minutes import service_minutes
from app.usage.models import ModelTable
from app.usage.notes import Note, notes_frame
from app.usage.pod_births import with_pod_births
from app.usage.published_models import (
    PublishedModels,
    adapter_notes,
    no_adapters,
    running_adapters,
)
from app.usage.replicas import ReplicaNames
from app.usage.samples import SampleSet
from app.usage.serving_pods import NOTHING_KNOWN, KnownModels, ServingPod
from app.usage.silent_services import engine_starts, silent_services, with_silent_services
from app.usage.united_pods import united_replicas

_TOKENS = {
    Quantity.PROMPT_TOKENS.name: "prompt_tokens",
    Quantity.CACHED_PROMPT_TOKENS.name: "cached_prompt_tokens",
    Quantity.GENERATION_TOKENS.name: "generation_tokens",
    Quantity.REASONING_TOKENS.name: "reasoning_tokens",
}
_OUTCOMES = {name: f"requests_{name}" for name in ("stop", "length", "abort", "error")}
_REQUESTS = [*_OUTCOMES.values(), "requests_other"]
_METRICS = {
    Quantity.TIME_TO_FIRST_TOKEN_BUCKET.name: int(LatencyMetric.TIME_TO_FIRST_TOKEN),
    Quantity.END_TO_END_BUCKET.name: int(LatencyMetric.END_TO_END),
    Quantity.INTER_TOKEN_BUCKET.name: int(LatencyMetric.INTER_TOKEN),
    Quantity.QUEUE_TIME_BUCKET.name: int(LatencyMetric.QUEUE_TIME),
}
_SERVICE = ["workload_id", "model_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMetrics:
    """What inference engines said, with `COUNTER_LABELS`; see `growth.increments` for births.

    ``gauges`` has the quantities ``running`` and ``waiting``, and one figure a series of the window
    for ``cache_usage`` (the mean, a ratio) and ``startup`` (seconds). ``adapters`` has the columns
    namespace, pod, target and adapter: the LoRA adapters that were loaded.
    """

    counters: SampleSet
    buckets: SampleSet
    births: SampleSet
    gauges: SampleSet
    adapters: pd.DataFrame = field(default_factory=no_adapters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """Frames of what was served, and the workloads and models that they name by identity.

    ``workloads`` are only those that no hold names. ``table`` joins the names that others call the
    models by.
    """

    token_usage: pd.DataFrame
    latency_usage: pd.DataFrame
    service_minutes: pd.DataFrame
    cold_starts: pd.DataFrame
    workloads: tuple[Workload, ...]
    models: tuple[str, ...]
    table: ModelTable
    notes: pd.DataFrame


def serve(
    window: Window,
    metrics: ServingMetrics,
    holds: pd.DataFrame,
    readiness: pd.DataFrame,
    *,
    cluster: str,
    scrape_ms: int,
    lookback_ms: int,
    known: KnownModels = NOTHING_KNOWN,
) -> ServiceFacts:
    """Return what each service served in ``window``.

    ``holds`` (`HOLDS`) tell the workload of a pod: the one that held last, where a name was used
    again, and ``known`` what those pods say they serve and what models are called.
    ``readiness`` has hold_id, workload_id, scheduled_ms and ready_ms (all int64) of holds whose pod
    became ready; those of services are cold starts. Of layers that repeat each other one counts
    (`authoritative`).
    """
    # Of pods of one name, or of two words on one pod, the last counts.
    touching = [pod for pod in known.pods if pod.touches(window)]
    present = [*{(pod.namespace, pod.pod): pod for pod in touching}.values()]
    counted, observed = _increments(window, metrics, known, scrape_ms, lookback_ms)
    published = (counted.labels, observed.labels, metrics.gauges.labels)
    adapters = running_adapters(metrics.adapters, counted.labels)
    named = PublishedModels(known.entries, present, published, adapters)
    counters, buckets = named.named(growth_of(counted)), named.named(growth_of(observed))
    counts = authoritative(counters)
    united = united_replicas(published, present)
    names = ReplicaNames(cluster, window, holds, _serving(present, named), united)
    names.join_silent(counters.loc[counts])
    kept = names.identified(counters.loc[counts])
    gauges = replace(metrics.gauges, labels=named.named(metrics.gauges.labels))
    counted = replace(counted, labels=named.named(counted.labels))
    minutes = service_minutes(window, counted, gauges, names)
    buckets = names.identified(buckets.loc[authoritative(buckets)])
    tokens = with_silent_services(window, _token_usage(window, kept), present, named)
    notes = [*_notes(kept), *repeated(counters, counts), *names.joined(kept)]
    notes += [*adapter_notes(adapters), *named.unmatched(kept), *silent_services(present, tokens)]
    starts = _cold_starts(window, readiness, tokens, engine_starts(window, gauges, holds))
    return ServiceFacts(
        token_usage=frames.TOKEN_USAGE.validate(tokens),
        latency_usage=frames.LATENCY_USAGE.validate(_latency_usage(window, buckets)),
        service_minutes=frames.SERVICE_MINUTES.validate(minutes),
        cold_starts=frames.COLD_STARTS.validate(starts),
        workloads=tuple(names.own[identity] for identity in sorted(names.own)),
        models=tuple(sorted({*names.models, *map(named.of_pod, present)} - {""})),
        table=named.table,
        notes=notes_frame(notes),
    )


def _increments(
    window: Window, metrics: ServingMetrics, known: KnownModels, scrape_ms: int, lookback_ms: int
) -> tuple[Increments, Increments]:
    """Return what counters and buckets grew by; what tells no birth is as old as its pod."""
    # What began before any sample that is looked at moves nothing.
    young = [pod for pod in known.pods if (pod.born_ms or 0) >= window.start_ms - lookback_ms]
    counted, observed = (
        increments(
            window,
            samples,
            with_pod_births(metrics.births, samples.labels, young),
            scrape_ms,
            lookback_ms,
        )
        for samples in (metrics.counters, metrics.buckets)
    )
    scraped = [metrics.counters, metrics.gauges]
    return without_false_gaps(counted, scraped, scrape_ms), observed


def _serving(pods: Sequence[ServingPod], named: PublishedModels) -> dict[tuple[str, str], set[int]]:
    """Return which workloads serve a model by their pods' own word, by namespace and model."""
    serving: dict[tuple[str, str], set[int]] = {}
    for pod in pods:
        model = named.of_pod(pod)
        if model:
            serving.setdefault((pod.namespace, model), set()).add(pod.workload_id)
    return serving


def _token_usage(window: Window, counters: pd.DataFrame) -> pd.DataFrame:
    """Pivot growth by quantity and outcome; what an engine does not publish stays null."""
    rows = counters.assign(column=_columns(counters))
    rows = rows.loc[rows["column"] != ""]
    summed = rows.groupby([*_SERVICE, "column"])["growth"].sum()
    services = rows.groupby(_SERVICE, sort=True)["carried"].any().reset_index()
    asks = rows.loc[rows["column"].isin(_REQUESTS), _SERVICE].drop_duplicates()
    counts_requests = (
        pd.MultiIndex.from_frame(asks).get_indexer(pd.MultiIndex.from_frame(services[_SERVICE]))
        >= 0
    )
    columns: dict[str, object] = {"window_start_ms": np.full(len(services), window.start_ms)}
    columns |= {name: services[name] for name in _SERVICE}
    for name in (*_TOKENS.values(), *_REQUESTS):
        cell = services[_SERVICE].assign(column=name)
        at = summed.index.get_indexer(pd.MultiIndex.from_frame(cell))
        amount = np.append(summed.to_numpy(dtype=np.int64), 0)[at]
        # An outcome that never happened may have no series: 0 where others are counted.
        null = (at < 0) & ~(counts_requests & (name in _REQUESTS))
        columns[name] = pd.arrays.IntegerArray(np.where(at < 0, 0, amount), null)
    columns["carried"] = services["carried"].astype(bool)
    return pd.DataFrame(columns)


def _columns(counters: pd.DataFrame) -> "pd.Series[str]":
    """Return the column of `TOKEN_USAGE` that each row counts in, '' for none."""
    tokens = counters["quantity"].map(_TOKENS).fillna("")
    outcomes = counters["outcome"].map(_OUTCOMES).fillna("requests_other")
    requests = counters["quantity"] == Quantity.REQUESTS.name
    return tokens.where(~requests, outcomes).astype("str")


def _latency_usage(window: Window, buckets: pd.DataFrame) -> pd.DataFrame:
    """Sum a service's observations per bucket; histograms without any go.

    Buckets are cumulative, so those of replicas with other bounds cannot be added: each replica's
    observations are counted in the one bucket that they fell into.
    """
    rows = buckets.loc[buckets["quantity"].isin(list(_METRICS))]
    bounds = {text: _bound(text) for text in rows["le"].unique()}
    rows = rows.assign(
        metric=rows["quantity"].map(_METRICS).astype("int64"),
        le=rows["le"].map(bounds).astype("float64"),
    )
    histogram = ["namespace", "pod", "target", "model", *_SERVICE, "metric"]
    rows = rows.groupby([*histogram, "le"], sort=True)["growth"].sum().reset_index()
    rows["up_to"] = rows.groupby(histogram)["growth"].cummax()
    rows["inside"] = rows["up_to"] - rows.groupby(histogram)["up_to"].shift(fill_value=0)
    key = [*_SERVICE, "metric"]
    summed = rows.groupby([*key, "le"], sort=True)["inside"].sum().reset_index(name="increments")
    grew = summed.groupby(key)["increments"].transform("max") > 0
    kept = summed.loc[grew].reset_index(drop=True)
    kept.insert(0, "window_start_ms", np.int64(window.start_ms))
    ordered: pd.DataFrame = kept[list(frames.LATENCY_USAGE.columns)]
    return ordered


def _bound(text: str) -> float:
    """Return a bucket's upper bound; NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _cold_starts(
    window: Window, readiness: pd.DataFrame, tokens: pd.DataFrame, engine: Mapping[int, float]
) -> pd.DataFrame:
    """Return seconds from scheduled to ready of the services' pods that became ready inside.

    ``engine`` has, by hold, what the engine itself says that it took to start.
    """
    ready = readiness["ready_ms"]
    inside = (ready >= window.start_ms) & (ready < window.end_ms)
    serving = readiness["workload_id"].isin(tokens["workload_id"])
    rows = readiness.loc[inside & serving & (ready >= readiness["scheduled_ms"])]
    frame = pd.DataFrame(
        {
            "window_start_ms": np.full(len(rows), window.start_ms, dtype=np.int64),
            "workload_id": rows["workload_id"].to_numpy(dtype=np.int64),
            "hold_id": rows["hold_id"].to_numpy(dtype=np.int64),
            "seconds": ((rows["ready_ms"] - rows["scheduled_ms"]) / 1000.0).to_numpy(dtype=float),
            "engine_seconds": np.array(
                [engine.get(hold, np.nan) for hold in rows["hold_id"].tolist()], dtype=np.float64
            ),
        }
    )
    return frame.sort_values(["workload_id", "hold_id"], ignore_index=True)


def _notes(counters: pd.DataFrame) -> list[Note]:
    """Return notes on first values that are no growth, and on growth that crossed a gap."""
    notes = []
    for kind, column, marked, detail in (
        (
            "counter_first_value",
            "uncounted",
            counters["uncounted"] > 0,
            "The counter's first value may be older than the window; it is not counted.",
        ),
        (
            "counter_carried",
            "growth",
            counters["carried"],
            "The counter grew while it was not scraped for more than 2 scrapes.",
        ),
    ):
        rows = counters.loc[marked]
        replica = rows["pod"].where(rows["pod"] != "", rows["target"])
        subject = rows["namespace"] + "/" + replica + " " + rows["quantity"]
        amounts = rows[column].groupby(subject).sum()
        notes += [Note(kind, str(who), int(much), detail) for who, much in amounts.items()]
    return notes
