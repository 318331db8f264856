"""Samples of one meaning, as columns: what a source hands to the usage stage."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Series and their samples, series by series, each series ascending in time.

    ``labels`` has one row a series (RangeIndex) and string columns that the producer declares.
    Samples of series i are ``at_ms[first[i]:first[i + 1]]`` (milliseconds since the epoch) and
    ``value`` likewise; ``first`` has one entry more than there are series. No NaN, no infinity, no
    exporter's blank value, no two samples of a series at one instant.
    """

    labels: pd.DataFrame
    first: Int64s
    at_ms: Int64s
    value: Float64s

    def series_of_samples(self) -> Int64s:
        """Return for each sample the number of its series."""
        return np.repeat(np.arange(len(self.labels), dtype=np.int64), np.diff(self.first))


def no_samples(columns: tuple[str, ...]) -> SampleSet:
    """Return an empty set with the given label columns."""
    labels = pd.DataFrame({name: pd.Series([], dtype="str") for name in columns})
    empty = np.array([], dtype=np.int64)
    return SampleSet(labels, np.zeros(1, dtype=np.int64), empty, empty.astype(np.float64))


# One series a device (whole, or a part of it) and holder label. `device` is the physical UUID, or
# host and number where the exporter knows none; `instance` the MIG instance id, partition, tile or
# core, or '' for the whole device; `profile` its MIG profile or AMD partition type, or ''.
# `hostname` and `node` are the exporter's and the scraper's idea of the node, '' where absent.
# `namespace` and `pod` name the holder or are ''. `identity` is equal for copies of one series (HA
# Prometheus, doubled scrape, same device and holder); `series` is the whole label text, for ties.
DEVICE_LABELS = (
    "device",
    "instance",
    "profile",
    "hostname",
    "node",
    "namespace",
    "pod",
    "gpu_model",
    "identity",
    "series",
)

# One series a counter of a serving replica. `namespace` and `pod` name the replica, `target` the
# scrape address, `model` the served model name as published, `outcome` a finished reason or '',
# `le` a bucket bound or ''. `quantity` is the name of a `Quantity`. `engine` is the catalogue's
# name of what counted, `layer` is "engine", "frontend" or "router": only an engine's figures are
# totals, another layer repeats them. `role` is "prefill", "decode" or ''. `identity` is equal for
# copies of one series; `series` is the whole label text.
COUNTER_LABELS = (
    "namespace",
    "pod",
    "target",
    "model",
    "quantity",
    "outcome",
    "le",
    "engine",
    "layer",
    "role",
    "identity",
    "series",
)
