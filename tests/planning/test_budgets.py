from decimal import Decimal
from fractions import Fraction

import pytest

from app.planning.budgets import Budget, BudgetBasis, BudgetState, crossings
from app.planning.forecast import Forecast

USD = 10**9


def a_state(spent: int, expected: int | None = None) -> BudgetState:
    ahead = None
    if expected is not None:
        ahead = Forecast(
            nanos=expected * USD, low_nanos=spent * USD, high_nanos=expected * USD, days=10
        )
    return BudgetState(
        budget=Budget(team="search", nanos=1_000 * USD),
        spent_nanos=spent * USD,
        forecast=ahead,
        complete=True,
    )


@pytest.mark.parametrize(
    ("spent", "reached"),
    [
        (499, []),
        (500, [Fraction(1, 2)]),
        (899, [Fraction(1, 2)]),
        (900, [Fraction(1, 2), Fraction(9, 10)]),
        (1_000, [Fraction(1, 2), Fraction(9, 10), Fraction(1)]),
        (1_500, [Fraction(1, 2), Fraction(9, 10), Fraction(1)]),
    ],
)
def test_money_at_a_threshold_has_reached_it(spent: int, reached: list[Fraction]) -> None:
    found = crossings([a_state(spent)])

    assert [one.threshold for one in found] == reached
    assert all(one.basis is BudgetBasis.SPENT for one in found)


@pytest.mark.parametrize(("expected", "warned"), [(999, False), (1_000, True)])
def test_a_forecast_of_the_whole_budget_warns_before_it_is_spent(
    expected: int,
    warned: bool,  # noqa: FBT001 # a case
) -> None:
    found = crossings([a_state(100, expected)])

    assert [one.basis for one in found] == ([BudgetBasis.FORECAST] if warned else [])


def test_once_the_budget_is_spent_the_forecast_has_nothing_to_add() -> None:
    found = crossings([a_state(1_000, 2_000)])

    assert {one.basis for one in found} == {BudgetBasis.SPENT}


def test_what_is_left_and_used_is_exact() -> None:
    state = a_state(1_250)

    assert state.remaining_nanos == -250 * USD
    assert state.used_ratio == Decimal("1.2500")
