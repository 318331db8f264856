"""What is in the way of closing a billing period: hours that are missing, partial or waiting."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
from sqlalchemy import Connection, text

from app.attribution.contract import UNOWNED
from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.closing import Obstacle, ObstacleKind
from app.chargeback.statements import instant_text
from app.chargeback.tables import amount, plain, seconds
from app.store.naming import NameStore
from app.units.window import HOUR_MS, from_ms, to_ms

# A cluster without hours for longer than this before the period is taken for one that is no more.
_STOPPED_TELLING_MS = 8 * 24 * HOUR_MS

_EARLIER = """
SELECT min(w.window_start) FROM window_state AS w
WHERE w.window_start < :start AND NOT EXISTS (
    SELECT FROM billing_periods AS c WHERE c.closed_at IS NOT NULL
        AND w.window_start >= c.started_at AND w.window_start < c.until
)
"""
_HOURS = """
SELECT cluster_id, window_start, partial,
    (rated_revision, rated_marks) IS DISTINCT FROM (revision, input_marks) AS stale
FROM window_state
WHERE window_start >= :start AND window_start < :end
ORDER BY cluster_id, window_start
"""
# The first hour that a cluster has to have: whoever told shortly before the period still lives.
_FIRST = """
SELECT cluster_id, min(window_start) AS first FROM window_state AS w
WHERE window_start < :end AND EXISTS (
    SELECT FROM window_state AS n WHERE n.cluster_id = w.cluster_id
        AND n.window_start >= :since AND n.window_start < :end
)
GROUP BY cluster_id
"""
_DAYS = """
SELECT started_at, until FROM redistributed_days
WHERE done_marks < marks AND started_at < :end AND until > :start
ORDER BY started_at
"""


def obstacles(
    connection: Connection,
    period: BillingPeriod,
    lines: pd.DataFrame,
    *,
    stored: Sequence[BillingPeriod],
    at_ms: int,
    currency: str,
) -> tuple[Obstacle, ...]:
    """Return everything in the way of closing the period at an instant.

    ``stored`` are the periods of the table, ``lines`` are the period's own
    (`app.chargeback.statements.LINES`).
    """
    return (
        *_times(connection, period, stored, at_ms),
        *_hours(connection, period),
        *_waiting_days(connection, period),
        *_unpriced(period, lines),
        *_unowned(period, lines, currency),
    )


def _times(
    connection: Connection,
    period: BillingPeriod,
    stored: Sequence[BillingPeriod],
    at_ms: int,
) -> Iterator[Obstacle]:
    if at_ms < period.end_ms:
        detail = f"the period ends at {instant_text(period.end_ms)}"
        yield _whole(period, ObstacleKind.NOT_ENDED, detail=detail)
    ends_ms = [one.end_ms for one in stored if one.end_ms <= period.start_ms]
    if ends_ms and max(ends_ms) < period.start_ms and period not in stored:
        yield Obstacle(
            kind=ObstacleKind.EARLIER_OPEN,
            cluster="",
            start_ms=max(ends_ms),
            end_ms=period.start_ms,
            subject="",
            detail="the months before it are open, and without any hour",
        )
    earlier = connection.scalar(text(_EARLIER), {"start": from_ms(period.start_ms)})
    if earlier is not None:
        first_ms = to_ms(earlier)
        detail = f"the hour {instant_text(first_ms)} belongs to an earlier period that is open"
        yield Obstacle(
            kind=ObstacleKind.EARLIER_OPEN,
            cluster="",
            start_ms=first_ms,
            end_ms=period.start_ms,
            subject="",
            detail=detail,
        )


def _hours(connection: Connection, period: BillingPeriod) -> Iterator[Obstacle]:
    clusters = NameStore(connection).clusters()
    span = {"start": from_ms(period.start_ms), "end": from_ms(period.end_ms)}
    found: dict[int, list[tuple[int, bool, bool]]] = {}
    for row in connection.execute(text(_HOURS), span):
        told = found.setdefault(row.cluster_id, [])
        told.append((to_ms(row.window_start), row.partial, row.stale))
    since = from_ms(max(period.start_ms - _STOPPED_TELLING_MS, 0))
    first = {
        row.cluster_id: to_ms(row.first)
        for row in connection.execute(text(_FIRST), {"since": since, "end": span["end"]})
    }
    hours = period.hours()
    for key, first_ms in sorted(first.items(), key=lambda one: clusters.get(one[0], "")):
        cluster, told = clusters.get(key, ""), found.get(key, [])
        have = {start_ms for start_ms, _, _ in told}
        wanted = range(max(hours.start_ms, first_ms), hours.end_ms, HOUR_MS)
        missing = [start_ms for start_ms in wanted if start_ms not in have]
        yield from _spans(ObstacleKind.MISSING, cluster, missing, "not collected")
        partial = [start_ms for start_ms, is_partial, _ in told if is_partial]
        yield from _spans(ObstacleKind.PARTIAL, cluster, partial, "a source answered in part")
        stale = [start_ms for start_ms, _, is_stale in told if is_stale]
        yield from _spans(ObstacleKind.STALE, cluster, stale, "waits for a rating", "rating")


def _waiting_days(connection: Connection, period: BillingPeriod) -> Iterator[Obstacle]:
    span = {"start": from_ms(period.start_ms), "end": from_ms(period.end_ms)}
    for row in connection.execute(text(_DAYS), span):
        yield Obstacle(
            kind=ObstacleKind.STALE,
            cluster="",
            start_ms=to_ms(row.started_at),
            end_ms=to_ms(row.until),
            subject="redistribution",
            detail="the day waits for its redistribution",
        )


def _unpriced(period: BillingPeriod, lines: pd.DataFrame) -> Iterator[Obstacle]:
    rows = lines[lines["unpriced_ms"] > 0]
    for (cluster, model), gpu_ms in _summed(rows, ("cluster", "gpu_model"), "unpriced_ms"):
        detail = f"{plain(seconds(gpu_ms))} GPU-seconds without a price"
        yield _whole(period, ObstacleKind.UNPRICED, cluster=cluster, subject=model, detail=detail)


def _unowned(period: BillingPeriod, lines: pd.DataFrame, currency: str) -> Iterator[Obstacle]:
    rows = lines[lines["team"].isin(["", UNOWNED])]
    times = _summed(rows, ("cluster", "namespace"), "gpu_ms")
    money = dict(_summed(rows, ("cluster", "namespace"), "cost_nanos"))
    for key, gpu_ms in times:
        cluster, namespace = key
        detail = (
            f"{plain(seconds(gpu_ms))} GPU-seconds and {plain(amount(money[key]))} {currency}"
            " without a team"
        )
        yield _whole(
            period, ObstacleKind.UNOWNED, cluster=cluster, subject=namespace, detail=detail
        )


def _summed(
    rows: pd.DataFrame, names: Sequence[str], figure: str
) -> list[tuple[tuple[str, str], int]]:
    sums = rows.groupby([*names], as_index=False)[figure].sum()
    keys = zip(*(sums[name].tolist() for name in names), strict=True)
    return sorted(
        ((first, second), int(value))
        for (first, second), value in zip(keys, sums[figure].tolist(), strict=True)
    )


def _whole(
    period: BillingPeriod,
    kind: ObstacleKind,
    *,
    cluster: str = "",
    subject: str = "",
    detail: str,
) -> Obstacle:
    return Obstacle(
        kind=kind,
        cluster=cluster,
        start_ms=period.start_ms,
        end_ms=period.end_ms,
        subject=subject,
        detail=detail,
    )


def _spans(
    kind: ObstacleKind, cluster: str, hours: Iterable[int], detail: str, subject: str = ""
) -> Iterator[Obstacle]:
    """Give one obstacle for every unbroken run of hours, which are in order."""
    runs: list[tuple[int, int]] = []
    for start_ms in hours:
        if runs and runs[-1][1] == start_ms:
            runs[-1] = (runs[-1][0], start_ms + HOUR_MS)
        else:
            runs.append((start_ms, start_ms + HOUR_MS))
    for first_ms, end_ms in runs:
        yield Obstacle(
            kind=kind,
            cluster=cluster,
            start_ms=first_ms,
            end_ms=end_ms,
            subject=subject,
            detail=detail,
        )
