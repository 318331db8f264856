"""Whether the data reach the end of the window, or a clock or a store lags behind."""

from collections.abc import Sequence

import numpy as np

from app.sources.asking import EvidenceRow, Inquiry
from app.sources.promql import RAW_SAMPLES, Selector
from app.sources.splitting import gather
from app.usage.notes import Note
from app.usage.samples import SampleSet

FAMILY = "window_end"
# Prometheus itself calls a series gone after five minutes without a sample.
_REACH_MS = 300_000
# Of every target, also of those that say nothing else.
_ALIVE = "up"


def record_freshness(inquiry: Inquiry, families: Sequence[SampleSet]) -> None:
    """Write down in how many scrapes of the window's last minutes anything was seen.

    Where nothing was, but earlier in the window, the server's own series say whether it lags: if
    they end too, the answer is partial. A cluster whose last node was just removed is none that
    lags.
    """
    report, window, scrape_ms = inquiry.report, inquiry.window, inquiry.scrape_ms
    inside = [
        samples.at_ms[(samples.at_ms >= window.start_ms) & (samples.at_ms < window.end_ms)]
        for samples in families
    ]
    at_ms = np.concatenate([np.zeros(0, dtype=np.int64), *inside])
    late = at_ms[at_ms >= window.end_ms - _REACH_MS]
    scrapes = np.unique((window.end_ms - 1 - late) // scrape_ms)
    expected = max(1, _REACH_MS // scrape_ms) if len(at_ms) else 0
    seen = min(len(scrapes), expected)
    report.evidence.append(EvidenceRow(FAMILY, expected, seen))
    if not len(at_ms) or len(late):
        return
    behind_ms = window.end_ms - int(at_ms.max())
    lags = f"The newest sample is {behind_ms / 60_000:.0f} minutes before the end of the hour"
    if _ALIVE not in inquiry.names:
        detail = f"{lags}; whether the server lags cannot be told, since it has no series 'up'."
        report.notes.append(Note("data_end_early", FAMILY, behind_ms, detail))
        return
    end = RAW_SAMPLES.over(Selector(_ALIVE), window.end_ms - _REACH_MS, window.end_ms)
    report.questions += 1
    if not len(gather(inquiry.source, end).matrix.at_ms):
        report.notes.append(Note("data_end_early", FAMILY, behind_ms, f"{lags}."))
        report.trouble(FAMILY, f"{lags}: the server's clock or its data lag behind.")
