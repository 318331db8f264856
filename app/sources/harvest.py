"""Everything that Prometheus knows about one cluster's window, as one value."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from app.sources.asking import Inquiry, Report, answers
from app.sources.catalogue import Catalogue, Exporter
from app.sources.device_harvest import (
    DEVICE_MEANINGS,
    FALLBACK_MEANINGS,
    DeviceHarvest,
    device_asks,
    device_harvest,
)
from app.sources.engine_harvest import (
    ENGINE_MEANINGS,
    engine_asks,
    engine_harvest,
    optional_meanings,
)
from app.sources.freshness import record_freshness
from app.sources.gateway_harvest import GatewayHarvest, gateway_harvest
from app.sources.prometheus import PrometheusSource
from app.sources.serving_harvest import ServingHarvest
from app.units.window import Window
from app.usage import frames
from app.usage.kinds import ActivityBasis
from app.usage.notes import Note, notes_frame
from app.usage.samples import SampleSet

_DAY_MS = 24 * 3_600_000
# A server that scrapes anything at all has series of its own; so this is no idle cluster.
_NO_HISTORY = "The server has no series around this hour: its history ended or had not begun."


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """The samples of a window, and what they are worth.

    ``activity`` has ratios 0–1 by basis, the better basis first; a device is in one of them.
    ``sharers`` are ratios of a whole device that its holders are told to use.
    Frames of figures have `DEVICE_LABELS` and ``value``. Counters reach back to the newest sample
    before the window; buckets have all samples only where a replica restarted, came or went, and
    otherwise those next to the borders; for gauges and adapters see `ServingHarvest`. Values of
    ``births`` are milliseconds since the epoch; one identity may have several series. ``partial``
    says that a family was answered incompletely.
    """

    activity: tuple[tuple[ActivityBasis, SampleSet], ...]
    sharers: SampleSet
    energy: SampleSet
    memory_used_max_mib: pd.DataFrame
    sm_active_mean: pd.DataFrame
    dram_active_mean: pd.DataFrame
    counters: SampleSet
    buckets: SampleSet
    births: SampleSet
    gauges: SampleSet
    adapters: pd.DataFrame
    gateways: GatewayHarvest
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

    def inquiry(exporter: Exporter) -> Inquiry:
        return Inquiry(
            source=source,
            exporter=exporter,
            names=names,
            window=window,
            scrape_ms=scrape_ms,
            report=report,
        )

    devices = [inquiry(exporter) for exporter in catalogue.devices]
    engines = [inquiry(engine) for engine in catalogue.engines]
    answered = list(answers(source, [*device_asks(devices), *engine_asks(engines)], report))
    device_part = device_harvest(devices, answered)
    serving_part = engine_harvest(engines, answered, counter_lookback_ms=counter_lookback_ms)
    gateway_part = gateway_harvest(
        source,
        catalogue.gateways,
        names,
        window,
        scrape_ms=scrape_ms,
        report=report,
        counter_lookback_ms=counter_lookback_ms,
    )
    _judge(devices, engines, device_part, serving_part)
    return Harvest(
        activity=device_part.activity,
        sharers=device_part.sharers,
        energy=device_part.energy,
        memory_used_max_mib=device_part.memory_used_max_mib,
        sm_active_mean=device_part.sm_active_mean,
        dram_active_mean=device_part.dram_active_mean,
        counters=serving_part.counters,
        buckets=serving_part.buckets,
        births=serving_part.births,
        gauges=serving_part.gauges,
        adapters=serving_part.adapters,
        gateways=gateway_part,
        evidence=evidence_frame(report, "prometheus"),
        notes=notes_frame(report.notes),
        partial=report.partial,
        aliases=tuple(sorted(key for key, count in report.series.items() if count)),
        questions=report.questions,
    )


def _judge(
    devices: Sequence[Inquiry],
    engines: Sequence[Inquiry],
    device_part: DeviceHarvest,
    serving_part: ServingHarvest,
) -> None:
    """Write down how often samples came, how far they reach, and under which names."""
    report, scrape_ms = devices[0].report, devices[0].scrape_ms
    for basis, samples in device_part.activity:
        _note_rhythm(report, basis.name.lower(), samples, scrape_ms)
    _note_rhythm(report, "counters", serving_part.counters, scrape_ms)
    activity = (samples for _, samples in device_part.activity)
    counted = (device_part.energy, serving_part.counters, serving_part.gauges)
    record_freshness(devices[0], [*activity, *counted])
    for device in devices:
        note_names(device, DEVICE_MEANINGS, FALLBACK_MEANINGS)
    for engine in engines:
        note_names(engine, ENGINE_MEANINGS, optional_meanings(engine.exporter))


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


def note_names(
    inquiry: Inquiry, meaning_names: Sequence[str], optional: Sequence[str] = ()
) -> None:
    """Say under which names the meanings were found, and which a living exporter lacks.

    What is there and was not asked for, since something better is, is not lacking, and neither is
    what is ``optional``.
    """
    report, exporter = inquiry.report, inquiry.exporter
    known = {
        meaning.name: {alias.name for alias in meaning.aliases}
        for meaning in exporter.meanings
        if meaning.name in meaning_names or meaning.name in optional
    }
    asked = {name for name, _ in report.series}
    found = [
        (name, alias, count)
        for (name, alias), count in sorted(report.series.items())
        if count and alias in known.get(name, ())
    ]
    for name, alias, count in found:
        report.notes.append(Note("alias", name, count, f"Read as {alias}."))
    for name in meaning_names if found else ():
        if name not in known:
            continue
        unasked = name not in asked and exporter.meaning(name).published(inquiry.names)
        if name not in {present for present, _, _ in found} and not unasked:
            names = ", ".join(
                alias.name for alias in exporter.meaning(name).aliases if not alias.respelled
            )
            detail = f"{exporter.name} has no series under its known names: {names}."
            report.notes.append(Note("missing_family", name, 0, detail))
