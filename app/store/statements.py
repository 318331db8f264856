"""Closings and their statements: written once by a closing, read for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from sqlalchemy import Connection, func, insert, select, text

from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.statements import PeriodHeader, Statement, StatementHead, minor_amount
from app.errors import InputError
from app.store.copying import Column, Kind, copy_out
from app.store.tables.periods import PERIOD_VERSIONS, STATEMENTS
from app.units.window import from_ms

_KEPT = ("cluster_id", "window_start", "revision")
_PINNED = (*_KEPT, "rating_version", "price_version", "contract_version")
_PINS = tuple(
    Column(name, Kind.INSTANT if name == "window_start" else Kind.INT8) for name in _PINNED
)


class StatementNotFoundError(InputError):
    """A statement of that number and version that was never written."""

    def __init__(self, number: str, version: int | None = None) -> None:
        which = "" if version is None else f" of version {version}"
        super().__init__(
            f"There is no statement {number!r}{which}.",
            hint="gpuledger statements list shows them.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """One closing of a period: what it came to. Amounts as in `StatementHead`."""

    period: str
    version: int
    closed_ms: int
    author: str
    currency: str
    statements: int
    accepted: int
    charges_nanos: int
    adjustments_nanos: int
    total_minor: int

    @property
    def total(self) -> str:
        """The rounded total as text."""
        return f"{minor_amount(self.total_minor, self.currency):f}"


class StatementStore:
    """Closings, pins and statements of all periods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pins_of(self, period: BillingPeriod) -> tuple[int, str]:
        """Return how many hours there are to pin, and a hash of what they are pinned to."""
        chosen = [name if name in _KEPT else f"coalesce({name}, 0)" for name in _PINNED]
        pins = copy_out(
            self._connection,
            f"SELECT {', '.join(chosen)} FROM window_state"  # noqa: S608 names of ours only
            " WHERE window_start >= %(start)s::timestamptz AND window_start < %(end)s::timestamptz"
            " ORDER BY cluster_id, window_start",
            _PINS,
            {
                "start": from_ms(period.start_ms).isoformat(),
                "end": from_ms(period.end_ms).isoformat(),
            },
        )
        digest = sha256()
        for name in _PINNED:
            digest.update(np.ascontiguousarray(pins[name].to_numpy().astype(">i8")).tobytes())
        return len(pins), digest.hexdigest()

    def put(
        self,
        header: PeriodHeader,
        period: BillingPeriod,
        statements: Sequence[Statement],
        *,
        charges_nanos: int,
        adjustments_nanos: int,
    ) -> None:
        """Write the pins and statements of a closing, in the transaction that closes the period."""
        key = {"period": header.period, "version": header.version}
        self._connection.execute(
            insert(PERIOD_VERSIONS).values(
                **key,
                started_at=header.start_ms,
                until=header.end_ms,
                closed_at=header.closed_ms,
                author=header.author,
                zone=header.zone,
                currency=header.currency,
                price_version=header.pinned.prices,
                contract_version=header.pinned.contract,
                rating_version=header.pinned.rating,
                settings=dict(header.pinned.settings),
                accepted=[one.texts() for one in header.accepted],
                statements=len(statements),
                charges_nanos=charges_nanos,
                adjustments_nanos=adjustments_nanos,
                total_minor=sum(one.total_minor for one in statements),
            )
        )
        self._put_pins(header, period)
        rows = [
            {
                **key,
                "number": one.number,
                "team": one.team,
                "closed_at": one.closed_ms,
                "currency": one.currency,
                "total_nanos": one.total_nanos,
                "total_minor": one.total_minor,
                "sha256": one.sha256,
                "csv_sha256": one.csv_sha256,
                "body": one.body,
                "csv": one.csv,
            }
            for one in statements
        ]
        if rows:
            self._connection.execute(insert(STATEMENTS), rows)

    def closings(self) -> tuple[Closing, ...]:
        """Return every closing, in the order of the periods and their versions."""
        table = PERIOD_VERSIONS
        return tuple(
            Closing(
                period=row.period,
                version=row.version,
                closed_ms=row.closed_at,
                author=row.author,
                currency=row.currency,
                statements=row.statements,
                accepted=len(row.accepted),
                charges_nanos=row.charges_nanos,
                adjustments_nanos=row.adjustments_nanos,
                total_minor=row.total_minor,
            )
            for row in self._connection.execute(
                select(table).order_by(table.c.started_at, table.c.version)
            )
        )

    def accepted(self, period: str, version: int) -> tuple[dict[str, str], ...]:
        """Return what a period was closed with in spite of, as the columns of the accept file."""
        table = PERIOD_VERSIONS
        found = self._connection.scalar(
            select(table.c.accepted).where(table.c.period == period, table.c.version == version)
        )
        return tuple({str(key): str(value) for key, value in one.items()} for one in found or ())

    def heads(self, *, period: str = "", team: str | None = None) -> tuple[StatementHead, ...]:
        """Return statements without their content, by number and version."""
        table = STATEMENTS
        names = StatementHead.__dataclass_fields__
        columns = [
            (table.c.closed_at if name == "closed_ms" else table.c[name]).label(name)
            for name in names
        ]
        statement = select(*columns).order_by(table.c.number, table.c.version)
        if period:
            statement = statement.where(table.c.period == period)
        if team is not None:
            statement = statement.where(table.c.team == team)
        return tuple(StatementHead(**row._asdict()) for row in self._connection.execute(statement))

    def by_number(self, number: str, version: int | None = None) -> Statement | None:
        """Return a statement as it was written, of its last version by default."""
        table = STATEMENTS
        if version is None:
            version = self._connection.scalar(
                select(func.max(table.c.version)).where(table.c.number == number)
            )
        row = self._connection.execute(
            select(table).where(table.c.number == number, table.c.version == version)
        ).one_or_none()
        if row is None:
            return None
        return Statement(
            number=row.number,
            version=row.version,
            period=row.period,
            team=row.team,
            closed_ms=row.closed_at,
            currency=row.currency,
            total_nanos=row.total_nanos,
            total_minor=row.total_minor,
            body=bytes(row.body),
            csv=bytes(row.csv),
        )

    def _put_pins(self, header: PeriodHeader, period: BillingPeriod) -> None:
        wanted = ", ".join(f"coalesce({name}, 0)" for name in _PINNED[len(_KEPT) :])
        self._connection.execute(
            text(
                f"INSERT INTO period_pins (period, version, {', '.join(_PINNED)})"  # noqa: S608 names of ours only
                f" SELECT :period, :version, cluster_id, window_start, revision, {wanted}"
                " FROM window_state WHERE window_start >= :start AND window_start < :end"
            ),
            {
                "period": header.period,
                "version": header.version,
                "start": from_ms(period.start_ms),
                "end": from_ms(period.end_ms),
            },
        )
