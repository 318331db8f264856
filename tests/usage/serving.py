"""Services told by a few lines: pods that hold devices, and what their engines counted."""

import numpy as np
import pandas as pd

from app.units.window import OPEN_MS
from app.usage.models import ModelEntry
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples
from app.usage.services import ServiceFacts, ServingMetrics, serve
from app.usage.serving_pods import KnownModels, ServingPod
from tests.usage.builders import HOUR, SECOND, T0, WINDOW, a_hold, holds_frame

NOTHING = no_samples(COUNTER_LABELS)
# Labels, and samples by instant.
Series = tuple[dict[str, str], list[tuple[int, float]]]


def a_serving_pod(  # noqa: PLR0913 - a builder has a keyword a field
    pod: str = "ranker-0",
    *,
    namespace: str = "search",
    workload_id: int = 50,
    start_ms: int = T0 - HOUR,
    end_ms: int = OPEN_MS,
    born_ms: int | None = None,
    role: str = "",
    engine: str = "",
    models: tuple[str, ...] = (),
    adapters: tuple[str, ...] = (),
    united_by: tuple[tuple[str, str], ...] = (),
) -> ServingPod:
    return ServingPod(
        namespace=namespace,
        pod=pod,
        workload_id=workload_id,
        start_ms=start_ms,
        end_ms=end_ms,
        born_ms=born_ms,
        role=role,
        engine=engine,
        models=models,
        adapters=adapters,
        united_by=united_by,
    )


def served_by(
    *pods: ServingPod,
    counters: SampleSet = NOTHING,
    buckets: SampleSet = NOTHING,
    gauges: SampleSet = NOTHING,
    adapters: tuple[tuple[str, str], ...] = (),
    entries: tuple[ModelEntry, ...] = (),
    ready: tuple[tuple[int, int], ...] = (),
) -> ServiceFacts:
    """Serve the window with holds 1, 2, … of the pods; ``ready`` has (hold_id, workload_id)."""
    holds = [
        a_hold(
            number,
            workload_id=pod.workload_id,
            namespace=pod.namespace,
            pod=pod.pod,
            start_ms=pod.start_ms,
            end_ms=pod.end_ms,
        )
        for number, pod in enumerate(pods, 1)
    ]
    rows = [(hold, workload, T0, T0 + 90 * SECOND) for hold, workload in ready]
    columns = ["hold_id", "workload_id", "scheduled_ms", "ready_ms"]
    loaded = [("search", pod, "10.0.0.1:8000", adapter) for pod, adapter in adapters]
    return serve(
        WINDOW,
        ServingMetrics(
            counters=counters,
            buckets=buckets,
            births=NOTHING,
            gauges=gauges,
            adapters=pd.DataFrame(
                loaded, columns=["namespace", "pod", "target", "adapter"], dtype="str"
            ),
        ),
        holds_frame(*holds),
        pd.DataFrame(np.array(rows, dtype=np.int64).reshape(-1, 4), columns=columns),
        cluster="prod",
        scrape_ms=30 * SECOND,
        lookback_ms=24 * HOUR,
        known=KnownModels(pods=pods, entries=entries),
    )


def rising(quantity: str, by: float, **labels: str) -> Series:
    """A counter that is seen before the window, and grew by an amount inside."""
    given = {"quantity": quantity, **labels}
    return given, [(T0 - SECOND, 1000), (T0 + 29 * SECOND, 1000 + by)]


def born(quantity: str, value: float, **labels: str) -> Series:
    """A counter that is first seen a minute into the window."""
    return {"quantity": quantity, **labels}, [(T0 + 60 * SECOND, value)]


def by_service(facts: ServiceFacts, *columns: str) -> dict[int, tuple[int | None, ...]]:
    """Return columns of the tokens by workload; a service must have one model."""
    rows = {
        row["workload_id"]: tuple(
            None if pd.isna(row[name]) else int(row[name]) for name in columns
        )
        for row in facts.token_usage.to_dict("records")
    }
    assert len(rows) == len(facts.token_usage)
    return rows


def noted(facts: ServiceFacts, kind: str) -> list[tuple[str, int]]:
    """Return subject and quantity of the notes of a kind."""
    rows = facts.notes.loc[facts.notes["kind"] == kind]
    return list(zip(rows["subject"].tolist(), rows["quantity"].tolist(), strict=True))
