"""A bill's rows cut into pieces: by node and billing day, outside of clusters, or nobody's.

Every row is cut at the borders of billing days and of the node's life, its money split by the
milliseconds between them (`app.units.money.split`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from app.attribution.node_matching import Found, MatchedBy, NodeIndex
from app.attribution.provider_bills import BillRow, ChargeCategory
from app.units.money import split


class Place(StrEnum):
    """What a piece of a bill is to the ledger."""

    IN_CLUSTER = "in_cluster"
    NOT_IN_CLUSTER = "not_in_cluster"
    COMMITMENT_UNUSED = "commitment_unused"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a row in one place; ``node`` is (cluster id, node id), (0, 0) where it is no one's.

    ``day_ms`` is the beginning of the billing day, 0 outside the cluster. ``reason`` says why a
    piece is unmatched.
    """

    bill_id: int
    number: int
    place: Place
    nanos: int
    node: tuple[int, int] = (0, 0)
    day_ms: int = 0
    start_ms: int = 0
    end_ms: int = 0
    reason: str = ""


def placed(row: BillRow, found: Found, days: Callable[[int, int], Sequence[int]]) -> list[Piece]:
    """Return the pieces of a row; their nanos sum to the row's.

    ``days`` gives the beginnings of the billing days that meet a span. Only usage is a node's: tax,
    purchases, credits and adjustments have no time of a machine, and are unmatched with their name.
    """

    def whole(place: Place, reason: str) -> list[Piece]:
        return [
            Piece(
                bill_id=row.bill_id,
                number=row.number,
                place=place,
                nanos=row.nanos,
                start_ms=row.start_ms,
                end_ms=row.end_ms,
                reason=reason,
            )
        ]

    if row.unused:
        return whole(Place.COMMITMENT_UNUSED, "")
    if row.category is not ChargeCategory.USAGE:
        return whole(Place.UNMATCHED, row.category.name.lower())
    if not found.lives:
        return whole(Place.UNMATCHED, found.reason or "")
    return _shared(row, found, days) if found.by is MatchedBy.SCALE_SET else _cut(row, found, days)


def _cut(row: BillRow, found: Found, days: Callable[[int, int], Sequence[int]]) -> list[Piece]:
    inside = range(row.start_ms + 1, row.end_ms)
    borders = {row.start_ms, row.end_ms}
    borders |= {
        at for one in found.lives for at in (one.created_ms, one.deleted_ms) if at in inside
    }
    starts = days(row.start_ms, row.end_ms)
    borders |= {at for at in starts if at in inside}
    spans = list(pairwise(sorted(borders)))
    parts = (
        [row.nanos]
        if len(spans) == 1
        else split(row.nanos, [end - start for start, end in spans], [start for start, _ in spans])
    )
    pieces = []
    for (start_ms, end_ms), nanos in zip(spans, parts, strict=True):
        # Of lives that overlap the later one counts: the node was registered again.
        life = max(
            (one for one in found.lives if one.created_ms <= start_ms < one.deleted_ms),
            key=lambda one: (one.created_ms, one.node_id),
            default=None,
        )
        last = found.lives[-1]
        there = life or last
        pieces.append(
            Piece(
                bill_id=row.bill_id,
                number=row.number,
                place=Place.IN_CLUSTER if life else Place.NOT_IN_CLUSTER,
                nanos=nanos,
                node=(there.cluster_id, there.node_id),
                day_ms=max(at for at in starts if at <= start_ms) if life else 0,
                start_ms=start_ms,
                end_ms=end_ms,
            )
        )
    return pieces


def _shared(row: BillRow, found: Found, days: Callable[[int, int], Sequence[int]]) -> list[Piece]:
    """Split a row of several machines by the time that each of them was in its cluster.

    How many machines there were outside of that nobody can tell: only a row during which none was
    there is not in the cluster.
    """
    starts = [*days(row.start_ms, row.end_ms), row.end_ms]
    weights: dict[tuple[int, int, int], int] = {}
    for life in found.lives:
        for day_ms, after_ms in pairwise(starts):
            start_ms = max(row.start_ms, day_ms, life.created_ms)
            end_ms = min(row.end_ms, after_ms, life.deleted_ms)
            if start_ms < end_ms:
                key = (day_ms, life.cluster_id, life.node_id)
                weights[key] = weights.get(key, 0) + end_ms - start_ms
    keys = sorted(weights)
    parts = split(row.nanos, [weights[key] for key in keys], keys) if keys else [row.nanos]
    last = found.lives[-1]
    return [
        Piece(
            bill_id=row.bill_id,
            number=row.number,
            place=Place.IN_CLUSTER if keys else Place.NOT_IN_CLUSTER,
            nanos=nanos,
            node=(cluster, node),
            day_ms=day_ms,
        )
        for (day_ms, cluster, node), nanos in zip(
            keys or [(0, last.cluster_id, last.node_id)], parts, strict=True
        )
    ]


def pieces_of(
    rows: Iterable[BillRow], nodes: NodeIndex, days: Callable[[int, int], Sequence[int]]
) -> list[Piece]:
    """Return the pieces of all rows, in their order."""
    return [piece for row in rows for piece in placed(row, nodes.find(row), days)]
