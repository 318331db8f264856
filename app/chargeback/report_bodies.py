"""What reports show of each source: figures rounded so that rows and columns add up."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import pandas as pd

from app.chargeback.costs import (
    HELD_MS_COLUMNS,
    MS_COLUMNS,
    NANOS_COLUMNS,
    is_unpriced,
    shown_nanos,
)
from app.chargeback.inference import inference_table
from app.chargeback.report_columns import HOURS_COLUMNS, MONEY_COLUMNS, SOURCES, ReportSource
from app.chargeback.report_tables import Figures, ReportBody
from app.chargeback.rounding import (
    currency_decimals,
    round_half_even,
    round_lines,
    round_to_sum,
)
from app.chargeback.tables import Cell, amount

_HOUR_MS = 3_600_000
# Hours are shown to a hundredth: 36 seconds.
_HOUR_STEP_MS = 36_000
_HOUR_DECIMALS = 2
# Ratios are shown to a tenth of a thousandth, costs per GPU-hour to a millionth.
_RATIO_DECIMALS = 4
_UNIT_COST_STEP_NANOS = 1_000
# Who is charged for what no team claims.
_NOBODY = ("", "unowned")


def costs_body(costs: pd.DataFrame, group_by: Sequence[str], currency: str) -> ReportBody:
    """Return the body of a report over summed charges (`app.chargeback.costs.costs_schema`).

    Amounts are rounded to the currency's minor unit and hours to a hundredth so that the parts of a
    row add up to its total and the rows to the last row; shares add up to 1. A row that no price
    covers has empty amounts. Costs per GPU-hour and ratios are of the exact figures.
    """
    # Which of equal remainders gets the last cent goes by the order of the groups.
    ordered = costs.sort_values([*group_by], kind="stable", ignore_index=True)
    times: list[list[int]] = ordered[list(MS_COLUMNS)].to_numpy().tolist()
    money = [shown_nanos(line) for line in ordered[list(NANOS_COLUMNS)].to_numpy().tolist()]
    unpriced: list[int] = ordered["unpriced_ms"].tolist()
    figures = [dict(line) for line in _rounded(times, money, unpriced, currency)]
    totals = [sum(line) for line in money]
    shares = _shares(totals)
    for index, line in enumerate(figures):
        unknown = line["total_cost"] is None
        line["share_of_total_ratio"] = None if unknown else shares[index]
        line.update(_derived(times[index], totals[index], unpriced[index]))
    sums = [sum(column) for column in zip(*times, strict=True)] or [0] * len(MS_COLUMNS)
    total: dict[str, Cell] = {
        name: _sum(line[name] for line in figures) for name in (*HOURS_COLUMNS, *MONEY_COLUMNS)
    }
    total["share_of_total_ratio"] = _sum(line["share_of_total_ratio"] for line in figures)
    total.update(_derived(sums, sum(totals), sum(unpriced)))
    return ReportBody(
        keys=list(ordered[list(group_by)].itertuples(index=False, name=None)),
        figures=figures,
        complete=ordered["complete"].tolist(),
        total=total,
    )


def coverage_facts(costs: pd.DataFrame) -> tuple[tuple[str, Cell], ...]:
    """Return how much of a period is known: of summed charges by team, ratios of 0–1.

    Showback becomes chargeback where most cost has an owner and little time is nobody's.
    """
    times = {name: int(costs[name].sum()) for name in (*MS_COLUMNS, "unpriced_ms")}
    held = sum(times[name] for name in HELD_MS_COLUMNS)
    every = sum(times[name] for name in MS_COLUMNS)
    # Sums of objects, which are Python's integers: 64 bits may be too few.
    nanos = costs[list(NANOS_COLUMNS)].astype(object).sum(axis=1)
    owned = sum(
        value
        for team, value in zip(costs["team"].tolist(), nanos.tolist(), strict=True)
        if team not in _NOBODY
    )
    return (
        ("owned_cost_ratio", _ratio(int(owned), int(nanos.sum()))),
        ("measured_ratio", _ratio(held - times["unmeasured_ms"], held)),
        ("observed_ratio", _ratio(every - times["unobserved_ms"], every)),
        ("priced_ratio", _ratio(every - times["unpriced_ms"], every)),
        ("unallocated_ratio", _ratio(times["unallocated_ms"], every)),
    )


def inference_body(
    inference: pd.DataFrame, whole: pd.DataFrame, group_by: Sequence[str], currency: str
) -> ReportBody:
    """Return the body of a report over summed inference (`app.chargeback.inference`).

    ``whole`` is the same sum without groups: the unit costs and latencies of the total are those of
    everything together, not means of the rows.
    """
    ordered = inference.sort_values([*group_by], kind="stable", ignore_index=True)
    records = inference_table(ordered, group_by).records()
    figures = [dict(record) for record in records]
    hours = _to_whole(ordered["gpu_ms"].tolist(), _HOUR_STEP_MS)
    money = _used_and_all(ordered, currency)
    for line, time, (used, cost) in zip(figures, hours, money, strict=True):
        line["gpu_hours"] = Decimal(time).scaleb(-_HOUR_DECIMALS)
        line["used_cost"] = used
        line["total_cost"] = cost
    everything = dict.fromkeys(SOURCES[ReportSource.INFERENCE].columns)
    (total,) = inference_table(whole, ()).records() or (everything,)
    return ReportBody(
        keys=list(ordered[list(group_by)].itertuples(index=False, name=None)),
        figures=figures,
        complete=ordered["complete"].tolist(),
        total={
            **total,
            "gpu_hours": _sum(line["gpu_hours"] for line in figures),
            "used_cost": _sum(used for used, _ in money),
            "total_cost": _sum(cost for _, cost in money),
        },
    )


def _used_and_all(
    inference: pd.DataFrame, currency: str
) -> list[tuple[Decimal | None, Decimal | None]]:
    """Return what active time and all time of each row cost; nothing where no price covers it."""
    decimals = currency_decimals(currency)
    used, every = (
        [None if value is pd.NA else int(value) for value in inference[name].tolist()]
        for name in ("used_nanos", "total_nanos")
    )
    parts = [
        [active or 0, (whole or 0) - (active or 0)]
        for active, whole in zip(used, every, strict=True)
    ]
    cents = round_lines(parts, 10 ** (9 - decimals))
    return [
        (
            None if active is None else Decimal(line[0]).scaleb(-decimals),
            None if whole is None else Decimal(sum(line)).scaleb(-decimals),
        )
        for active, whole, line in zip(used, every, cents, strict=True)
    ]


def findings_body(findings: pd.DataFrame, group_by: Sequence[str], currency: str) -> ReportBody:
    """Return the body of a report over findings, one row each before they are grouped.

    The frame has the group columns as text, ``wasted_gpu_ms``, and ``wasted_nanos`` and
    ``per_day_nanos``, null where no price covers the waste: such a row is not complete. Money and
    hours are those of each finding's last evidence.
    """
    names = list(group_by)
    grouped = [
        (key if isinstance(key, tuple) else (key,), rows)
        for key, rows in findings.groupby(names, sort=True)
    ]
    hours = _to_whole([int(rows["wasted_gpu_ms"].sum()) for _, rows in grouped], _HOUR_STEP_MS)
    wasted = _rounded_money([_known_sum(rows["wasted_nanos"]) for _, rows in grouped], currency)
    daily = _rounded_money([_known_sum(rows["per_day_nanos"]) for _, rows in grouped], currency)
    figures: list[Figures] = [
        {
            "findings": len(rows),
            "wasted_gpu_hours": Decimal(time).scaleb(-_HOUR_DECIMALS),
            "wasted_cost": money,
            "cost_per_day": a_day,
        }
        for (_, rows), time, money, a_day in zip(grouped, hours, wasted, daily, strict=True)
    ]
    return ReportBody(
        keys=[tuple(str(part) for part in key) for key, _ in grouped],
        figures=figures,
        complete=[not rows["wasted_nanos"].isna().any() for _, rows in grouped],
        total={
            "findings": len(findings),
            "wasted_gpu_hours": Decimal(sum(hours)).scaleb(-_HOUR_DECIMALS),
            "wasted_cost": _sum(wasted),
            "cost_per_day": _sum(daily),
        },
    )


def budget_body(
    costs: pd.DataFrame,
    budgets: Mapping[str, int],
    reached: Mapping[str, str],
    currency: str,
) -> ReportBody:
    """Return what teams spent of their monthly ``budgets`` in nanos: of summed charges by team.

    ``reached`` says by team which thresholds were. A team with a budget and no charge has a row
    too; one without a budget has none to remain. The total's remainder and ratio are those of the
    teams with a budget.
    """
    body = costs_body(costs, ("team",), currency)
    teams = [str(team) for (team,) in body.keys]
    silent = sorted(set(budgets) - set(teams))
    zero = Decimal(0).scaleb(-currency_decimals(currency))
    spent = [*(line["total_cost"] for line in body.figures), *(zero for _ in silent)]
    every = [*teams, *silent]
    given = _rounded_money([budgets.get(team) for team in every], currency)
    lines = [
        {**_spent(cost, budget), "thresholds_reached": reached.get(team, "")}
        for team, cost, budget in zip(every, spent, given, strict=True)
    ]
    budgeted = [cost for cost, one in zip(spent, given, strict=True) if one is not None]
    whole = {**_spent(_sum(budgeted), _sum(given)), "spent_cost": _sum(spent)}
    return ReportBody(
        keys=[(team,) for team in every],
        figures=lines,
        complete=[*body.complete, *(True for _ in silent)],
        total={**whole, "thresholds_reached": ""},
    )


def _spent(cost: Cell, budget: Cell) -> Figures:
    line: dict[str, Cell] = dict.fromkeys(("remaining", "used_ratio"))
    if isinstance(cost, Decimal) and isinstance(budget, Decimal):
        line["remaining"] = budget - cost
        line["used_ratio"] = _ratio(int(cost.scaleb(9)), int(budget.scaleb(9)))
    return {"budget": budget, "spent_cost": cost, **line}


def _rounded(
    times: Sequence[Sequence[int]],
    money: Sequence[Sequence[int]],
    unpriced: Sequence[int],
    currency: str,
) -> Iterable[Figures]:
    """Yield the hours and amounts of every row, by the name of their report column."""
    decimals = currency_decimals(currency)
    hours = round_lines(times, _HOUR_STEP_MS)
    amounts = round_lines(money, 10 ** (9 - decimals))
    unpriced_hours = _to_whole(unpriced, _HOUR_STEP_MS)
    for index, line in enumerate(hours):
        unknown = is_unpriced(sum(times[index]), unpriced[index], money[index])
        cents = [*amounts[index], sum(amounts[index])]
        hundredths = [sum(line[: len(HELD_MS_COLUMNS)]), *line, unpriced_hours[index]]
        yield {
            **_named(HOURS_COLUMNS, hundredths, _HOUR_DECIMALS),
            **(dict.fromkeys(MONEY_COLUMNS) if unknown else _named(MONEY_COLUMNS, cents, decimals)),
        }


def _named(names: Sequence[str], counts: Sequence[int], decimals: int) -> dict[str, Decimal]:
    scaled = (Decimal(count).scaleb(-decimals) for count in counts)
    return dict(zip(names, scaled, strict=True))


def _to_whole(values: Sequence[int], step: int) -> list[int]:
    """Return values as counts of ``step`` that add up to their rounded sum."""
    return [line[0] for line in round_lines([[value] for value in values], step)]


def _rounded_money(nanos: Sequence[int | None], currency: str) -> list[Decimal | None]:
    decimals = currency_decimals(currency)
    counts = _to_whole([value or 0 for value in nanos], 10 ** (9 - decimals))
    return [
        None if value is None else Decimal(count).scaleb(-decimals)
        for value, count in zip(nanos, counts, strict=True)
    ]


def _known_sum(nanos: pd.Series) -> int | None:
    known = [int(value) for value in nanos.tolist() if value is not pd.NA]
    return sum(known) if known else None


def _sum(column: Iterable[Cell]) -> Decimal | None:
    known = [value for value in column if isinstance(value, Decimal)]
    return sum(known, start=known[0] * 0) if known else None


def _derived(times: Sequence[int], nanos: int, unpriced_ms: int) -> Figures:
    """Return costs per GPU-hour, none where a part has no price, and ratios of time."""
    used, idle, unmeasured, unallocated = times[:4]
    held = used + idle + unmeasured
    return {
        "cost_per_gpu_hour_held": None if unpriced_ms else _per_hour(nanos, held),
        "cost_per_gpu_hour_active": None if unpriced_ms else _per_hour(nanos, used),
        "measured_ratio": _ratio(used + idle, held),
        "unallocated_ratio": _ratio(unallocated, sum(times)),
    }


def _per_hour(nanos: int, gpu_ms: int) -> Decimal | None:
    if gpu_ms <= 0:
        return None
    steps = round_half_even(nanos * _HOUR_MS, gpu_ms * _UNIT_COST_STEP_NANOS)
    return amount(steps * _UNIT_COST_STEP_NANOS)


def _ratio(part: int, whole: int) -> Decimal | None:
    if whole <= 0:
        return None
    return Decimal(round_half_even(part * 10**_RATIO_DECIMALS, whole)).scaleb(-_RATIO_DECIMALS)


def _shares(values: Sequence[int]) -> list[Decimal | None]:
    """Return shares of the sum that add up to 1; none where the sum is not positive."""
    whole = sum(values)
    if whole <= 0:
        return [None] * len(values)
    one = 10**_RATIO_DECIMALS
    counts = round_to_sum([value * one for value in values], whole, one)
    return [Decimal(count).scaleb(-_RATIO_DECIMALS) for count in counts]
