"""Adjust a closed billing period: by late facts, or by inputs that were wrong when it closed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, Engine

from app.attribution.adjustments import AdjustmentType
from app.attribution.redistribution import BillingDay, billing_days
from app.errors import InputError
from app.store.adjustments import AdjustmentRun, united
from app.store.contracts import ContractStore
from app.store.late_facts import LateFactsStore, LateHour
from app.store.naming import NameStore
from app.store.periods import PeriodStore
from app.store.prices import PriceStore
from app.store.windows import RatingVersions
from app.units.window import Window
from app.workflows.postings import (
    Adjusted,
    Adjusting,
    Inputs,
    Posting,
    alone,
    closed_period,
    late_run,
    require_reason,
    result_of,
    store_posting,
)
from app.workflows.rating import RATING_VERSION
from app.workflows.recomputing import day_difference


class UnknownVersionError(InputError):
    """A version of the inputs that was never imported or applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Which period is charged by which inputs instead; None is the latest version."""

    period: str
    reason: str
    author: str
    prices: int | None = None
    contract: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """What late facts change by the inputs in force so far, and what the other inputs change."""

    late: Adjusted
    correction: Adjusted


def adjust_period(name: str, given: Adjusting) -> Adjusted:
    """Post what the late facts of a closed period change, by its inputs; nothing if equal.

    All of it is posted or nothing, into the period that is open at the instant. Raises
    `OpenPeriodError`, and `AdjustmentRunningError` while another run is under way.
    """
    with alone(given.engine):
        posting = _late_posting(name, given)
        posted = len(posting.lines) > 0 and not given.dry_run
        if not given.dry_run:
            with given.engine.begin() as connection:
                if posted:
                    posting = store_posting(connection, posting, given.billing_zone)
                LateFactsStore(connection).mark_adjusted(posting.hours)
        return result_of(posting, _team_names(given.engine), posted=posted)


def correct_period(order: Correction, given: Adjusting) -> Corrected:
    """Charge a closed period by other inputs: post the difference, and go by them from then on.

    What late facts change by the inputs so far is posted first, as a run of its own, both or none.
    Raises `UnexplainedError` and `UnknownVersionError` beside what `adjust_period` raises.
    """
    require_reason(order.reason, order.author)
    with alone(given.engine):
        late = _late_posting(order.period, given)
        correction = _correction(order, late, given)
        was_late = len(late.lines) > 0 and not given.dry_run
        if not given.dry_run:
            with given.engine.begin() as connection:
                if was_late:
                    late = store_posting(connection, late, given.billing_zone)
                LateFactsStore(connection).mark_adjusted(late.hours)
                correction = store_posting(connection, correction, given.billing_zone)
        names = _team_names(given.engine)
        return Corrected(
            late=result_of(late, names, posted=was_late),
            correction=result_of(correction, names, posted=not given.dry_run),
        )


def periods_to_adjust(engine: Engine, billing_zone: ZoneInfo) -> tuple[str, ...]:
    """Return the closed periods with late facts that no adjustment was made from, in order."""
    with engine.connect() as connection:
        late = LateFactsStore(connection)
        return tuple(
            period.name
            for period in PeriodStore(connection, billing_zone).all()
            if period.is_closed and late.to_adjust(period.hours())
        )


def _late_posting(name: str, given: Adjusting) -> Posting:
    with given.engine.connect() as connection:
        period = closed_period(connection, name, given.billing_zone)
        hours = LateFactsStore(connection).to_adjust(period.hours())
        run = late_run(connection, name, given)
    days = _days([hour.window for hour in hours], given.billing_zone)
    posting = _posting(run, days, Inputs(given))
    return replace(posting, run=replace(run, reason=_words(hours)), hours=hours)


def _correction(order: Correction, late: Posting, given: Adjusting) -> Posting:
    with given.engine.connect() as connection:
        period = closed_period(connection, order.period, given.billing_zone)
        versions = _versions(connection, order)
        run = late_run(connection, order.period, given)
    named = f"prices version {versions.prices}, contract version {versions.contract}"
    run = replace(
        run,
        type=AdjustmentType.CORRECTION,
        reason=f"{order.reason.strip()} ({named})",
        author=order.author.strip(),
        versions=versions,
    )
    days = _days([period.hours()], given.billing_zone)
    return _posting(run, days, Inputs(given, {order.period: versions}), already=late.lines)


def _posting(
    run: AdjustmentRun,
    days: Sequence[BillingDay],
    inputs: Inputs,
    *,
    already: pd.DataFrame | None = None,
) -> Posting:
    """Return what the days' lines would change by, less what is ``already`` about to be posted."""
    before = united([] if already is None else [already])
    found = [
        day_difference(
            day,
            inputs.if_closed,
            engine=inputs.given.engine,
            billing_zone=inputs.given.billing_zone,
            closed_before_ms=inputs.closed_before_ms,
            models=inputs.given.models,
            already=before.loc[
                (before["start_ms"] >= day.start_ms) & (before["start_ms"] < day.end_ms)
            ],
        )
        for day in days
    ]
    return Posting(
        run=run,
        lines=united(one.lines for one in found),
        teams=tuple(sorted({team for one in found for team in one.teams})),
    )


def _days(windows: Sequence[Window], zone: ZoneInfo) -> list[BillingDay]:
    """Return the billing days that the windows touch, each once, in order."""
    days = {day for window in windows for day in billing_days(zone, window.start_ms, window.end_ms)}
    return sorted(days, key=lambda day: day.start_ms)


def _words(hours: Sequence[LateHour]) -> str:
    """Say why late facts adjust a period."""
    if not hours:
        return "No late delivery."
    revisions = ", ".join(str(one) for one in sorted({hour.revision for hour in hours}))
    spoken = "1 hour" if len(hours) == 1 else f"{len(hours)} hours"
    return f"Late delivery of {spoken}, revision {revisions}."


def _versions(connection: Connection, order: Correction) -> RatingVersions:
    """Return the versions to correct by; refuse those that there are not."""
    last_prices = PriceStore(connection).version()
    prices = last_prices if order.prices is None else order.prices
    contracts = ContractStore(connection)
    latest = contracts.latest()
    last_contract = latest.version if latest else 0
    contract = last_contract if order.contract is None else order.contract
    if not 0 <= prices <= last_prices:
        message = f"There is no version {prices} of the prices."
        raise UnknownVersionError(message, hint=f"The latest is {last_prices}.")
    if not 0 <= contract <= last_contract:
        message = f"There is no version {contract} of the contract."
        raise UnknownVersionError(message, hint=f"The latest is {last_contract}.")
    return RatingVersions(rating=RATING_VERSION, prices=prices, contract=contract)


def _team_names(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        return NameStore(connection).teams()
