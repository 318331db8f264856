"""What the inference engines counted: tokens, requests, latency buckets, births of the counters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd

from app.sources.asking import (
    Answered,
    Ask,
    Inquiry,
    Purpose,
    Span,
    answers,
    chosen,
)
from app.sources.births import births_of_buckets, process_births, startups
from app.sources.catalogue import Alias, Meaning, MetricType
from app.sources.lookback import LOOKBACK_SHORT_MS, with_earlier_samples
from app.sources.naming import narrowed_to
from app.sources.promql import EVER_RESET, MEAN, NEWEST, RAW_SAMPLES, Selector
from app.sources.sample_sets import concatenated, keep_series, preferred, united
from app.usage.samples import COUNTER_LABELS, SampleSet

COUNTERS = (
    *("prompt_tokens", "cached_prompt_tokens", "generation_tokens", "reasoning_tokens"),
    "requests",
)
HISTOGRAMS = ("time_to_first_token", "inter_token", "end_to_end", "queue_time")
GAUGES = ("running", "waiting")
# Of these one figure is enough: the mean of the window, what was last said.
FIGURES = (("cache_usage", MEAN), ("startup", NEWEST))
_REPLICA = ("namespace", "pod", "target")
_ADAPTERS = "adapters"
_ADAPTER_COLUMNS = ("namespace", "pod", "target", "engine", "adapter")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingHarvest:
    """Sample sets with `COUNTER_LABELS`; a birth's value is in milliseconds since the epoch.

    ``gauges`` has ``running`` and ``waiting`` with all samples, ``cache_usage`` (a ratio) with the
    mean of the window as the one sample of each series, and ``startup`` (seconds) likewise.
    ``borders`` are the buckets' samples that were asked for of every series. ``adapters`` has the
    columns namespace, pod, target, engine and adapter: what was loaded beside the models.
    """

    counters: SampleSet
    buckets: SampleSet
    borders: SampleSet
    births: SampleSet
    gauges: SampleSet
    adapters: pd.DataFrame


def serving_asks(inquiry: Inquiry) -> list[Ask]:
    """Return the first questions: counters and gauges whole, buckets and births at the borders.

    A histogram has some twenty series a replica. Where it neither fell nor was born again between
    the borders, its growth is the difference of its samples next to them.
    """
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    asks = _recognizing(inquiry)
    if inquiry.exporter.recognized_by and not asks:
        return []
    for name in COUNTERS:
        asks += inquiry.asks(name, RAW_SAMPLES, _whole(inquiry))
        asks += inquiry.asks(name, RAW_SAMPLES, *_borders(inquiry), purpose=Purpose.BIRTHS)
    for name in HISTOGRAMS:
        asks += inquiry.asks(name, RAW_SAMPLES, *_borders(inquiry))
        asks += inquiry.asks(name, RAW_SAMPLES, *_borders(inquiry), purpose=Purpose.BIRTHS)
        first, _ = _borders(inquiry)
        fallen = Span(start_ms=first.start_ms, end_ms=end_ms)
        asks += inquiry.asks(name, EVER_RESET, fallen, purpose=Purpose.RESETS)
    window = Span(start_ms=start_ms, end_ms=end_ms)
    for name in GAUGES:
        asks += inquiry.asks(name, RAW_SAMPLES, window)
    for name, template in (*FIGURES, (_ADAPTERS, NEWEST)):
        asks += inquiry.asks(name, template, window)
    return asks


def serving_harvest(
    inquiry: Inquiry, answered: Sequence[Answered], *, counter_lookback_ms: int
) -> ServingHarvest:
    """Put the engine's answers together, and ask for all samples of what did not run quietly."""
    answered = _of_engine(inquiry, answered)
    counters = _together(inquiry, answered, COUNTERS)
    borders = _together(inquiry, answered, HISTOGRAMS)
    own_births = concatenated(
        [answer.samples for answer in answered if answer.ask.purpose is Purpose.BIRTHS],
        COUNTER_LABELS,
    )
    labels = pd.concat([counters.labels, borders.labels], ignore_index=True)
    by_process = process_births(inquiry, labels, own_births, _borders(inquiry))
    births = concatenated([own_births, by_process], COUNTER_LABELS)
    fallen = [answer.samples for answer in answered if answer.ask.purpose is Purpose.RESETS]
    restless = _restless(inquiry, fallen, [counters, borders, births])
    whole = _everything(inquiry, HISTOGRAMS, restless, Purpose.SAMPLES)
    buckets = united([borders, *whole], COUNTER_LABELS)
    own_births = united(
        [own_births, *_everything(inquiry, (*COUNTERS, *HISTOGRAMS), restless, Purpose.BIRTHS)],
        COUNTER_LABELS,
    )
    moved = pd.concat([counters.labels, buckets.labels], ignore_index=True)
    moved = moved[_replicas(moved).isin(_replicas(restless))]
    by_process = united(
        [by_process, process_births(inquiry, moved, own_births, [_whole(inquiry)])], COUNTER_LABELS
    )
    births = concatenated([own_births, by_process], COUNTER_LABELS)
    bucket_births = births_of_buckets(births, moved[moved["le"] != ""])
    births = concatenated([births, bucket_births], COUNTER_LABELS)
    counters = with_earlier_samples(inquiry, COUNTERS, counters, births, counter_lookback_ms)
    buckets = with_earlier_samples(inquiry, HISTOGRAMS, buckets, births, counter_lookback_ms)
    gauges = _together(inquiry, answered, (*GAUGES, *(name for name, _ in FIGURES)))
    if not inquiry.exporter.parts("startup"):
        gauges = concatenated([gauges, startups(inquiry, own_births)], COUNTER_LABELS)
    return ServingHarvest(
        counters=counters,
        buckets=buckets,
        borders=borders,
        births=births,
        gauges=gauges,
        adapters=_adapters(inquiry, chosen(answered, _ADAPTERS)),
    )


