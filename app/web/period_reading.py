"""What the routes of billing periods and statements need of the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.chargeback.closing import AcceptLine, Obstacle
from app.chargeback.statements import Statement, StatementHead
from app.workflows.periods import PeriodView


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequest:
    """Which period is to be closed by whom, when, and what is accepted."""

    period: str
    author: str
    at_ms: int
    accept: tuple[AcceptLine, ...]


class PeriodLedger(Protocol):
    """One request's view of billing periods."""

    def periods(self) -> Sequence[PeriodView]:
        """Return the periods that have hours, were imported or closed, in order."""
        ...

    def period(self, name: str) -> PeriodView:
        """Return one period; raise `BillingPeriodError` if there is none."""
        ...

    def obstacles(self, name: str, *, at_ms: int) -> Sequence[Obstacle]:
        """Return what is in the way of closing a period."""
        ...

    def close(self, request: CloseRequest, *, idempotency_key: str) -> PeriodView:
        """Close a period; the same key with the same request returns it as it is."""
        ...

    def statements(self, *, period: str, team: str | None) -> Sequence[StatementHead]:
        """Return statements by number and version, of one team or of all."""
        ...

    def statement(self, number: str, version: int | None) -> Statement | None:
        """Return a statement as it was written, of its last version if none is named."""
        ...
