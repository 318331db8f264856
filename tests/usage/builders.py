"""Builders of usage frames: keyword defaults, round numbers, no randomness."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
import pandas as pd

from app.units.intervals import Spans, spans_of
from app.units.window import OPEN_MS, Window
from app.usage import frames
from app.usage.inventory import ContainerFacts, NodeFacts, PodFacts, Workload
from app.usage.kinds import Sharing
from app.usage.samples import COUNTER_LABELS, DEVICE_LABELS, SampleSet

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
T0 = WINDOW.start_ms
HOUR = 3_600_000
MINUTE = 60_000
SECOND = 1_000
WORKLOAD = Workload(namespace="search", kind="Deployment", name="ranker", uid="w-1")


def a_container(
    name: str = "main", *, kind: str = "app", gpus: int = 1, finished_ms: int | None = None
) -> ContainerFacts:
    requests = (("nvidia.com/gpu", gpus),) if gpus else ()
    return ContainerFacts(name=name, kind=kind, requests=requests, finished_ms=finished_ms)


def a_pod(
    name: str = "ranker-0",
    *,
    namespace: str = "search",
    node_name: str = "node-1",
    phase: str = "Running",
    scheduled_ms: int | None = T0,
    ready_ms: int | None = None,
    containers: tuple[ContainerFacts, ...] | None = None,
) -> PodFacts:
    return PodFacts(
        uid=f"uid-{name}",
        namespace=namespace,
        name=name,
        node_name=node_name,
        phase=phase,
        labels=(("app", "ranker"),),
        annotations=(),
        workload=WORKLOAD,
        created_ms=T0 - 5 * SECOND,
        scheduled_ms=scheduled_ms,
        ready_ms=ready_ms,
        containers=(a_container(),) if containers is None else containers,
        resource_version="1",
    )


def a_node(
    name: str = "node-1",
    *,
    labels: tuple[tuple[str, str], ...] = (("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3"),),
    capacity: tuple[tuple[str, int], ...] = (("nvidia.com/gpu", 8),),
    allocatable: tuple[tuple[str, int], ...] | None = None,
) -> NodeFacts:
    return NodeFacts(
        uid=f"uid-{name}",
        name=name,
        provider="aws",
        region="eu-west-1",
        zone="eu-west-1a",
        instance_type="p5.48xlarge",
        capacity_type="on_demand",
        labels=labels,
        created_ms=T0 - HOUR,
        capacity=capacity,
        allocatable=capacity if allocatable is None else allocatable,
        resource_version="1",
    )


def spans(*pairs: tuple[int, int]) -> Spans:
    return spans_of(
        np.array([a for a, _ in pairs], dtype=np.int64),
        np.array([b for _, b in pairs], dtype=np.int64),
    )


ALWAYS = spans((T0 - HOUR, T0 + 2 * HOUR))


def a_pool(
    node_id: int = 1,
    *,
    gpu_model_id: int = 7,
    devices: int = 2,
    start_ms: int = T0 - HOUR,
    end_ms: int = OPEN_MS,
) -> dict[str, int]:
    return {
        "node_id": node_id,
        "gpu_model_id": gpu_model_id,
        "devices": devices,
        "start_ms": start_ms,
        "end_ms": end_ms,
    }


def a_count(
    node_id: int = 1,
    *,
    gpu_model_id: int = 7,
    start_ms: int = T0 - HOUR,
    end_ms: int = OPEN_MS,
    allocatable: int | Fraction = 2,
    compute: int | Fraction | None = None,
) -> dict[str, int]:
    num, den = Fraction(allocatable).as_integer_ratio()
    compute_num, compute_den = Fraction(
        allocatable if compute is None else compute
    ).as_integer_ratio()
    return {
        "node_id": node_id,
        "gpu_model_id": gpu_model_id,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "allocatable_num": num,
        "allocatable_den": den,
        "compute_num": compute_num,
        "compute_den": compute_den,
    }


def a_hold(  # noqa: PLR0913 - a builder has a keyword a column
    hold_id: int = 100,
    *,
    node_id: int = 1,
    gpu_model_id: int = 7,
    workload_id: int = 50,
    namespace: str = "search",
    pod: str | None = None,
    share: tuple[int, int] = (1, 1),
    compute: tuple[int, int] | None = None,
    units: int | None = None,
    sharing: Sharing = Sharing.EXCLUSIVE,
    devices: str = "",
    exclusive: bool = True,
    start_ms: int = T0,
    end_ms: int = OPEN_MS,
    start_unsure_ms: int = 0,
    end_unsure_ms: int = 0,
    end_lost: bool = False,
    source: int = 1,
) -> dict[str, object]:
    return {
        "hold_id": hold_id,
        "node_id": node_id,
        "gpu_model_id": gpu_model_id,
        "workload_id": workload_id,
        "namespace": namespace,
        "pod": f"pod-{hold_id}" if pod is None else pod,
        "share_num": share[0],
        "share_den": share[1],
        "compute_num": (compute or share)[0],
        "compute_den": (compute or share)[1],
        "units": max(1, share[0] // share[1]) if units is None else units,
        "sharing": int(sharing),
        "devices": devices,
        "exclusive": exclusive,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "start_unsure_ms": start_unsure_ms,
        "end_unsure_ms": end_unsure_ms,
        "end_lost": end_lost,
        "source": source,
    }


def pools_of(*rows: dict[str, int]) -> pd.DataFrame:
    return frames.POOLS.validate(_frame(frames.empty(frames.POOLS), rows))


def counts_of(*rows: dict[str, int]) -> pd.DataFrame:
    return frames.POOL_COUNTS.validate(_frame(frames.empty(frames.POOL_COUNTS), rows))


def holds_frame(*rows: dict[str, object]) -> pd.DataFrame:
    return frames.HOLDS.validate(_frame(frames.empty(frames.HOLDS), rows))


def _frame(empty: pd.DataFrame, rows: tuple[dict[str, object], ...]) -> pd.DataFrame:
    columns = {
        name: pd.Series([row[name] for row in rows], dtype=empty[name].dtype)
        for name in empty.columns
    }
    return pd.DataFrame(columns)


def device_samples(*series: tuple[dict[str, str], list[tuple[int, float]]]) -> SampleSet:
    """Series of DEVICE_LABELS: labels left out are '', `identity` defaults to device and pod."""
    labels = []
    for given, _ in series:
        row = dict.fromkeys(DEVICE_LABELS, "") | {"node": "node-1"} | given
        row["identity"] = row["identity"] or f"{row['device']}|{row['namespace']}|{row['pod']}"
        row["series"] = row["series"] or row["identity"]
        labels.append(row)
    return _sample_set(labels, DEVICE_LABELS, [samples for _, samples in series])


def counter_samples(*series: tuple[dict[str, str], list[tuple[int, float]]]) -> SampleSet:
    """Series of COUNTER_LABELS: a pod's generation tokens unless said otherwise."""
    labels = []
    for given, _ in series:
        row = dict.fromkeys(COUNTER_LABELS, "") | {
            "namespace": "search",
            "pod": "ranker-0",
            "target": "10.0.0.1:8000",
            "model": "llama",
            "quantity": "GENERATION_TOKENS",
            "engine": "vllm",
            "layer": "engine",
        }
        row |= given
        names = ("pod", "target", "model", "quantity", "outcome", "le")
        row["identity"] = row["identity"] or "|".join(row[name] for name in names)
        row["series"] = row["series"] or row["identity"]
        labels.append(row)
    return _sample_set(labels, COUNTER_LABELS, [samples for _, samples in series])


def _sample_set(
    labels: list[dict[str, str]],
    columns: tuple[str, ...],
    samples: list[list[tuple[int, float]]],
) -> SampleSet:
    first = np.cumsum([0, *(len(one) for one in samples)]).astype(np.int64)
    flat = [pair for one in samples for pair in one]
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in labels], dtype="str") for name in columns}
    )
    return SampleSet(
        frame,
        first,
        np.array([at for at, _ in flat], dtype=np.int64),
        np.array([value for _, value in flat], dtype=np.float64),
    )
