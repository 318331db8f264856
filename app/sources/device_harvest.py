"""What the devices did: activity, energy, memory and the activity of their parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.sources.asking import Answered, Ask, EvidenceRow, Inquiry, Span, answers, chosen
from app.sources.catalogue import Exporter
from app.sources.device_figures import FIGURES, device_figures, figure_frame, with_devices
from app.sources.device_samples import (
    Combined,
    combined,
    instants_once,
    unpartitioned,
)
from app.sources.promql import (
    RAW_SAMPLES,
    Matcher,
    Operator,
    Template,
    any_of,
)
from app.sources.sample_sets import concatenated, copies, keep_series, preferred
from app.usage.kinds import ActivityBasis
from app.usage.notes import Note
from app.usage.samples import DEVICE_LABELS, SampleSet

_DEVICE = ["device", "instance"]
_SHARER = ["device", "namespace", "pod"]
# More devices than this are not named in a query one by one.
_MOST_NAMED_DEVICES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A meaning that says what devices did.

    ``combine`` is how several series of one device and holder are one. A ``coarse`` one is told of
    the whole board: of a device that is divided it is absent or says nothing.
    """

    meaning: str
    basis: ActivityBasis
    combine: Combined | None = None
    coarse: bool = False


# Asked for of all devices, then of those that no reading before has measured, in this order.
FINE = (
    Reading(meaning="gr_engine_active", basis=ActivityBasis.GR_ENGINE_ACTIVE),
    Reading(meaning="gfx_activity", basis=ActivityBasis.AMD_GFX_ACTIVITY),
    Reading(meaning="engine_active", basis=ActivityBasis.INTEL_ENGINE, combine=Combined.BUSIEST),
    Reading(meaning="core_active", basis=ActivityBasis.NEURON_CORE),
)
FALLBACKS = (
    Reading(meaning="gpu_util", basis=ActivityBasis.GPU_UTIL, coarse=True),
    Reading(meaning="gfx_busy", basis=ActivityBasis.AMD_GFX_BUSY, combine=Combined.MEAN),
    Reading(meaning="duty_cycle", basis=ActivityBasis.DUTY_CYCLE, coarse=True),
    Reading(meaning="duty_cycle_node", basis=ActivityBasis.DUTY_CYCLE, coarse=True),
    Reading(meaning="tensorcore_active", basis=ActivityBasis.TPU_TENSORCORE),
    Reading(meaning="host_utilization", basis=ActivityBasis.HAMI_HOST, coarse=True),
)
_SHARERS = "container_utilization"
# What an exporter that is there should have, and what may be there besides.
DEVICE_MEANINGS = (
    "gr_engine_active",
    "gpu_util",
    *(reading.meaning for reading in FINE[1:]),
    "energy",
    "memory_used",
)
FALLBACK_MEANINGS = (*(reading.meaning for reading in FALLBACKS[1:]), _SHARERS)
# Shown also where they have no sample, in this place: NVIDIA's are looked for everywhere.
_ALWAYS = (ActivityBasis.GR_ENGINE_ACTIVE, ActivityBasis.GPU_UTIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHarvest:
    """Samples and figures with `DEVICE_LABELS`; frames of figures have a column ``value``.

    ``sharers`` are ratios of a whole device that its holders are told to use, by device and holder.
    """

    activity: tuple[tuple[ActivityBasis, SampleSet], ...]
    sharers: SampleSet
    energy: SampleSet
    memory_used_max_mib: pd.DataFrame
    sm_active_mean: pd.DataFrame
    dram_active_mean: pd.DataFrame


def device_asks(inquiries: Sequence[Inquiry]) -> list[Ask]:
    """Return the first questions. Samples at both borders speak for time inside the window."""
    asks = []
    for inquiry in inquiries:
        window = Span(start_ms=inquiry.window.start_ms, end_ms=inquiry.window.end_ms)
        for name in (*(reading.meaning for reading in FINE), _SHARERS, "energy"):
            asks += _asks(inquiry, name, RAW_SAMPLES, _with_margins(inquiry))
        for name, template in FIGURES:
            asks += _asks(inquiry, name, template, window)
    return asks


def device_harvest(inquiries: Sequence[Inquiry], answered: Sequence[Answered]) -> DeviceHarvest:
    """Put the answers together, and ask for coarse metrics where the good ones are missing."""
    some = inquiries[0]
    fine = {
        reading.basis: _read(some, reading, chosen(answered, reading.meaning)) for reading in FINE
    }
    energy = preferred(_of(some, answered, "energy"), DEVICE_LABELS, _DEVICE)
    figures = device_figures(inquiries, answered)
    divided = _divided([*fine.values(), energy, *figures.values()])
    coarse = _fallbacks(inquiries, list(fine.values()), divided)
    both = {**fine, **coarse}
    activity = tuple(
        (basis, both[basis])
        for basis in sorted(both, key=lambda basis: (basis not in _ALWAYS, basis))
        if basis in _ALWAYS or len(both[basis].labels)
    )
    sharers = preferred(
        [combined(one, Combined.SUM) for one in _of(some, answered, _SHARERS)],
        DEVICE_LABELS,
        _SHARER,
    )
    _give_evidence(some, [samples for _, samples in activity], energy, figures)
    for name, samples in (
        ("gr_engine_active", fine[ActivityBasis.GR_ENGINE_ACTIVE]),
        ("energy", energy),
        *figures.items(),
    ):
        note_copies(some, name, samples)
    return DeviceHarvest(
        activity=activity,
        sharers=sharers,
        energy=energy,
        memory_used_max_mib=figure_frame(figures["memory_used"]),
        sm_active_mean=figure_frame(figures["sm_active"]),
        dram_active_mean=figure_frame(figures["dram_active"]),
    )


def note_copies(inquiry: Inquiry, family: str, samples: SampleSet) -> None:
    """Say that series came more than once: from a second Prometheus or a doubled scrape."""
    count = copies(samples)
    if count:
        detail = "Series that are copies of others by their labels; each counts once."
        inquiry.report.notes.append(Note("duplicate_series", family, count, detail))


def _has(exporter: Exporter, meaning_name: str) -> bool:
    return any(meaning.name == meaning_name for meaning in exporter.meanings)


def _asks(inquiry: Inquiry, meaning_name: str, template: Template, span: Span) -> list[Ask]:
    """Return the questions of one exporter, none if it has no such meaning.

    Where the device has one label only and nothing to fall back on, series without it are somebody
    else's of the same name.
    """
    exporter = inquiry.exporter
    if not _has(exporter, meaning_name):
        return []
    names = [name for name in exporter.label_names("device") if not name.startswith("exported_")]
    strict = len(names) == 1 and not exporter.label_names("index")
    matchers = (Matcher(names[0], Operator.NOT_EQUAL, ""),) if strict else ()
    return inquiry.asks(meaning_name, template, span, matchers=matchers)


def _of(inquiry: Inquiry, answered: Sequence[Answered], meaning_name: str) -> list[SampleSet]:
    """Return the samples of a meaning with known devices, the preferred exporter's first."""
    return with_devices(inquiry, meaning_name, chosen(answered, meaning_name))


def _read(inquiry: Inquiry, reading: Reading, sets: Sequence[SampleSet]) -> SampleSet:
    known = with_devices(inquiry, reading.meaning, sets)
    if reading.basis is ActivityBasis.AMD_GFX_ACTIVITY:
        known = [unpartitioned(samples) for samples in known]
    if reading.combine is not None:
        known = [combined(samples, reading.combine) for samples in known]
    return preferred(known, DEVICE_LABELS, _DEVICE)


def _with_margins(inquiry: Inquiry) -> Span:
    """Return the window and two scrapes on both sides: how far a sample speaks."""
    margin_ms = 2 * inquiry.scrape_ms
    return Span(
        start_ms=inquiry.window.start_ms - margin_ms, end_ms=inquiry.window.end_ms + margin_ms
    )


def _divided(sets: Sequence[SampleSet]) -> set[str]:
    """Return the devices of which any series names a part."""
    return {
        device
        for samples in sets
        for device in samples.labels.loc[samples.labels["instance"] != "", "device"]
    }


def _fallbacks(
    inquiries: Sequence[Inquiry], fine: Sequence[SampleSet], divided: set[str]
) -> dict[ActivityBasis, SampleSet]:
    """Return by basis the samples of the devices for which no better one has a sample inside.

    A coarse metric of a device that is divided is never taken: it is a constant 0 at best.
    """
    measured: set[str] = set()
    for samples in fine:
        measured |= _measured(inquiries[0], samples)
    found: dict[ActivityBasis, list[SampleSet]] = {}
    for reading in FALLBACKS:
        for inquiry in inquiries:
            asks = _asks(inquiry, reading.meaning, RAW_SAMPLES, _with_margins(inquiry))
            if measured:
                asks = [one for ask in asks for one in _for_others(inquiry, ask, measured)]
            got = [answer.samples for answer in answers(inquiry.source, asks, inquiry.report)]
            samples = _read(inquiry, reading, got)
            labels = samples.labels
            keep = ~labels["device"].isin(measured)
            if reading.coarse:
                divided |= _divided([samples])
                keep &= ~labels["device"].isin(divided)
            found.setdefault(reading.basis, []).append(keep_series(samples, keep.to_numpy()))
        if reading.meaning != "duty_cycle":
            # The node's duty cycle also tells of devices while nobody holds them.
            for samples in found[reading.basis]:
                measured |= _measured(inquiries[0], samples)
    return {basis: concatenated(sets, DEVICE_LABELS) for basis, sets in found.items()}


def _measured(inquiry: Inquiry, samples: SampleSet) -> set[str]:
    """Return the devices that have a sample inside the window."""
    inside = (samples.at_ms >= inquiry.window.start_ms) & (samples.at_ms < inquiry.window.end_ms)
    series = np.unique(samples.series_of_samples()[inside])
    return set(samples.labels["device"].to_numpy()[series])


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


def _give_evidence(
    inquiry: Inquiry,
    activity: Sequence[SampleSet],
    energy: SampleSet,
    figures: dict[str, SampleSet],
) -> None:
    everything = (*activity, energy, *figures.values())
    devices = pd.concat([samples.labels[_DEVICE] for samples in everything])
    count = len(devices.drop_duplicates())
    window = inquiry.window
    slots = window.length_ms // inquiry.scrape_ms
    seen = sum(instants_once(samples, window.start_ms, window.end_ms) for samples in activity)
    evidence = inquiry.report.evidence
    evidence.append(EvidenceRow("activity", count * slots, seen))
    once = instants_once(energy, window.start_ms, window.end_ms)
    evidence.append(EvidenceRow("energy", count * slots, once))
    for name, samples in figures.items():
        evidence.append(EvidenceRow(name, count, len(samples.labels[_DEVICE].drop_duplicates())))
