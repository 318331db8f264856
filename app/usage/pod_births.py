"""When counters began that say nothing of it themselves: not before their pod did."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from app.usage.samples import COUNTER_LABELS, SampleSet
from app.usage.serving_pods import ServingPod


def with_pod_births(
    births: SampleSet, counters: pd.DataFrame, pods: Sequence[ServingPod]
) -> SampleSet:
    """Return the births, and those of pods for series of theirs that have none.

    ``counters`` are rows of `COUNTER_LABELS`. A birth is stated from its own instant on; a name
    that several pods had one after another was born as often. Where the beginning of a pod is not
    known exactly nothing is added.
    """
    born: dict[tuple[str, str], set[int]] = {}
    for pod in pods:
        if pod.born_ms is not None:
            born.setdefault((pod.namespace, pod.pod), set()).add(pod.born_ms)
    orphans = counters.loc[counters["pod"].isin({pod for _, pod in born})]
    orphans = orphans.loc[~orphans["identity"].isin(births.labels["identity"])]
    orphans = orphans.drop_duplicates("identity")
    instants = [
        sorted(born.get(place, ()))
        for place in zip(orphans["namespace"], orphans["pod"], strict=True)
    ]
    told = np.array([len(one) for one in instants], dtype=np.int64)
    if not told.any():
        return births
    at_ms = np.array([at for one in instants for at in one], dtype=np.int64)
    labels = pd.concat(
        [births.labels, orphans.loc[told > 0, list(COUNTER_LABELS)]], ignore_index=True
    )
    return SampleSet(
        labels,
        np.concatenate([births.first, births.first[-1] + np.cumsum(told[told > 0])]),
        np.concatenate([births.at_ms, at_ms]),
        np.concatenate([births.value, at_ms.astype(np.float64)]),
    )
