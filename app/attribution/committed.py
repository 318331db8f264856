"""Device time that commitments cover: what there is for them, and what they take of each line."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.capacity import ints, pools_and_segments
from app.attribution.schedules import Cuts
from app.attribution.segments import Pieces, Segments, cut_segments, join, no_pieces
from app.attribution.tariffs import Place, Pools, describe, tariffs_of
from app.pricing.allotment import CAPACITY
from app.pricing.book import PriceBook
from app.pricing.commitments import Commitment
from app.pricing.cost import segment_costs
from app.pricing.rows import PricedPool
from app.units.identity import mix64
from app.units.money import split_groups

Int64s = npt.NDArray[np.int64]


def capacity_for_commitments(
    pool_usage: pd.DataFrame,
    place: Place,
    book: PriceBook,
    commitments: Sequence[Commitment],
    *,
    cluster_id: int,
    rank: int,
) -> tuple[pd.DataFrame, tuple[PricedPool, ...]]:
    """Return one cluster's device time as `CAPACITY`, and the attributes that ``place`` numbers.

    A span ends where a term begins or ends and where the pool's price changes.
    """
    pools, segments = pools_and_segments(pool_usage)
    if not len(segments.pool):
        return _capacity_frame({}, 0), ()
    start_ms, end_ms = int(segments.start_ms.min()), int(segments.end_ms.max())
    tariffs = tariffs_of(pools, place, book, start_ms, end_ms)
    borders = _borders(commitments)
    cuts = [
        tariffs.schedules.cuts(segments.pool, segments.start_ms, segments.end_ms),
        _cuts_at(borders, segments),
    ]
    segments, _ = cut_segments(segments, no_pieces(), cuts)
    tariff = tariffs.schedules.at(segments.pool, segments.start_ms)
    era = np.searchsorted(borders, segments.start_ms, side="right")
    changes = (np.diff(segments.pool) != 0) | (np.diff(tariff) != 0) | (np.diff(era) != 0)
    first = np.flatnonzero(np.concatenate([[True], changes]))
    device_ms = np.add.reduceat(segments.device_ms, first)
    pool, tariff = segments.pool[first], tariff[first]
    described = describe(pools, place)
    price_ids = np.array([one.price_id for one in tariffs.tariffs], dtype=np.int64)
    columns = {
        "window_start_ms": pools.window_ms[pool],
        "node_id": pools.node_id[pool],
        "gpu_model_id": pools.gpu_model_id[pool],
        "start_ms": segments.start_ms[first],
        "end_ms": np.append(segments.end_ms[first[1:] - 1], segments.end_ms[-1]),
        "node_devices": _node_devices(pools)[pool],
        "device_ms": device_ms,
        "nanos": segment_costs(device_ms, tariff, [one.nanos_per_ms for one in tariffs.tariffs]),
        "priced": (price_ids[tariff] != 0).astype(np.int64),
        "place": described.pool[pool],
        "cluster_id": np.full(len(first), cluster_id, dtype=np.int64),
        "rank": np.full(len(first), rank, dtype=np.int64),
    }
    return _capacity_frame(columns, len(first)), described.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Spans of pools that commitments cover in part, and what each of those covers of which.

    Spans are ordered by pool and start and disjoint. ``span``, ``turn``, ``price_id``,
    ``covered_ms`` and ``cost_nanos`` are columns of the allotments; ``turn`` counts those of one
    span.
    """

    pool: Int64s
    start_ms: Int64s
    end_ms: Int64s
    span: Int64s
    turn: Int64s
    price_id: Int64s
    covered_ms: Int64s
    cost_nanos: Int64s

    def cuts(self, segments: Segments) -> Cuts:
        """Return the borders of spans that lie inside segments of their pools."""
        pool = np.concatenate([self.pool, self.pool])
        at_ms = np.concatenate([self.start_ms, self.end_ms])
        origin, width = _axis(segments)
        place = pool * width + np.clip(at_ms - origin, 0, width - 1)
        row = np.searchsorted(segments.pool * width + segments.start_ms - origin, place) - 1
        row = np.maximum(row, 0)
        inside = (segments.pool[row] == pool) & (segments.start_ms[row] < at_ms)
        inside &= at_ms < segments.end_ms[row]
        return Cuts(row[inside], at_ms[inside])

    def of(self, segments: Segments) -> Int64s:
        """Return the number of the span that each segment lies in, -1 where there is none."""
        if not len(self.pool):
            return np.full(len(segments.pool), -1, dtype=np.int64)
        origin, width = _axis(segments)
        axis = self.pool * width + np.clip(self.start_ms - origin, 0, width - 1)
        place = segments.pool * width + segments.start_ms - origin
        found = np.searchsorted(axis, place, side="right") - 1
        number = np.maximum(found, 0)
        inside = (found >= 0) & (self.pool[number] == segments.pool)
        inside &= segments.end_ms <= self.end_ms[number]
        return np.where(inside, number, -1)


