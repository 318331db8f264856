"""Which thresholds of which budgets were reached: each once a period."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy.dialects.postgresql import insert

from app.planning.budgets import BudgetBasis, Crossing
from app.store.tables.planning import BUDGET_CROSSINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class LatchedCrossing:
    """A threshold that was reached in a period, and when that was first seen."""

    period: str
    crossing: Crossing
    crossed_ms: int


class BudgetStore:
    """The thresholds that were reached."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def latch(
        self, period: str, crossings: Iterable[Crossing], *, at_ms: int
    ) -> tuple[Crossing, ...]:
        """Keep what was reached; return what nobody had seen in the period before, in order."""
        wanted = {(one.team, one.basis, one.threshold): one for one in crossings}
        rows = [
            {
                "period": period,
                "team": one.team,
                "basis": one.basis.value,
                "threshold": _decimal(one.threshold),
                "crossed_at": at_ms,
                "nanos": one.nanos,
                "budget_nanos": one.budget_nanos,
            }
            for one in sorted(wanted.values())
        ]
        if not rows:
            return ()
        table = BUDGET_CROSSINGS
        taken = self._connection.execute(
            insert(table)
            .on_conflict_do_nothing()
            .returning(table.c.team, table.c.basis, table.c.threshold),
            rows,
        ).all()
        fresh = {(row.team, BudgetBasis(row.basis), Fraction(row.threshold)) for row in taken}
        return tuple(sorted(one for key, one in wanted.items() if key in fresh))

    def within(self, period: str) -> tuple[LatchedCrossing, ...]:
        """Return what was reached in a period, in order."""
        return self._read(BUDGET_CROSSINGS.c.period == period)

    def since(self, at_ms: int) -> tuple[LatchedCrossing, ...]:
        """Return what was reached at an instant or later, in order."""
        return self._read(BUDGET_CROSSINGS.c.crossed_at >= at_ms)

    def _read(self, condition: ColumnElement[bool]) -> tuple[LatchedCrossing, ...]:
        table = BUDGET_CROSSINGS
        rows = self._connection.execute(
            select(table)
            .where(condition)
            .order_by(table.c.period, table.c.team, table.c.basis, table.c.threshold)
        )
        return tuple(
            LatchedCrossing(
                period=row.period,
                crossing=Crossing(
                    team=row.team,
                    basis=BudgetBasis(row.basis),
                    threshold=Fraction(row.threshold),
                    nanos=row.nanos,
                    budget_nanos=row.budget_nanos,
                ),
                crossed_ms=row.crossed_at,
            )
            for row in rows
        )


def _decimal(threshold: Fraction) -> Decimal:
    return Decimal(threshold.numerator) / Decimal(threshold.denominator)
