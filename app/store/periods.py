"""Billing periods and what happened to them; their state changes through the database alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select, text

from app.chargeback.billing_periods import BillingPeriod, period_at, period_named
from app.store.locking import guarded
from app.store.tables.facts import WINDOW_STATE
from app.store.tables.ledger import BILLING_PERIODS
from app.store.tables.periods import PERIOD_EVENTS
from app.units.window import from_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodEvent:
    """One change of a period's state: who made it, when and why."""

    period: str
    version: int
    event: str
    at_ms: int
    reason: str
    author: str


class PeriodStore:
    """The billing periods of a ledger; ``zone`` is the billing zone, whose months are the default.

    Closed periods are a prefix of time: an hour is closed if it begins before `closed_before_ms`.
    """

    def __init__(self, connection: Connection, zone: ZoneInfo) -> None:
        self._connection = connection
        self._zone = zone

    def all(self) -> tuple[BillingPeriod, ...]:
        """Return the periods of the table, in order: those that were imported or closed."""
        table = BILLING_PERIODS
        return tuple(
            BillingPeriod(
                name=row.name,
                start_ms=row.started_at,
                end_ms=row.until,
                version=row.version,
                closed_ms=row.closed_at,
            )
            for row in self._connection.execute(select(table).order_by(table.c.started_at))
        )

    def closed_before_ms(self) -> int:
        """Return where the last closed period ends; 0 if none is closed."""
        return closed_before_ms(self._connection)

    def period_at(self, at_ms: int) -> BillingPeriod:
        """Return the period that contains an instant."""
        return period_at(self.all(), at_ms, self._zone)

    def open_period_at(self, at_ms: int) -> BillingPeriod:
        """Return the first open period at or after an instant: where what it brings is booked."""
        return self.period_at(max(at_ms, self.closed_before_ms()))

    def by_name(self, name: str) -> BillingPeriod:
        """Return the period of that name; raise `BillingPeriodError` if there is none."""
        return period_named(self.all(), name, self._zone)

    def known(self) -> tuple[BillingPeriod, ...]:
        """Return the periods of the table and those that have any collected hour, in order."""
        stored = self.all()
        first, last = self._connection.execute(
            select(func.min(WINDOW_STATE.c.window_start), func.max(WINDOW_STATE.c.window_start))
        ).one()
        found = {period.start_ms: period for period in stored}
        if first is not None:
            at_ms = first
            while at_ms <= last:
                period = period_at(stored, at_ms, self._zone)
                found[period.start_ms] = period
                at_ms = period.end_ms
        return tuple(found[start_ms] for start_ms in sorted(found))

    def define(self, periods: Sequence[BillingPeriod], *, author: str, at_ms: int) -> int:
        """Put periods into the table; return how many were not there as they are.

        Those that were closed before stay as they are; gaps and overlaps are refused.
        """
        with guarded():
            made: int | None = self._connection.scalar(
                text(
                    "SELECT define_billing_periods(:names, CAST(:starts AS timestamptz[]),"
                    " CAST(:ends AS timestamptz[]), :zone, :author, :at)"
                ),
                {
                    "names": [period.name for period in periods],
                    "starts": [from_ms(period.start_ms).isoformat() for period in periods],
                    "ends": [from_ms(period.end_ms).isoformat() for period in periods],
                    "zone": self._zone.key,
                    "author": author,
                    "at": from_ms(at_ms),
                },
            )
        return made or 0

    def close(self, name: str, version: int, *, author: str, at_ms: int) -> None:
        """Freeze the period; its pins and statements of that version have to be stored before."""
        with guarded():
            self._connection.execute(
                text("SELECT close_billing_period(:name, :version, :author, :at)"),
                {"name": name, "version": version, "author": author, "at": from_ms(at_ms)},
            )

    def events(self, name: str = "") -> tuple[PeriodEvent, ...]:
        """Return what happened to a period or to all, in order."""
        table = PERIOD_EVENTS
        statement = select(table).order_by(
            table.c.at, table.c.period, table.c.version, table.c.event
        )
        if name:
            statement = statement.where(table.c.period == name)
        return tuple(
            PeriodEvent(
                period=row.period,
                version=row.version,
                event=row.event,
                at_ms=row.at,
                reason=row.reason,
                author=row.author,
            )
            for row in self._connection.execute(statement)
        )


def closed_before_ms(connection: Connection) -> int:
    """Return where the last closed period ends; 0 if none is closed."""
    table = BILLING_PERIODS
    until: int | None = connection.scalar(
        select(func.max(table.c.until)).where(table.c.closed_at.is_not(None))
    )
    return until or 0


def reopen(connection: Connection, name: str, *, reason: str, author: str, at_ms: int) -> int:
    """Open a closed period again, in the caller's transaction; return the version it had.

    Refused without a reason and a name, while a later period is closed, and if it is not closed.
    """
    with guarded():
        version: int | None = connection.scalar(
            text("SELECT reopen_billing_period(:name, :reason, :author, :at)"),
            {"name": name, "reason": reason, "author": author, "at": from_ms(at_ms)},
        )
    assert version is not None
    return version
