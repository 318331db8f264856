"""What services served: tokens, requests, latencies and cold starts, by workload and model."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.growth import growth_of, increments
from app.usage.inventory import Workload
from app.usage.kinds import LatencyMetric, Quantity
from app.usage.minutes import service_minutes
from app.usage.notes import Note, notes_frame
from app.usage.replicas import ReplicaNames
from app.usage.samples import SampleSet

_TOKENS = {
    Quantity.PROMPT_TOKENS.name: "prompt_tokens",
    Quantity.CACHED_PROMPT_TOKENS.name: "cached_prompt_tokens",
    Quantity.GENERATION_TOKENS.name: "generation_tokens",
}
_OUTCOMES = {name: f"requests_{name}" for name in ("stop", "length", "abort", "error")}
_REQUESTS = [*_OUTCOMES.values(), "requests_other"]
_METRICS = {
    Quantity.TIME_TO_FIRST_TOKEN_BUCKET.name: int(LatencyMetric.TIME_TO_FIRST_TOKEN),
    Quantity.END_TO_END_BUCKET.name: int(LatencyMetric.END_TO_END),
}
_SERVICE = ["workload_id", "model_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMetrics:
    """What inference engines said, with `COUNTER_LABELS`; see `growth.increments` for births.

    ``gauges`` has the quantities ``running`` and ``waiting``.
    """

    counters: SampleSet
    buckets: SampleSet
    births: SampleSet
    gauges: SampleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """Frames of what was served, and the workloads and models that they name by identity.

    ``workloads`` are only those that no hold names.
    """

    token_usage: pd.DataFrame
    latency_usage: pd.DataFrame
    service_minutes: pd.DataFrame
    cold_starts: pd.DataFrame
    workloads: tuple[Workload, ...]
    models: tuple[str, ...]
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
) -> ServiceFacts:
    """Return what each service served in ``window``.

    ``holds`` (`HOLDS`) tell the workload of a pod: the one that held last, where a name was used
    again. ``readiness`` has hold_id, workload_id, scheduled_ms and ready_ms (all int64) of holds
    whose pod became ready; those of services are cold starts.
    """
    counted = increments(window, metrics.counters, metrics.births, scrape_ms, lookback_ms)
    observed = increments(window, metrics.buckets, metrics.births, scrape_ms, lookback_ms)
    names = ReplicaNames(cluster, window, holds)
    counters = names.identified(growth_of(counted))
    buckets = names.identified(growth_of(observed))
    minutes = service_minutes(window, counted, metrics.gauges, names)
    tokens = _token_usage(window, counters)
    models = {
        str(model)
        for rows in (counters, buckets, metrics.gauges.labels)
        for model in rows["model"].unique()
    }
    return ServiceFacts(
        token_usage=frames.TOKEN_USAGE.validate(tokens),
        latency_usage=frames.LATENCY_USAGE.validate(_latency_usage(window, buckets)),
        service_minutes=frames.SERVICE_MINUTES.validate(minutes),
        cold_starts=frames.COLD_STARTS.validate(_cold_starts(window, readiness, tokens)),
        workloads=tuple(names.own[identity] for identity in sorted(names.own)),
        models=tuple(sorted(models - {""})),
        notes=notes_frame(_notes(counters)),
    )


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


def _cold_starts(window: Window, readiness: pd.DataFrame, tokens: pd.DataFrame) -> pd.DataFrame:
    """Return seconds from scheduled to ready of the services' pods that became ready inside."""
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
