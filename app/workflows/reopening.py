"""Open the last closed billing period again: late facts become facts, postings are taken back."""

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection

from app.attribution.adjustments import AdjustmentType, reversed_lines
from app.chargeback.billing_periods import BillingPeriod
from app.store.adjustments import AdjustmentRun, AdjustmentStore
from app.store.late_facts import LateFactsStore
from app.store.naming import NameStore
from app.store.periods import PeriodStore, reopen
from app.store.redistribution import mark_days_of
from app.store.windows import WindowStore
from app.workflows.postings import (
    Adjusting,
    Posting,
    alone,
    closed_period,
    require_reason,
    store_posting,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """What a reopening did: the version that stays readable, merged hours, lines taken back."""

    period: str
    version: int
    merged: int
    reversed: int


def reopen_period(name: str, *, reason: str, author: str, given: Adjusting) -> Reopened:
    """Open the last closed period again, in one transaction.

    Its newest late facts become its facts, all that was posted to its lines is taken back where it
    was posted, and its hours wait to be rated by the inputs in force. Statements and adjustments
    stay readable. Raises `OpenPeriodError`, `UnexplainedError`, `AdjustmentRunningError`, and
    `PeriodStateError` while a later period is closed.
    """
    require_reason(reason, author)
    with alone(given.engine), given.engine.begin() as connection:
        period = closed_period(connection, name, given.billing_zone)
        version = reopen(connection, name, reason=reason, author=author, at_ms=given.at_ms)
        taken_back = _take_back(connection, period, reason, author, given)
        merged = LateFactsStore(connection).merge(period.hours())
        for cluster in sorted(NameStore(connection).clusters().values()):
            WindowStore(connection, cluster).mark(period.hours().start_ms, period.hours().end_ms)
        mark_days_of(connection, period.hours())
    return Reopened(period=name, version=version, merged=len(merged), reversed=taken_back)


def _take_back(
    connection: Connection, period: BillingPeriod, reason: str, author: str, given: Adjusting
) -> int:
    """Post the reverse of all that was posted to the period's lines, where it was posted."""
    store = AdjustmentStore(connection, given.billing_zone)
    periods = PeriodStore(connection, given.billing_zone)
    posted: defaultdict[str, list[AdjustmentRun]] = defaultdict(list)
    for run in store.runs_to(period.hours()):
        posted[periods.period_at(run.posted_ms).name].append(run)
    versions = store.inputs_of(period.name)
    assert versions is not None, f"{period.name} was closed without pins"
    count = 0
    for name, runs in sorted(posted.items()) or [(periods.period_at(given.at_ms).name, [])]:
        booked = periods.by_name(name)
        run = AdjustmentRun(
            run_id=store.next_run_id(),
            period=period.name,
            type=AdjustmentType.REOPENING,
            posting_period=name,
            posted_ms=min(max(given.at_ms, booked.start_ms), booked.end_ms - 1),
            reason=f"{period.name} is open again: {reason.strip()}",
            author=author.strip(),
            versions=versions,
        )
        lines = reversed_lines(store.posted_to(period.hours(), runs))
        store_posting(connection, Posting(run=run, lines=lines), given.billing_zone)
        count += len(lines)
    return count
