"""The model of devices whose node names none, by what its exporter shows."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from app.usage.device_rows import node_names
from app.usage.identity import gpu_model_id
from app.usage.pools import UNKNOWN_MODEL_ID


def shown_models(
    pools: pd.DataFrame, nodes: pd.DataFrame, labels: Iterable[pd.DataFrame]
) -> dict[int, str]:
    """Return by node_id the model that stands for ``unknown`` in `POOLS`.

    ``nodes`` has node_id and node_name, ``labels`` are `DEVICE_LABELS`. A node that names a model
    for any of its pools is left out, and so is one whose devices are shown as several models.
    """
    is_unknown = pools["gpu_model_id"].isin([UNKNOWN_MODEL_ID, 0])
    nameless = set(pools.loc[is_unknown, "node_id"]) - set(pools.loc[~is_unknown, "node_id"])
    if not nameless:
        return {}
    shown: dict[str, set[str]] = {}
    for frame in labels:
        pairs = zip(node_names(frame, nodes), frame["gpu_model"], strict=True)
        for name, model in set(pairs):
            if name and model:
                shown.setdefault(name, set()).add(model)
    by_id = zip(nodes["node_id"].tolist(), nodes["node_name"].tolist(), strict=True)
    return {
        node: next(iter(shown[name]))
        for node, name in by_id
        if node in nameless and len(shown.get(name, ())) == 1
    }


def with_shown_models(pools: pd.DataFrame, models: dict[int, str]) -> pd.DataFrame:
    """Return `POOLS` with those models; counts and holds without a model follow their pool."""
    wanted = np.array([gpu_model_id(models.get(node, "")) for node in pools["node_id"].tolist()])
    is_unknown = pools["gpu_model_id"].isin([UNKNOWN_MODEL_ID, 0]).to_numpy()
    model = np.where(is_unknown & (wanted != 0), wanted, pools["gpu_model_id"].to_numpy())
    return pools.assign(gpu_model_id=model.astype(np.int64))
