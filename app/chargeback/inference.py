"""The inference table: what was served, what it cost, per request and per million tokens."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import pandas as pd
import pandera.pandas as pa

from app.chargeback.tables import Cell, Table, amount, seconds

# What served tokens can be grouped by, and filtered by except for the parts of time.
INFERENCE_GROUPS = (
    "cluster",
    "namespace",
    "workload",
    "service",
    "model",
    "team",
    "cost_center",
    "hour",
    "day",
    "week",
    "month",
)

COUNT_COLUMNS = (
    "requests",
    "failed_requests",
    "prompt_tokens",
    "cached_prompt_tokens",
    "generation_tokens",
)
UNIT_COST_COLUMNS = (
    "cost_per_request",
    "cost_per_million_prompt_tokens",
    "cost_per_million_generation_tokens",
    "cost_per_million_tokens",
)
RATIO_COLUMNS = (
    "active_ratio",
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "e2e_p95_seconds",
    "cold_start_p50_seconds",
)
# Parts and details behind the others: reasoning tokens are among the generated ones.
DETAIL_COUNT_COLUMNS = ("reasoning_tokens",)
DETAIL_RATIO_COLUMNS = (
    "inter_token_p50_seconds",
    "inter_token_p95_seconds",
    "queue_p95_seconds",
)
# Further unit costs on the reserved basis, and all of them on the used basis: of active time alone.
MORE_UNIT_COST_COLUMNS = (
    "cost_per_million_cached_prompt_tokens",
    "cost_per_active_gpu_hour",
)
USED_UNIT_COST_COLUMNS = (
    "used_cost_per_request",
    "used_cost_per_million_prompt_tokens",
    "used_cost_per_million_cached_prompt_tokens",
    "used_cost_per_million_generation_tokens",
    "used_cost_per_million_tokens",
    "used_cost_per_active_gpu_hour",
)
# Of the requests that met a stated latency objective; empty where none is stated.
GOODPUT_COLUMNS = (
    "objective",
    "requests_within_objective",
    "within_objective_ratio",
    "cost_per_request_within_objective",
    "used_cost_per_request_within_objective",
)
# Unit costs are shown to a nano, ratios and latencies to a tenth of a thousandth.
_UNIT_COST_STEP = Decimal("0.000000001")
_RATIO_STEP = Decimal("0.0001")


def inference_schema(group_by: Sequence[str]) -> pa.DataFrameSchema:
    """Return the columns of summed inference: one row a group.

    Counts are null where no engine publishes them, ``total_nanos`` and ``used_nanos`` where no
    price covers anything; ``objective`` is '' where none is stated.
    Unit costs are `Decimal` or None; ``unit_cost_reason`` says why one is None, else ''.
    """
    return pa.DataFrameSchema(
        {
            **{name: pa.Column("str") for name in group_by},
            **{name: pa.Column("Int64", nullable=True) for name in COUNT_COLUMNS},
            "gpu_ms": pa.Column("int64"),
            "total_nanos": pa.Column("Int64", nullable=True),
            **{name: pa.Column("object", nullable=True) for name in UNIT_COST_COLUMNS},
            **{name: pa.Column("float64", nullable=True) for name in RATIO_COLUMNS},
            "complete": pa.Column("bool"),
            "unit_cost_reason": pa.Column("str"),
            **{name: pa.Column("Int64", nullable=True) for name in DETAIL_COUNT_COLUMNS},
            **{name: pa.Column("float64", nullable=True) for name in DETAIL_RATIO_COLUMNS},
            "used_nanos": pa.Column("Int64", nullable=True),
            **{
                name: pa.Column("object", nullable=True)
                for name in (*MORE_UNIT_COST_COLUMNS, *USED_UNIT_COST_COLUMNS)
            },
            "objective": pa.Column("str"),
            "requests_within_objective": pa.Column("Int64", nullable=True),
            "within_objective_ratio": pa.Column("float64", nullable=True),
            **{name: pa.Column("object", nullable=True) for name in GOODPUT_COLUMNS[3:]},
        },
        strict=True,
        coerce=False,
    )


def inference_columns(group_by: Sequence[str]) -> tuple[str, ...]:
    """Return the column names of the inference table in their order."""
    head = (*group_by, *COUNT_COLUMNS, "gpu_seconds", "total_cost")
    tail = (*UNIT_COST_COLUMNS, *RATIO_COLUMNS, "complete", "unit_cost_reason")
    details = (*DETAIL_COUNT_COLUMNS, *DETAIL_RATIO_COLUMNS)
    bases = ("used_cost", *MORE_UNIT_COST_COLUMNS, *USED_UNIT_COST_COLUMNS)
    return (*head, *tail, *details, *bases, *GOODPUT_COLUMNS)


def inference_table(inference: pd.DataFrame, group_by: Sequence[str]) -> Table:
    """Return summed inference (`inference_schema`) as the table people read."""
    columns = [
        *(inference[name].tolist() for name in group_by),
        *(_counts(inference[name]) for name in COUNT_COLUMNS),
        [seconds(int(value)) for value in inference["gpu_ms"].tolist()],
        _amounts(inference["total_nanos"]),
        *([_unit_cost(value) for value in inference[name]] for name in UNIT_COST_COLUMNS),
        *([_ratio(value) for value in inference[name].tolist()] for name in RATIO_COLUMNS),
        inference["complete"].tolist(),
        inference["unit_cost_reason"].tolist(),
        *(_counts(inference[name]) for name in DETAIL_COUNT_COLUMNS),
        *([_ratio(value) for value in inference[name].tolist()] for name in DETAIL_RATIO_COLUMNS),
        _amounts(inference["used_nanos"]),
        *(
            [_unit_cost(value) for value in inference[name]]
            for name in (*MORE_UNIT_COST_COLUMNS, *USED_UNIT_COST_COLUMNS)
        ),
        inference["objective"].tolist(),
        _counts(inference["requests_within_objective"]),
        [_ratio(value) for value in inference["within_objective_ratio"].tolist()],
        *([_unit_cost(value) for value in inference[name]] for name in GOODPUT_COLUMNS[3:]),
    ]
    return Table(inference_columns(group_by), tuple(zip(*columns, strict=True)))


def _counts(column: pd.Series) -> list[int | None]:
    return [None if value is pd.NA else int(value) for value in column.tolist()]


def _amounts(column: pd.Series) -> list[Cell]:
    return [None if value is None else amount(value) for value in _counts(column)]


def _unit_cost(value: Decimal | None) -> Cell:
    if value is None:
        return None
    rounded = value.quantize(_UNIT_COST_STEP, rounding=ROUND_HALF_EVEN)
    return amount(int(rounded.scaleb(9)))


def _ratio(value: float) -> Cell:
    if value != value:  # noqa: PLR0124 # NaN, the null of a float column, is not equal to itself
        return None
    return Decimal(repr(value)).quantize(_RATIO_STEP, rounding=ROUND_HALF_EVEN)
