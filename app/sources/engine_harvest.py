"""What all inference engines of a window counted: each read in the words of its own file."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.sources.asking import QUANTITIES, Answered, Ask, EvidenceRow, Inquiry
from app.sources.catalogue import Exporter, Layer
from app.sources.device_harvest import note_copies
from app.sources.ports import pods_of_several, with_ports
from app.sources.sample_sets import concatenated, count_once, keep_series
from app.sources.serving_harvest import (
    COUNTERS,
    FIGURES,
    GAUGES,
    HISTOGRAMS,
    ServingHarvest,
    no_adapters,
    serving_asks,
    serving_harvest,
)
from app.usage.notes import Note
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples

# What an engine that tells it at all should tell always; the rest came with later releases.
ENGINE_MEANINGS = (
    *("prompt_tokens", "cached_prompt_tokens", "generation_tokens", "requests"),
    *("time_to_first_token", "end_to_end", *GAUGES),
)
# The families whose evidence is kept also where there is none.
_ALWAYS = frozenset(ENGINE_MEANINGS)
_PROCESS = frozenset({"process_start"})


def engine_asks(inquiries: Sequence[Inquiry]) -> list[Ask]:
    """Return the first questions about all engines that the server has any name of."""
    return [ask for inquiry in _present(inquiries) for ask in serving_asks(inquiry)]


def engine_harvest(
    inquiries: Sequence[Inquiry], answered: Sequence[Answered], *, counter_lookback_ms: int
) -> ServingHarvest:
    """Put the engines' answers together; a series that two engines claim is the first one's."""
    there = _present(inquiries)
    parts: list[ServingHarvest] = []
    for inquiry in there:
        found = serving_harvest(inquiry, answered, counter_lookback_ms=counter_lookback_ms)
        parts.append(_unclaimed(found, parts))
    together = _united(parts)
    together = _beside_wrapped(together, [inquiry.exporter for inquiry in there])
    together = _by_port(together, inquiries[0].scrape_ms)
    _record(inquiries[0], together)
    _record_beginnings(inquiries[0], [together.counters, together.buckets])
    for inquiry in there:
        _note_precision(inquiry)
        _note_missing_parts(inquiry, together.counters.labels)
    return together


def optional_meanings(engine: Exporter) -> tuple[str, ...]:
    """Return the names of an engine's meanings that it need not have."""
    names = (meaning.name for meaning in engine.meanings)
    return tuple(name for name in names if name not in _ALWAYS | _PROCESS)


def _present(inquiries: Sequence[Inquiry]) -> list[Inquiry]:
    return [inquiry for inquiry in inquiries if _is_there(inquiry)]


def _is_there(inquiry: Inquiry) -> bool:
    engine, names = inquiry.exporter, inquiry.names
    if engine.recognized_by and names.isdisjoint(engine.recognized_by):
        return False
    return any(
        meaning.published(names) for meaning in engine.meanings if meaning.name not in _PROCESS
    )


def _unclaimed(found: ServingHarvest, before: Sequence[ServingHarvest]) -> ServingHarvest:
    """Return a harvest without series that engines before have read."""

    def left(name: str) -> SampleSet:
        mine: SampleSet = getattr(found, name)
        claimed = [getattr(other, name).labels["series"] for other in before]
        if not claimed:
            return mine
        taken = mine.labels["series"].isin(pd.concat(claimed, ignore_index=True))
        return keep_series(mine, ~taken.to_numpy())

    return replace(
        found,
        counters=left("counters"),
        buckets=left("buckets"),
        borders=left("borders"),
        gauges=left("gauges"),
    )


def _united(parts: Sequence[ServingHarvest]) -> ServingHarvest:
    if len(parts) == 1:
        return parts[0]
    nothing = no_samples(COUNTER_LABELS)

    def of(name: str) -> SampleSet:
        return concatenated([nothing, *(getattr(part, name) for part in parts)], COUNTER_LABELS)

    return ServingHarvest(
        counters=of("counters"),
        buckets=of("buckets"),
        borders=of("borders"),
        births=of("births"),
        gauges=of("gauges"),
        adapters=pd.concat(
            [no_adapters(), *(part.adapters for part in parts)], ignore_index=True
        ).astype("str"),
    )


