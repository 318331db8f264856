"""Forecast: what a period will have cost at its end, with an interval, from daily cost."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt

from app.planning.daily import FEWEST_DAYS, CostDay

# Days that are looked back on: eight weeks, so that each weekday is there eight times.
LONGEST_HISTORY_DAYS = 56
# From two weeks on weekends are told from weekdays: each was there twice.
_WEEKEND_FROM_DAYS = 14
_SATURDAY = 5
# Two-sided: 19 of 20 ends lie inside.
INTERVAL_RATIO = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Money at the end of the period, in nanos; ``low`` and ``high`` bound it (`INTERVAL_RATIO`).

    ``nanos`` is None where nothing can be said, and ``reason`` says why; ``days`` is how many days
    it rests on, without the ``odd_days`` that were left out. No bound is below what is spent
    already.
    """

    nanos: int | None
    low_nanos: int | None
    high_nanos: int | None
    days: int
    odd_days: int = 0
    reason: str = ""

    def at_least(self, nanos: int) -> "Forecast":
        """Return the forecast with nothing below what is spent by now."""
        if self.nanos is None or self.low_nanos is None or self.high_nanos is None:
            return self
        return replace(
            self,
            nanos=max(self.nanos, nanos),
            low_nanos=max(self.low_nanos, nanos),
            high_nanos=max(self.high_nanos, nanos),
        )


def forecast(
    history: Sequence[CostDay],
    spent_nanos: int,
    remaining: Sequence[date],
    odd: Collection[date] = (),
) -> Forecast:
    """Return what ``spent_nanos`` grows to over the remaining days.

    Ordinary least squares over at most `LONGEST_HISTORY_DAYS` complete days: a level, a trend, and
    from two weeks on a difference of weekends. The interval is of the sum of the remaining days:
    the uncertainty of the line, which all of them share, and each day's own noise. Amounts are
    estimates: floats are good enough for them.

    ``odd`` days say nothing of those to come, unless they are the last ones: what goes on until
    the end of the history may be the way it is from there on.
    """
    complete = sorted((one for one in history if one.complete), key=lambda one: one.day)
    complete = complete[-LONGEST_HISTORY_DAYS:]
    days = _without_odd(complete, odd)
    left_out = len(complete) - len(days)
    if not remaining:
        return Forecast(
            nanos=spent_nanos, low_nanos=spent_nanos, high_nanos=spent_nanos, days=len(complete)
        )
    if len(days) < FEWEST_DAYS:
        reason = f"not enough data: {len(days)} complete days of at least {FEWEST_DAYS}"
        return Forecast(nanos=None, low_nanos=None, high_nanos=None, days=len(days), reason=reason)
    mean, margin = _sum_of_days(days, remaining)
    expected = max(round(mean), 0)
    return Forecast(
        nanos=spent_nanos + expected,
        low_nanos=spent_nanos + max(round(mean - margin), 0),
        high_nanos=spent_nanos + max(round(mean + margin), expected),
        days=len(days),
        odd_days=left_out,
    )


def _without_odd(days: Sequence[CostDay], odd: Collection[date]) -> list[CostDay]:
    """Return the days but for the odd ones that ended: usual days came after them."""
    last_usual = max((one.day for one in days if one.day not in odd), default=None)
    return [
        one
        for one in days
        if one.day not in odd or (last_usual is not None and one.day > last_usual)
    ]


def _sum_of_days(days: Sequence[CostDay], remaining: Sequence[date]) -> tuple[float, float]:
    """Return the expected sum of the remaining days, and half the width of its interval."""
    # Seconds to import: most commands never forecast.
    import statsmodels.api as sm  # noqa: PLC0415 see above
    from scipy.stats import t as student  # noqa: PLC0415 see above

    weekends = len(days) >= _WEEKEND_FROM_DAYS
    first = days[0].day
    # Units of the currency, not nanos: products of 10^12 and 10^12 lose digits.
    cost = np.array([one.nanos for one in days], dtype=np.float64) / 1e9
    known = _terms([one.day for one in days], first, weekends=weekends)
    ahead = _terms(list(remaining), first, weekends=weekends)
    fitted = sm.OLS(cost, known).fit()
    total = ahead.sum(axis=0)
    mean = float(total @ fitted.params)
    of_line = float(total @ np.asarray(fitted.cov_params()) @ total)
    of_days = len(remaining) * float(fitted.mse_resid)
    reach = float(student.ppf((1 + INTERVAL_RATIO) / 2, fitted.df_resid))
    margin = reach * float(np.sqrt(max(of_line + of_days, 0.0)))
    return mean * 1e9, margin * 1e9


def _terms(days: Sequence[date], first: date, *, weekends: bool) -> npt.NDArray[np.float64]:
    level = np.ones(len(days), dtype=np.float64)
    trend = np.array([(day - first).days for day in days], dtype=np.float64)
    columns = [level, trend]
    if weekends:
        columns.append(np.array([float(day.weekday() >= _SATURDAY) for day in days]))
    return np.column_stack(columns)
