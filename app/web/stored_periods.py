"""Billing periods and statements over the database: one transaction a request."""

from collections.abc import Sequence
from hashlib import sha256
from zoneinfo import ZoneInfo

from app.chargeback.closing import Obstacle
from app.chargeback.statements import Statement, StatementHead
from app.store.findings import FindingStore
from app.store.locking import ensure_partitions
from app.store.periods import PeriodStore
from app.store.statements import StatementStore
from app.web.period_reading import CloseRequest
from app.web.reading import IdempotencyConflictError
from app.wiring import Connection
from app.workflows.closing import BillingTerms, CloseOrder, close_in, obstacles_of
from app.workflows.periods import PeriodView, period_view, period_views


class StoredPeriods:
    """See `app.web.period_reading.PeriodLedger`."""

    __slots__ = ()
    connection: Connection
    zone: ZoneInfo
    terms: BillingTerms

    def periods(self) -> Sequence[PeriodView]:
        """Return the periods that have hours, were imported or closed, in order."""
        return period_views(self.connection, self.zone)

    def period(self, name: str) -> PeriodView:
        """Return one period; raise `BillingPeriodError` if there is none."""
        return period_view(self.connection, name, self.zone)

    def obstacles(self, name: str, *, at_ms: int) -> Sequence[Obstacle]:
        """Return what is in the way of closing a period."""
        order = CloseOrder(period=name, author="", at_ms=at_ms)
        return obstacles_of(self.connection, order, self.terms)

    def close(self, request: CloseRequest, *, idempotency_key: str) -> PeriodView:
        """Close a period once, however often the request with its key comes."""
        store = FindingStore(self.connection)
        asked = sha256(f"close {request.period} {request.accept!r}".encode()).hexdigest()
        before = store.carried_out(idempotency_key)
        if before not in {None, asked}:
            message = "This Idempotency-Key was used for another request."
            raise IdempotencyConflictError(message, hint="Use a key of its own for each closing.")
        if before is None:
            period = PeriodStore(self.connection, self.zone).by_name(request.period)
            ensure_partitions(self.connection, period.window())
            order = CloseOrder(
                period=request.period,
                author=request.author,
                at_ms=request.at_ms,
                accept=request.accept,
            )
            close_in(self.connection, order, self.terms)
            store.remember(idempotency_key, asked, at_ms=request.at_ms)
        return self.period(request.period)

    def statements(self, *, period: str, team: str | None) -> Sequence[StatementHead]:
        """Return statements by number and version, of one team or of all."""
        return StatementStore(self.connection).heads(period=period, team=team)

    def statement(self, number: str, version: int | None) -> Statement | None:
        """Return a statement as it was written, of its last version if none is named."""
        return StatementStore(self.connection).by_number(number, version)
