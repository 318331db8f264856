"""From which versions of facts, prices and contract an hour's lines were made."""

from sqlalchemy import Connection, func, select

from app.attribution.explanation import Versions
from app.store.tables.facts import WINDOW_STATE
from app.store.tables.ledger import BILLING_PERIODS
from app.store.tables.periods import PERIOD_PINS, PERIOD_VERSIONS
from app.units.window import HOUR_MS

# A line that stands in the first whole hour of its day rests on the day's other hours.
_DAY_MS = 26 * HOUR_MS


def versions_of(connection: Connection, cluster: int, window_ms: int) -> Versions:
    """Return the versions of an hour: what its closing pinned, else what it was last rated from.

    Lines of no single cluster (0), and those of an hour that was not collected itself, rest on the
    last versions of the day that follows. Zeros before the first rating.
    """
    return (
        _pinned(connection, cluster, window_ms)
        or _pinned_as_a_whole(connection, window_ms)
        or _rated(connection, cluster, window_ms, window_ms + 1)
        or _rated(connection, cluster, window_ms - HOUR_MS, window_ms + _DAY_MS)
        or Versions(revision=0, rating_version=0, price_version=0, contract_version=0)
    )


def _pinned(connection: Connection, cluster: int, window_ms: int) -> Versions | None:
    pins, periods = PERIOD_PINS.c, BILLING_PERIODS.c
    row = connection.execute(
        select(PERIOD_PINS)
        .join(
            BILLING_PERIODS,
            (periods.name == pins.period) & (periods.version == pins.version),
        )
        .where(periods.closed_at.is_not(None))
        .where(pins.cluster_id == cluster, pins.window_start == window_ms)
    ).first()
    if row is None:
        return None
    return Versions(
        revision=row.revision,
        rating_version=row.rating_version,
        price_version=row.price_version,
        contract_version=row.contract_version,
        period=row.period,
    )


def _pinned_as_a_whole(connection: Connection, window_ms: int) -> Versions | None:
    """Return what the closed period that contains the hour pinned for all of it."""
    versions, periods = PERIOD_VERSIONS.c, BILLING_PERIODS.c
    row = connection.execute(
        select(PERIOD_VERSIONS)
        .join(
            BILLING_PERIODS,
            (periods.name == versions.period) & (periods.version == versions.version),
        )
        .where(periods.closed_at.is_not(None))
        .where(periods.started_at <= window_ms, periods.until > window_ms)
    ).first()
    if row is None:
        return None
    return Versions(
        revision=0,
        rating_version=row.rating_version,
        price_version=row.price_version,
        contract_version=row.contract_version,
        period=row.period,
    )


def _rated(connection: Connection, cluster: int, start_ms: int, end_ms: int) -> Versions | None:
    columns = WINDOW_STATE.c
    statement = select(
        func.max(columns.rated_revision).label("revision"),
        *(
            func.coalesce(func.max(columns[name]), 0).label(name)
            for name in ("rating_version", "price_version", "contract_version")
        ),
    ).where(columns.window_start >= start_ms, columns.window_start < end_ms)
    if cluster:
        statement = statement.where(columns.cluster_id == cluster)
    row = connection.execute(statement).one()
    if row.revision is None:
        return None
    return Versions(
        revision=row.revision,
        rating_version=row.rating_version,
        price_version=row.price_version,
        contract_version=row.contract_version,
    )
