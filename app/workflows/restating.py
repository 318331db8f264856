"""What a charge rests on, as the policies of shares make it of the facts."""

from collections.abc import Sequence
from dataclasses import fields, replace

import pandas as pd
from sqlalchemy import Connection

from app.attribution.charge_explanation import ExplainedSpan
from app.attribution.hold_explanation import ExplainedUsage
from app.store.explanations import ChargeRecord
from app.store.usage import UsageStore
from app.units.window import from_ms, hour_of
from app.usage.policies import DividedUsage, under_policies
from app.usage.share_policies import SharePolicy
from app.usage.states import hold_segments


def restated(
    connection: Connection, record: ChargeRecord, policies: Sequence[SharePolicy]
) -> ChargeRecord:
    """Return the record with usage and spans under the policies; itself where they are default."""
    if all(one.same_rules(SharePolicy()) for one in policies):
        return record
    window = hour_of(from_ms(record.window_start_ms))
    store = UsageStore(connection, record.cluster)
    spans, holds = store.pool_usage(window), store.hold_usage(window)
    facts = DividedUsage(
        pool_usage=spans, hold_usage=holds, hold_segments=hold_segments(spans, holds)
    )
    usage = under_policies(facts, policies)
    return replace(
        record, usage=_usage_of(record, usage.hold_usage), spans=_spans_of(record, usage.pool_usage)
    )


def _usage_of(record: ChargeRecord, holds: pd.DataFrame) -> ExplainedUsage | None:
    rows = holds.loc[
        (holds["node_id"] == record.node_id) & (holds["hold_id"] == record.hold_id),
        ["held_ms", "active_ms", "idle_ms", "unmeasured_ms"],
    ]
    if record.usage is None or rows.empty:
        return record.usage
    held_ms, active_ms, idle_ms, unmeasured_ms = rows.iloc[0].tolist()
    return replace(
        record.usage,
        held_ms=held_ms,
        active_ms=active_ms,
        idle_ms=idle_ms,
        unmeasured_ms=unmeasured_ms,
    )


def _spans_of(record: ChargeRecord, spans: pd.DataFrame) -> tuple[ExplainedSpan, ...]:
    names = [field.name for field in fields(ExplainedSpan)]
    of_pool = (spans["node_id"] == record.node_id) & (spans["gpu_model_id"] == record.gpu_model_id)
    rows = spans.loc[of_pool, names].sort_values("start_ms")
    return tuple(
        ExplainedSpan(**dict(zip(names, row, strict=True))) for row in rows.to_numpy().tolist()
    )
