"""Segments: the longest spans in which devices, holders, price and owner are all constant."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.attribution.charges import ChargeKind
from app.attribution.schedules import Cuts
from app.units.money import MAX_INT64_WEIGHT_SUM, split_groups

Int64s = npt.NDArray[np.int64]

# Held time before it is divided into used, idle and unmeasured; no charge has this kind.
HELD = 0
# The holder of pieces that nobody held.
NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Spans of pools with their devices, ordered by pool and start."""

    pool: Int64s
    start_ms: Int64s
    end_ms: Int64s
    devices: Int64s

    @property
    def device_ms(self) -> Int64s:
        """The capacity of each segment."""
        return self.devices * (self.end_ms - self.start_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Who had how much of a segment: the pieces of a segment sum to its capacity.

    ``hold`` is the number of the holder's row, or `NOBODY`; ``kind`` a `ChargeKind` or `HELD`.
    """

    segment: Int64s
    hold: Int64s
    kind: Int64s
    ms: Int64s

    def only(self, rows: npt.NDArray[np.bool_] | Int64s) -> "Pieces":
        """Return some of the pieces."""
        return Pieces(
            segment=self.segment[rows],
            hold=self.hold[rows],
            kind=self.kind[rows],
            ms=self.ms[rows],
        )


def no_pieces() -> Pieces:
    """Return no pieces at all."""
    none = np.zeros(0, dtype=np.int64)
    return Pieces(segment=none, hold=none, kind=none, ms=none)


def join(parts: list[Pieces]) -> Pieces:
    """Return the pieces of all parts."""
    return Pieces(
        segment=np.concatenate([part.segment for part in parts]),
        hold=np.concatenate([part.hold for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
        ms=np.concatenate([part.ms for part in parts]),
    )


def cut_segments(segments: Segments, pieces: Pieces, cuts: list[Cuts]) -> tuple[Segments, Pieces]:
    """Cut segments at instants inside them, and divide their pieces among the parts.

    Each part's pieces sum to its own capacity and each piece's parts to the piece, so that
    neither a device nor a holder gains or loses a millisecond by a price change.
    """
    row = np.concatenate([one.row for one in cuts])
    at_ms = np.concatenate([one.at_ms for one in cuts])
    if not len(row):
        return segments, pieces
    order = np.lexsort((at_ms, row))
    row, at_ms = row[order], at_ms[order]
    fresh = np.concatenate([[True], (np.diff(row) != 0) | (np.diff(at_ms) != 0)])
    row, at_ms = row[fresh], at_ms[fresh]
    parts = np.bincount(row, minlength=len(segments.pool)) + 1
    first = np.cumsum(parts) - parts
    # The n-th cut of all begins a part that n cuts precede, one of them in each earlier place.
    begins = row + 1 + np.arange(len(row))
    start_ms, end_ms = np.repeat(segments.start_ms, parts), np.repeat(segments.end_ms, parts)
    start_ms[begins] = at_ms
    end_ms[begins - 1] = at_ms
    smaller = Segments(
        pool=np.repeat(segments.pool, parts),
        start_ms=start_ms,
        end_ms=end_ms,
        devices=np.repeat(segments.devices, parts),
    )
    whole = parts[pieces.segment] == 1
    kept = pieces.only(whole)
    kept = Pieces(segment=first[kept.segment], hold=kept.hold, kind=kept.kind, ms=kept.ms)
    divided = _divide(pieces.only(~whole), parts, first, smaller.device_ms)
    return smaller, join([kept, *divided])


def _divide(pieces: Pieces, parts: Int64s, first: Int64s, device_ms: Int64s) -> Iterator[Pieces]:
    """Yield the pieces of the first part of every cut segment, of the second part, and so on.

    Each part's capacity is split by what is left of the pieces: a share of what is left is never
    more than that, and the last part takes the rest.
    """
    pieces = pieces.only(np.lexsort((pieces.hold, pieces.kind, pieces.segment)))
    left = pieces.ms.copy()
    for part in range(int(parts.max())):
        here = np.flatnonzero(parts[pieces.segment] > part)
        segment, group = np.unique(pieces.segment[here], return_inverse=True)
        ms = split_groups(device_ms[first[segment] + part], group, left[here])
        left[here] -= ms
        some = here[ms > 0]
        yield Pieces(
            segment=first[pieces.segment[some]] + part,
            hold=pieces.hold[some],
            kind=pieces.kind[some],
            ms=ms[ms > 0],
        )
    if left.any():
        message = "The parts of a cut segment do not sum to the whole."
        raise AssertionError(message)


def divide_held(pieces: Pieces, active_ms: Int64s, idle_ms: Int64s, held_ms: Int64s) -> Pieces:
    """Divide held pieces into used, idle and unmeasured time; others stay as they are.

    ``active_ms``, ``idle_ms`` and ``held_ms`` belong to the rows that ``hold`` numbers and are
    kept to the millisecond: a piece gets the growth of rounded-down cumulative shares, first of
    what was measured, then of what was active, which can neither shrink nor outgrow the piece.
    Every hold's pieces must sum to its ``held_ms``.
    """
    of_holds = pieces.kind == HELD
    held = pieces.only(of_holds)
    held = held.only(np.lexsort((held.segment, held.hold)))
    begins = np.concatenate([[True], np.diff(held.hold) != 0])[: len(held.hold)]
    running = np.cumsum(held.ms)
    count = np.diff(np.append(np.flatnonzero(begins), len(begins)))
    after = running - np.repeat((running - held.ms)[begins], count)
    measured_ms = active_ms + idle_ms
    measured = _share(measured_ms[held.hold], after, held_ms[held.hold])
    active = _share(active_ms[held.hold], measured, measured_ms[held.hold])
    used = _growth(active, begins)
    idle = _growth(measured - active, begins)
    unmeasured = held.ms - used - idle
    lines = [pieces.only(~of_holds)]
    for kind, ms in (
        (ChargeKind.USED, used),
        (ChargeKind.IDLE, idle),
        (ChargeKind.UNMEASURED, unmeasured),
    ):
        some = np.flatnonzero(ms)
        lines.append(
            Pieces(
                segment=held.segment[some],
                hold=held.hold[some],
                kind=np.full(len(some), int(kind), dtype=np.int64),
                ms=ms[some],
            )
        )
    return join(lines)


def _share(part: Int64s, done: Int64s, whole: Int64s) -> Int64s:
    """Return ``part × done // whole``, 0 where the whole is 0."""
    if len(whole) and int(whole.max()) > MAX_INT64_WEIGHT_SUM:
        exact = part.astype(object) * done.astype(object) // np.maximum(whole, 1).astype(object)
        return np.array(exact, dtype=np.int64)
    return part * done // np.maximum(whole, 1)


def _growth(cumulative: Int64s, begins: npt.NDArray[np.bool_]) -> Int64s:
    """Return the differences of neighbors, starting from 0 where a hold begins."""
    before = np.concatenate([[0], cumulative[:-1]])[: len(cumulative)]
    return cumulative - np.where(begins, np.int64(0), before)
