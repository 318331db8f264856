"""Stored allotments: who used what of which commitment, and from what that was computed."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.pricing.allotment import ALLOTMENTS as FRAME
from app.pricing.allotment import COMMITMENT_HOURS as HOURS_FRAME
from app.store.copying import Array, Column, Kind, copy_in, copy_out
from app.store.locking import ensure_partitions, guarded
from app.store.tables.commitments import ALLOTMENTS, ALLOTTED_HOURS, COMMITMENT_HOURS
from app.units.window import Window, from_ms

_STORED = {"window_start_ms": "window_start", "start_ms": "started_at", "end_ms": "ended_at"}


def _columns(names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(
        Column(_STORED.get(name, name), Kind.INSTANT if name in _STORED else Kind.INT8)
        for name in names
    )


class AllotmentStore:
    """The allotted hours of one billing account."""

    def __init__(self, connection: Connection, account: str) -> None:
        self._connection = connection
        self._account = account

    def fingerprints(self, window: Window) -> dict[int, bytes]:
        """Return of each allotted hour of the window from what it was computed."""
        table = ALLOTTED_HOURS
        rows = self._connection.execute(
            select(table.c.window_start, table.c.fingerprint).where(
                table.c.billing_account == self._account,
                table.c.window_start >= window.start_ms,
                table.c.window_start < window.end_ms,
            )
        )
        return {row.window_start: bytes(row.fingerprint) for row in rows}

    def within(self, hours: Collection[int], clusters: Collection[int]) -> pd.DataFrame:
        """Return what is allotted of some hours to the pools of clusters, as `ALLOTMENTS`."""
        columns = _columns([*FRAME.columns])
        selected = ", ".join(column.name for column in columns)
        found = copy_out(
            self._connection,
            f"SELECT {selected} FROM allotments"  # noqa: S608 names of ours only
            " WHERE cluster_id = ANY(%(clusters)s::bigint[])"
            " AND window_start = ANY(%(hours)s::timestamptz[])",
            columns,
            {
                "clusters": sorted(clusters),
                "hours": [from_ms(hour).isoformat() for hour in sorted(hours)],
            },
        )
        found.columns = pd.Index([*FRAME.columns])
        return in_order(found)

    def price_ids(self, hours: Collection[int]) -> set[int]:
        """Return the commitments of the account whose hours are stored."""
        table = COMMITMENT_HOURS
        rows = self._connection.execute(
            select(table.c.price_id)
            .distinct()
            .where(
                table.c.cluster_id == 0,
                table.c.billing_account == self._account,
                table.c.window_start.in_(sorted(hours)),
            )
        )
        return {row.price_id for row in rows}

    def replace(
        self,
        window: Window,
        fingerprints: Mapping[int, bytes],
        clusters: Collection[int],
        allotments: pd.DataFrame,
        hours: pd.DataFrame,
    ) -> None:
        """Store the hours of ``fingerprints`` in place of what is there; '' forgets an hour."""
        ensure_partitions(self._connection, window)
        starts = sorted(fingerprints)
        with guarded():
            table = ALLOTMENTS
            self._connection.execute(
                delete(table).where(
                    table.c.cluster_id.in_(sorted(clusters)), table.c.window_start.in_(starts)
                )
            )
            table = COMMITMENT_HOURS
            self._connection.execute(
                delete(table).where(
                    table.c.cluster_id == 0,
                    table.c.billing_account == self._account,
                    table.c.window_start.in_(starts),
                )
            )
            copy_in(self._connection, "allotments", _columns([*FRAME.columns]), _arrays(allotments))
            self._write_hours(hours)
        self._put_fingerprints(fingerprints)

    def _write_hours(self, hours: pd.DataFrame) -> None:
        names = [*HOURS_FRAME.columns]
        rows = [
            {
                **{_STORED.get(name, name): value for name, value in zip(names, row, strict=True)},
                "cluster_id": 0,
                "billing_account": self._account,
            }
            for row in hours[names].to_numpy().tolist()
        ]
        if rows:
            self._connection.execute(COMMITMENT_HOURS.insert(), rows)

    def _put_fingerprints(self, fingerprints: Mapping[int, bytes]) -> None:
        table = ALLOTTED_HOURS
        gone = [hour for hour, one in fingerprints.items() if not one]
        self._connection.execute(
            delete(table).where(
                table.c.billing_account == self._account, table.c.window_start.in_(sorted(gone))
            )
        )
        rows = [
            {"billing_account": self._account, "window_start": hour, "fingerprint": one}
            for hour, one in sorted(fingerprints.items())
            if one
        ]
        if rows:
            statement = upsert(table)
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["billing_account", "window_start"],
                    set_={"fingerprint": statement.excluded.fingerprint},
                ),
                rows,
            )


def forget_cluster(connection: Connection, cluster: int, from_ms: int) -> None:
    """Delete what is allotted to a cluster from an instant on: another account pays for it."""
    connection.execute(
        delete(ALLOTMENTS).where(
            ALLOTMENTS.c.cluster_id == cluster, ALLOTMENTS.c.window_start >= from_ms
        )
    )


def in_order(allotments: pd.DataFrame) -> pd.DataFrame:
    """Return allotments in the order of their key, so that equal contents are equal frames."""
    keys = ("price_id", "start_ms", "gpu_model_id", "node_id", "cluster_id", "window_start_ms")
    order = np.lexsort([allotments[name].to_numpy() for name in keys])
    return allotments.iloc[order].reset_index(drop=True)


def _arrays(frame: pd.DataFrame) -> dict[str, Array]:
    return {_STORED.get(name, name): frame[name].to_numpy() for name in FRAME.columns}
