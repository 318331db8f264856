"""Cuts exclusive holds that overlap only because their edges are not known exactly."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

# Kubernetes writes whole seconds, rounded down: a start of 12:00:05 lies within that second, so a
# hold that ended at 12:00:05.300 was over before the next began.
_SECOND_MS = 1000


@dataclass(slots=True)
class Edges:
    """Holds of all pools as columns; `cut_overlaps` moves their edges in place.

    The true start lies in ``[start, start + start_unsure]``, the true end in
    ``[end - end_unsure, end]``. ``cut_start`` and ``cut_end`` say which edges were moved.
    """

    hold_id: Int64s
    pool: Int64s
    share_num: Int64s
    share_den: Int64s
    exclusive: npt.NDArray[np.bool_]
    start: Int64s
    end: Int64s
    start_unsure: Int64s
    end_unsure: Int64s
    cut_start: npt.NDArray[np.bool_]
    cut_end: npt.NDArray[np.bool_]


def cut_overlaps(edges: Edges, devices: Int64s) -> None:
    """Move unsure edges of exclusive holds apart where a pool would hold more than its devices.

    ``devices`` is per pool. Where both edges are unsure the cut is in the middle of the overlap, as
    far as both spans of uncertainty allow; where one is, at the sure edge. What overlaps beyond the
    uncertainty stays and is scaled as oversubscription later.
    """
    for pool in _overfull_pools(edges, devices):
        rows = np.flatnonzero(edges.pool == pool)
        rows = rows[np.argsort(edges.hold_id[rows], kind="stable")]
        while (pair := _next_pair(edges, rows, int(devices[pool]))) is not None:
            _cut(edges, *pair)


def _overfull_pools(edges: Edges, devices: Int64s) -> Int64s:
    """Return the pools whose claims exceed their devices at some instant, by a float sweep.

    The sweep only preselects: the exact test is made pair by pair.
    """
    share = edges.share_num / edges.share_den
    pool = np.concatenate([edges.pool, edges.pool])
    at = np.concatenate([edges.start, edges.end])
    change = np.concatenate([share, -share])
    # Ends come before starts of the same instant, since spans are half-open.
    order = np.lexsort((change, at, pool))
    running = np.cumsum(change[order])
    over = running > devices[pool[order]] + 1e-6
    return np.unique(pool[order][over])


def _next_pair(edges: Edges, rows: Int64s, devices: int) -> tuple[int, int, int] | None:
    """Return the first overfull instant's pair to be cut, as (ending, starting, instant)."""
    for at in np.unique(edges.start[rows]):
        present = rows[(edges.start[rows] <= at) & (at < edges.end[rows])]
        claimed = sum(
            Fraction(int(edges.share_num[row]), int(edges.share_den[row])) for row in present
        )
        if claimed <= devices:
            continue
        exclusive = present[edges.exclusive[present]]
        pairs = [
            (int(edges.end[ending] - edges.start[starting]), int(ending), int(starting), cut)
            for ending in exclusive
            for starting in exclusive
            if (cut := _cut_instant(edges, int(ending), int(starting))) is not None
        ]
        if pairs:
            _, ending, starting, cut = min(
                pairs, key=lambda pair: (pair[0], edges.hold_id[pair[1]], edges.hold_id[pair[2]])
            )
            return ending, starting, cut
    return None


def _cut_instant(edges: Edges, ending: int, starting: int) -> int | None:
    """Return where the earlier hold's end and the later one's start may meet, None if nowhere."""
    start, end = int(edges.start[starting]), int(edges.end[ending])
    if not (edges.start[ending] < start < end < edges.end[starting]):
        return None
    low = max(end - int(edges.end_unsure[ending]), start)
    high = min(start + int(edges.start_unsure[starting]), end)
    if low <= high:
        return min(max((start + end) // 2, low), high)
    within_second = high % _SECOND_MS == 0 and low < high + _SECOND_MS
    return low if within_second else None


def _cut(edges: Edges, ending: int, starting: int, at: int) -> None:
    if at < edges.end[ending]:
        edges.end_unsure[ending] -= edges.end[ending] - at
        edges.end[ending] = at
        edges.cut_end[ending] = True
    if at > edges.start[starting]:
        moved = at - edges.start[starting]
        edges.start_unsure[starting] = max(0, int(edges.start_unsure[starting] - moved))
        edges.start[starting] = at
        edges.cut_start[starting] = True
