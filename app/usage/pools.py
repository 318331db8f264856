"""Pools inside one window: one row a pool, and which pool a hold stands on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.units.window import Window
from app.usage.identity import gpu_model_id
from app.usage.products import UNKNOWN_MODEL

Int64s = npt.NDArray[np.int64]

UNKNOWN_MODEL_ID = gpu_model_id(UNKNOWN_MODEL)


@dataclass(frozen=True, slots=True)
class PoolIndex:
    """The pools that live in a window, ordered by node and model, clipped to it."""

    node_id: Int64s
    gpu_model_id: Int64s
    devices: Int64s
    start_ms: Int64s
    end_ms: Int64s

    def __len__(self) -> int:
        """Return the number of pools."""
        return len(self.node_id)

    def find(self, node_id: Int64s, model_id: Int64s) -> Int64s:
        """Return the pool of each (node, model), -1 where there is none.

        A model that is not known (0 or `UNKNOWN_MODEL`), or that the node does not have, means the
        node's only pool: labels of a node may come later than its first pod.
        """
        exact = pd.MultiIndex.from_arrays([self.node_id, self.gpu_model_id])
        found = exact.get_indexer(pd.MultiIndex.from_arrays([node_id, model_id]))
        nodes, first, pools_of_node = np.unique(self.node_id, return_index=True, return_counts=True)
        only = np.where(pools_of_node == 1, first, -1)
        at = pd.Index(nodes).get_indexer(pd.Index(node_id))
        fallback = np.where(at >= 0, only[at] if len(only) else -1, -1)
        return np.where(found >= 0, found, fallback).astype(np.int64)


def index_pools(window: Window, pools: pd.DataFrame) -> PoolIndex:
    """Return the window's pools: rows of one pool united, unknown models resolved, clipped.

    A node whose product label came after its devices has had an ``unknown`` pool first; those are
    the same devices as the pool of the model that it named later, and count once.
    """
    model = resolve_models(pools, pools)
    united = (
        pools.assign(gpu_model_id=model)
        .groupby(["node_id", "gpu_model_id"], sort=True)
        .agg(devices=("devices", "max"), start_ms=("start_ms", "min"), end_ms=("end_ms", "max"))
        .reset_index()
    )
    start = np.maximum(united["start_ms"].to_numpy(), window.start_ms)
    end = np.minimum(united["end_ms"].to_numpy(), window.end_ms)
    keep = (start < end) & (united["devices"].to_numpy() > 0)
    return PoolIndex(
        united["node_id"].to_numpy()[keep],
        united["gpu_model_id"].to_numpy()[keep],
        united["devices"].to_numpy()[keep],
        start[keep],
        end[keep],
    )


def pools_of_usage(pool_usage: pd.DataFrame) -> PoolIndex:
    """Return the pools of a window's `POOL_USAGE`, each from its first span to its last."""
    united = (
        pool_usage.groupby(["node_id", "gpu_model_id"], sort=True)
        .agg(devices=("devices", "max"), start_ms=("start_ms", "min"), end_ms=("end_ms", "max"))
        .reset_index()
    )
    return PoolIndex(*(united[name].to_numpy() for name in united.columns))


def resolve_models(rows: pd.DataFrame, pools: pd.DataFrame) -> Int64s:
    """Return the model of each row, where the node of an unknown one names exactly one model."""
    named = pools.loc[~pools["gpu_model_id"].isin([UNKNOWN_MODEL_ID, 0])]
    pairs = named[["node_id", "gpu_model_id"]].drop_duplicates()
    pairs = pairs.loc[~pairs["node_id"].duplicated(keep=False)]
    model = rows["gpu_model_id"].to_numpy()
    at = pd.Index(pairs["node_id"]).get_indexer(pd.Index(rows["node_id"]))
    resolvable = np.isin(model, [UNKNOWN_MODEL_ID, 0]) & (at >= 0)
    resolved = model.copy()
    resolved[resolvable] = pairs["gpu_model_id"].to_numpy()[at[resolvable]]
    return resolved
