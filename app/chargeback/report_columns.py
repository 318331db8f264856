"""What a report can show: its sources, their groups and columns, and what kind each column is."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.chargeback import reconciliation_tables
from app.chargeback.costs import COST_COLUMNS, COST_GROUPS, TIME_GROUPS, Basis
from app.chargeback.inference import (
    COUNT_COLUMNS,
    DETAIL_COUNT_COLUMNS,
    DETAIL_RATIO_COLUMNS,
    GOODPUT_COLUMNS,
    INFERENCE_GROUPS,
    MORE_UNIT_COST_COLUMNS,
    RATIO_COLUMNS,
    UNIT_COST_COLUMNS,
    USED_UNIT_COST_COLUMNS,
)


class CellKind(StrEnum):
    """What a column holds; it says how a spreadsheet shows it and how Parquet stores it."""

    TEXT = "text"
    INSTANT = "instant"
    DAY = "day"
    FLAG = "flag"
    COUNT = "count"
    MONEY = "money"
    HOURS = "hours"
    UNIT_COST = "unit_cost"
    RATIO = "ratio"


class ReportSource(StrEnum):
    """Where a report's rows come from."""

    COSTS = "costs"
    INFERENCE = "inference"
    FINDINGS = "findings"
    BUDGET = "budget"
    RECONCILIATION = "reconciliation"


HOURS_COLUMNS = (
    "gpu_hours_held",
    "gpu_hours_active",
    "gpu_hours_idle",
    "gpu_hours_unmeasured",
    "gpu_hours_unallocated",
    "gpu_hours_stranded",
    "gpu_hours_unobserved",
    "gpu_hours_unpriced",
)
# What can be derived from a row's hours and money, from the exact figures and not the rounded ones.
UNIT_COSTS = ("cost_per_gpu_hour_held", "cost_per_gpu_hour_active")
RATIOS = ("share_of_total_ratio", "measured_ratio", "unallocated_ratio")
MONEY_COLUMNS = (*COST_COLUMNS, "total_cost")
REPORT_COLUMNS = (*HOURS_COLUMNS, *MONEY_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumns:
    """What reports of one source can be grouped by, filtered by, and show.

    ``bases`` are those that the source can be read on, its usual one first.
    """

    groups: tuple[str, ...]
    filters: tuple[str, ...]
    columns: Mapping[str, CellKind]
    bases: tuple[Basis, ...] = (Basis.USAGE,)
    monthly_only: bool = False


# Groups that are no text: parts of time, and when a finding was seen.
_GROUP_KINDS = {
    "hour": CellKind.INSTANT,
    "day": CellKind.DAY,
    "first_seen": CellKind.INSTANT,
    "last_seen": CellKind.INSTANT,
}
# What stands in every report before and after its own columns.
HEAD = ("report", "period", "period_start", "period_end", "issue", "status", "basis", "row")
TAIL = ("currency", "price_covers", "complete")
_FRAME_KINDS = {
    "period_start": CellKind.INSTANT,
    "period_end": CellKind.INSTANT,
    "issue": CellKind.COUNT,
    "complete": CellKind.FLAG,
}

_FINDING_KEYS = (
    "cluster",
    "team",
    "kind",
    "state",
    "gpu_model",
    "node",
    "namespace",
    "workload",
    "pod",
)
SOURCES: Mapping[ReportSource, SourceColumns] = {
    ReportSource.COSTS: SourceColumns(
        groups=COST_GROUPS,
        filters=tuple(name for name in COST_GROUPS if name not in TIME_GROUPS),
        columns={
            **dict.fromkeys(HOURS_COLUMNS, CellKind.HOURS),
            **dict.fromkeys(MONEY_COLUMNS, CellKind.MONEY),
            **dict.fromkeys(UNIT_COSTS, CellKind.UNIT_COST),
            **dict.fromkeys(RATIOS, CellKind.RATIO),
        },
        bases=(Basis.POSTED, Basis.USAGE),
    ),
    ReportSource.INFERENCE: SourceColumns(
        groups=INFERENCE_GROUPS,
        filters=tuple(name for name in INFERENCE_GROUPS if name not in TIME_GROUPS),
        columns={
            **dict.fromkeys((*COUNT_COLUMNS, *DETAIL_COUNT_COLUMNS), CellKind.COUNT),
            "gpu_hours": CellKind.HOURS,
            "total_cost": CellKind.MONEY,
            **dict.fromkeys(UNIT_COST_COLUMNS, CellKind.UNIT_COST),
            **dict.fromkeys((*RATIO_COLUMNS, *DETAIL_RATIO_COLUMNS), CellKind.RATIO),
            "unit_cost_reason": CellKind.TEXT,
            "used_cost": CellKind.MONEY,
            **dict.fromkeys((*MORE_UNIT_COST_COLUMNS, *USED_UNIT_COST_COLUMNS), CellKind.UNIT_COST),
            "objective": CellKind.TEXT,
            "requests_within_objective": CellKind.COUNT,
            "within_objective_ratio": CellKind.RATIO,
            **dict.fromkeys(GOODPUT_COLUMNS[3:], CellKind.UNIT_COST),
        },
    ),
    ReportSource.FINDINGS: SourceColumns(
        groups=(*_FINDING_KEYS, "finding", "first_seen", "last_seen", "decided_by", "reason"),
        filters=_FINDING_KEYS,
        columns={
            "findings": CellKind.COUNT,
            "wasted_gpu_hours": CellKind.HOURS,
            "wasted_cost": CellKind.MONEY,
            "cost_per_day": CellKind.MONEY,
        },
    ),
    ReportSource.BUDGET: SourceColumns(
        groups=("team",),
        filters=("team",),
        columns={
            "budget": CellKind.MONEY,
            "spent_cost": CellKind.MONEY,
            "remaining": CellKind.MONEY,
            "used_ratio": CellKind.RATIO,
            "thresholds_reached": CellKind.TEXT,
        },
        bases=(Basis.POSTED, Basis.USAGE),
        monthly_only=True,
    ),
    ReportSource.RECONCILIATION: SourceColumns(
        groups=("provider", "billing_account"),
        filters=("provider", "billing_account"),
        columns={
            **dict.fromkeys(reconciliation_tables.MONEY_COLUMNS, CellKind.MONEY),
            **dict.fromkeys(reconciliation_tables.COUNT_COLUMNS, CellKind.COUNT),
        },
        monthly_only=True,
    ),
}


def kind_of(source: ReportSource, column: str) -> CellKind:
    """Return what a column of a report of ``source`` holds; groups are text unless known."""
    own = SOURCES[source]
    if column in own.columns:
        return own.columns[column]
    if column in own.groups:
        return _GROUP_KINDS.get(column, CellKind.TEXT)
    return _FRAME_KINDS.get(column, CellKind.TEXT)
