"""What a ledger has of a day: its rows, its notes, and when somebody watched."""

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd
from sqlalchemy import Engine

from app.store.fact_frames import FACT_TABLES
from app.store.inventory import InventoryStore
from app.store.usage import UsageStore
from app.units.intervals import Spans
from app.units.window import HOUR_MS, Window, from_ms

TABLES = tuple(table.name for table in FACT_TABLES)


@dataclass(frozen=True, slots=True)
class Lived:
    """The rows of each fact table by name; notes by the start of their hour."""

    rows: dict[str, pd.DataFrame]
    notes: dict[int, pd.DataFrame]
    watched: Spans
    window: Window

    def hours_with_gaps(self) -> dict[int, Spans]:
        """Return the spans that nobody watched, by the start of their hour."""
        gaps = {
            hour.start_ms: self.watched.gaps(hour.start_ms, hour.end_ms)
            for hour in self.window.hours()
        }
        return {start_ms: spans for start_ms, spans in gaps.items() if spans.length()}

    def gaps(self) -> Spans:
        return self.watched.gaps(self.window.start_ms, self.window.end_ms)

    def of_hours(self, table: str, hours: list[int]) -> pd.DataFrame:
        """Return the rows of some hours in the order of their keys."""
        rows = self.rows[table]
        start = "minute_ms" if table == "service_minutes" else "window_start_ms"
        kept = rows.loc[(rows[start] // HOUR_MS * HOUR_MS).isin(hours)]
        return kept.sort_values([*kept.columns], ignore_index=True)

    def untouched(self, table: str, gaps: Spans) -> pd.DataFrame:
        """Return the rows whose span no gap touches, in the order of their keys."""
        rows = self.rows[table]
        whole = [
            _pairs(gaps, row.start_ms, row.end_ms) == [(row.start_ms, row.end_ms)]
            for row in rows.itertuples()
        ]
        return rows.loc[whole].sort_values([*rows.columns], ignore_index=True)


def lived(engine: Engine, cluster: str, start_ms: int, hours: int) -> Lived:
    """Read a day."""
    start = from_ms(start_ms)
    window = Window(start, start + timedelta(hours=hours))
    with engine.connect() as connection:
        store = UsageStore(connection, cluster)
        return Lived(
            rows={name: getattr(store, name)(window) for name in TABLES},
            notes={hour.start_ms: store.notes(hour) for hour in window.hours()},
            watched=InventoryStore(connection, cluster).watched(window),
            window=window,
        )


def spans_outside(one: Lived, gaps: Spans) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
    """Return what lies outside gaps of every hold's span, by hour, hold and node."""
    rows = one.rows["hold_usage"]
    found = {
        (row.window_start_ms, row.hold_id, row.node_id): _pairs(gaps, row.start_ms, row.end_ms)
        for row in rows.itertuples()
    }
    return {key: parts for key, parts in found.items() if parts}


def held_devices(one: Lived, column: str, gaps: Spans) -> dict[int, list[tuple[int, int, float]]]:
    """Return a pool's state as devices over time, outside gaps, by node.

    Neighboring spans of one figure are united, since a gap's border cuts them in one ledger only.
    """
    found: dict[int, list[tuple[int, int, float]]] = {}
    rows = one.rows["pool_usage"].sort_values(["node_id", "start_ms"])
    for row in rows.itertuples():
        amount = getattr(row, column)
        share = amount if column == "devices" else amount / (row.end_ms - row.start_ms)
        of_node = found.setdefault(row.node_id, [])
        for low, high in _pairs(gaps, row.start_ms, row.end_ms):
            if of_node and of_node[-1][1:] == (low, share):
                of_node[-1] = (of_node[-1][0], high, share)
            else:
                of_node.append((low, high, share))
    return found


def _pairs(gaps: Spans, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    kept = gaps.gaps(start_ms, end_ms)
    return [*zip(kept.start.tolist(), kept.end.tolist(), strict=True)]
