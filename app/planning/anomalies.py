"""Anomalies: days that cost far more or less than such weekdays did; price changes explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from fractions import Fraction
from statistics import median

from app.planning.daily import FEWEST_DAYS, CostDay

# How far back a day is compared: eight weeks, so that its weekday was there eight times.
HISTORY_DAYS = 56
# From so many days of the same weekday on, they alone are the measure.
_FEWEST_SAME_WEEKDAY = 4
_SATURDAY = 5
# A median absolute deviation times this is a standard deviation, for a normal distribution
# (Rousseeuw and Croux 1993, "Alternatives to the Median Absolute Deviation").
_MAD_TO_DEVIATION = 1.4826


class AnomalyKind(StrEnum):
    """What a day did; a change of price is told, and alarms nobody."""

    SPIKE = "spike"
    DROP = "drop"
    PRICE_CHANGE = "price_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyPolicy:
    """How far a day must be off: in deviations, in money, and in parts of what was expected."""

    deviations: float = 3.5
    floor_nanos: int = 100 * 10**9
    floor_ratio: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A day of a subject: what it cost, what such days cost, and how many deviations off it is.

    ``deviations`` is None where all days before were alike. ``at_old_prices_nanos`` is what the
    day's GPU time would have cost at the prices before; ``compared_days`` is what the expectation
    rests on, ``measure`` says of which days it is the median.
    """

    subject: str
    day: date
    kind: AnomalyKind
    nanos: int
    expected_nanos: int
    at_old_prices_nanos: int
    deviations: float | None
    compared_days: int
    measure: str
    explanation: str


def anomalies(
    subject: str,
    days: Sequence[CostDay],
    judged: Sequence[date],
    policy: AnomalyPolicy,
) -> tuple[Anomaly, ...]:
    """Return which of the judged days are off, in order; days before them are the measure.

    A day that is off does not become the measure of the next ones. Days that are incomplete, and
    those with fewer than `FEWEST_DAYS` complete days before them, are not judged.
    """
    by_day = {one.day: one for one in days if one.complete}
    found: list[Anomaly] = []
    odd: set[date] = set()
    for day in sorted(judged):
        one = by_day.get(day)
        if one is None:
            continue
        since = day - timedelta(days=HISTORY_DAYS)
        before = [by_day[at] for at in sorted(by_day) if since <= at < day and at not in odd]
        anomaly = _judge(subject, one, before, policy) if len(before) >= FEWEST_DAYS else None
        if anomaly is not None:
            found.append(anomaly)
            if anomaly.kind is not AnomalyKind.PRICE_CHANGE:
                odd.add(day)
    return tuple(found)


def _judge(
    subject: str, one: CostDay, before: Sequence[CostDay], policy: AnomalyPolicy
) -> Anomaly | None:
    alike, measure = _alike(one.day, before)
    costs = [day.nanos for day in alike]
    expected = round(median(costs))
    deviation = median([abs(cost - expected) for cost in costs]) * _MAD_TO_DEVIATION
    if not _off(one.nanos, expected, deviation, policy):
        return None
    repriced = _at_old_prices(one, alike)
    if not _off(repriced, expected, deviation, policy):
        if abs(one.nanos - _at_old_prices(one, before[-1:])) < policy.floor_nanos:
            # The price changed on a day before, which told so.
            return None
        kind = AnomalyKind.PRICE_CHANGE
    else:
        kind = AnomalyKind.SPIKE if one.nanos > expected else AnomalyKind.DROP
    return Anomaly(
        subject=subject,
        day=one.day,
        kind=kind,
        nanos=one.nanos,
        expected_nanos=expected,
        at_old_prices_nanos=repriced,
        deviations=round((one.nanos - expected) / deviation, 2) if deviation else None,
        compared_days=len(alike),
        measure=measure,
        explanation=_explanation(kind, one, alike),
    )


def _off(nanos: int, expected: int, deviation: float, policy: AnomalyPolicy) -> bool:
    """Say whether an amount is off in every respect; equal days have no deviation to be off by."""
    distance = abs(nanos - expected)
    return (
        distance > policy.deviations * deviation
        and distance >= policy.floor_nanos
        and distance >= policy.floor_ratio * abs(expected)
    )


def _alike(day: date, before: Sequence[CostDay]) -> tuple[Sequence[CostDay], str]:
    """Return the days that a day is measured by: of its weekday, else weekdays or weekends."""
    same = [one for one in before if one.day.weekday() == day.weekday()]
    if len(same) >= _FEWEST_SAME_WEEKDAY:
        return same, f"the {len(same)} {day:%A}s before"
    weekend = day.weekday() >= _SATURDAY
    alike = [one for one in before if (one.day.weekday() >= _SATURDAY) == weekend]
    if len(alike) >= _FEWEST_SAME_WEEKDAY:
        return alike, f"the {len(alike)} {'weekend days' if weekend else 'weekdays'} before"
    return before, f"the {len(before)} days before"


def _at_old_prices(one: CostDay, before: Sequence[CostDay]) -> int:
    """Return what the day's GPU time would have cost at the median price of the days before.

    Money without GPU time, and GPU models that the days before did not have, stay as they are.
    """
    old = _prices(before)
    moved = sum(
        round(model.gpu_ms * old[model.gpu_model]) - model.nanos
        for model in one.models
        if model.gpu_ms and model.gpu_model in old
    )
    return one.nanos + moved


def _prices(days: Sequence[CostDay]) -> Mapping[str, Fraction]:
    """Return the median nanos of a GPU-millisecond by GPU model."""
    seen: dict[str, list[Fraction]] = {}
    for day in days:
        for model in day.models:
            if model.gpu_ms:
                seen.setdefault(model.gpu_model, []).append(Fraction(model.nanos, model.gpu_ms))
    return {model: median(prices) for model, prices in seen.items()}


def _explanation(kind: AnomalyKind, one: CostDay, before: Sequence[CostDay]) -> str:
    if kind is AnomalyKind.PRICE_CHANGE:
        return "The GPU time is as usual; its price is not."
    hours = sum(model.gpu_ms for model in one.models) / 3_600_000
    usual = median([sum(model.gpu_ms for model in day.models) for day in before]) / 3_600_000
    return f"{hours:,.1f} GPU-hours, where {usual:,.1f} are usual."
