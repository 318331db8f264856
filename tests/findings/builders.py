"""Findings and their evidence in round figures."""

from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pandera.pandas as pa

from app.findings.idle_hold import IDLE_HOLD_EVIDENCE
from app.findings.states import TrackedFinding
from app.findings.unallocated_pool import UNALLOCATED_POOL_EVIDENCE
from app.findings.values import (
    Figure,
    Finding,
    FindingKind,
    FindingState,
    Subject,
)
from app.units.window import HOUR_MS, OPEN_MS, Window

DAY = Window(datetime(2026, 11, 22, 7, tzinfo=UTC), datetime(2026, 11, 23, 7, tzinfo=UTC))
H100 = "NVIDIA-H100-80GB-HBM3"
USD = 10**9


def a_hold_row(**changes: str | float) -> dict[str, str | float]:
    """24 hours of one GPU, idle for 23.5 of them, 1.00 an hour."""
    row: dict[str, str | float] = {
        "cluster": "prod-eu",
        "node": "gpu-1",
        "gpu_model": H100,
        "namespace": "ml-research",
        "pod": "notebook-7",
        "workload": "Deployment/notebook",
        "team": "ml",
        "hold_id": 1,
        "node_id": 11,
        "gpu_model_id": 21,
        "held_from_ms": DAY.start_ms - 48 * HOUR_MS,
        "held_until_ms": OPEN_MS,
        "held_wall_ms": 24 * HOUR_MS,
        "held_ms": 24 * HOUR_MS,
        "active_ms": HOUR_MS // 2,
        "idle_ms": 47 * HOUR_MS // 2,
        "band_0_ms": 20 * HOUR_MS,
        "band_0_5_ms": 3 * HOUR_MS,
        "activity_scope": 1,
        "idle_nanos": 47 * USD // 2,
        "unpriced_ms": 0,
        "memory_used_max_mib": 1024.0,
    }
    return row | changes


def holds(*rows: dict[str, str | float]) -> pd.DataFrame:
    return _frame(IDLE_HOLD_EVIDENCE, rows)


def a_pool_row(**changes: str | float) -> dict[str, str | float]:
    """A day of a node with 8 GPUs, 6 of them held by nobody, 1.00 a GPU-hour."""
    row: dict[str, str | float] = {
        "cluster": "prod-eu",
        "node": "gpu-2",
        "gpu_model": H100,
        "team": "platform",
        "node_id": 12,
        "gpu_model_id": 21,
        "exists_until_ms": OPEN_MS,
        "devices": 8,
        "capacity_ms": 192 * HOUR_MS,
        "held_ms": 48 * HOUR_MS,
        "unallocated_ms": 144 * HOUR_MS,
        "stranded_ms": 0,
        "unobserved_ms": 0,
        "unallocated_nanos": 144 * USD,
        "unpriced_ms": 0,
    }
    return row | changes


def pools(*rows: dict[str, str | float]) -> pd.DataFrame:
    return _frame(UNALLOCATED_POOL_EVIDENCE, rows)


def _frame(schema: pa.DataFrameSchema, rows: tuple[dict[str, str | float], ...]) -> pd.DataFrame:
    dtypes = {name: str(column.dtype) for name, column in schema.columns.items()}
    return pd.DataFrame(list(rows), columns=list(dtypes)).astype(dtypes)


def a_finding(
    *,
    hold_id: int = 1,
    team: str = "ml",
    pod: str = "notebook-1",
    wasted_nanos: int | None = 23 * USD,
) -> Finding:
    return Finding(
        kind=FindingKind.IDLE_HOLD,
        subject=Subject(
            cluster="prod-eu",
            node_id=11,
            node="gpu-1",
            gpu_model_id=21,
            gpu_model=H100,
            hold_id=hold_id,
            namespace="ml-research",
            pod=pod,
            workload="Deployment/notebook",
            team=team,
        ),
        window=DAY,
        since_ms=DAY.start_ms - 48 * HOUR_MS,
        wasted_gpu_ms=23 * HOUR_MS,
        wasted_nanos=wasted_nanos,
        per_day_nanos=wasted_nanos,
        evidence=(
            Figure("low_activity_ratio", 23 / 24),
            Figure("no_activity_ratio", 20 / 24),
            Figure("measured_ratio", 1.0),
            Figure("held_hours", 24.0),
            Figure("held_gpus", 1.0),
            Figure("memory_used_max_mib", 1024.0),
        ),
    )


def a_pool_finding(*, node: str = "gpu-2", node_id: int = 12) -> Finding:
    return Finding(
        kind=FindingKind.UNALLOCATED_POOL,
        subject=Subject(
            cluster="prod-eu",
            node_id=node_id,
            node=node,
            gpu_model_id=21,
            gpu_model=H100,
            team="platform",
        ),
        window=DAY,
        since_ms=DAY.start_ms,
        wasted_gpu_ms=144 * HOUR_MS,
        wasted_nanos=144 * USD,
        per_day_nanos=144 * USD,
        evidence=(
            Figure("unallocated_ratio", 0.75),
            Figure("held_ratio", 0.25),
            Figure("stranded_ratio", 0.0),
            Figure("observed_ratio", 1.0),
            Figure("devices", 8.0),
            Figure("existed_hours", 24.0),
        ),
    )


def a_gateway_finding(*, gateway_tokens: int = 700, engine_tokens: int = 1_000) -> Finding:
    return Finding(
        kind=FindingKind.GATEWAY_RATIO,
        subject=Subject(
            cluster="prod-eu",
            node_id=0,
            node="",
            gpu_model_id=0,
            gpu_model="",
            workload_id=5,
            namespace="ml-chat",
            workload="Deployment/chat",
            team="ml",
        ),
        window=DAY,
        since_ms=DAY.start_ms,
        wasted_gpu_ms=0,
        wasted_nanos=0,
        per_day_nanos=0,
        evidence=(
            Figure("gateway_to_engine_ratio", gateway_tokens / engine_tokens),
            Figure("gateway_tokens", float(gateway_tokens)),
            Figure("engine_tokens", float(engine_tokens)),
            Figure("days", 1.0),
        ),
    )


def a_tracked(finding: Finding | None = None, **changes: object) -> TrackedFinding:
    entry = TrackedFinding(
        finding=finding or a_finding(),
        state=FindingState.OPEN,
        episode=1,
        first_seen_ms=DAY.end_ms,
        last_seen_ms=DAY.end_ms,
    )
    return replace(entry, **changes)  # type: ignore[arg-type]  # passed on as given
