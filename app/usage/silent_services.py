"""Services that serve and do not say how much, and what engines say of their own start."""

from collections.abc import Sequence

import pandas as pd

from app.units.window import Window
from app.usage import frames
from app.usage.identity import model_id
from app.usage.notes import Note
from app.usage.published_models import PublishedModels
from app.usage.samples import SampleSet
from app.usage.serving_pods import PUBLISHES_NOTHING, ServingPod

_NOTHING = "The engine {engine} publishes no tokens: what they cost is not known."
_UNSEEN = "The pods run the engine {engine}, but no figure of it was scraped in this hour."


def with_silent_services(
    window: Window, tokens: pd.DataFrame, pods: Sequence[ServingPod], named: PublishedModels
) -> pd.DataFrame:
    """Add to `TOKEN_USAGE` a row of nulls for each service whose engine publishes nothing.

    So it stands among the services, at its cost, with unit costs that nobody knows.
    """
    said = {*tokens["workload_id"].tolist()}
    silent = sorted(
        {
            (pod.workload_id, model_id(named.of_pod(pod)))
            for pod in pods
            if pod.engine in PUBLISHES_NOTHING and pod.workload_id not in said
        }
    )
    if not silent:
        return tokens
    dtypes = {name: str(column.dtype) for name, column in frames.TOKEN_USAGE.columns.items()}
    rows: list[dict[str, object]] = [
        {
            **dict.fromkeys(dtypes, pd.NA),
            "window_start_ms": window.start_ms,
            "workload_id": workload,
            "model_id": model,
            "carried": False,
        }
        for workload, model in silent
    ]
    filled = pd.DataFrame(rows)[list(dtypes)].astype(dtypes)
    return pd.concat([tokens.astype(dtypes), filled], ignore_index=True)


def silent_services(pods: Sequence[ServingPod], tokens: pd.DataFrame) -> list[Note]:
    """Return a note for each service that runs an engine and of which nothing is counted.

    Its subject is the first of its pods, its quantity how many there are.
    """
    counts = [name for name, column in tokens.dtypes.items() if str(column) == "Int64"]
    said = {*tokens.loc[tokens[counts].notna().any(axis="columns"), "workload_id"].tolist()}
    silent: dict[tuple[int, str], set[str]] = {}
    for pod in pods:
        if pod.engine and pod.workload_id not in said:
            place = (pod.workload_id, pod.engine)
            silent.setdefault(place, set()).add(f"{pod.namespace}/{pod.pod}")
    return [
        Note("publishes_nothing", min(names), len(names), _NOTHING.format(engine=engine))
        if engine in PUBLISHES_NOTHING
        else Note("unseen_engine", min(names), len(names), _UNSEEN.format(engine=engine))
        for (_, engine), names in silent.items()
    ]


def engine_starts(window: Window, gauges: SampleSet, holds: pd.DataFrame) -> dict[int, float]:
    """Return, by hold, the seconds that the engine in its pod says it took to start.

    Of several figures of a pod, such as those of its ranks, the longest counts.
    """
    chosen = (gauges.labels["quantity"] == "startup") & (gauges.labels["pod"] != "")
    seconds: dict[tuple[str, str], float] = {}
    rows = gauges.labels.loc[chosen]
    for series, *place in zip(rows.index, rows["namespace"], rows["pod"], strict=True):
        said = gauges.value[gauges.first[series] : gauges.first[series + 1]]
        pod = (str(place[0]), str(place[1]))
        seconds[pod] = max(seconds.get(pod, 0.0), float(said[-1:].max(initial=0.0)))
    if not seconds:
        return {}
    touching = holds.loc[
        (holds["start_ms"] < window.end_ms) & (holds["end_ms"] > window.start_ms)
    ].sort_values(["start_ms", "hold_id"])
    places = zip(touching["namespace"], touching["pod"], strict=True)
    last = {
        place: start
        for place, start in zip(places, touching["start_ms"].tolist(), strict=True)
        if place in seconds
    }
    return {
        hold: seconds[namespace, pod]
        for hold, namespace, pod, start in zip(
            *(touching[name].tolist() for name in ("hold_id", "namespace", "pod", "start_ms")),
            strict=True,
        )
        if last.get((namespace, pod)) == start
    }
