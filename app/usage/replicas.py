"""Which workload a serving replica belongs to: by its pod's hold, else it is its own."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from app.units.window import Window
from app.usage.identity import model_id, workload_id
from app.usage.inventory import Workload
from app.usage.notes import Note
from app.usage.united_pods import Replica

_REPLICA = ["namespace", "pod", "target", "model"]


class ReplicaNames:
    """Gives labels of replicas the identities of workload and served model.

    A pod that holds devices is its hold's workload. Any other, such as a frontend, counts for the
    workload that ``united`` says (see `united_replicas`), else for the one that ``serving`` names
    for its model (by namespace and model), if no pod of that workload publishes anything itself:
    see `join_silent`. ``own`` collects by identity the workloads that none of them names: a pod
    without a GPU is its own (kind ``Pod``), a target whose pod is not known likewise (kind
    ``Target``). ``models`` collects the names of models.
    """

    def __init__(
        self,
        cluster: str,
        window: Window,
        holds: pd.DataFrame,
        serving: Mapping[tuple[str, str], Collection[int]] = MappingProxyType({}),
        united: Mapping[Replica, int] = MappingProxyType({}),
    ) -> None:
        self._cluster = cluster
        self._workload_of_pod = _workloads_of_pods(window, holds)
        self._serving = serving
        self._united = united
        self._joined: dict[tuple[str, str], int] = {}
        self.own: dict[int, Workload] = {}
        self.models: set[str] = set()

    def join_silent(self, counters: pd.DataFrame) -> None:
        """Let pods without devices count for the one workload of their model that says nothing.

        ``counters`` are rows of `COUNTER_LABELS` that count; those of pods with devices speak for
        their workload.
        """
        pods = pd.MultiIndex.from_frame(counters[["namespace", "pod"]].drop_duplicates())
        at = self._workload_of_pod.index.get_indexer(pods)
        speaking = {*self._workload_of_pod.to_numpy()[at[at >= 0]].tolist()}
        for place, workloads in self._serving.items():
            (first, *others) = sorted(workloads)
            if not others and first not in speaking:
                self._joined[place] = first

    def identified(self, labels: pd.DataFrame) -> pd.DataFrame:
        """Return rows of `COUNTER_LABELS` with the columns workload_id and model_id."""
        replicas = labels[_REPLICA].drop_duplicates()
        pods = pd.MultiIndex.from_frame(replicas[["namespace", "pod"]])
        at = self._workload_of_pod.index.get_indexer(pods)
        named = (at >= 0) & (replicas["pod"] != "").to_numpy()
        identity = np.zeros(len(replicas), dtype=np.int64)
        identity[named] = self._workload_of_pod.to_numpy()[at[named]]
        others = np.flatnonzero(~named)
        for row, place in zip(others, replicas.iloc[others].to_numpy().tolist(), strict=True):
            identity[row] = self._own(*(str(text) for text in place))
        position = pd.MultiIndex.from_frame(replicas).get_indexer(
            pd.MultiIndex.from_frame(labels[_REPLICA])
        )
        models = {model: model_id(model) for model in labels["model"].unique()}
        self.models.update(models)
        return labels.assign(
            workload_id=identity[position],
            model_id=labels["model"].map(models).to_numpy(dtype=np.int64),
        )

    def joined(self, counters: pd.DataFrame) -> Sequence[Note]:
        """Return a note for each replica (`GROWTH`) that counts for a workload by its model."""
        if not self._joined:
            return []
        chosen = [
            (space, model) in self._joined and (space, pod, target) not in self._united
            for space, pod, target, model in zip(
                *(counters[name] for name in _REPLICA), strict=True
            )
        ]
        rows = counters.loc[chosen]
        at = self._workload_of_pod.index.get_indexer(
            pd.MultiIndex.from_frame(rows[["namespace", "pod"]])
        )
        rows = rows.loc[at < 0]
        replica = rows["pod"].where(rows["pod"] != "", rows["target"])
        subject = rows["namespace"] + "/" + replica + " " + rows["quantity"]
        summed = rows["growth"].groupby(subject).sum()
        return [
            Note("joined_by_model", str(who), int(much), _JOINED) for who, much in summed.items()
        ]

    def _own(self, namespace: str, pod: str, target: str, model: str) -> int:
        joined = self._united.get((namespace, pod, target), self._joined.get((namespace, model)))
        if joined is not None:
            return joined
        kind, name = ("Pod", pod) if pod else ("Target", target)
        workload = Workload(namespace=namespace, kind=kind, name=name, uid="")
        identity = workload_id(self._cluster, workload)
        self.own[identity] = workload
        return identity


_JOINED = "The pod holds no device; its figures count for the only workload that serves the model."


def _workloads_of_pods(window: Window, holds: pd.DataFrame) -> "pd.Series[int]":
    """Return the workload by namespace and pod: of the hold in the window that started last.

    One that ended as the window began counts: ends are whole seconds, and the pod lived on in it.
    """
    touching = (holds["start_ms"] < window.end_ms) & (holds["end_ms"] >= window.start_ms)
    present = holds.loc[touching].sort_values(["start_ms", "hold_id"])
    last = present.loc[~present.duplicated(["namespace", "pod"], keep="last")]
    return last.set_index(["namespace", "pod"])["workload_id"]
