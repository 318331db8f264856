"""Everything that Prometheus knows about one cluster's window, as one value."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from app.sources.asking import Inquiry, Report, answers
from app.sources.catalogue import Catalogue
from app.sources.device_harvest import device_asks, device_harvest
from app.sources.prometheus import PrometheusSource
from app.sources.serving_harvest import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    serving_asks,
    serving_harvest,
)
from app.units.window import Window
from app.usage import frames
from app.usage.kinds import ActivityBasis
from app.usage.notes import Note, notes_frame
from app.usage.samples import SampleSet

_DEVICE_MEANINGS = ("gr_engine_active", "gpu_util", "energy", "memory_used")
_DAY_MS = 24 * 3_600_000
# A server that scrapes anything at all has series of its own; so this is no idle cluster.
_NO_HISTORY = "The server has no series around this hour: its history ended or had not begun."


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """The samples of a window, and what they are worth.

    ``activity`` has ratios 0–1 by basis, the better basis first; a device is in one of them.
    Frames of figures have `DEVICE_LABELS` and ``value``. Counters reach back to the newest sample
    before the window; buckets have all samples only where a replica restarted, came or went, and
    otherwise those next to the borders. Values of ``births`` are milliseconds since the epoch; one
    identity may have several series. ``partial`` says that a family was answered incompletely.
    """

    activity: tuple[tuple[ActivityBasis, SampleSet], ...]
    energy: SampleSet
    memory_used_max_mib: pd.DataFrame
    sm_active_mean: pd.DataFrame
    dram_active_mean: pd.DataFrame
    counters: SampleSet
    buckets: SampleSet
    births: SampleSet
    gauges: SampleSet
    evidence: pd.DataFrame
    notes: pd.DataFrame
    partial: bool
    aliases: tuple[tuple[str, str], ...]
    questions: int


def harvest(
    source: PrometheusSource,
    catalogue: Catalogue,
    window: Window,
    *,
    scrape_ms: int,
    counter_lookback_ms: int = _DAY_MS,
) -> Harvest:
    """Collect a window. Raises if nobody answers; whatever else is wrong becomes a note."""
    report = Report()
    names = metric_names(source, window, scrape_ms)
    if not names:
        report.trouble("prometheus", _NO_HISTORY)
    devices, serving = (
        Inquiry(
            source=source,
            exporter=exporter,
            names=names,
            window=window,
            scrape_ms=scrape_ms,
            report=report,
        )
        for exporter in (catalogue.dcgm, catalogue.vllm)
    )
    answered = list(answers(source, [*device_asks(devices), *serving_asks(serving)], report))
    device_part = device_harvest(devices, answered)
    serving_part = serving_harvest(serving, answered, counter_lookback_ms=counter_lookback_ms)
    for basis, samples in device_part.activity:
        _note_rhythm(report, basis.name.lower(), samples, scrape_ms)
    _note_rhythm(report, "counters", serving_part.counters, scrape_ms)
    note_names(devices, _DEVICE_MEANINGS)
    note_names(serving, (*COUNTERS, *HISTOGRAMS, *GAUGES))
    return Harvest(
        activity=device_part.activity,
        energy=device_part.energy,
        memory_used_max_mib=device_part.memory_used_max_mib,
        sm_active_mean=device_part.sm_active_mean,
        dram_active_mean=device_part.dram_active_mean,
        counters=serving_part.counters,
        buckets=serving_part.buckets,
        births=serving_part.births,
        gauges=serving_part.gauges,
        evidence=evidence_frame(report, "prometheus"),
        notes=notes_frame(report.notes),
        partial=report.partial,
        aliases=tuple(sorted(key for key, count in report.series.items() if count)),
        questions=report.questions,
    )


def _note_rhythm(report: Report, family: str, samples: SampleSet, scrape_ms: int) -> None:
    """Say that samples come more rarely than configured: what lies between them is doubted."""
    owner = samples.series_of_samples()
    steps = np.diff(samples.at_ms)[np.diff(owner) == 0]
    median_ms = round(float(np.median(steps))) if len(steps) else 0
    if 2 * median_ms > 3 * scrape_ms:
        configured = f"scrape_interval_seconds says {scrape_ms // 1000} s"
        detail = f"Samples come every {median_ms / 1000:.0f} s, but {configured}."
        report.notes.append(Note("scrape_interval", family, median_ms, detail))


def metric_names(source: PrometheusSource, window: Window, scrape_ms: int) -> frozenset[str]:
    """Return the names of all metrics that the server has around the window."""
    values = source.label_values(
        "__name__",
        start_ms=window.start_ms - 2 * scrape_ms,
        end_ms=window.end_ms + 2 * scrape_ms,
    )
    return frozenset(values)


def first_remembered(source: PrometheusSource, window: Window) -> datetime | None:
    """Return the first hour of the window in which the server has any metric, None if it has none.

    Servers remember by blocks of two hours or more, so the first hours may turn out to be empty.
    """
    hours = list(window.hours())

    def remembers_before(count: int) -> bool:
        end_ms = hours[count - 1].end_ms
        return bool(source.label_values("__name__", start_ms=window.start_ms, end_ms=end_ms))

    if not remembers_before(len(hours)):
        return None
    # What is remembered up to an hour only grows with the hour.
    first = bisect_left(range(1, len(hours)), x=True, key=remembers_before)
    return hours[first].start


def evidence_frame(report: Report, source: str) -> pd.DataFrame:
    """Return the report's evidence as `frames.EVIDENCE`."""
    rows = report.evidence
    return frames.EVIDENCE.validate(
        pd.DataFrame(
            {
                "source": pd.Series([source] * len(rows), dtype="str"),
                "family": pd.Series([row.family for row in rows], dtype="str"),
                "expected": pd.Series([row.expected for row in rows], dtype="int64"),
                "seen": pd.Series([row.seen for row in rows], dtype="int64"),
            }
        )
    )


def note_names(inquiry: Inquiry, meaning_names: Sequence[str]) -> None:
    """Say under which names the meanings were found, and which a living exporter lacks.

    What is there and was not asked for, since something better is, is not lacking.
    """
    report, exporter = inquiry.report, inquiry.exporter
    asked = {name for name, _ in report.series}
    found = [
        (name, alias, count)
        for (name, alias), count in sorted(report.series.items())
        if name in meaning_names and count
    ]
    for name, alias, count in found:
        report.notes.append(Note("alias", name, count, f"Read as {alias}."))
    for name in meaning_names if found else ():
        unasked = name not in asked and exporter.meaning(name).published(inquiry.names)
        if name not in {present for present, _, _ in found} and not unasked:
            known = ", ".join(alias.name for alias in exporter.meaning(name).aliases)
            detail = f"{exporter.name} has no series under its known names: {known}."
            report.notes.append(Note("missing_family", name, 0, detail))