def _recognizing(inquiry: Inquiry) -> list[Ask]:
    """Ask for the targets that publish what only this engine does."""
    window = Span(start_ms=inquiry.window.start_ms, end_ms=inquiry.window.end_ms)
    asks = []
    for name in inquiry.exporter.recognized_by:
        if name not in inquiry.names:
            continue
        alias = Alias(name=name)
        meaning = Meaning(
            name="recognized",
            type=MetricType.GAUGE,
            unit="any",
            reason="Tells the engine's targets from others'.",
            aliases=(alias,),
        )
        query = NEWEST.over(Selector(name), window.start_ms, window.end_ms)
        asks.append(
            Ask(
                exporter=inquiry.exporter,
                meaning=meaning,
                alias=alias,
                purpose=Purpose.TARGETS,
                question=(query,),
            )
        )
    return asks


def _of_engine(inquiry: Inquiry, answered: Sequence[Answered]) -> list[Answered]:
    """Return the engine's answers, without series of targets that are none of the engine's."""
    mine = [answer for answer in answered if answer.ask.exporter is inquiry.exporter]
    if not inquiry.exporter.recognized_by:
        return mine
    told = [answer.samples.labels for answer in mine if answer.ask.purpose is Purpose.TARGETS]
    known = _replicas(pd.concat(told, ignore_index=True)) if told else None
    if known is None:
        return []
    found = []
    for answer in mine:
        ours = keep_series(answer.samples, _replicas(answer.samples.labels).isin(known))
        found.append(Answered(answer.ask, ours))
        if answer.ask.purpose is Purpose.SAMPLES:
            key = (answer.ask.meaning.name, answer.ask.alias.name)
            inquiry.report.series[key] = len(ours.labels)
    return found


def _together(inquiry: Inquiry, answered: Sequence[Answered], names: Sequence[str]) -> SampleSet:
    """Return the samples of several quantities: each part under one name at a time."""
    return concatenated(
        [
            preferred(chosen(answered, part.name), COUNTER_LABELS, _REPLICA)
            for name in names
            for part in inquiry.exporter.parts(name)
        ],
        COUNTER_LABELS,
    )


