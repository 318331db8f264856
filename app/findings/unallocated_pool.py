"""Unallocated pool: GPUs of a node that nobody holds, hour after hour."""

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

# One row a pool that existed in the evidence window: its sums over the hours of the window.
# `exists_until_ms` is the end of the node (OPEN_MS if it lasts); `capacity_ms` are
# device-milliseconds, `devices` the most devices at once. `unallocated_nanos` is the money charged
# for unallocated time, `unpriced_ms` time without a price. `team` is who pays for it.
UNALLOCATED_POOL_EVIDENCE = pa.DataFrameSchema(
    {
        **dict.fromkeys(("cluster", "node", "gpu_model", "team"), pa.Column("str")),
        **dict.fromkeys(
            (
                "node_id",
                "gpu_model_id",
                "exists_until_ms",
                "devices",
                "capacity_ms",
                "held_ms",
                "unallocated_ms",
                "stranded_ms",
                "unobserved_ms",
                "unallocated_nanos",
                "unpriced_ms",
            ),
            pa.Column("int64"),
        ),
    },
    strict=True,
    coerce=False,
)


def detect_unallocated_pools(
    evidence: pd.DataFrame, window: Window, policy: WastePolicy
) -> Detection:
    """Return the pools that still exist at the window's end and were largely held by nobody.

    The share is that of the capacity. Stranded time is not in it: nobody could have held it. Where
    too much is unobserved the evidence cannot tell.
    """
    UNALLOCATED_POOL_EVIDENCE.validate(evidence)
    lasting = evidence["exists_until_ms"] >= window.end_ms
    capacity = evidence["capacity_ms"]
    old = capacity >= policy.unallocated_minimum_hours * HOUR_MS * evidence["devices"]
    suspects = evidence[lasting & old & (capacity > 0)]
    capacity = suspects["capacity_ms"]
    known = capacity - suspects["unobserved_ms"] >= policy.minimum_observed_ratio * capacity
    empty = known & (suspects["unallocated_ms"] >= policy.unallocated_ratio * capacity)
    findings = [_finding(row, window) for row in suspects[empty].itertuples(index=False)]
    cannot_tell = [_cannot_tell(row) for row in suspects[~known].itertuples(index=False)]
    return Detection(worst_first(findings), tuple(cannot_tell))


def _finding(row: Any, window: Window) -> Finding:  # noqa: ANN401 # pandas builds the row's type
    wasted = None if row.unpriced_ms else int(row.unallocated_nanos)
    existed_ms = int(row.capacity_ms) // int(row.devices)
    return Finding(
        kind=FindingKind.UNALLOCATED_POOL,
        subject=_subject(row),
        window=window,
        since_ms=max(window.start_ms, window.end_ms - existed_ms),
        wasted_gpu_ms=int(row.unallocated_ms),
        wasted_nanos=wasted,
        per_day_nanos=money_per_day(wasted, existed_ms),
        evidence=(
            Figure("unallocated_ratio", row.unallocated_ms / row.capacity_ms),
            Figure("held_ratio", row.held_ms / row.capacity_ms),
            Figure("stranded_ratio", row.stranded_ms / row.capacity_ms),
            Figure("observed_ratio", 1 - row.unobserved_ms / row.capacity_ms),
            Figure("devices", row.devices),
            Figure("existed_hours", existed_ms / HOUR_MS),
        ),
    )


def _cannot_tell(row: Any) -> CannotTell:  # noqa: ANN401 # pandas builds the row's type
    subject = _subject(row)
    observed = 1 - row.unobserved_ms / row.capacity_ms
    return CannotTell(
        finding_id=finding_id(FindingKind.UNALLOCATED_POOL, subject),
        subject=subject,
        reason=f"only {observed:.0%} of its time was observed",
    )


def _subject(row: Any) -> Subject:  # noqa: ANN401 # pandas builds the row's type
    return Subject(
        cluster=row.cluster,
        node_id=int(row.node_id),
        node=row.node,
        gpu_model_id=int(row.gpu_model_id),
        gpu_model=row.gpu_model,
        team=row.team,
    )
