"""Figures of devices over exactly the window: the highest memory in use, means of activity."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from app.sources.asking import Answered, Inquiry, answers
from app.sources.device_samples import identified
from app.sources.promql import HIGHEST, MEAN, RAW_SAMPLES
from app.sources.sample_sets import preferred
from app.usage.notes import Note
from app.usage.samples import DEVICE_LABELS, SampleSet

FIGURES = (("memory_used", HIGHEST), ("sm_active", MEAN), ("dram_active", MEAN))
_DEVICE = ["device", "instance"]


def device_figures(
    inquiries: Sequence[Inquiry], answered: Sequence[Answered]
) -> dict[str, SampleSet]:
    """Return by figure one sample a series.

    A single blank value of an exporter makes the server's maximum or mean of the whole window a
    blank too; where that was so, the samples themselves are asked for and the blanks left out.
    """
    blanked = {note.subject for note in inquiries[0].report.notes if note.kind == "dropped_samples"}
    found: dict[str, SampleSet] = {}
    for name, _ in FIGURES:
        sets = []
        for answer in answered:
            if answer.ask.meaning.name == name:
                metric = answer.ask.question[0].selector.metric
                again = metric in blanked
                samples = _again(inquiries[0], answer) if again else answer.samples
                sets.append(samples)
        sets = with_devices(inquiries[0], name, sets)
        found[name] = preferred([one for one in sets if len(one.labels)], DEVICE_LABELS, _DEVICE)
    return found


def with_devices(inquiry: Inquiry, meaning: str, sets: Sequence[SampleSet]) -> list[SampleSet]:
    """Return the series that name a device, and say how many do not."""
    known = [identified(samples) for samples in sets]
    lost = sum(len(one.labels) for one in sets) - sum(len(one.labels) for one in known)
    if lost:
        detail = "Series that name no device; nothing is read from them."
        inquiry.report.notes.append(Note("no_device", meaning, lost, detail))
    return known


def figure_frame(samples: SampleSet) -> pd.DataFrame:
    """Return one row a series: its labels and ``value``."""
    return samples.labels.assign(value=samples.value[samples.first[:-1]])


def _again(inquiry: Inquiry, answer: Answered) -> SampleSet:
    """Ask for the samples behind a figure, and take their maximum or mean."""
    (query,) = answer.ask.question
    raw = RAW_SAMPLES.over(query.selector, query.start_ms, query.end_ms)
    ask = replace(answer.ask, question=(raw,))
    (again,) = answers(inquiry.source, [ask], inquiry.report)
    samples, first = again.samples, again.samples.first[:-1]
    if not len(first):
        return samples
    if query.template is HIGHEST:
        value = np.maximum.reduceat(samples.value, first)
    else:
        value = np.add.reduceat(samples.value, first) / np.diff(samples.first)
    at_ms = np.full(len(first), query.at_ms, dtype=np.int64)
    return SampleSet(samples.labels, np.arange(len(first) + 1, dtype=np.int64), at_ms, value)
