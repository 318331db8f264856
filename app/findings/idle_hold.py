"""Idle hold: a pod that keeps GPUs and hardly uses them."""

import math
from typing import Any

import pandas as pd
import pandera.pandas as pa

from app.findings.values import (
    CannotTell,
    Detection,
    Figure,
    Finding,
    FindingKind,
    Subject,
    WastePolicy,
    finding_id,
    money_per_day,
    worst_first,
)
from app.units.window import HOUR_MS, Window
from app.usage.kinds import ActivityScope

# One row a hold that was held in the evidence window: its sums over the hours of the window.
# `held_from_ms`/`held_until_ms` are the whole hold (OPEN_MS if it lasts); `held_wall_ms` is how
# long it was held inside the window, `held_ms` the device-milliseconds of that. `activity_scope` is
# the highest of the hours. `idle_nanos` is the money charged for idle time, `unpriced_ms` held time
# without a price. `memory_used_max_mib` is null where no exporter says it.
IDLE_HOLD_EVIDENCE = pa.DataFrameSchema(
    {
        **dict.fromkeys(
            ("cluster", "node", "gpu_model", "namespace", "pod", "workload", "team"),
            pa.Column("str"),
        ),
        **dict.fromkeys(
            (
                "hold_id",
                "node_id",
                "gpu_model_id",
                "held_from_ms",
                "held_until_ms",
                "held_wall_ms",
                "held_ms",
                "active_ms",
                "idle_ms",
                "band_0_ms",
                "band_0_5_ms",
                "activity_scope",
                "idle_nanos",
                "unpriced_ms",
            ),
            pa.Column("int64"),
        ),
        "memory_used_max_mib": pa.Column("float64", nullable=True),
    },
    strict=True,
    coerce=False,
)


def detect_idle_holds(evidence: pd.DataFrame, window: Window, policy: WastePolicy) -> Detection:
    """Return the holds that still last at the window's end and did next to nothing in it.

    A hold is idle by the share of its measured time in the bands of at most 5 % activity, never by
    a mean: a mean hides a day of nothing behind one busy hour and lets a burst hide the rest.
    Activity measured on a shared device or pool, if only for an hour, accuses none of the sharers
    and clears none. Holds that have ended are left out: there is nothing left to free.
    """
    IDLE_HOLD_EVIDENCE.validate(evidence)
    lasting = evidence["held_until_ms"] >= window.end_ms
    long = evidence["held_wall_ms"] >= policy.idle_minimum_held_hours * HOUR_MS
    shared = evidence["activity_scope"] > int(ActivityScope.DEVICE)
    suspects = evidence[lasting & long]
    measured = suspects["active_ms"] + suspects["idle_ms"]
    low = suspects["band_0_ms"] + suspects["band_0_5_ms"]
    enough = (measured > 0) & (measured >= policy.minimum_measured_ratio * suspects["held_ms"])
    known = enough & ~shared[lasting & long]
    idle = known & (low >= policy.idle_low_band_ratio * measured)
    findings = [_finding(row, window) for row in suspects[idle].itertuples(index=False)]
    cannot_tell = [_cannot_tell(row) for row in suspects[~known].itertuples(index=False)]
    return Detection(worst_first(findings), tuple(cannot_tell))


def _finding(row: Any, window: Window) -> Finding:  # noqa: ANN401 # pandas builds the row's type
    measured = row.active_ms + row.idle_ms
    wasted = None if row.unpriced_ms else int(row.idle_nanos)
    figures = [
        Figure("low_activity_ratio", (row.band_0_ms + row.band_0_5_ms) / measured),
        Figure("no_activity_ratio", row.band_0_ms / measured),
        Figure("measured_ratio", measured / row.held_ms),
        Figure("held_hours", row.held_wall_ms / HOUR_MS),
        Figure("held_gpus", row.held_ms / row.held_wall_ms),
    ]
    if not math.isnan(row.memory_used_max_mib):
        figures.append(Figure("memory_used_max_mib", row.memory_used_max_mib))
    return Finding(
        kind=FindingKind.IDLE_HOLD,
        subject=_subject(row),
        window=window,
        since_ms=int(row.held_from_ms),
        wasted_gpu_ms=int(row.idle_ms),
        wasted_nanos=wasted,
        per_day_nanos=money_per_day(wasted, int(row.held_wall_ms)),
        evidence=tuple(figures),
    )


def _cannot_tell(row: Any) -> CannotTell:  # noqa: ANN401 # pandas builds the row's type
    measured = row.active_ms + row.idle_ms
    subject = _subject(row)
    reason = f"only {measured / row.held_ms:.0%} of its time was measured"
    if row.activity_scope > int(ActivityScope.DEVICE):
        reason = "for an hour or more its activity was measured on devices of several holders"
    return CannotTell(
        finding_id=finding_id(FindingKind.IDLE_HOLD, subject), subject=subject, reason=reason
    )


def _subject(row: Any) -> Subject:  # noqa: ANN401 # pandas builds the row's type
    return Subject(
        cluster=row.cluster,
        node_id=int(row.node_id),
        node=row.node,
        gpu_model_id=int(row.gpu_model_id),
        gpu_model=row.gpu_model,
        hold_id=int(row.hold_id),
        namespace=row.namespace,
        pod=row.pod,
        workload=row.workload,
        team=row.team,
    )
