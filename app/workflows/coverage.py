"""What is measured of a window, and the holes in it: sums read, shares computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from app.findings.coverage import TIME_EVIDENCE, CoverageRow, coverage_rows
from app.findings.holes import Hole, holes_of
from app.store.costs import CostStore
from app.store.coverage import CoverageStore
from app.units.window import Window

# What may be said to a team of a cluster as a whole: it names nobody else.
_FOR_EVERYBODY = frozenset({"missing_hours", "partial_hours", "unrated_hours", "watch_gap"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What is measured by service and namespace, and what is not."""

    rows: tuple[CoverageRow, ...]
    holes: tuple[Hole, ...]


def coverage_of(
    connection: Connection,
    window: Window,
    *,
    zone: ZoneInfo,
    team: str = "",
    clusters: Sequence[str] = (),
) -> Covered:
    """Return what is measured in the window.

    ``team`` limits it to what that team was charged, and to the holes in its namespaces;
    ``clusters`` to some clusters.
    """
    store = CoverageStore(connection, window, team)
    services = store.services()
    charged = CostStore(connection, zone).costs(window, ("cluster", "namespace", "team")).rows
    theirs = charged.loc[charged["team"] == team] if team else charged
    time = theirs.assign(rated=True)[[*TIME_EVIDENCE.columns]]
    unrated = store.unrated_time()
    rows = coverage_rows(
        pd.concat([time, unrated], ignore_index=True) if len(unrated) else time, services
    )
    in_part = zip(
        *(services[name].tolist() for name in ("cluster", "namespace", "service", "in_part_ms")),
        strict=True,
    )
    holes = holes_of(store.notes(), rows, store.hours(), store.samples(), in_part)
    if team:
        places = _places(theirs)
        own = places - _places(charged.loc[charged["team"] != team])
        holes = tuple(hole for hole in holes if _may_see(hole, places, own))
    if clusters:
        rows = tuple(row for row in rows if row.cluster in clusters)
        holes = tuple(hole for hole in holes if hole.cluster in clusters)
    return Covered(rows=rows, holes=holes)


def _may_see(hole: Hole, places: set[tuple[str, str]], own: set[tuple[str, str]]) -> bool:
    """Say whether a team may see a hole; notes only where no other team holds anything."""
    if hole.kind in _FOR_EVERYBODY:
        return any(cluster == hole.cluster for cluster, _ in places)
    return (hole.cluster, hole.namespace) in (own if hole.hours else places)


def _places(charged: pd.DataFrame) -> set[tuple[str, str]]:
    held = charged.loc[charged["namespace"] != ""]
    return {*zip(held["cluster"].tolist(), held["namespace"].tolist(), strict=True)}
