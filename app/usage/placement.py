"""Which devices a hold stands on: by the pods that an exporter names, or by the pool's size."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.identity import gpu_model_id
from app.usage.kinds import ActivityScope
from app.usage.pools import PoolIndex
from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Placement:
    """Pairs of a hold (row number) and a device (row number), and per hold how to read them.

    The pairs' time stands for ``capacity`` devices of the hold: its own, if it is placed; else as
    many as are averaged over.
    """

    hold: Int64s
    device: Int64s
    scope: Int64s
    capacity: Int64s


@dataclass(frozen=True, slots=True)
class SeriesSpans:
    """One row a series: labels, the device's row number, and the instants of its samples."""

    labels: pd.DataFrame
    device: Int64s
    samples: SampleSet


def place(
    pools: PoolIndex,
    holds: pd.DataFrame,
    series: Sequence[SeriesSpans],
    nodes: pd.DataFrame,
    devices: int,
) -> Placement:
    """Return the devices of each hold (`CUT_HOLDS`); ``nodes`` has node_id and node_name.

    Exclusive holds stand on the devices whose samples name their pod while it held; a hold of a
    whole pool stands on all of it. Every other hold is read from the mean of the pool's devices
    that stand with nobody else meanwhile, since exporters name one arbitrary sharer.
    """
    pool_of_hold = pools.find(holds["node_id"].to_numpy(), holds["gpu_model_id"].to_numpy())
    pool_of_device = _pools_of_devices(pools, series, nodes, devices)
    units = holds["share_num"].to_numpy() // holds["share_den"].to_numpy()
    exclusive = holds["exclusive"].to_numpy(dtype=bool)
    named = _named_pairs(holds, series)
    at_home = (pool_of_device[named.device] == pool_of_hold[named.hold]) | (
        pool_of_device[named.device] < 0
    )
    named = _best(named.where(exclusive[named.hold] & at_home), holds, units)
    count = np.bincount(named.hold, minlength=len(holds))
    whole = exclusive & (count < units) & (units >= pools.devices[pool_of_hold])
    open_holds = np.flatnonzero(((count == 0) | whole) & (pool_of_hold >= 0))
    averaged = _free_pairs(holds, open_holds, pool_of_hold, pool_of_device, named)
    hold = np.concatenate([named.hold, averaged.hold])
    device = np.concatenate([named.device, averaged.device])
    paired = np.bincount(hold, minlength=len(holds))
    single = ~exclusive & (pools.devices[pool_of_hold] == 1)
    scope = np.select(
        [paired == 0, (count > 0) | whole, single],
        [ActivityScope.NONE, ActivityScope.DEVICE, ActivityScope.SHARED_DEVICE],
        default=ActivityScope.SHARED_POOL,
    )
    placed = scope == ActivityScope.DEVICE
    capacity = np.where(placed, np.maximum(units, paired), np.maximum(paired, 1))
    order = np.lexsort((device, hold))
    return Placement(hold[order], device[order], scope.astype(np.int64), capacity)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Candidates: a hold, a device, and by how many samples."""

    hold: Int64s
    device: Int64s
    samples: Int64s

    def where(self, keep: Bools) -> "_Pairs":
        return _Pairs(self.hold[keep], self.device[keep], self.samples[keep])


def _pools_of_devices(
    pools: PoolIndex, series: Sequence[SeriesSpans], nodes: pd.DataFrame, devices: int
) -> Int64s:
    """Return the pool of each device by the node that its series name, -1 where none is known.

    A node that was created again under its name is told apart by when its pool lived.
    """
    lives = pd.DataFrame(
        {
            "node_id": pools.node_id,
            "pool_start": pools.start_ms,
            "pool_end": pools.end_ms,
        }
    ).merge(nodes[["node_id", "node_name"]], on="node_id")
    result = np.full(devices, -1, dtype=np.int64)
    for one in series:
        node = node_names(one.labels, lives)
        ends = one.samples.first[1:] - 1
        filled = np.diff(one.samples.first) > 0
        rows = pd.DataFrame(
            {
                "device": one.device[filled],
                "gpu_model": one.labels["gpu_model"].to_numpy()[filled],
                "node_name": node[filled],
                "first_at": one.samples.at_ms[one.samples.first[:-1][filled]],
                "last_at": one.samples.at_ms[ends[filled]],
            }
        ).merge(lives, on="node_name")
        low = rows[["first_at", "pool_start"]].max(axis=1)
        rows["overlap"] = rows[["last_at", "pool_end"]].min(axis=1) - low
        ranked = rows.sort_values(["device", "overlap", "node_id"], kind="stable")
        rows = ranked.loc[~ranked["device"].duplicated(keep="last")]
        models = {model: gpu_model_id(model) for model in rows["gpu_model"].unique()}
        model = rows["gpu_model"].map(models).to_numpy(dtype=np.int64)
        found = pools.find(rows["node_id"].to_numpy(), model)
        device = rows["device"].to_numpy()
        result[device] = np.where(result[device] < 0, found, result[device])
    return result


def node_names(labels: pd.DataFrame, nodes: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return which node_name of ``nodes`` each series means, '' where none is known.

    The scraper's label wins over the exporter's host name, which may lack or carry a domain: then
    the first part decides, where it is that of one node only.
    """
    known = set(nodes["node_name"])
    firsts = Counter(name.partition(".")[0] for name in known)
    by_short = {
        name.partition(".")[0]: name for name in known if firsts[name.partition(".")[0]] == 1
    }
    meant = {name: name for name in known}
    for hostname in set(labels["hostname"]) - known:
        meant[hostname] = by_short.get(hostname.partition(".")[0], "")
    scraped = np.asarray(labels["node"], dtype=object)
    by_host = np.asarray(labels["hostname"].map(meant), dtype=object)
    return np.where(labels["node"].isin(known), scraped, by_host)


