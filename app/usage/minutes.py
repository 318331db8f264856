"""The shape of each service's traffic, minute by minute."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.growth import Increments
from app.usage.kinds import Quantity
from app.usage.layers import authoritative
from app.usage.replicas import ReplicaNames
from app.usage.samples import SampleSet
from app.usage.timelines import fullest_copies

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MINUTE_MS = 60_000

_COUNTED = {
    Quantity.REQUESTS.name: "requests",
    Quantity.PROMPT_TOKENS.name: "prompt_tokens",
    Quantity.CACHED_PROMPT_TOKENS.name: "cached_prompt_tokens",
    Quantity.GENERATION_TOKENS.name: "generation_tokens",
}


@dataclass(frozen=True, slots=True)
class _Grid:
    """A cell for every service and minute of a window."""

    window: Window
    services: pd.MultiIndex

    @property
    def minutes(self) -> int:
        return self.window.length_ms // MINUTE_MS

    @property
    def cells(self) -> int:
        return len(self.services) * self.minutes

    def rows_of(self, labels: pd.DataFrame) -> Int64s:
        """Return the service of each row of identified labels."""
        wanted = pd.MultiIndex.from_frame(labels[["workload_id", "model_id"]])
        return self.services.get_indexer(wanted).astype(np.int64)

    def cell(self, service: Int64s, at_ms: Int64s) -> Int64s:
        """Return the cell of each sample, which must lie inside the window."""
        return service * self.minutes + (at_ms - self.window.start_ms) // MINUTE_MS


def service_minutes(
    window: Window, counted: Increments, gauges: SampleSet, names: ReplicaNames
) -> pd.DataFrame:
    """Return `SERVICE_MINUTES` for each minute in which a service has a sample.

    Labels have canonical models; only what is `authoritative` among them counts. Growth belongs to
    the minute of its sample. Running and waiting are each replica's mean over the minute's samples,
    summed over the replicas. Cache use is one figure for the window: the mean of the replicas'.
    """
    counts, shown = authoritative(counted.labels), authoritative(gauges.labels)
    counters = names.identified(counted.labels.loc[counts])
    gauge_labels = names.identified(gauges.labels.loc[shown])
    both = pd.concat([counters, gauge_labels])[["workload_id", "model_id"]]
    services = pd.MultiIndex.from_frame(both.drop_duplicates()).sort_values()
    grid = _Grid(window, services)
    chosen = counts[counted.series]
    row = (np.cumsum(counts) - 1)[counted.series[chosen]]
    cell = grid.cell(grid.rows_of(counters)[row], counted.at_ms[chosen])
    quantity = counters["quantity"].to_numpy(dtype=object)[row]
    grown = counted.grown[chosen]
    seen = np.zeros(grid.cells, dtype=bool)
    columns: dict[str, Int64s | Float64s] = {}
    for name, column in _COUNTED.items():
        mine = quantity == name
        columns[column] = np.zeros(grid.cells, dtype=np.int64)
        np.add.at(columns[column], cell[mine], grown[mine])
        seen[cell[mine]] = True
    gauges = _only(gauges, shown)
    fullest, service = fullest_copies(gauges), grid.rows_of(gauge_labels)
    for name in ("running", "waiting"):
        told = fullest & (gauge_labels["quantity"] == name).to_numpy()
        columns[name] = _gauge(grid, gauges, told, service)
        seen |= ~np.isnan(columns[name])
    told = fullest & (gauge_labels["quantity"] == "cache_usage").to_numpy()
    columns["cache_use"] = np.repeat(_figure(grid, gauges, told, service), grid.minutes)
    kept = np.flatnonzero(seen)
    service, minute = np.divmod(kept, grid.minutes)
    frame = pd.DataFrame(
        {
            "minute_ms": window.start_ms + minute * MINUTE_MS,
            "workload_id": services.get_level_values(0).to_numpy(dtype=np.int64)[service],
            "model_id": services.get_level_values(1).to_numpy(dtype=np.int64)[service],
            **{name: column[kept] for name, column in columns.items()},
        }
    )
    ordered: pd.DataFrame = frame[list(frames.SERVICE_MINUTES.columns)]
    return ordered


def _only(samples: SampleSet, chosen: Bools) -> SampleSet:
    """Return the chosen series."""
    lengths = np.diff(samples.first)
    kept = np.repeat(chosen, lengths)
    first = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths[chosen])])
    labels = samples.labels.loc[chosen].reset_index(drop=True)
    return SampleSet(labels, first, samples.at_ms[kept], samples.value[kept])


def _figure(grid: _Grid, gauges: SampleSet, chosen: Bools, service: Int64s) -> Float64s:
    """Return the mean of the chosen series' last value for each service, NaN where none has any."""
    chosen = chosen & (np.diff(gauges.first) > 0)
    said = gauges.value[gauges.first[1:][chosen] - 1]
    total = np.bincount(service[chosen], weights=said, minlength=len(grid.services))
    count = np.bincount(service[chosen], minlength=len(grid.services))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _gauge(grid: _Grid, gauges: SampleSet, chosen: Bools, service: Int64s) -> Float64s:
    """Return the sum over the chosen series of the mean per minute, NaN where no sample is."""
    owner = gauges.series_of_samples()
    window = grid.window
    inside = (gauges.at_ms >= window.start_ms) & (gauges.at_ms < window.end_ms) & chosen[owner]
    series, minute = owner[inside], (gauges.at_ms[inside] - window.start_ms) // MINUTE_MS
    slots, slot = np.unique(series * grid.minutes + minute, return_inverse=True)
    mean = np.bincount(slot, weights=gauges.value[inside]) / np.maximum(np.bincount(slot), 1)
    cell = service[slots // grid.minutes] * grid.minutes + slots % grid.minutes
    total = np.bincount(cell, weights=mean, minlength=grid.cells)
    return np.where(np.bincount(cell, minlength=grid.cells) > 0, total, np.nan)
