"""A scratch copy of some hours' facts, under the names of the stored tables, for one transaction.

What computes the ledger reads tables by their names. Temporary tables of the same names stand
before the stored ones as long as the transaction lasts, so the same code makes the ledger of facts
that are not the stored ones, and nothing that it writes outlives the rollback.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from app.store.fact_frames import (
    CONSUMER_USAGE,
    HOLD_USAGE,
    POOL_ENERGY,
    POOL_USAGE,
    TOKEN_USAGE,
    FactTable,
    write_facts,
)
from app.store.late_facts import LateFactsStore, LateHour
from app.units.window import Window, from_ms

# What a ledger is made from; the other facts divide no cost.
_FACTS: tuple[FactTable, ...] = (
    POOL_USAGE,
    HOLD_USAGE,
    POOL_ENERGY,
    TOKEN_USAGE,
    CONSUMER_USAGE,
)
# What rating makes, and what was posted to it; they begin empty.
_MADE = ("charges", "adjustments")
# Hours that only late facts have count as collected.
_COLLECTED = """
CREATE TEMPORARY VIEW window_state AS
SELECT cluster_id, window_start, revision, partial, content_sha256, forced_reason, input_marks,
    rated_revision, rated_marks, rating_version, price_version, contract_version
FROM public.window_state
UNION ALL
SELECT l.cluster_id, l.window_start, l.revision, l.partial, l.content_sha256, l.forced_reason, 0,
    NULL, NULL, NULL, NULL, NULL
FROM public.late_facts AS l
WHERE NOT EXISTS (
    SELECT FROM public.window_state AS s
    WHERE s.cluster_id = l.cluster_id AND s.window_start = l.window_start
) AND l.revision = (
    SELECT max(o.revision) FROM public.late_facts AS o
    WHERE o.cluster_id = l.cluster_id AND o.window_start = l.window_start
)
"""


class ScratchLedger:
    """Facts of some hours of all clusters, the late ones in place of those of the closing.

    Whoever makes one rolls its transaction back.
    """

    def __init__(self, connection: Connection, window: Window, late: Sequence[LateHour]) -> None:
        self._connection = connection
        frames = [(hour, LateFactsStore(connection).facts(hour)) for hour in late]
        for name in (*(table.name for table in _FACTS), *_MADE):
            connection.execute(
                text(
                    f"CREATE TEMPORARY TABLE {name} (LIKE public.{name} INCLUDING DEFAULTS"
                    " INCLUDING INDEXES) ON COMMIT DROP"
                )
            )
        connection.execute(text(_COLLECTED))
        connection.execute(text("SET LOCAL search_path = pg_temp, public"))
        for table in _FACTS:
            self._take(table.name, window)
            for hour, facts in frames:
                self._drop(table.name, hour)
                write_facts(connection, table, hour.cluster_id, getattr(facts, table.name))

    def _take(self, name: str, window: Window) -> None:
        self._connection.execute(
            text(
                f"INSERT INTO {name} SELECT * FROM public.{name}"  # noqa: S608 names of ours only
                " WHERE window_start >= :start AND window_start < :end"
            ),
            {"start": window.start, "end": window.end},
        )

    def _drop(self, name: str, hour: LateHour) -> None:
        self._connection.execute(
            text(
                f"DELETE FROM {name} WHERE cluster_id = :cluster AND window_start = :start"  # noqa: S608 names of ours only
            ),
            {"cluster": hour.cluster_id, "start": from_ms(hour.window_start_ms)},
        )
