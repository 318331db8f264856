"""Daily cost from the ledger: budgets, forecasts and anomalies of teams and services."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.contract import Contract
from app.chargeback.costs import MS_COLUMNS, NANOS_COLUMNS
from app.chargeback.periods import Grain, Period, parse_period, period_before
from app.errors import InputError
from app.planning.anomalies import (
    HISTORY_DAYS,
    Anomaly,
    AnomalyKind,
    AnomalyPolicy,
    anomalies,
)
from app.planning.budgets import Budget, BudgetState, crossings
from app.planning.daily import CostDay, ModelDay
from app.planning.forecast import LONGEST_HISTORY_DAYS, Forecast, forecast
from app.store.budgets import BudgetStore, LatchedCrossing
from app.store.costs import CostStore
from app.store.dimensions import Filters
from app.units.money import to_nanos
from app.units.window import FIRST_YEAR, HOUR_MS, LAST_YEAR, Window, from_ms, to_ms
from app.workflows.rating import current_terms
from app.workflows.reading import cost_sums

_DAY = timedelta(days=1)
_HELD = ("used", "idle", "unmeasured")
# A thousand subjects over eight weeks are tens of thousands of rows; more is another question.
MOST_JUDGED_DAYS = 92


class DaysError(InputError):
    """A span of days that cannot be judged."""


class Subject(StrEnum):
    """Whose daily cost is looked at."""

    TEAM = "team"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a team has spent of a period, and what it will have spent at its end."""

    team: str
    period: str
    spent_nanos: int
    forecast: Forecast
    complete: bool


def month_of(name: str, at: datetime, zone: ZoneInfo) -> Period:
    """Return the named month, or the one that goes on at the instant ('')."""
    period = parse_period(name or f"{at.astimezone(zone):%Y-%m}", zone)
    if period.grain is not Grain.MONTH:
        message = f"Budgets and forecasts are of months; {name!r} is none."
        raise DaysError(message, hint="Write a month as 2026-10.")
    return period


def parse_days(start: str, end: str) -> tuple[date, date]:
    """Return the first day and the day after the last; refuse what is no span of days."""
    try:
        first, after = date.fromisoformat(start), date.fromisoformat(end)
    except ValueError as error:
        message = f"{start!r} to {end!r} are no days."
        raise DaysError(message, hint="Write days as 2026-11-01.") from error
    if not 0 < (after - first).days <= MOST_JUDGED_DAYS:
        message = f"From {start} to {end} are {(after - first).days} days."
        raise DaysError(message, hint=f"Ask for 1 to {MOST_JUDGED_DAYS} days, the end behind.")
    if not FIRST_YEAR < first.year <= after.year <= LAST_YEAR:
        message = f"{start} to {end} is outside the calendar."
        raise DaysError(message, hint="Check the year.")
    return first, after


def daily_costs(
    connection: Connection,
    by: Subject,
    first: date,
    after: date,
    filters: Filters = (),
    *,
    zone: ZoneInfo,
) -> dict[str, tuple[CostDay, ...]]:
    """Return the cost of every subject on each billing day from ``first`` until before ``after``.

    A subject that cost nothing on a day cost 0 then, from its first day on. Days that lack hours
    or samples are not complete for anybody, those with unpriced time not for whose it is.
    """
    span_ms = (_midnight(first, zone), _midnight(after, zone))
    rows = cost_sums(
        connection,
        _window(span_ms),
        (by.value, "gpu_model", "day"),
        filters,
        zone=zone,
        span_ms=span_ms,
    ).rows
    whole = _complete_days(connection, first, after, zone)
    found: dict[str, dict[date, list[ModelDay]]] = {}
    totals: dict[tuple[str, date], int] = {}
    unpriced: set[tuple[str, date]] = set()
    for record in _records(rows, by):
        days = found.setdefault(record.subject, {})
        days.setdefault(record.day, []).append(record.model)
        key = (record.subject, record.day)
        totals[key] = totals.get(key, 0) + record.total_nanos
        if record.unpriced:
            unpriced.add(key)
    return {
        subject: tuple(
            CostDay(
                day=day,
                nanos=totals.get((subject, day), 0),
                complete=day in whole and (subject, day) not in unpriced,
                models=tuple(days.get(day, ())),
            )
            for day in _days(min(days), after)
        )
        for subject, days in sorted(found.items())
    }


def outlooks(
    connection: Connection, period: Period, at: datetime, filters: Filters = (), *, zone: ZoneInfo
) -> tuple[Outlook, ...]:
    """Return where every team will stand at the end of the period, seen from ``at``.

    What is spent counts from the period's beginning until ``at``; the forecast learns from the
    whole days before it, also those before the period, and counts the day of ``at`` as one to
    come. A period that is over is no forecast: it has cost what it has cost.
    """
    first = _day(period.start, zone)
    after = _day(period.end, zone)
    today = min(_day(at, zone), after)
    since = today - timedelta(days=LONGEST_HISTORY_DAYS)
    until = min(today + _DAY, after)
    daily = daily_costs(connection, Subject.TEAM, min(first, since), until, filters, zone=zone)
    remaining = list(_days(max(today, first), after))
    found = []
    for team, days in daily.items():
        inside = [one for one in days if first <= one.day < after]
        whole = [one for one in inside if one.day < today]
        recent = [one for one in days if since <= one.day < today]
        odd = [
            one.day
            for one in anomalies(team, recent, [one.day for one in recent], AnomalyPolicy())
            if one.kind is not AnomalyKind.PRICE_CHANGE
        ]
        spent = sum(one.nanos for one in inside)
        ahead = forecast(recent, sum(one.nanos for one in whole), remaining, odd)
        found.append(
            Outlook(
                team=team,
                period=period.name,
                spent_nanos=spent,
                forecast=ahead.at_least(spent),
                complete=all(one.complete for one in whole),
            )
        )
    return tuple(found)