def _beside_wrapped(found: ServingHarvest, engines: Sequence[Exporter]) -> ServingHarvest:
    """Call a wrapper's series a frontend's where the engine inside publishes the same of a pod."""
    wrappers = {engine.name: engine.wraps for engine in engines if engine.wraps}
    if not wrappers:
        return found

    def layered(samples: SampleSet) -> SampleSet:
        labels = samples.labels
        place = labels["pod"].where(labels["pod"] != "", labels["target"])
        key = labels["quantity"] + "\n" + labels["namespace"] + "\n" + place
        layer = labels["layer"]
        for wrapper, wrapped in wrappers.items():
            inside = key[labels["engine"].isin(wrapped)]
            outer = (labels["engine"] == wrapper) & key.isin(inside)
            layer = layer.mask(outer, Layer.FRONTEND.value)
        return replace(samples, labels=labels.assign(layer=layer.astype("str")))

    return replace(
        found,
        counters=layered(found.counters),
        buckets=layered(found.buckets),
        gauges=layered(found.gauges),
    )


def _by_port(found: ServingHarvest, scrape_ms: int) -> ServingHarvest:
    """Tell the engines apart that run in one pod on ports of their own."""
    pods = pods_of_several(found.counters, scrape_ms)
    return replace(
        found,
        counters=with_ports(found.counters, pods),
        buckets=with_ports(found.buckets, pods),
        borders=with_ports(found.borders, pods),
        births=with_ports(found.births, pods),
        gauges=with_ports(found.gauges, pods),
    )


def _note_precision(inquiry: Inquiry) -> None:
    """Say where an engine's counters move in steps."""
    engine, report = inquiry.exporter, inquiry.report
    counted = any(
        report.series.get((meaning.name, alias.name))
        for meaning in engine.meanings
        for alias in meaning.aliases
    )
    if engine.digits and counted:
        detail = (
            f"Counters have {engine.digits} significant digits: beyond that they move in steps, "
            "so a short window sees nothing or a whole step."
        )
        report.notes.append(Note("counter_precision", engine.name, engine.digits, detail))


def _note_missing_parts(inquiry: Inquiry, counters: pd.DataFrame) -> None:
    """Say which replicas tell a quantity in part only."""
    engine = inquiry.exporter
    for part in engine.meanings:
        if not part.needed:
            continue
        quantity = QUANTITIES.get(part.quantity, part.quantity)
        mine = (counters["engine"] == engine.name) & (counters["quantity"] == quantity)
        rows = counters.loc[mine]
        replica = rows["namespace"] + "/" + rows["pod"].where(rows["pod"] != "", rows["target"])
        has = rows["identity"].str.startswith(part.name)
        names = ", ".join(alias.name for alias in part.aliases if not alias.respelled)
        detail = f"{part.quantity} are known in part: {engine.name} has no series of {names}."
        inquiry.report.notes += [
            Note("missing_part", subject, 0, detail)
            for subject in sorted(set(replica[~has]) - set(replica[has]))
        ]


def _record(inquiry: Inquiry, found: ServingHarvest) -> None:
    """Write down the evidence of each family, and copies."""
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    slots = inquiry.window.length_ms // inquiry.scrape_ms
    for name in (*COUNTERS, *GAUGES, *(name for name, _ in FIGURES[:1]), *HISTOGRAMS):
        histogram, figure = name in HISTOGRAMS, name == FIGURES[0][0]
        gauge = figure or name in GAUGES
        together = found.borders if histogram else found.gauges if gauge else found.counters
        mine = together.labels["quantity"] == QUANTITIES.get(name, name)
        samples = keep_series(together, mine.to_numpy())
        # Of buckets only what lies at the end border was asked for of every series.
        low_ms = end_ms - 2 * inquiry.scrape_ms if histogram else start_ms
        series, seen = count_once(samples, low_ms, end_ms)
        if series or name in _ALWAYS:
            expected = series * (2 if histogram else 1 if figure else slots)
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
