"""Two closed and one open period of a few round figures, with the signatures of the real ones."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pandas as pd

from app.chargeback.billing_periods import BillingPeriod, period_named
from app.chargeback.closing import Obstacle, ObstacleKind, ObstaclesError, accepted_of
from app.chargeback.statement_making import make_statements
from app.chargeback.statements import (
    ADJUSTMENTS,
    LINES,
    PeriodHeader,
    Pinned,
    Statement,
    StatementHead,
    TeamHeader,
)
from app.store.locking import PeriodStateError
from app.store.periods import PeriodEvent
from app.store.statements import Closing
from app.units.window import to_ms
from app.web.period_reading import CloseRequest
from app.web.reading import IdempotencyConflictError
from app.workflows.periods import PeriodView

SEPTEMBER_MS, OCTOBER_MS, NOVEMBER_MS = (
    to_ms(datetime(2026, month, 1, tzinfo=UTC)) for month in (9, 10, 11)
)
UNPRICED = Obstacle(
    kind=ObstacleKind.UNPRICED,
    cluster="prod-eu",
    start_ms=OCTOBER_MS,
    end_ms=NOVEMBER_MS,
    subject="NVIDIA-T4",
    detail="18000 GPU-seconds without a price",
)


def a_line(team: str, nanos: int) -> dict[str, object]:
    """One GPU-hour of a team."""
    return {
        "team": team,
        "cost_center": "CC-1001",
        "cluster": "prod-eu",
        "namespace": f"{team}-prod" if team else "",
        "workload": "ranker",
        "gpu_model": "NVIDIA-L4",
        "kind": "used",
        "price_id": 7,
        "gpu_ms": 3_600_000,
        "unpriced_ms": 0,
        "cost_nanos": nanos,
    }


def lines_of(*rows: dict[str, object]) -> pd.DataFrame:
    """Rows as `LINES`."""
    dtypes = {name: str(column.dtype) for name, column in LINES.columns.items()}
    return pd.DataFrame(list(rows), columns=[*dtypes]).astype(dtypes)


def no_adjustments() -> pd.DataFrame:
    """No row of `ADJUSTMENTS`."""
    dtypes = {name: str(column.dtype) for name, column in ADJUSTMENTS.columns.items()}
    return pd.DataFrame([], columns=[*dtypes]).astype(dtypes)


def a_header(version: int = 1) -> PeriodHeader:
    """What the statements of September have in common."""
    return PeriodHeader(
        period="2026-09",
        version=version,
        start_ms=SEPTEMBER_MS,
        end_ms=OCTOBER_MS,
        closed_ms=OCTOBER_MS + 1_000,
        author="ada",
        zone="UTC",
        currency="USD",
        pinned=Pinned(
            prices=3, contract=2, rating=1, windows=720, windows_sha256="00", settings={}
        ),
    )


def statements_of(version: int = 1) -> tuple[Statement, ...]:
    """September's statements: 3.00 for search, 1.50 for ml, 0.25 for nobody, 0 for labs/vision."""
    lines = lines_of(
        a_line("search", 3 * 10**9),
        a_line("ml", 1_500_000_000),
        a_line("", 250_000_000),
        a_line("labs/vision", 0),
    )
    teams = {"search": TeamHeader(cost_center="CC-1001", department="products")}
    return make_statements(a_header(version), lines, no_adjustments(), teams=teams, prices={})


class FakePeriods:
    """September is closed, October can be closed, November is under way."""

    def __init__(self) -> None:
        self.closings: list[CloseRequest] = []
        self.closed_by_key: dict[str, CloseRequest] = {}

    def periods(self) -> Sequence[PeriodView]:
        return [self._view(one) for one in self._stored()]

    def period(self, name: str) -> PeriodView:
        return self._view(period_named(self._stored(), name, ZoneInfo("UTC")))

    def obstacles(self, name: str, *, at_ms: int) -> Sequence[Obstacle]:
        view = self.period(name)
        if view.period.is_closed:
            message = f"The billing period {name} is closed, as version 1."
            raise PeriodStateError(message)
        if at_ms < view.period.end_ms:
            return (replace(UNPRICED, kind=ObstacleKind.NOT_ENDED, subject=""),)
        return (UNPRICED,)

    def close(self, request: CloseRequest, *, idempotency_key: str) -> PeriodView:
        before = self.closed_by_key.get(idempotency_key)
        if before is not None and replace(before, at_ms=request.at_ms) != request:
            message = "This Idempotency-Key was used for another request."
            raise IdempotencyConflictError(message)
        if before is None:
            found = self.obstacles(request.period, at_ms=request.at_ms)
            _, left = accepted_of(request.accept, found)
            if left:
                raise ObstaclesError(request.period, left)
            self.closed_by_key[idempotency_key] = request
            self.closings.append(request)
        return self.period(request.period)

    def statements(self, *, period: str, team: str | None) -> Sequence[StatementHead]:
        return [
            StatementHead(
                number=one.number,
                version=one.version,
                period=one.period,
                team=one.team,
                closed_ms=one.closed_ms,
                currency=one.currency,
                total_nanos=one.total_nanos,
                total_minor=one.total_minor,
                sha256=one.sha256,
                csv_sha256=one.csv_sha256,
            )
            for version in (1, 2)
            for one in statements_of(version)
            if period in {"", one.period} and team in {None, one.team}
        ]

    def statement(self, number: str, version: int | None) -> Statement | None:
        found = [one for one in statements_of(version or 2) if one.number == number]
        return found[0] if found and (version or 2) <= 2 else None

    def _stored(self) -> tuple[BillingPeriod, ...]:
        closed = {one.period: one.at_ms for one in self.closings}
        spans = (
            ("2026-09", SEPTEMBER_MS, OCTOBER_MS),
            ("2026-10", OCTOBER_MS, NOVEMBER_MS),
            ("2026-11", NOVEMBER_MS, NOVEMBER_MS + 30 * 86_400_000),
        )
        closed.setdefault("2026-09", OCTOBER_MS + 1_000)
        return tuple(
            BillingPeriod(
                name=name,
                start_ms=start_ms,
                end_ms=end_ms,
                version=int(name in closed),
                closed_ms=closed.get(name),
            )
            for name, start_ms, end_ms in spans
        )

    def _view(self, period: BillingPeriod) -> PeriodView:
        if period.closed_ms is None:
            return PeriodView(period=period, closing=None)
        closing = Closing(
            period=period.name,
            version=1,
            closed_ms=period.closed_ms,
            author="ada",
            currency="USD",
            statements=3,
            accepted=0,
            charges_nanos=4_750_000_000,
            adjustments_nanos=0,
            total_minor=475,
        )
        event = PeriodEvent(
            period=period.name,
            version=1,
            event="closed",
            at_ms=period.closed_ms,
            reason="",
            author="ada",
        )
        return PeriodView(period=period, closing=closing, events=(event,))