def _named_pairs(holds: pd.DataFrame, series: Sequence[SeriesSpans]) -> _Pairs:
    """Return holds and devices of which a sample names the pod while it held."""
    named = holds[["namespace", "pod", "start_ms", "end_ms"]].assign(hold=np.arange(len(holds)))
    found: list[pd.DataFrame] = []
    for one in series:
        rows = one.labels[["namespace", "pod"]].assign(
            series=np.arange(len(one.labels)), device=one.device
        )
        rows = rows.loc[rows["pod"] != ""].merge(named, on=["namespace", "pod"])
        number = rows["series"].to_numpy()
        # A sample speaks for the time before it: one at the start of a hold says nothing of it.
        until = [_samples_until(one.samples, number, rows[edge]) for edge in ("start_ms", "end_ms")]
        found.append(rows.assign(samples=until[1] - until[0])[["hold", "device", "samples"]])
    named_by = pd.concat(found).groupby(["hold", "device"], sort=True)["samples"].sum()
    pairs = named_by[named_by > 0].reset_index()
    return _Pairs(
        pairs["hold"].to_numpy(dtype=np.int64),
        pairs["device"].to_numpy(dtype=np.int64),
        pairs["samples"].to_numpy(dtype=np.int64),
    )


def _samples_until(samples: SampleSet, series: Int64s, at: "pd.Series[int]") -> Int64s:
    """Return how many samples of each series are not later than the instant."""
    if not len(samples.at_ms):
        return np.zeros(len(series), dtype=np.int64)
    origin = int(samples.at_ms.min())
    reach = int(samples.at_ms.max()) - origin + 2
    keys = samples.series_of_samples() * reach + (samples.at_ms - origin) + 1
    offset = np.clip(at.to_numpy() - origin + 1, 0, reach - 1)
    below = np.searchsorted(keys, series * reach + offset, side="right")
    until: Int64s = np.subtract(below, samples.first[series], dtype=np.int64)
    return until


def _best(pairs: _Pairs, holds: pd.DataFrame, units: Int64s) -> _Pairs:
    """Keep no more devices a hold than it has, and no device for two holds at one time.

    The pair with more samples wins, then the smaller hold, then the earlier device.
    """
    hold_id = holds["hold_id"].to_numpy()
    order = np.lexsort((pairs.device, hold_id[pairs.hold], -pairs.samples, pairs.hold))
    hold = pairs.hold[order]
    rank = np.arange(len(hold)) - np.searchsorted(hold, hold)
    kept = np.zeros(len(hold), dtype=bool)
    kept[order[rank < units[hold]]] = True
    pairs = pairs.where(kept)
    start, end = holds["start_ms"].to_numpy(), holds["end_ms"].to_numpy()
    contested = _contested(pairs, start, end)
    keep = np.ones(len(pairs.hold), dtype=bool)
    for device in np.unique(pairs.device[contested]):
        rows = np.flatnonzero(pairs.device == device)
        rows = rows[np.lexsort((hold_id[pairs.hold[rows]], -pairs.samples[rows]))]
        taken: list[int] = []
        for row in rows:
            mine = pairs.hold[row]
            others = pairs.hold[taken]
            keep[row] = not np.any((start[others] < end[mine]) & (start[mine] < end[others]))
            if keep[row]:
                taken.append(int(row))
    return pairs.where(keep)


def _contested(pairs: _Pairs, start: Int64s, end: Int64s) -> Int64s:
    """Return the pairs whose device stood with another hold when theirs began."""
    order = np.lexsort((start[pairs.hold], pairs.device))
    device, began = pairs.device[order], start[pairs.hold][order]
    over = end[pairs.hold][order]
    overlaps = (device[1:] == device[:-1]) & (began[1:] < over[:-1])
    contested: Int64s = order[1:][overlaps]
    return contested


def _free_pairs(
    holds: pd.DataFrame,
    open_holds: Int64s,
    pool_of_hold: Int64s,
    pool_of_device: Int64s,
    named: _Pairs,
) -> _Pairs:
    """Pair holds with all further devices of their pool that stand with no hold meanwhile."""
    wanted = pd.DataFrame({"hold": open_holds, "pool": pool_of_hold[open_holds]})
    known = np.flatnonzero(pool_of_device >= 0)
    there = pd.DataFrame({"device": known, "pool": pool_of_device[known]})
    pairs = wanted.merge(there, on="pool")[["hold", "device"]]
    taken = pd.DataFrame({"other": named.hold, "device": named.device})
    both = pairs.reset_index().merge(taken, on="device")
    start, end = holds["start_ms"].to_numpy(), holds["end_ms"].to_numpy()
    mine, other = both["hold"].to_numpy(), both["other"].to_numpy()
    clash = (start[mine] < end[other]) & (start[other] < end[mine])
    pairs = pairs.drop(index=both["index"].to_numpy()[clash])
    hold, device = (pairs[name].to_numpy(dtype=np.int64) for name in ("hold", "device"))
    return _Pairs(hold, device, np.zeros(len(hold), dtype=np.int64))
