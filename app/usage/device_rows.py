"""What samples are of: physical devices and their parts as rows, and the nodes they stand in."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.identity import gpu_model_id
from app.usage.pools import PoolIndex
from app.usage.samples import SampleSet

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NAME = ["device", "instance"]
# Compute partition types of AMD other than the whole GPU.
_PARTITIONS = frozenset(("dpx", "tpx", "qpx", "cpx"))
_SLICES = re.compile(r"(?:^|\.)(\d+)g(?:\.|$)")


@dataclass(frozen=True, slots=True)
class Rows:
    """Devices and their parts (MIG instances, partitions, tiles, cores), by name.

    ``board`` is for each row the row of the whole device, itself for one. ``slices`` are the
    compute slices of a MIG instance, 0 of anything else. A ``partition`` of an AMD GPU has one
    holder at a time, as an instance has.
    """

    names: pd.DataFrame
    board: Int64s
    slices: Int64s
    partition: Bools

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class SeriesSpans:
    """One row a series: labels, the number of what it is of, and the instants of its samples."""

    labels: pd.DataFrame
    device: Int64s
    samples: SampleSet


def number_rows(sets: Sequence[SampleSet]) -> tuple[list[SeriesSpans], Rows]:
    """Number all devices and parts that any series names; each device has a row as a whole."""
    named = pd.concat([one.labels[_NAME] for one in sets], ignore_index=True)
    everything = pd.concat([named, named.assign(instance="")], ignore_index=True)
    number = everything.groupby(_NAME, sort=True).ngroup().to_numpy(dtype=np.int64)
    names = everything.drop_duplicates().sort_values(_NAME, ignore_index=True)
    # The empty instance sorts first among those of its device.
    is_board = (names["instance"] == "").to_numpy()
    board = np.maximum.accumulate(np.where(is_board, np.arange(len(names)), 0)).astype(np.int64)
    slices = np.zeros(len(names), dtype=np.int64)
    partition = np.zeros(len(names), dtype=bool)
    for profile, rows in pd.Series(
        number[: len(named)], index=pd.concat([one.labels["profile"] for one in sets])
    ).groupby(level=0):
        slices[rows.to_numpy()] = slices_of(str(profile))
        partition[rows.to_numpy()] |= str(profile).lower() in _PARTITIONS
    borders = np.cumsum([len(one.labels) for one in sets])[:-1]
    parts = np.split(number[: len(named)], borders)
    spans = [
        SeriesSpans(one.labels, part.astype(np.int64), one)
        for one, part in zip(sets, parts, strict=True)
    ]
    return spans, Rows(names, board, slices, partition & ~is_board)


def slices_of(profile: str) -> int:
    """Return the compute slices of a MIG profile (``1g.10gb``, ``1c.3g.40gb``), 0 of others."""
    found = _SLICES.search(profile)
    return int(found[1]) if found else 0


def homes(
    pools: PoolIndex,
    series: Sequence[SeriesSpans],
    nodes: pd.DataFrame,
    rows: Rows,
    reach_ms: int,
) -> pd.DataFrame:
    """Return ``board`` and ``pool`` of the pools in which each device stood in the window.

    They are known by the node that its series name, and by when the pool lived: a node that was
    created again under its name has another pool. A device stands in the pool that it overlaps
    longest, and in each further one that it overlaps for more than ``reach_ms``: it was moved.
    """
    lives = pd.DataFrame(
        {"node_id": pools.node_id, "pool_start": pools.start_ms, "pool_end": pools.end_ms}
    ).merge(nodes[["node_id", "node_name"]], on="node_id")
    found = pd.concat([_stays(one, rows, lives) for one in series], ignore_index=True)
    if not len(found):
        return pd.DataFrame({"board": [], "pool": []}, dtype="int64")
    models = {model: gpu_model_id(model) for model in found["gpu_model"].unique()}
    model = found["gpu_model"].map(models).to_numpy(dtype=np.int64)
    found = found.assign(pool=pools.find(found["node_id"].to_numpy(), model))
    low = found[["first_at", "pool_start"]].max(axis=1)
    found["overlap"] = found[["last_at", "pool_end"]].min(axis=1) - low
    ranked = found.sort_values(["board", "overlap", "node_id"], kind="stable", ascending=False)
    best = ~ranked["board"].duplicated()
    kept = ranked.loc[(best | (ranked["overlap"] > reach_ms)) & (ranked["pool"] >= 0)]
    return kept[["board", "pool"]].drop_duplicates(ignore_index=True)


def _stays(series: SeriesSpans, rows: Rows, lives: pd.DataFrame) -> pd.DataFrame:
    """Return each device's first and last sample by the node and model that its series name."""
    samples = series.samples
    filled = np.diff(samples.first) > 0
    stays = pd.DataFrame(
        {
            "board": rows.board[series.device[filled]],
            "gpu_model": series.labels["gpu_model"].to_numpy()[filled],
            "node_name": node_names(series.labels, lives)[filled],
            "first_at": samples.at_ms[samples.first[:-1][filled]],
            "last_at": samples.at_ms[samples.first[1:][filled] - 1],
        }
    )
    keys = ["board", "gpu_model", "node_name"]
    united = stays.groupby(keys, sort=False).agg({"first_at": "min", "last_at": "max"})
    return united.reset_index().merge(lives, on="node_name")


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
