"""What a request and a million tokens cost, or why nobody can say; percentiles of latencies."""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import numpy as np
import pandas as pd

from app.attribution.service_costs import AMOUNTS, COUNTS

_MILLION = 10**6
# Digits of a unit cost behind the point: a nano of the currency.
_DECIMALS = 9


class NoUnitCost(StrEnum):
    """Why there is no unit cost."""

    UNPRICED = "unpriced: no price covers a part of the time"
    UNOBSERVED = "unobserved: nobody knows who held a part of the time"
    CARRIED = "carried: a part of the tokens grew across a gap in the samples"
    UNHELD = "unheld: a part was served by pods of which no GPU is known"
    IDLE = "idle: the money was spent and nothing was served"
    UNCOUNTED = "uncounted: the engine publishes no such counter"
    SILENT = "silent: a part was served by engines that count no tokens"


def unit_costs(model_costs: pd.DataFrame, group_by: Sequence[str]) -> pd.DataFrame:
    """Sum `MODEL_COSTS` by columns added to it, and divide the money by what was served.

    The result has the group's columns, the counts, ``gpu_ms``, ``total_nanos`` (null where no
    price covers anything), the four unit costs as `Decimal` or None, ``active_ratio`` of the
    measured time, ``complete``, and ``unit_cost_reason``, which says why a unit cost is None.
    Unit costs of a kind of token are the money that its weighted tokens carry, by its count.
    """
    rows = [(*key, *_row(group)) for key, group in _groups(model_costs, list(group_by))]
    columns = [*group_by, *COUNTS, "gpu_ms", "total_nanos", *_UNIT_COSTS]
    frame = pd.DataFrame(
        rows, columns=[*columns, "active_ratio", "complete", "unit_cost_reason"], dtype="object"
    )
    dtypes = {
        **dict.fromkeys(group_by, "str"),
        **dict.fromkeys(COUNTS, "Int64"),
        "gpu_ms": "int64",
        "total_nanos": "Int64",
        "active_ratio": "float64",
        "complete": "bool",
        "unit_cost_reason": "str",
    }
    return frame.astype(dtypes)


def percentile(bounds: Sequence[float], increments: Sequence[int], quantile: float) -> float | None:
    """Return a percentile of a latency from its buckets, in the unit of the bounds.

    ``increments`` are cumulative by upper bound (``le``), the last one's bound is +Inf. Inside a
    bucket observations are taken as evenly spread, from 0 in the first one. None where there were
    no observations, or where the percentile lies above the highest finite bound.
    """
    order = np.argsort(np.asarray(bounds, dtype=np.float64), kind="stable")
    upper = np.asarray(bounds, dtype=np.float64)[order]
    count = np.maximum.accumulate(np.asarray(increments, dtype=np.int64)[order])
    if not len(count) or count[-1] <= 0:
        return None
    rank = quantile * int(count[-1])
    bucket = int(np.searchsorted(count, rank, side="left"))
    if np.isinf(upper[bucket]):
        return None
    low = float(upper[bucket - 1]) if bucket else min(0.0, float(upper[0]))
    before = int(count[bucket - 1]) if bucket else 0
    inside = int(count[bucket]) - before
    if not inside:
        return float(upper[bucket])
    return low + (float(upper[bucket]) - low) * (rank - before) / inside


_UNIT_COSTS = (
    "cost_per_request",
    "cost_per_million_prompt_tokens",
    "cost_per_million_generation_tokens",
    "cost_per_million_tokens",
)


def _groups(
    model_costs: pd.DataFrame, group_by: list[str]
) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    if not group_by:
        return [((), model_costs)] if len(model_costs) else []
    groups = model_costs.groupby(group_by, sort=True)
    return [(tuple(str(part) for part in key), group) for key, group in groups]


def _row(group: pd.DataFrame) -> tuple[object, ...]:
    counts = {name: _total(group[name]) for name in COUNTS}
    # Python integers: a month of nanos and weights has no limit to mind.
    sums = {name: sum(group[name].tolist()) for name in (*AMOUNTS, *_NANOS)}
    unknown = [
        reason
        for reason, applies in (
            (NoUnitCost.UNPRICED, sums["unpriced_ms"] > 0),
            (NoUnitCost.UNOBSERVED, sums["unobserved_ms"] > 0),
            (NoUnitCost.CARRIED, bool(group["carried"].any())),
            (NoUnitCost.UNHELD, bool(group["unheld"].any())),
        )
        if applies
    ]
    # Money of engines that count nothing, over what others counted, is nobody's unit cost.
    silent = group["silent"] & (group["gpu_ms"] > 0)
    without = {
        "tokens": bool(silent.any()),
        "requests": bool((silent & group["requests"].isna()).any()),
    }
    prompt, generation = counts["prompt_tokens"], counts["generation_tokens"]
    served = None if prompt is None and generation is None else (prompt or 0) + (generation or 0)
    ratios = (
        (sums["cost_nanos"], None if without["requests"] else counts["requests"], 1),
        (sums["prompt_nanos"], None if without["tokens"] else prompt, _MILLION),
        (sums["generation_nanos"], None if without["tokens"] else generation, _MILLION),
        (sums["cost_nanos"], None if without["tokens"] else served, _MILLION),
    )
    reasons = unknown or [
        *([NoUnitCost.SILENT] if without["tokens"] else []),
        *(reason for _, count, _ in ratios if (reason := _missing(count)) is not None),
    ]
    unpriced = 0 < sums["gpu_ms"] <= sums["unpriced_ms"] and not sums["cost_nanos"]
    return (
        *counts.values(),
        sums["gpu_ms"],
        None if unpriced else sums["cost_nanos"],
        *(None if unknown else _per(nanos, count, size) for nanos, count, size in ratios),
        sums["active_ms"] / sums["measured_ms"] if sums["measured_ms"] else None,
        not (unknown or without["tokens"]),
        "; ".join(dict.fromkeys(reasons)),
    )


_NANOS = ("prompt_nanos", "generation_nanos")


def _total(column: pd.Series) -> int | None:
    """Return the sum of a nullable column, None where all of it is null."""
    known = column.dropna().tolist()
    return sum(known) if known else None


def _missing(count: int | None) -> NoUnitCost | None:
    if count is None:
        return NoUnitCost.UNCOUNTED
    return None if count else NoUnitCost.IDLE


def _per(nanos: int, count: int | None, size: int) -> Decimal | None:
    """Return the cost of ``size`` of them, rounded half to even at a nano."""
    if not count:
        return None
    return Decimal(round(Fraction(nanos * size, count))).scaleb(-_DECIMALS)