def spans_of(allotments: pd.DataFrame, pools: Pools) -> Spans:
    """Return the allotments of the pools' windows; those of other pools are an error of ours."""
    names = ("window_start_ms", "node_id", "gpu_model_id")
    wanted = mix64(*(ints(allotments, name) for name in names))
    have = mix64(pools.window_ms, pools.node_id, pools.gpu_model_id)
    by_key = np.argsort(have)
    at = np.minimum(np.searchsorted(have, wanted, sorter=by_key), len(have) - 1)
    pool = by_key[at]
    if not np.array_equal(have[pool], wanted):
        message = "A commitment was allotted to a pool that has no usage in the hour."
        raise AssertionError(message)
    order = np.lexsort((ints(allotments, "price_id"), ints(allotments, "start_ms"), pool))
    rows, pool = allotments.iloc[order], pool[order]
    start_ms = ints(rows, "start_ms")
    fresh = np.concatenate([[True], (np.diff(pool) != 0) | (np.diff(start_ms) != 0)])[: len(pool)]
    first = np.flatnonzero(fresh)
    span = np.cumsum(fresh) - 1
    return Spans(
        pool=pool[first],
        start_ms=start_ms[first],
        end_ms=ints(rows, "end_ms")[first],
        span=span,
        turn=np.arange(len(span)) - first[span],
        price_id=ints(rows, "price_id"),
        covered_ms=ints(rows, "covered_ms"),
        cost_nanos=ints(rows, "cost_nanos"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """The parts of segments that commitments cover, each with its own pieces and its money.

    ``segment`` is the segment of a part, ``allotment`` its row of `Spans`; ``pieces.segment``
    numbers the parts. ``rest`` are the pieces of the segments that nothing covers.
    """

    segment: Int64s
    allotment: Int64s
    cost_nanos: Int64s
    pieces: Pieces
    rest: Pieces


def cover(segments: Segments, pieces: Pieces, spans: Spans) -> Covered:
    """Take what is allotted off the segments of each span, by what is left of each.

    The allotted nanos are split over the segments by covered milliseconds; of every segment each
    piece is covered in proportion, in whole milliseconds that sum to what is covered.
    """
    in_span = spans.of(segments)
    touched = in_span[pieces.segment] >= 0
    ours = pieces.only(touched)
    ours = ours.only(np.lexsort((ours.hold, ours.kind, ours.segment)))
    left, piece_left = segments.device_ms, ours.ms.copy()
    segment, allotment, part_ms = _none(), _none(), _none()
    covered = [no_pieces()]
    for turn in range(int(spans.turn.max(initial=-1)) + 1):
        chosen = np.flatnonzero(spans.turn == turn)
        # One place more than spans: segments outside all of them have number -1.
        row = np.full(len(spans.pool) + 1, -1, dtype=np.int64)
        row[spans.span[chosen]] = chosen
        mine = np.flatnonzero(row[in_span] >= 0)
        rows, group = np.unique(row[in_span[mine]], return_inverse=True)
        ms = split_groups(spans.covered_ms[rows], group.astype(np.int64), left[mine])
        left[mine] -= ms
        mine, number, ms = mine[ms > 0], rows[group][ms > 0], ms[ms > 0]
        part = np.full(len(left), -1, dtype=np.int64)
        part[mine] = np.arange(len(mine))
        here = np.flatnonzero(part[ours.segment] >= 0)
        taken = split_groups(ms, part[ours.segment[here]], piece_left[here])
        piece_left[here] -= taken
        numbers = part[ours.segment[here]] + len(segment)
        covered.append(_some(ours.only(here), numbers, taken))
        segment = np.concatenate([segment, mine])
        allotment = np.concatenate([allotment, number])
        part_ms = np.concatenate([part_ms, ms])
    if (left < 0).any() or (piece_left < 0).any():
        message = "Commitments were allotted more time than a pool has."
        raise AssertionError(message)
    rest = _some(ours, ours.segment, piece_left)
    return Covered(
        segment=segment,
        allotment=allotment,
        cost_nanos=_money(spans, allotment, part_ms),
        pieces=join(covered),
        rest=join([pieces.only(~touched), rest]),
    )


def _money(spans: Spans, allotment: Int64s, ms: Int64s) -> Int64s:
    """Split the nanos of each allotment over its parts by their covered milliseconds."""
    order = np.argsort(allotment, kind="stable")
    nanos = np.zeros(len(allotment), dtype=np.int64)
    nanos[order] = split_groups(spans.cost_nanos, allotment[order], ms[order])
    return nanos


def _some(pieces: Pieces, segment: Int64s, ms: Int64s) -> Pieces:
    some = ms > 0
    return Pieces(
        segment=segment[some], hold=pieces.hold[some], kind=pieces.kind[some], ms=ms[some]
    )


def _none() -> Int64s:
    return np.zeros(0, dtype=np.int64)


def _axis(segments: Segments) -> tuple[int, int]:
    """Return the origin and width by which pools lie behind one another on one axis of time."""
    origin = int(segments.start_ms.min()) - 1
    return origin, int(segments.end_ms.max()) + 1 - origin


def _borders(commitments: Sequence[Commitment]) -> Int64s:
    instants = {at for one in commitments for at in (one.term_start_ms, one.term_end_ms)}
    return np.array(sorted(instants), dtype=np.int64)


def _cuts_at(borders: Int64s, segments: Segments) -> Cuts:
    """Return the instants that lie inside segments."""
    low = np.searchsorted(borders, segments.start_ms, side="right")
    count = np.searchsorted(borders, segments.end_ms, side="left") - low
    row = np.repeat(np.arange(len(low), dtype=np.int64), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return Cuts(row, borders[np.repeat(low, count) + within])


def _node_devices(pools: Pools) -> Int64s:
    """Return the devices of all models of each pool's node in its hour."""
    node = mix64(pools.window_ms, pools.node_id)
    _, number = np.unique(node, return_inverse=True)
    devices = np.zeros(len(node), dtype=np.int64)
    np.add.at(devices, number, pools.devices)
    return devices[number]


def _capacity_frame(columns: dict[str, Int64s], rows: int) -> pd.DataFrame:
    frame = pd.DataFrame(
        {name: columns.get(name, np.zeros(rows, dtype=np.int64)) for name in CAPACITY.columns}
    )
    validated: pd.DataFrame = CAPACITY.validate(frame)
    return validated
