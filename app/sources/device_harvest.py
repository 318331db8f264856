"""What the devices did: activity, energy, memory and the activity of their parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.sources.asking import Answered, Ask, EvidenceRow, Inquiry, Span, answers, chosen
from app.sources.promql import HIGHEST, MEAN, RAW_SAMPLES, any_of
from app.sources.sample_sets import copies, count_once, keep_series, preferred
from app.usage.kinds import ActivityBasis
from app.usage.notes import Note
from app.usage.samples import DEVICE_LABELS, SampleSet, no_samples

_DEVICE = ["device", "instance"]
# More devices than this are not named in a query one by one.
_MOST_NAMED_DEVICES = 300
_FIGURES = (("memory_used", HIGHEST), ("sm_active", MEAN), ("dram_active", MEAN))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHarvest:
    """Samples and figures with `DEVICE_LABELS`; frames of figures have a column ``value``."""

    activity: tuple[tuple[ActivityBasis, SampleSet], ...]
    energy: SampleSet
    memory_used_max_mib: pd.DataFrame
    sm_active_mean: pd.DataFrame
    dram_active_mean: pd.DataFrame


def device_asks(inquiry: Inquiry) -> list[Ask]:
    """Return the first questions. Samples at both borders speak for time inside the window."""
    window = Span(start_ms=inquiry.window.start_ms, end_ms=inquiry.window.end_ms)
    asks = [
        *inquiry.asks("gr_engine_active", RAW_SAMPLES, _with_margins(inquiry)),
        *inquiry.asks("energy", RAW_SAMPLES, _with_margins(inquiry)),
    ]
    for meaning_name, template in _FIGURES:
        asks += inquiry.asks(meaning_name, template, window)
    return asks


def device_harvest(inquiry: Inquiry, answered: Sequence[Answered]) -> DeviceHarvest:
    """Put the answers together, and ask for the coarse metric where the good one is missing."""
    engine = preferred(chosen(answered, "gr_engine_active"), DEVICE_LABELS, _DEVICE)
    utilization = _utilization(inquiry, engine)
    energy = preferred(chosen(answered, "energy"), DEVICE_LABELS, _DEVICE)
    figures = {
        name: preferred(chosen(answered, name), DEVICE_LABELS, _DEVICE) for name, _ in _FIGURES
    }
    everything = (engine, utilization, energy, *figures.values())
    devices = pd.concat([samples.labels[_DEVICE] for samples in everything])
    count = len(devices.drop_duplicates())
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    slots = inquiry.window.length_ms // inquiry.scrape_ms
    evidence = inquiry.report.evidence
    activity = [count_once(samples, start_ms, end_ms)[1] for samples in (engine, utilization)]
    evidence.append(EvidenceRow("activity", count * slots, sum(activity)))
    evidence.append(EvidenceRow("energy", count * slots, count_once(energy, start_ms, end_ms)[1]))
    for name, samples in figures.items():
        evidence.append(EvidenceRow(name, count, len(samples.labels[_DEVICE].drop_duplicates())))
    for name, samples in (("gr_engine_active", engine), ("energy", energy), *figures.items()):
        note_copies(inquiry, name, samples)
    return DeviceHarvest(
        activity=(
            (ActivityBasis.GR_ENGINE_ACTIVE, engine),
            (ActivityBasis.GPU_UTIL, utilization),
        ),
        energy=energy,
        memory_used_max_mib=_figure(figures["memory_used"]),
        sm_active_mean=_figure(figures["sm_active"]),
        dram_active_mean=_figure(figures["dram_active"]),
    )


def note_copies(inquiry: Inquiry, family: str, samples: SampleSet) -> None:
    """Say that series came more than once: from a second Prometheus or a doubled scrape."""
    count = copies(samples)
    if count:
        detail = "Series that are copies of others by their labels; each counts once."
        inquiry.report.notes.append(Note("duplicate_series", family, count, detail))


def _with_margins(inquiry: Inquiry) -> Span:
    """Return the window and two scrapes on both sides: how far a sample speaks."""
    margin_ms = 2 * inquiry.scrape_ms
    return Span(
        start_ms=inquiry.window.start_ms - margin_ms, end_ms=inquiry.window.end_ms + margin_ms
    )


def _utilization(inquiry: Inquiry, engine: SampleSet) -> SampleSet:
    """Return the coarse activity of the devices for which the good one has no sample inside.

    On MIG the coarse metric is absent or a constant 0 that says nothing, so it is never taken.
    """
    inside = (engine.at_ms >= inquiry.window.start_ms) & (engine.at_ms < inquiry.window.end_ms)
    series = np.unique(engine.series_of_samples()[inside])
    measured = set(engine.labels["device"].to_numpy()[series])
    asks = inquiry.asks("gpu_util", RAW_SAMPLES, _with_margins(inquiry))
    if measured:
        asks = [narrowed for ask in asks for narrowed in _for_others(inquiry, ask, measured)]
    sets = [answer.samples for answer in answers(inquiry.source, asks, inquiry.report)]
    coarse = preferred(sets, DEVICE_LABELS, _DEVICE)
    if not len(coarse.labels):
        return no_samples(DEVICE_LABELS)
    lacking = ~coarse.labels["device"].isin(measured) & (coarse.labels["instance"] == "")
    return keep_series(coarse, lacking.to_numpy())


def _for_others(inquiry: Inquiry, ask: Ask, measured: set[str]) -> list[Ask]:
    """Return the ask narrowed to devices that are not measured: none if there are no others."""
    (query,) = ask.question
    labels = {
        label: set(
            inquiry.source.label_values(
                label, start_ms=query.start_ms, end_ms=query.end_ms, match=str(query.selector)
            )
        )
        for label in ask.exporter.label_names("device")
        if not label.startswith("exported_")
    }
    found = {label: values for label, values in labels.items() if values}
    others = set().union(*found.values()) - measured
    if not others:
        return []
    if len(found) == 1 and len(others) <= _MOST_NAMED_DEVICES:
        (label,) = found
        narrowed = query.where(any_of(label, tuple(sorted(others))))
        return [
            Ask(
                exporter=ask.exporter,
                meaning=ask.meaning,
                alias=ask.alias,
                purpose=ask.purpose,
                question=(narrowed,),
            )
        ]
    return [ask]


def _figure(samples: SampleSet) -> pd.DataFrame:
    """Return one row a series: instant answers have one sample each."""
    return samples.labels.assign(value=samples.value[samples.first[:-1]])
