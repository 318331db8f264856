"""Pods without devices that belong to a service by their own labels, as a scrape shows them."""

import json
from collections.abc import Sequence

import pandas as pd

from app.usage.serving_pods import ServingPod

_REPLICA = ["namespace", "pod", "target"]
Replica = tuple[str, str, str]


def united_replicas(
    published: Sequence[pd.DataFrame], pods: Sequence[ServingPod]
) -> dict[Replica, int]:
    """Return the workload of each replica without devices whose series carry its pod's labels.

    Prometheus is often told to put the labels of pods on what it scrapes from them. ``published``
    are rows of `COUNTER_LABELS`. A replica belongs to the one workload of its namespace whose pods
    have an equal uniting label; where two have it, to none.
    """
    known: dict[tuple[str, str, str], set[int]] = {}
    for pod in pods:
        for label, value in pod.united_by:
            known.setdefault((pod.namespace, label, value), set()).add(pod.workload_id)
    if not known:
        return {}
    labels = list(dict.fromkeys(label for _, label, _ in known))
    holding = {(pod.namespace, pod.pod) for pod in pods}
    rows = pd.concat([one[[*_REPLICA, "series"]] for one in published])
    rows = rows.drop_duplicates(_REPLICA)
    found: dict[Replica, int] = {}
    for namespace, pod, target, text in rows.to_numpy().tolist():
        if (namespace, pod) in holding or not text.startswith("{"):
            continue
        series = json.loads(text)
        for label in labels:
            workloads = known.get((namespace, label, series.get(label, "")), set())
            if len(workloads) == 1:
                found[namespace, pod, target] = min(workloads)
                break
    return found
