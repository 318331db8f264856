"""What a request and a million tokens cost, or why nobody can say; percentiles of latencies."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import numpy as np
import pandas as pd

from app.attribution.service_costs import AMOUNTS, COUNTS, TOKEN_NANOS, USED_TOKEN_NANOS
from app.units.money import from_nanos
from app.units.window import HOUR_MS

_MILLION = 10**6
# Digits of a unit cost behind the point: a nano of the currency.
_DECIMALS = 9


class NoUnitCost(StrEnum):
    """Why there is no unit cost."""

    UNPRICED = "unpriced: no price covers a part of the time"
    UNOBSERVED = "unobserved: nobody knows who held a part of the time"
    CARRIED = "carried: a part of the tokens grew across a gap in the samples"
    UNHELD = "unheld: a part was served by pods of which no GPU is known"
    IDLE = "idle"
    UNCOUNTED = "uncounted: the engine publishes no such counter"
    SILENT = "silent: a part was served by engines that count no tokens"
    UNMEASURED = "unmeasured: nobody knows whether the GPUs were active"


# On the reserved basis, and on the used basis.
UNIT_COSTS = (
    "cost_per_request",
    "cost_per_million_prompt_tokens",
    "cost_per_million_cached_prompt_tokens",
    "cost_per_million_generation_tokens",
    "cost_per_million_tokens",
    "cost_per_active_gpu_hour",
)
USED_UNIT_COSTS = tuple(f"used_{name}" for name in UNIT_COSTS)


def unit_costs(model_costs: pd.DataFrame, group_by: Sequence[str]) -> pd.DataFrame:
    """Sum `MODEL_COSTS` by columns added to it, and divide the money by what was served.

    The result has the group's columns, the counts, ``gpu_ms``, ``total_nanos`` and ``used_nanos``
    (null where no price covers anything), `UNIT_COSTS` and `USED_UNIT_COSTS` as `Decimal` or None,
    ``active_ratio`` of the measured time, ``complete``, and ``unit_cost_reason``, which says why a
    unit cost is None. Unit costs of a kind of token are the money that its weighted tokens carry,
    by its count; without a cached token those of cached ones are None without a reason. An active
    GPU-hour is one that was measured as active.

    The reserved basis is all money of held time, the used basis that of active time alone: their
    difference is what it cost to hold GPUs that did nothing, or of which nobody knows what they
    did.
    """
    rows = [(*key, *_row(group)) for key, group in _groups(model_costs, list(group_by))]
    columns = [*group_by, *COUNTS, "gpu_ms", "total_nanos", "used_nanos"]
    columns += [*UNIT_COSTS, *USED_UNIT_COSTS, "active_ratio", "complete", "unit_cost_reason"]
    frame = pd.DataFrame(rows, columns=columns, dtype="object")
    dtypes = {
        **dict.fromkeys(group_by, "str"),
        **dict.fromkeys(COUNTS, "Int64"),
        "gpu_ms": "int64",
        "total_nanos": "Int64",
        "used_nanos": "Int64",
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


def per(nanos: int, count: int | None, size: int = 1) -> Decimal | None:
    """Return the cost of ``size`` of ``count`` things, rounded half to even at a nano."""
    if not count:
        return None
    return Decimal(round(Fraction(nanos * size, count))).scaleb(-_DECIMALS)


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
    sums = {name: sum(group[name].tolist()) for name in (*AMOUNTS, *TOKEN_NANOS, *USED_TOKEN_NANOS)}
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
    without_tokens = bool(silent.any())
    without_requests = bool((silent & group["requests"].isna()).any())
    served = _Served(
        requests=None if without_requests else counts["requests"],
        prompt=None if without_tokens else counts["prompt_tokens"],
        cached=None if without_tokens else counts["cached_prompt_tokens"],
        generation=None if without_tokens else counts["generation_tokens"],
        active_ms=sums["active_ms"] if sums["measured_ms"] else None,
    )
    reasons = unknown or [
        *([NoUnitCost.SILENT] if without_tokens else []),
        *served.missing(),
    ]
    unpriced = 0 < sums["gpu_ms"] <= sums["unpriced_ms"] and not sums["cost_nanos"]
    reserved = served.costs(sums["cost_nanos"], [sums[name] for name in TOKEN_NANOS])
    used = served.costs(sums["used_nanos"], [sums[name] for name in USED_TOKEN_NANOS])
    idle = f"idle, {_amount(sums['cost_nanos'])}: the money was spent and nothing was served"
    return (
        *counts.values(),
        sums["gpu_ms"],
        *((None, None) if unpriced else (sums["cost_nanos"], sums["used_nanos"])),
        *(None if unknown else cost for cost in (*reserved, *used)),
        sums["active_ms"] / sums["measured_ms"] if sums["measured_ms"] else None,
        not (unknown or without_tokens),
        "; ".join(
            idle if reason is NoUnitCost.IDLE else reason for reason in dict.fromkeys(reasons)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What a group's money is divided by, None where nobody knows it."""

    requests: int | None
    prompt: int | None
    cached: int | None
    generation: int | None
    active_ms: int | None

    @property
    def tokens(self) -> int | None:
        """Prompt and generated tokens; cached ones are prompt tokens."""
        if self.prompt is None and self.generation is None:
            return None
        return (self.prompt or 0) + (self.generation or 0)

    def missing(self) -> list[NoUnitCost]:
        """Return why which unit costs cannot be said, in their order."""
        counts = (self.requests, self.prompt, self.generation, self.tokens)
        reasons = [reason for count in counts if (reason := _missing(count)) is not None]
        return [*reasons, *([NoUnitCost.UNMEASURED] if self.active_ms is None else [])]

    def costs(self, nanos: int, token_nanos: Sequence[int]) -> tuple[Decimal | None, ...]:
        """Return `UNIT_COSTS` of some money, of which each kind of token carries its part."""
        prompt, cached, generation = token_nanos
        return (
            per(nanos, self.requests),
            per(prompt, self.prompt, _MILLION),
            per(cached, self.cached, _MILLION),
            per(generation, self.generation, _MILLION),
            per(nanos, self.tokens, _MILLION),
            per(nanos, self.active_ms, HOUR_MS),
        )


def _total(column: pd.Series) -> int | None:
    """Return the sum of a nullable column, None where all of it is null."""
    known = column.dropna().tolist()
    return sum(known) if known else None


def _missing(count: int | None) -> NoUnitCost | None:
    if count is None:
        return NoUnitCost.UNCOUNTED
    return None if count else NoUnitCost.IDLE


def _amount(nanos: int) -> str:
    """Return money as people read it, with at least two decimals."""
    whole, _, decimals = f"{from_nanos(nanos):f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
