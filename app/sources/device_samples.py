"""Series of one device made one: engines, dies and containers combined, copies counted once."""

from enum import Enum, auto

import numpy as np
import orjson
import pandas as pd

from app.sources.labels import SCRAPER_LABELS
from app.sources.sample_sets import keep_series
from app.usage.samples import DEVICE_LABELS, SampleSet, no_samples
from app.usage.timelines import fullest_copies

_HOLDER = ["device", "instance", "namespace", "pod"]
# What AMD's exporter calls a GPU that is not partitioned.
_WHOLE = frozenset(("", "spx", "na", "n/a"))


class Combined(Enum):
    """How the values of several series at one instant become one."""

    BUSIEST = auto()
    MEAN = auto()
    # Parts of one device add up to it at most.
    SUM = auto()


def identified(samples: SampleSet) -> SampleSet:
    """Return the series that name a device."""
    return keep_series(samples, (samples.labels["device"] != "").to_numpy())


def unpartitioned(samples: SampleSet) -> SampleSet:
    """Return the series of whole GPUs, by how AMD's exporter calls their partition type."""
    return keep_series(samples, samples.labels["profile"].str.lower().isin(_WHOLE).to_numpy())


def combined(samples: SampleSet, how: Combined) -> SampleSet:
    """Return one series for each device, holder and scraper, its values combined by instant.

    Series of one scrape have its instant, so what belongs together stands together; a second
    Prometheus scrapes at other instants and keeps series of its own.
    """
    if not len(samples.labels):
        return no_samples(DEVICE_LABELS)
    labels = samples.labels
    scraper = [
        "\n".join(str(orjson.loads(text).get(name, "")) for name in SCRAPER_LABELS)
        for text in labels["series"]
    ]
    keys = [labels[name] for name in _HOLDER]
    group = labels.groupby([*keys, pd.Series(scraper)], sort=False).ngroup().to_numpy()
    rows = pd.DataFrame(
        {
            "group": group[samples.series_of_samples()],
            "at_ms": samples.at_ms,
            "value": samples.value,
        }
    ).groupby(["group", "at_ms"], sort=True)["value"]
    match how:
        case Combined.BUSIEST:
            values = rows.max()
        case Combined.MEAN:
            values = rows.mean()
        case Combined.SUM:
            values = rows.sum().clip(upper=1.0)
    owner = values.index.get_level_values("group").to_numpy()
    lengths = np.bincount(owner, minlength=int(group.max()) + 1)
    first_rows = ~pd.Series(group).duplicated().to_numpy()
    return SampleSet(
        labels[first_rows].reset_index(drop=True),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        values.index.get_level_values("at_ms").to_numpy(dtype=np.int64),
        values.to_numpy(dtype=np.float64),
    )


def instants_once(samples: SampleSet, start_ms: int, end_ms: int) -> int:
    """Return at how many instants in ``[start_ms, end_ms)`` devices have samples.

    A value that is shown to several pods is one sample, and of copies the fullest series counts.
    """
    inside = (samples.at_ms >= start_ms) & (samples.at_ms < end_ms)
    owner = samples.series_of_samples()
    device = samples.labels.groupby(["device", "instance"], sort=False).ngroup().to_numpy()
    wanted = fullest_copies(samples)
    shown_once = np.bincount(device[wanted], minlength=len(device)) <= 1
    alone = wanted & shown_once[device]
    count = int((alone[owner] & inside).sum())
    several = (wanted & ~alone)[owner] & inside
    pairs = pd.DataFrame({"device": device[owner[several]], "at_ms": samples.at_ms[several]})
    return count + len(pairs.drop_duplicates())
