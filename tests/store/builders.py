"""Rows with round figures for the stores' tests: keyword defaults, no randomness."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from app.attribution.charges import CHARGES, ChargeKind
from app.units.identity import mix64
from app.units.window import HOUR_MS, OPEN_MS, Window
from app.usage import frames
from app.usage.facts import UsageFacts
from app.usage.identity import (
    cluster_id,
    gpu_model_id,
    hold_id,
    model_id,
    namespace_id,
    node_id,
    team_id,
    workload_id,
)
from app.usage.inventory import NodeFacts, PodHold, PoolCount, Workload
from app.usage.kinds import HoldSource

CLUSTER = "prod-eu"
CLUSTER_ID = cluster_id(CLUSTER)
H100 = "NVIDIA-H100-80GB-HBM3"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOON_MS = 1_795_435_200_000
MINUTE_MS = 60_000


def an_hour(after: int = 0) -> Window:
    """The hour that begins ``after`` hours after noon."""
    start = NOON + timedelta(hours=after)
    return Window(start, start + timedelta(hours=1))


def a_workload(name: str = "ranker", namespace: str = "search-prod") -> Workload:
    return Workload(namespace=namespace, kind="Deployment", name=name, uid=f"uid-{name}")


def a_node(
    name: str = "gpu-1",
    *,
    uid: str = "",
    created_ms: int = NOON_MS - 24 * HOUR_MS,
    provider: str = "aws",
    instance_type: str = "p5.48xlarge",
) -> NodeFacts:
    return NodeFacts(
        uid=uid or f"uid-{name}",
        name=name,
        provider=provider,
        region="eu-central-1",
        zone="eu-central-1a",
        instance_type=instance_type,
        capacity_type="on_demand",
        labels=(("nvidia.com/gpu.product", H100),),
        created_ms=created_ms,
        capacity=(("nvidia.com/gpu", 8),),
        allocatable=(("nvidia.com/gpu", 8),),
        resource_version="1",
    )


def a_count(devices: int = 8, allocatable: int = 8, gpu_model: str = H100) -> PoolCount:
    return PoolCount(gpu_model=gpu_model, devices=devices, allocatable_num=allocatable)


def a_hold(  # noqa: PLR0913 # a builder has a default for everything
    pod: str = "ranker-0",
    *,
    node: str = "gpu-1",
    namespace: str = "search-prod",
    workload: Workload | None = None,
    units: int = 2,
    start_ms: int = NOON_MS,
    end_ms: int = OPEN_MS,
    start_unsure_ms: int = 0,
    end_unsure_ms: int = 0,
    end_lost: bool = False,
    ready_ms: int | None = None,
    source: HoldSource = HoldSource.WATCH,
) -> PodHold:
    return PodHold(
        pod_uid=f"uid-{pod}",
        namespace=namespace,
        pod=pod,
        node_uid=f"uid-{node}",
        node_name=node,
        gpu_model=H100,
        resource="nvidia.com/gpu",
        units=units,
        share_num=units,
        share_den=1,
        exclusive=True,
        workload=workload or a_workload(namespace=namespace),
        labels=(("app", pod), ("team", "search")),
        start_ms=start_ms,
        end_ms=end_ms,
        start_unsure_ms=start_unsure_ms,
        end_unsure_ms=end_unsure_ms,
        end_lost=end_lost,
        ready_ms=ready_ms,
        source=source,
    )


def ids(
    pod: str = "ranker-0", node: str = "gpu-1", workload: Workload | None = None
) -> dict[str, int]:
    """The identities of a hold of `a_hold`."""
    return {
        "node_id": node_id(CLUSTER, f"uid-{node}"),
        "gpu_model_id": gpu_model_id(H100),
        "hold_id": hold_id(CLUSTER, f"uid-{pod}", "nvidia.com/gpu"),
        "workload_id": workload_id(CLUSTER, workload or a_workload()),
    }


def pool_usage(window: Window, *, devices: int = 8, held: int = 2) -> pd.DataFrame:
    """One pool of which ``held`` devices were held for the whole window."""
    length = window.length_ms
    row = {
        "window_start_ms": window.start_ms,
        "node_id": ids()["node_id"],
        "gpu_model_id": ids()["gpu_model_id"],
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
        "devices": devices,
        "held_ms": held * length,
        "unobserved_ms": 0,
        "stranded_ms": 0,
        "unallocated_ms": (devices - held) * length,
        "claimed_ms": held * length,
        "allocatable_ms": devices * length,
        "compute_allocatable_ms": devices * length,
    }
    return pd.DataFrame([row])[[*frames.POOL_USAGE.columns]].astype("int64")


def pool_energy(window: Window, energy_mj: int = 2_000_000_000) -> pd.DataFrame:
    """The boards of that pool, all of them measured."""
    row = {
        "window_start_ms": window.start_ms,
        "node_id": ids()["node_id"],
        "gpu_model_id": ids()["gpu_model_id"],
        "energy_mj": energy_mj,
        "measured_ms": 8 * window.length_ms,
        "boards_measured": 8,
        "boards": 8,
    }
    return pd.DataFrame([row]).astype("int64")


def hold_usage(
    window: Window,
    *,
    pod: str = "ranker-0",
    units: int = 2,
    active_ms: int = 0,
    energy_mj: int | None = 1_000,
    memory_used_max_mib: float = float("nan"),
) -> pd.DataFrame:
    """One hold of ``units`` devices for the whole window; what was not active was at 0 %."""
    held = units * window.length_ms
    values: dict[str, object] = dict.fromkeys(frames.HOLD_USAGE.columns, 0)
    values |= ids(pod)
    values |= {
        "window_start_ms": window.start_ms,
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
        "share_num": units,
        "share_den": 1,
        "compute_num": units,
        "compute_den": 1,
        "units": units,
        "sharing": 1,
        "held_ms": held,
        "active_ms": active_ms,
        "idle_ms": held - active_ms,
        "activity_basis": 1,
        "activity_scope": 1,
        "band_0_ms": held - active_ms,
        "band_80_100_ms": active_ms,
        "peak_5m_ratio": 0.5,
        "memory_used_max_mib": memory_used_max_mib,
        "sm_active_ratio": float("nan"),
        "dram_active_ratio": 0.25,
        "energy_mj": pd.NA if energy_mj is None else energy_mj,
        "source": 1,
    }
    dtypes = {name: str(column.dtype) for name, column in frames.HOLD_USAGE.columns.items()}
    return pd.DataFrame([values])[[*dtypes]].astype(dtypes)


def token_usage(
    window: Window, *, prompt: int | None = 1_000, generation: int = 500, model: str = "llama"
) -> pd.DataFrame:
    values: dict[str, object] = dict.fromkeys(frames.TOKEN_USAGE.columns, pd.NA)
    values |= {
        "window_start_ms": window.start_ms,
        "workload_id": ids()["workload_id"],
        "model_id": model_id(model),
        "prompt_tokens": pd.NA if prompt is None else prompt,
        "generation_tokens": generation,
        "requests_stop": 10,
        "carried": False,
    }
    dtypes = {name: str(column.dtype) for name, column in frames.TOKEN_USAGE.columns.items()}
    return pd.DataFrame([values])[[*dtypes]].astype(dtypes)


def evidence(seen: int = 960, *, family: str = "activity") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": pd.Series(["prometheus"], dtype="str"),
            "family": pd.Series([family], dtype="str"),
            "expected": pd.Series([960], dtype="int64"),
            "seen": pd.Series([seen], dtype="int64"),
        }
    )


def notes(*subjects: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "kind": pd.Series(["gap"] * len(subjects), dtype="str"),
            "subject": pd.Series(subjects, dtype="str"),
            "quantity": pd.Series([1] * len(subjects), dtype="int64"),
            "detail": pd.Series(["no sample"] * len(subjects), dtype="str"),
        }
    )


def facts(  # noqa: PLR0913 # a builder has a default for everything
    window: Window,
    *,
    pools: pd.DataFrame | None = None,
    holds: pd.DataFrame | None = None,
    tokens: pd.DataFrame | None = None,
    latencies: pd.DataFrame | None = None,
    minutes: pd.DataFrame | None = None,
    cold_starts: pd.DataFrame | None = None,
    energy: pd.DataFrame | None = None,
    seen: int = 960,
    partial: bool = False,
    noted: tuple[str, ...] = (),
) -> UsageFacts:
    """A window of one pool of 8 devices, 2 of them held by one pod that served tokens."""
    return UsageFacts(
        pool_usage=pool_usage(window) if pools is None else pools,
        hold_usage=hold_usage(window) if holds is None else holds,
        token_usage=token_usage(window) if tokens is None else tokens,
        latency_usage=frames.empty(frames.LATENCY_USAGE) if latencies is None else latencies,
        service_minutes=frames.empty(frames.SERVICE_MINUTES) if minutes is None else minutes,
        cold_starts=frames.empty(frames.COLD_STARTS) if cold_starts is None else cold_starts,
        pool_energy=frames.empty(frames.POOL_ENERGY) if energy is None else energy,
        evidence=evidence(seen),
        notes=notes(*noted),
        partial=partial,
    )


def a_charge(  # noqa: PLR0913 # a builder has a default for everything
    window: Window,
    kind: ChargeKind = ChargeKind.IDLE,
    *,
    cost_nanos: int | None = 3_000_000_000,
    gpu_ms: int = HOUR_MS,
    team: str = "search",
    namespace: str = "search-prod",
    node: str = "gpu-1",
    pod: str = "ranker-0",
    workload: Workload | None = None,
    gpu_model: str = H100,
    start_ms: int | None = None,
    price_id: int = 7,
) -> pd.DataFrame:
    """One line: one GPU for an hour, 3.00 of the currency."""
    held = kind in (ChargeKind.USED, ChargeKind.IDLE, ChargeKind.UNMEASURED)
    values = {
        "window_start_ms": window.start_ms,
        "node_id": node_id(CLUSTER, f"uid-{node}"),
        "gpu_model_id": gpu_model_id(gpu_model),
        "hold_id": ids(pod)["hold_id"] if held else 0,
        "workload_id": workload_id(CLUSTER, workload or a_workload()) if held else 0,
        "namespace_id": namespace_id(namespace) if held else 0,
        "team_id": team_id(team),
        "kind": int(kind),
        "price_id": 0 if cost_nanos is None else price_id,
        "step": 0,
        "start_ms": window.start_ms if start_ms is None else start_ms,
        "end_ms": window.end_ms,
        "gpu_ms": gpu_ms,
        "cost_nanos": cost_nanos or 0,
    }
    key = [np.array([values[name]]) for name in values if name not in {"gpu_ms", "cost_nanos"}]
    frame = pd.DataFrame([{"charge_id": int(mix64(*key)[0]), **values}]).astype("int64")
    frame["priced"] = cost_nanos is not None
    return frame[[*CHARGES.columns]]


def charges(*lines: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(lines, ignore_index=True) if lines else frames.empty(CHARGES)
