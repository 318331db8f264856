"""The costs table: milliseconds and nanos per kind, shown as GPU-seconds and plain decimals."""

from collections.abc import Sequence
from enum import StrEnum

import pandas as pd
import pandera.pandas as pa

from app.chargeback.tables import Cell, Table, amount, seconds


class Basis(StrEnum):
    """Whether a read goes by the billing period a charge is booked in or by when it happened."""

    POSTED = "posted"
    USAGE = "usage"


# What costs can be grouped by, and filtered by except for the parts of time. A charge has no
# model: a service's cost is divided among its models by tokens (`app.chargeback.inference`).
COST_GROUPS = (
    "cluster",
    "node",
    "gpu_model",
    "namespace",
    "workload",
    "pod",
    "service",
    "model",
    "team",
    "department",
    "cost_center",
    "consumer",
    "charge",
    "kind",
    "hour",
    "day",
    "week",
    "month",
)
TIME_GROUPS = ("hour", "day", "week", "month")

HELD_MS_COLUMNS = ("used_ms", "idle_ms", "unmeasured_ms")
MS_COLUMNS = (*HELD_MS_COLUMNS, "unallocated_ms", "stranded_ms", "unobserved_ms")
NANOS_COLUMNS = (
    "used_nanos",
    "idle_nanos",
    "unmeasured_nanos",
    "unallocated_nanos",
    "stranded_nanos",
    "unobserved_nanos",
    "commitment_unused_nanos",
    "redistributed_nanos",
    "true_up_nanos",
    "adjustment_nanos",
    "rounding_nanos",
)
# Shown as one: what changes a closed period or balances it.
_ADJUSTMENT_COLUMNS = ("true_up_nanos", "adjustment_nanos", "rounding_nanos")

SECONDS_COLUMNS = (
    "gpu_seconds_held",
    "gpu_seconds_active",
    "gpu_seconds_idle",
    "gpu_seconds_unmeasured",
    "gpu_seconds_unallocated",
    "gpu_seconds_stranded",
    "gpu_seconds_unobserved",
    "gpu_seconds_unpriced",
)
COST_COLUMNS = (
    "used_cost",
    "idle_cost",
    "unmeasured_cost",
    "unallocated_cost",
    "stranded_cost",
    "unobserved_cost",
    "commitment_unused_cost",
    "redistributed_cost",
    "adjustment_cost",
)


def costs_schema(group_by: Sequence[str]) -> pa.DataFrameSchema:
    """Return the columns of summed charges: one row a group, '' where a line has no such value.

    ``used_ms`` is the active time of holds. ``unpriced_ms`` is the part of all milliseconds that no
    price covers; ``complete`` is false where the row lacks something: a price, a window, a sample.
    """
    return pa.DataFrameSchema(
        {
            **{name: pa.Column("str") for name in group_by},
            **{name: pa.Column("int64") for name in (*MS_COLUMNS, "unpriced_ms")},
            **{name: pa.Column("int64") for name in NANOS_COLUMNS},
            "complete": pa.Column("bool"),
        },
        strict=True,
        coerce=False,
    )


def costs_columns(group_by: Sequence[str]) -> tuple[str, ...]:
    """Return the column names of the costs table in their order."""
    tail = ("total_cost", "currency", "complete")
    return (*group_by, *SECONDS_COLUMNS, *COST_COLUMNS, *tail)


def costs_table(costs: pd.DataFrame, group_by: Sequence[str], currency: str) -> Table:
    """Return summed charges (`costs_schema`) as the table people read, in the frame's order.

    Where no price covers any of a row's time, its money is empty and not zero.
    """
    columns = [*group_by, *MS_COLUMNS, "unpriced_ms", *NANOS_COLUMNS, "complete"]
    lists = [costs[name].tolist() for name in columns]
    size = len(group_by)
    rows = tuple(_row(values, size, currency) for values in zip(*lists, strict=True))
    return Table(costs_columns(group_by), rows)


def _row(values: tuple[str | int | bool, ...], size: int, currency: str) -> tuple[Cell, ...]:
    groups, complete = values[:size], values[-1]
    used, idle, unmeasured, unallocated, stranded, unobserved, unpriced, *nanos = map(
        int, values[size:-1]
    )
    held = used + idle + unmeasured
    times = (held, used, idle, unmeasured, unallocated, stranded, unobserved, unpriced)
    total_ms = held + unallocated + stranded + unobserved
    unknown = is_unpriced(total_ms, unpriced, nanos)
    shown = shown_nanos(nanos)
    money = [None if unknown else amount(value) for value in (*shown, sum(shown))]
    return (*groups, *map(seconds, times), *money, currency, bool(complete))


def total_nanos(costs: pd.DataFrame) -> int:
    """Return the sum of all money, exact also where it exceeds 64 bits."""
    nanos = costs[list(NANOS_COLUMNS)].to_numpy(dtype="int64")
    # Halves of 32 bits cannot overflow in sums of fewer than 2³¹ figures.
    return (int((nanos >> 32).sum()) << 32) + int((nanos & 0xFFFFFFFF).sum())


def shown_nanos(nanos: Sequence[int]) -> list[int]:
    """Return the nanos of `NANOS_COLUMNS` as those of `COST_COLUMNS`."""
    plain = len(NANOS_COLUMNS) - len(_ADJUSTMENT_COLUMNS)
    return [*nanos[:plain], sum(nanos[plain:])]


def is_unpriced(total_ms: int, unpriced_ms: int, nanos: Sequence[int]) -> bool:
    """Say whether a row has time but no money at all, because no price covers any of it."""
    return 0 < total_ms <= unpriced_ms and not any(nanos)
