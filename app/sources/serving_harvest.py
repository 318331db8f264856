"""What the inference engines counted: tokens, requests, latency buckets, births of the counters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.sources.asking import (
    QUANTITIES,
    Answered,
    Ask,
    EvidenceRow,
    Inquiry,
    Purpose,
    Span,
    answers,
    chosen,
)
from app.sources.births import births_of_buckets, process_births
from app.sources.device_harvest import note_copies
from app.sources.lookback import LOOKBACK_SHORT_MS, with_earlier_samples
from app.sources.naming import narrowed_to
from app.sources.promql import EVER_RESET, RAW_SAMPLES
from app.sources.sample_sets import concatenated, count_once, keep_series, preferred, united
from app.usage.samples import COUNTER_LABELS, SampleSet

COUNTERS = ("prompt_tokens", "cached_prompt_tokens", "generation_tokens", "requests")
HISTOGRAMS = ("time_to_first_token", "end_to_end")
GAUGES = ("running", "waiting")
_REPLICA = ("namespace", "pod", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingHarvest:
    """Sample sets with `COUNTER_LABELS`; a birth's value is in milliseconds since the epoch."""

    counters: SampleSet
    buckets: SampleSet
    births: SampleSet
    gauges: SampleSet


def serving_asks(inquiry: Inquiry) -> list[Ask]:
    """Return the first questions: counters and gauges whole, buckets and births at the borders.

    A histogram has some twenty series a replica. Where it neither fell nor was born again between
    the borders, its growth is the difference of its samples next to them.
    """
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    asks: list[Ask] = []
    for name in COUNTERS:
        asks += inquiry.asks(name, RAW_SAMPLES, _whole(inquiry))
        asks += inquiry.asks(name, RAW_SAMPLES, *_borders(inquiry), purpose=Purpose.BIRTHS)
    for name in HISTOGRAMS:
        asks += inquiry.asks(name, RAW_SAMPLES, *_borders(inquiry))
        asks += inquiry.asks(name, RAW_SAMPLES, *_borders(inquiry), purpose=Purpose.BIRTHS)
        first, _ = _borders(inquiry)
        fallen = Span(start_ms=first.start_ms, end_ms=end_ms)
        asks += inquiry.asks(name, EVER_RESET, fallen, purpose=Purpose.RESETS)
    for name in GAUGES:
        asks += inquiry.asks(name, RAW_SAMPLES, Span(start_ms=start_ms, end_ms=end_ms))
    return asks


def serving_harvest(
    inquiry: Inquiry, answered: Sequence[Answered], *, counter_lookback_ms: int
) -> ServingHarvest:
    """Put the answers together, and ask for all samples of what did not run through quietly."""
    counters = concatenated([_one(answered, name) for name in COUNTERS], COUNTER_LABELS)
    borders = concatenated([_one(answered, name) for name in HISTOGRAMS], COUNTER_LABELS)
    own_births = concatenated(
        [
            samples
            for name in (*COUNTERS, *HISTOGRAMS)
            for samples in chosen(answered, name, Purpose.BIRTHS)
        ],
        COUNTER_LABELS,
    )
    labels = pd.concat([counters.labels, borders.labels], ignore_index=True)
    by_process = process_births(inquiry, labels, own_births, _borders(inquiry))
    births = concatenated([own_births, by_process], COUNTER_LABELS)
    restless = _restless(inquiry, answered, [counters, borders, births])
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
    gauges = concatenated([_one(answered, name) for name in GAUGES], COUNTER_LABELS)
    _record(inquiry, counters=counters, borders=borders, gauges=gauges)
    _record_beginnings(inquiry, [counters, buckets])
    return ServingHarvest(counters=counters, buckets=buckets, births=births, gauges=gauges)


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


def _one(answered: Sequence[Answered], name: str) -> SampleSet:
    """Return a meaning's samples, each replica under one name at a time."""
    return preferred(chosen(answered, name), COUNTER_LABELS, _REPLICA)


def _restless(
    inquiry: Inquiry, answered: Sequence[Answered], families: Sequence[SampleSet]
) -> pd.DataFrame:
    """Return the replicas that restarted, came or went in the window, as series of theirs.

    Counters are among the families since a replica that lived between the borders shows nowhere
    else. The last family are the births, whose values change with a restart.
    """
    first, last = _borders(inquiry)
    moved = [samples.labels[~_at_both(samples, first, last)] for samples in families]
    births = families[-1]
    fallen = [
        samples.labels for name in HISTOGRAMS for samples in chosen(answered, name, Purpose.RESETS)
    ]
    together = pd.concat([*moved, births.labels[_changed(births)], *fallen], ignore_index=True)
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
    sets = []
    for answer in answers(inquiry.source, asks, inquiry.report):
        wanted = _replicas(answer.samples.labels).isin(_replicas(restless))
        sets.append(keep_series(answer.samples, wanted))
    if purpose is Purpose.BIRTHS:
        return sets
    return [
        preferred(
            [samples for ask, samples in zip(asks, sets, strict=True) if ask.meaning.name == name],
            COUNTER_LABELS,
            _REPLICA,
        )
        for name in names
    ]


def _replicas(labels: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(labels[list(_REPLICA)])


def _record(
    inquiry: Inquiry, *, counters: SampleSet, borders: SampleSet, gauges: SampleSet
) -> None:
    """Write down the evidence of each family, and copies."""
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    slots = inquiry.window.length_ms // inquiry.scrape_ms
    for name in (*COUNTERS, *GAUGES, *HISTOGRAMS):
        together = borders if name in HISTOGRAMS else gauges if name in GAUGES else counters
        mine = together.labels["quantity"] == QUANTITIES.get(name, name)
        samples = keep_series(together, mine.to_numpy())
        # Of buckets only what lies at the end border was asked for of every series.
        low_ms = end_ms - 2 * inquiry.scrape_ms if name in HISTOGRAMS else start_ms
        series, seen = count_once(samples, low_ms, end_ms)
        expected = series * (2 if name in HISTOGRAMS else slots)
        inquiry.report.evidence.append(EvidenceRow(name, expected, seen))
        note_copies(inquiry, name, samples)


def _record_beginnings(inquiry: Inquiry, sets: Sequence[SampleSet]) -> None:
    """Write down of how many series a sample before the window is known.

    Growth begins there: without that sample the window's own ones are as many, and tell less.
    """
    start_ms = inquiry.window.start_ms
    known = {identity for one in sets for identity in _identities(one, one.at_ms < start_ms)}
    grows = {identity for one in sets for identity in _identities(one, one.at_ms >= start_ms)}
    row = EvidenceRow("counter_beginnings", len(grows), len(known & grows))
    inquiry.report.evidence.append(row)


def _identities(samples: SampleSet, chosen_samples: npt.NDArray[np.bool_]) -> "pd.Series[str]":
    """Return the identities of the series that any of the chosen samples belongs to."""
    series = np.unique(samples.series_of_samples()[chosen_samples])
    identities: pd.Series[str] = samples.labels["identity"].iloc[series]
    return identities
