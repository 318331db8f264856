"""Counters that appear in a target that was scraped before: they crossed no gap."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.growth import Increments
from app.usage.samples import SampleSet
from app.usage.timelines import REACH_SCRAPES

Int64s = npt.NDArray[np.int64]

_REPLICA = ["namespace", "pod", "target"]


def without_false_gaps(
    found: Increments, scraped: Sequence[SampleSet], scrape_ms: int
) -> Increments:
    """Return the increments, none carried only because its counter was not there before.

    Many engines publish a counter with the first request that it counts. Series of one scrape have
    one instant: where another series of the replica has a sample at the counter's first instant
    and at one at most 2 scrapes earlier, the target was looked at then and had no such counter yet.
    ``scraped`` are sets with `COUNTER_LABELS` of the same replicas.
    """
    suspects = np.flatnonzero(found.carried & found.fresh)
    if not len(suspects):
        return found
    replicas = pd.MultiIndex.from_frame(found.labels[_REPLICA].iloc[found.series[suspects]])
    instants = _instants(scraped, set(replicas.to_list()))
    carried = found.carried.copy()
    for row, replica in zip(suspects.tolist(), replicas.to_list(), strict=True):
        at_ms = int(found.at_ms[row])
        carried[row] = not any(
            _looked(times, at_ms, REACH_SCRAPES * scrape_ms) for times in instants[replica]
        )
    return replace(found, carried=carried)


def _instants(
    scraped: Sequence[SampleSet], wanted: set[tuple[str, str, str]]
) -> dict[tuple[str, str, str], list[Int64s]]:
    """Return the instants of every series of the wanted replicas."""
    instants: dict[tuple[str, str, str], list[Int64s]] = {replica: [] for replica in wanted}
    for samples in scraped:
        replicas = pd.MultiIndex.from_frame(samples.labels[_REPLICA])
        for series in np.flatnonzero(replicas.isin(wanted)).tolist():
            times = samples.at_ms[samples.first[series] : samples.first[series + 1]]
            namespace, pod, target = (str(part) for part in replicas[series])
            instants[namespace, pod, target].append(times)
    return instants


def _looked(times: Int64s, at_ms: int, reach_ms: int) -> bool:
    """Say whether a series has a sample at an instant, and another not long before it."""
    place = int(np.searchsorted(times, at_ms))
    here = place < len(times) and int(times[place]) == at_ms
    return here and place > 0 and at_ms - int(times[place - 1]) <= reach_ms
