"""A report's table: summed charges of a period, rounded so that rows and columns add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import pandas as pd

from app.chargeback.costs import (
    COST_COLUMNS,
    HELD_MS_COLUMNS,
    MS_COLUMNS,
    NANOS_COLUMNS,
    is_unpriced,
    shown_nanos,
)
from app.chargeback.periods import Period
from app.chargeback.reports import HOURS_COLUMNS, ReportDefinition
from app.chargeback.rounding import currency_decimals, round_lines
from app.chargeback.tables import Cell, Table

# Hours are shown to a hundredth: 36 seconds.
_HOUR_STEP_MS = 36_000
_HOUR_DECIMALS = 2
_MONEY = (*COST_COLUMNS, "total_cost")
_HEAD = ("report", "period", "period_start", "period_end", "issue", "status", "basis", "row")
_TAIL = ("currency", "price_covers", "complete")

# What a row shows, by report column; None is money that no price covers.
_Figures = dict[str, Decimal | None]

# A node's price is carried by its GPUs whole; whoever reads a charge is told so.
PRICE_COVERS = "whole node: GPU, CPU, memory, disk"


class ReportStatus(StrEnum):
    """Whether a report may still change: ``partial`` data makes it provisional."""

    FINAL = "final"
    PROVISIONAL = "provisional"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportIssue:
    """Which issue of a period's report this is: numbered from 1, provisional or final."""

    period: Period
    number: int
    status: ReportStatus

    def file_name(self, report: str, extension: str) -> str:
        """Return a name that sorts by period and number, such as ``weekly-2026-W46-1.csv``."""
        return f"{report}-{self.period.name}-{self.number}.{extension}"


def report_table(
    definition: ReportDefinition, issue: ReportIssue, costs: pd.DataFrame, *, currency: str
) -> Table:
    """Return the report over ``costs``, which is one row a group (`app.chargeback.costs`).

    Every row says which report, issue and period it belongs to and whether it is a ``detail`` or
    the ``total``; rows are ordered by their groups. Amounts are rounded to the currency's minor
    unit and hours to a hundredth so that the parts of a row add up to its total and the rows to the
    last row. A row that no price covers has empty amounts.
    """
    group_by = list(definition.group_by)
    ordered = costs.sort_values(group_by, kind="stable", ignore_index=True)
    figures = _figures(ordered, currency)
    head = (
        definition.name,
        issue.period.name,
        plain_instant(issue.period.start),
        plain_instant(issue.period.end),
        issue.number,
        issue.status.value,
        definition.basis.value,
    )
    complete = ordered["complete"].tolist()
    groups = ordered[group_by].itertuples(index=False, name=None)
    rows: list[tuple[Cell, ...]] = [
        (*head, "detail", *keys, *_shown(definition, line), currency, PRICE_COVERS, whole)
        for keys, line, whole in zip(groups, figures, complete, strict=True)
    ]
    if definition.totals:
        line = {name: _sum([line[name] for line in figures]) for name in definition.columns}
        keys = ("",) * len(group_by)
        shown = _shown(definition, line)
        whole = bool(complete) and all(complete)
        rows.append((*head, "total", *keys, *shown, currency, PRICE_COVERS, whole))
    columns = (*_HEAD, *group_by, *definition.columns, *_TAIL)
    return Table(columns, tuple(rows))


def plain_instant(instant: datetime) -> str:
    """Return a UTC instant as RFC 3339 text."""
    return instant.isoformat().replace("+00:00", "Z")


def _shown(definition: ReportDefinition, line: _Figures) -> list[Decimal | None]:
    return [line[name] for name in definition.columns]


def _sum(column: Sequence[Decimal | None]) -> Decimal | None:
    known = [value for value in column if value is not None]
    return sum(known, start=known[0] * 0) if known else None


def _figures(costs: pd.DataFrame, currency: str) -> list[_Figures]:
    """Return the hours and amounts of every row, by the name of their report column."""
    decimals = currency_decimals(currency)
    times = costs[list(MS_COLUMNS)].to_numpy().tolist()
    money = [shown_nanos(line) for line in costs[list(NANOS_COLUMNS)].to_numpy().tolist()]
    unpriced = costs["unpriced_ms"].tolist()
    hours = round_lines(times, _HOUR_STEP_MS)
    amounts = round_lines(money, 10 ** (9 - decimals))
    unpriced_hours = [line[0] for line in round_lines([[ms] for ms in unpriced], _HOUR_STEP_MS)]
    figures: list[_Figures] = []
    for index, line in enumerate(hours):
        unknown = is_unpriced(sum(times[index]), unpriced[index], money[index])
        cents = [*amounts[index], sum(amounts[index])]
        hundredths = [sum(line[: len(HELD_MS_COLUMNS)]), *line, unpriced_hours[index]]
        figures.append(
            _named(HOURS_COLUMNS, hundredths, _HOUR_DECIMALS)
            | (dict.fromkeys(_MONEY) if unknown else _named(_MONEY, cents, decimals))
        )
    return figures


def _named(names: Sequence[str], counts: Sequence[int], decimals: int) -> _Figures:
    scaled = (Decimal(count).scaleb(-decimals) for count in counts)
    return dict(zip(names, scaled, strict=True))
