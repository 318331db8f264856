"""Coverage as tables: exact figures by measure, holes with what to do, and one line a group."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from app.chargeback.tables import Cell, Table, amount, seconds
from app.findings.coverage import CoverageRow, Measure
from app.findings.holes import Hole

_FIGURES = (
    "measure",
    "gpu_seconds",
    "gpu_seconds_measured",
    "time_ratio",
    "cost",
    "cost_measured",
    "cost_ratio",
    "complete",
)
HOLE_COLUMNS = (
    "cluster",
    "namespace",
    "kind",
    "weight",
    "subject",
    "quantity",
    "unit",
    "hours",
    "detail",
    "what_to_do",
)
_RATIO_DIGITS = 4


def measured_columns(group_by: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of `measured_table`."""
    return (*group_by, *_FIGURES)


def measured_table(rows: Iterable[CoverageRow], group_by: Sequence[str]) -> Table:
    """Return one line a group and measure, with the groups in which it can be measured.

    ``complete`` is false where a part of the money is not known, so that ``cost`` is less than all.
    """
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        keys: tuple[Cell, ...] = tuple(getattr(row, name) for name in group_by)
        for measure in Measure:
            share = row.shares[measure]
            if not share.ms:
                continue
            lines.append(
                (
                    *keys,
                    measure.value,
                    seconds(share.ms),
                    seconds(share.measured_ms),
                    ratio(share.time_ratio),
                    amount(share.nanos),
                    amount(share.measured_nanos),
                    ratio(row.cost_ratio(measure)),
                    share.complete,
                )
            )
    return Table(measured_columns(group_by), tuple(lines))


def holes_table(holes: Iterable[Hole]) -> Table:
    """Return one line a hole, in the given order."""
    return Table(
        HOLE_COLUMNS,
        tuple(
            (
                hole.cluster,
                hole.namespace,
                hole.kind,
                hole.advice.weight.value,
                hole.subject,
                hole.quantity,
                hole.advice.unit,
                hole.hours,
                hole.detail,
                hole.advice.todo,
            )
            for hole in holes
        ),
    )


def overview_table(rows: Iterable[CoverageRow], group_by: Sequence[str]) -> Table:
    """Return one line a group for people: its GPU-hours and, by measure, percent of its time.

    '–' stands where there is nothing to measure.
    """
    columns = (*group_by, "gpu_hours", *(measure.value for measure in Measure))
    return Table(
        columns,
        tuple(
            (
                *(getattr(row, name) for name in group_by),
                f"{row.ms / 3_600_000:,.1f}",
                *(_percent(row.shares[measure].time_ratio) for measure in Measure),
            )
            for row in rows
        ),
    )


def ratio(exact: Fraction | None) -> Decimal | None:
    """Return a ratio with four decimals, rounded down: what is not all is never 1."""
    if exact is None:
        return None
    scaled = exact.numerator * 10**_RATIO_DIGITS // exact.denominator
    return Decimal(scaled).scaleb(-_RATIO_DIGITS)


def _percent(exact: Fraction | None) -> str:
    # In tenths of a percent, rounded down.
    return "–" if exact is None else f"{exact.numerator * 1000 // exact.denominator / 10:.1f} %"
