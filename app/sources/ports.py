"""Several engines in one pod: told from one engine whose figures another port shows again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

# Series of two ports are of one counter if nearly all of their samples lie between each other's.
_MOST_APART = 0.2
_FEWEST = 5


def pods_of_several(counters: SampleSet, scrape_ms: int) -> frozenset[tuple[str, str]]:
    """Return the pods (namespace and name) on whose ports different counters go by one identity.

    A sidecar that shows an engine's figures again shows, at any instant, a value between those of
    the scrapes around it, or up to a scrape old. Two engines of one model do not, in one direction
    or the other. Only series of one address are compared, so a pod made anew is no second engine.
    """
    labels = counters.labels
    named = labels.loc[labels["pod"] != "", ["namespace", "pod", "target", "identity"]]
    host = named["target"].map(lambda target: str(target).rpartition(":")[0]).astype("str")
    named = named.assign(host=host).loc[host != ""]
    ports = named.groupby(["identity", "host"])["target"].transform("nunique")
    found: set[tuple[str, str]] = set()
    for _, rows in named.loc[ports > 1].groupby(["identity", "host"], sort=True):
        place = (str(rows["namespace"].iloc[0]), str(rows["pod"].iloc[0]))
        if place not in found and _differ(counters, rows, scrape_ms):
            found.add(place)
    return frozenset(found)


def with_ports(samples: SampleSet, pods: frozenset[tuple[str, str]]) -> SampleSet:
    """Return the samples with each port's series of the pods under identities of their own."""
    if not pods or not len(samples.labels):
        return samples
    labels = samples.labels
    mine = pd.MultiIndex.from_frame(labels[["namespace", "pod"]]).isin(pods)
    identity = labels["identity"].where(~mine, labels["identity"] + "\n" + labels["target"])
    return replace(samples, labels=labels.assign(identity=identity.astype("str")))


def _differ(counters: SampleSet, rows: pd.DataFrame, scrape_ms: int) -> bool:
    """Say whether the fullest series of two ports are no copies of each other."""
    lengths = np.diff(counters.first)
    fullest = [
        max(group.tolist(), key=lambda row: int(lengths[row]))
        for group in rows.groupby("target", sort=True).groups.values()
    ]
    series = [_series(counters, row) for row in fullest]
    return any(
        _apart(first, second, scrape_ms) and _apart(second, first, scrape_ms)
        for number, first in enumerate(series)
        for second in series[number + 1 :]
    )


def _apart(shown: tuple[Int64s, Float64s], by: tuple[Int64s, Float64s], scrape_ms: int) -> bool:
    """Say whether many samples of one series lie outside of what the other one has around them."""
    at, value = shown
    times, values = by
    early = np.searchsorted(times, at - scrape_ms, side="right") - 1
    late = np.searchsorted(times, at, side="left")
    around = (early >= 0) & (late < len(times))
    early, late, at, value = early[around], late[around], at[around], value[around]
    around = (times[late] - times[early]) <= 4 * scrape_ms
    low, high, value = values[early[around]], values[late[around]], value[around]
    # Where the counter fell in between, nothing is known.
    steady = low <= high
    outside = ((value < low) | (value > high))[steady]
    return len(outside) >= _FEWEST and float(outside.mean()) > _MOST_APART


def _series(counters: SampleSet, row: int) -> tuple[Int64s, Float64s]:
    samples: Sequence[int] = counters.first[row : row + 2].tolist()
    part = slice(*samples)
    return counters.at_ms[part], counters.value[part]
