"""Which workload a serving replica belongs to: by its pod's hold, else it is its own."""

import numpy as np
import pandas as pd

from app.units.window import Window
from app.usage.identity import model_id, workload_id
from app.usage.inventory import Workload

_REPLICA = ["namespace", "pod", "target"]


class ReplicaNames:
    """Gives labels of replicas the identities of workload and served model.

    ``own`` collects by identity the workloads that no hold names: a pod without a GPU is its own
    (kind ``Pod``), a target whose pod is not known likewise (kind ``Target``).
    """

    def __init__(self, cluster: str, window: Window, holds: pd.DataFrame) -> None:
        self._cluster = cluster
        self._workload_of_pod = _workloads_of_pods(window, holds)
        self.own: dict[int, Workload] = {}

    def identified(self, labels: pd.DataFrame) -> pd.DataFrame:
        """Return rows of `COUNTER_LABELS` with the columns workload_id and model_id."""
        replicas = labels[_REPLICA].drop_duplicates()
        pods = pd.MultiIndex.from_frame(replicas[["namespace", "pod"]])
        at = self._workload_of_pod.index.get_indexer(pods)
        named = (at >= 0) & (replicas["pod"] != "").to_numpy()
        identity = np.zeros(len(replicas), dtype=np.int64)
        identity[named] = self._workload_of_pod.to_numpy()[at[named]]
        for row in np.flatnonzero(~named):
            identity[row] = self._own(*(str(text) for text in replicas.iloc[row]))
        position = pd.MultiIndex.from_frame(replicas).get_indexer(
            pd.MultiIndex.from_frame(labels[_REPLICA])
        )
        models = {model: model_id(model) for model in labels["model"].unique()}
        return labels.assign(
            workload_id=identity[position],
            model_id=labels["model"].map(models).to_numpy(dtype=np.int64),
        )

    def _own(self, namespace: str, pod: str, target: str) -> int:
        kind, name = ("Pod", pod) if pod else ("Target", target)
        workload = Workload(namespace=namespace, kind=kind, name=name, uid="")
        identity = workload_id(self._cluster, workload)
        self.own[identity] = workload
        return identity


def _workloads_of_pods(window: Window, holds: pd.DataFrame) -> "pd.Series[int]":
    """Return the workload by namespace and pod: of the hold in the window that started last."""
    touching = (holds["start_ms"] < window.end_ms) & (holds["end_ms"] > window.start_ms)
    present = holds.loc[touching].sort_values(["start_ms", "hold_id"])
    last = present.loc[~present.duplicated(["namespace", "pod"], keep="last")]
    return last.set_index(["namespace", "pod"])["workload_id"]