def no_adapters() -> pd.DataFrame:
    """Return an empty frame of adapters."""
    return pd.DataFrame({name: pd.Series([], dtype="str") for name in _ADAPTER_COLUMNS})


def _adapters(inquiry: Inquiry, told: Sequence[SampleSet]) -> pd.DataFrame:
    """Return the adapters that label lists name, one row each."""
    names = inquiry.exporter.label_names(_ADAPTERS)
    rows = set()
    for samples in told:
        for row in samples.labels.itertuples(index=False):
            labels = orjson.loads(str(row.series))
            listed = next((labels[name] for name in names if labels.get(name)), "")
            replica = (row.namespace, row.pod, row.target, row.engine)
            rows |= {(*replica, name.strip()) for name in listed.split(",") if name.strip()}
    frame = pd.DataFrame(sorted(rows), columns=list(_ADAPTER_COLUMNS))
    return frame.astype("str") if rows else no_adapters()


def _whole(inquiry: Inquiry) -> Span:
    return Span(
        start_ms=inquiry.window.start_ms - LOOKBACK_SHORT_MS,
        end_ms=inquiry.window.end_ms + 2 * inquiry.scrape_ms,
    )


def _borders(inquiry: Inquiry) -> tuple[Span, Span]:
    """Return the spans before the start and before the end in which a scraped target has samples.

    Two and a half scrapes: one may fail, and each may come late by its jitter.
    """
    reach_ms = inquiry.scrape_ms * 5 // 2
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    return (
        Span(start_ms=start_ms - reach_ms, end_ms=start_ms),
        Span(start_ms=end_ms - reach_ms, end_ms=end_ms),
    )


def _restless(
    inquiry: Inquiry, fallen: Sequence[SampleSet], families: Sequence[SampleSet]
) -> pd.DataFrame:
    """Return the replicas that restarted, came or went in the window, as series of theirs.

    Counters are among the families since a replica that lived between the borders shows nowhere
    else. The last family are the births, whose values change with a restart.
    """
    first, last = _borders(inquiry)
    moved = [samples.labels[~_at_both(samples, first, last)] for samples in families]
    births = families[-1]
    fell = [samples.labels for samples in fallen]
    together = pd.concat([*moved, births.labels[_changed(births)], *fell], ignore_index=True)
    return together.drop_duplicates(list(_REPLICA))


def _at_both(samples: SampleSet, first: Span, last: Span) -> npt.NDArray[np.bool_]:
    """Say for each series whether it has samples in both spans."""
    owner = samples.series_of_samples()
    result = np.ones(len(samples.labels), dtype=bool)
    for span in (first, last):
        inside = (samples.at_ms >= span.start_ms) & (samples.at_ms < span.end_ms)
        result &= np.bincount(owner[inside], minlength=len(result)) > 0
    return result


def _changed(samples: SampleSet) -> npt.NDArray[np.bool_]:
    """Say for each series whether its value is not the same all the time."""
    owner = samples.series_of_samples()
    differs = samples.value != samples.value[samples.first[:-1]][owner]
    result: npt.NDArray[np.bool_] = np.bincount(owner[differs], minlength=len(samples.labels)) > 0
    return result


def _everything(
    inquiry: Inquiry, names: Sequence[str], restless: pd.DataFrame, purpose: Purpose
) -> list[SampleSet]:
    """Ask for all samples of the restless replicas' series."""
    asks = [
        ask
        for name in names
        for matchers in narrowed_to(inquiry.exporter, restless)
        for ask in inquiry.asks(
            name, RAW_SAMPLES, _whole(inquiry), purpose=purpose, matchers=matchers
        )
    ]
    found = []
    for answer in answers(inquiry.source, asks, inquiry.report):
        wanted = _replicas(answer.samples.labels).isin(_replicas(restless))
        found.append(Answered(answer.ask, keep_series(answer.samples, wanted)))
    if purpose is Purpose.BIRTHS:
        return [answer.samples for answer in found]
    return [_together(inquiry, found, names)]


def _replicas(labels: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(labels[list(_REPLICA)])
