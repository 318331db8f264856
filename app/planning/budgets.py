"""Budgets: what a team may spend in a month, what it has spent, and which thresholds it crossed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from app.planning.forecast import Forecast

# Of the budget; FinOps practice warns at a half, at nine tenths and at the whole of it.
THRESHOLDS = (Fraction(1, 2), Fraction(9, 10), Fraction(1))
_RATIO_DECIMALS = 4


class BudgetBasis(StrEnum):
    """What crossed a threshold: money that was spent, or money that the forecast expects."""

    SPENT = "spent"
    FORECAST = "forecast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A team's budget of a month, in nanos of the billing currency; above 0."""

    team: str
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """Where a team stands. ``forecast`` is None where no forecast is made for the period."""

    budget: Budget
    spent_nanos: int
    forecast: Forecast | None
    complete: bool

    @property
    def remaining_nanos(self) -> int:
        """What is left; below zero once it is overspent."""
        return self.budget.nanos - self.spent_nanos

    @property
    def used_ratio(self) -> Decimal:
        """What part of the budget is spent, to a hundredth of a percent."""
        ratio = Fraction(self.spent_nanos, self.budget.nanos)
        return Decimal(round(ratio * 10**_RATIO_DECIMALS)).scaleb(-_RATIO_DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Crossing:
    """A threshold that a team's money reached in a period."""

    team: str
    basis: BudgetBasis
    threshold: Fraction
    nanos: int
    budget_nanos: int


def crossings(
    states: Iterable[BudgetState], thresholds: Sequence[Fraction] = THRESHOLDS
) -> tuple[Crossing, ...]:
    """Return the thresholds that spent money reached, and the whole budget by forecast.

    Money at exactly the threshold has reached it. A forecast warns of the whole budget only, and
    not any more once that is spent.
    """
    found: list[Crossing] = []
    for state in states:
        whole = state.budget.nanos
        found += [
            _crossing(state, BudgetBasis.SPENT, threshold, state.spent_nanos)
            for threshold in thresholds
            if state.spent_nanos >= threshold * whole
        ]
        expected = state.forecast.nanos if state.forecast else None
        if expected is not None and expected >= whole > state.spent_nanos:
            found.append(_crossing(state, BudgetBasis.FORECAST, Fraction(1), expected))
    return tuple(sorted(found))


def _crossing(state: BudgetState, basis: BudgetBasis, threshold: Fraction, nanos: int) -> Crossing:
    return Crossing(
        team=state.budget.team,
        basis=basis,
        threshold=threshold,
        nanos=nanos,
        budget_nanos=state.budget.nanos,
    )
