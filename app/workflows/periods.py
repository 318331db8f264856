"""Billing periods as people see them, and periods that are imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from app.chargeback.billing_periods import BillingPeriod, BillingPeriodError
from app.chargeback.period_file import read_periods
from app.store.periods import PeriodEvent, PeriodStore
from app.store.statements import Closing, StatementStore


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodView:
    """A period, its last closing (None before the first), and what happened to it."""

    period: BillingPeriod
    closing: Closing | None
    events: tuple[PeriodEvent, ...] = ()

    @property
    def state(self) -> str:
        """Whether it is open or closed."""
        return "closed" if self.period.is_closed else "open"


def period_views(connection: Connection, zone: ZoneInfo) -> tuple[PeriodView, ...]:
    """Return the periods that have hours, were imported or closed, in order, without events."""
    store = PeriodStore(connection, zone)
    last = {one.period: one for one in StatementStore(connection).closings()}
    return tuple(
        PeriodView(period=period, closing=last.get(period.name)) for period in store.known()
    )


def period_view(connection: Connection, name: str, zone: ZoneInfo) -> PeriodView:
    """Return one period with what happened to it; raise `BillingPeriodError` if there is none."""
    store = PeriodStore(connection, zone)
    last = {one.period: one for one in StatementStore(connection).closings()}
    return PeriodView(period=store.by_name(name), closing=last.get(name), events=store.events(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPeriods:
    """What a file of periods defined, and how many of them were not there as they are."""

    periods: tuple[BillingPeriod, ...]
    changed: int


def import_periods(
    text: str,
    *,
    file_name: str,
    author: str,
    engine: Engine,
    zone: ZoneInfo,
    at_ms: int,
) -> ImportedPeriods:
    """Put the periods of a file (CSV) into the table, all of them or none.

    Refused where they leave a gap to those that are there, overlap them, or change one that was
    ever closed.
    """
    periods = read_periods(text, zone, file_name=file_name)
    with engine.begin() as connection:
        store = PeriodStore(connection, zone)
        _refuse_mixed_names(periods, store.all(), file_name)
        changed = store.define(periods, author=author, at_ms=at_ms)
    return ImportedPeriods(periods=periods, changed=changed)


def _refuse_mixed_names(
    periods: Sequence[BillingPeriod], stored: Sequence[BillingPeriod], file_name: str
) -> None:
    for period in periods:
        for other in stored:
            shorter, longer = sorted((period.name, other.name), key=len)
            if longer.startswith(f"{shorter}-"):
                message = f"{file_name}: {shorter} begins the name of {longer}."
                raise BillingPeriodError(message, hint="Call the period by another name.")