def budget_states(
    connection: Connection, period: Period, at: datetime, filters: Filters = (), *, zone: ZoneInfo
) -> tuple[BudgetState, ...]:
    """Return where every team with a budget stands, in the order of their names."""
    contract = current_terms(connection).contract
    by_team = {one.team: one for one in outlooks(connection, period, at, filters, zone=zone)}
    wanted = dict(filters).get("team", ())
    states = []
    for budget in _budgets(contract, period, at):
        if wanted and budget.team not in wanted:
            continue
        seen = by_team.get(budget.team)
        states.append(
            BudgetState(
                budget=budget,
                spent_nanos=seen.spent_nanos if seen else 0,
                forecast=seen.forecast if seen else None,
                complete=seen.complete if seen else True,
            )
        )
    return tuple(states)


def latch_budgets(
    connection: Connection, period: Period, at: datetime, *, zone: ZoneInfo
) -> tuple[LatchedCrossing, ...]:
    """Keep which thresholds are reached; return those that nobody had seen in the period before.

    Where days of the period are incomplete, money that is there is there: spent thresholds count.
    """
    at_ms = to_ms(at)
    reached = crossings(budget_states(connection, period, at, zone=zone))
    fresh = BudgetStore(connection).latch(period.name, reached, at_ms=at_ms)
    return tuple(
        LatchedCrossing(period=period.name, crossing=one, crossed_ms=at_ms) for one in fresh
    )


def latch_months(at: datetime, *, engine: Engine, zone: ZoneInfo) -> tuple[LatchedCrossing, ...]:
    """Keep what is reached in the month that goes on and in the one before, in one transaction.

    The last hours of a month settle in the next one.
    """
    months = (period_before(at, Grain.MONTH, zone), month_of("", at, zone))
    with engine.begin() as connection:
        return tuple(
            one for month in months for one in latch_budgets(connection, month, at, zone=zone)
        )


def cost_anomalies(
    connection: Connection,
    by: Subject,
    first: date,
    after: date,
    filters: Filters = (),
    *,
    zone: ZoneInfo,
    policy: AnomalyPolicy,
) -> tuple[Anomaly, ...]:
    """Return the days from ``first`` until before ``after`` that are off, by day and subject."""
    since = first - timedelta(days=HISTORY_DAYS)
    daily = daily_costs(connection, by, since, after, filters, zone=zone)
    judged = list(_days(first, after))
    found = [
        one
        for subject, days in daily.items()
        if subject
        for one in anomalies(subject, days, judged, policy)
    ]
    return tuple(sorted(found, key=lambda one: (one.day, one.subject)))


@dataclass(frozen=True, slots=True)
class _Record:
    subject: str
    day: date
    model: ModelDay
    total_nanos: int
    unpriced: bool


def _records(rows: pd.DataFrame, by: Subject) -> Sequence[_Record]:
    """Return summed charges as values; prices are those of held time, of first-hand lines."""
    columns = [by.value, "day", "gpu_model", *MS_COLUMNS, *NANOS_COLUMNS, "unpriced_ms"]
    ms, nanos = len(MS_COLUMNS), len(NANOS_COLUMNS)
    held_ms = [MS_COLUMNS.index(f"{kind}_ms") for kind in _HELD]
    held_nanos = [NANOS_COLUMNS.index(f"{kind}_nanos") for kind in _HELD]
    records = []
    for subject, day, gpu_model, *figures in zip(
        *(rows[name].tolist() for name in columns), strict=True
    ):
        times, money = figures[:ms], figures[ms : ms + nanos]
        model = ModelDay(
            gpu_model=gpu_model,
            gpu_ms=sum(times[place] for place in held_ms),
            nanos=sum(money[place] for place in held_nanos),
        )
        records.append(
            _Record(subject, date.fromisoformat(day), model, sum(money), bool(figures[-1]))
        )
    return records


def _complete_days(
    connection: Connection, first: date, after: date, zone: ZoneInfo
) -> frozenset[date]:
    store = CostStore(connection, zone)
    return frozenset(
        day
        for day in _days(first, after)
        if store.incomplete_hours(
            _window((_midnight(day, zone), _midnight(day + _DAY, zone)))
        ).complete
    )


def _budgets(contract: Contract, period: Period, at: datetime) -> list[Budget]:
    """Return the budgets of the period: the last that counts in it until ``at``."""
    start_ms, end_ms = period.span_ms
    seen_ms = min(max(to_ms(at), start_ms), end_ms - 1)
    names = sorted({team.name for team in contract.teams})
    blocks = [contract.team_at(name, seen_ms) for name in names]
    return [
        Budget(team=block.name, nanos=to_nanos(block.monthly_budget))
        for block in blocks
        if block is not None and block.monthly_budget
    ]


def _window(span_ms: tuple[int, int]) -> Window:
    first, last = span_ms[0] // HOUR_MS, -(-span_ms[1] // HOUR_MS)
    return Window(from_ms(first * HOUR_MS), from_ms(last * HOUR_MS))


def _midnight(day: date, zone: ZoneInfo) -> int:
    return to_ms(datetime.combine(day, time(), tzinfo=zone))


def _day(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def _days(first: date, after: date) -> Sequence[date]:
    return [first + n * _DAY for n in range((after - first).days)]
