"""From capacity to lines with money: prices, commitments, energy, and the rate card."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from app.attribution.capacity import Capacity, ints
from app.attribution.charges import ChargeKind
from app.attribution.committed import Spans, cover
from app.attribution.energy import EnergyCosts, EnergyTariffs, MeasuredEnergy, energy_costs
from app.attribution.lines import Lines, Parts, joined, split_costs, subject_of
from app.attribution.payers import Payers
from app.attribution.schedules import Cuts, Schedules, Step
from app.attribution.segments import NOBODY, Pieces, Segments, cut_segments, divide_held, join
from app.attribution.tariffs import Tariff, Tariffs
from app.pricing.cost import segment_costs

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the rate card says of every pool, and when it counts: 1 in ``counts``, else 0."""

    tariffs: Tariffs
    counts: Schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEnergy:
    """What the boards' energy costs, and what was measured of it."""

    tariffs: EnergyTariffs
    measured: MeasuredEnergy


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTerms:
    """By what segments are cut and charged, over the whole span of the rating."""

    tariffs: Tariffs
    payers: Payers
    days: tuple[int, ...]
    start_ms: int
    end_ms: int
    spans: Spans | None = None
    energy: OwnEnergy | None = None
    card: Card | None = None

    def day_schedule(self) -> Schedules:
        """Return the billing days as a schedule of one subject."""
        steps = [Step(max(begins, self.start_ms), day) for day, begins in enumerate(self.days)]
        return Schedules(np.zeros(1, dtype=np.int64), [steps], self.start_ms, self.end_ms)

    def numbers(self) -> "PriceNumbers":
        """Return which numbers the prices of every source have."""
        energy = self.energy.tariffs.prices if self.energy else ()
        return PriceNumbers(
            actual=_ids(self.tariffs.tariffs),
            committed=np.unique(self.spans.price_id) if self.spans else _NONE,
            energy=np.array([one.price_id if one else 0 for one in energy], dtype=np.int64),
            card=_ids(self.card.tariffs.tariffs) if self.card else _NONE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceNumbers:
    """The identities of all prices, those of each source behind those of the one before.

    Behind the last is 0, which stands for no price.
    """

    actual: Int64s
    committed: Int64s
    energy: Int64s
    card: Int64s

    @property
    def ids(self) -> Int64s:
        """The identity of every number."""
        none = np.zeros(1, dtype=np.int64)
        return np.concatenate([self.actual, self.committed, self.energy, self.card, none])


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLines:
    """The lines of all segments, and what the card leaves to the platform as lines of money only.

    ``variance`` is None where no card counts; ``unpriced_ms`` is by pool the time that the card
    prices and nothing else does. ``energy`` is None without owned boards.
    """

    lines: Lines
    variance: Lines | None
    unpriced_ms: Int64s
    energy: EnergyCosts | None


def priced_lines(capacity: Capacity, terms: LineTerms) -> PricedLines:
    """Cut the segments by the terms, divide what was held, and split each segment's cost."""
    maker = _Maker.of(capacity, terms)
    nothing = np.zeros(len(capacity.pools.node_id), dtype=np.int64)
    actual = [maker.priced(*maker.actual_parts())]
    energy = maker.energy()
    if energy is not None:
        actual.append(maker.energy_lines(energy))
    if terms.card is None:
        return PricedLines(
            lines=joined([one.lines for one in actual]),
            variance=None,
            unpriced_ms=nothing,
            energy=energy,
        )
    carded = maker.priced(maker.card_parts(terms.card), maker.pieces)
    replaced = [one.only(maker.on_card(one)) for one in actual]
    charged = carded.only(maker.on_card(carded))
    np.add.at(nothing, replaced[0].pool, replaced[0].lines.ms * maker.is_unpriced(replaced[0]))
    return PricedLines(
        lines=joined([*(one.only(~maker.on_card(one)).lines for one in actual), charged.lines]),
        variance=maker.variance(replaced, charged),
        unpriced_ms=nothing,
        energy=energy,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """Lines, and the pool of each."""

    lines: Lines
    pool: Int64s

    def only(self, rows: npt.NDArray[np.bool_]) -> "_Placed":
        """Return some of the lines."""
        return _Placed(self.lines.only(rows), self.pool[rows])


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes lines of the segments and pieces that all terms have cut."""

    terms: LineTerms
    numbers: PriceNumbers
    days: Schedules
    holds: int
    pools: int
    segments: Segments
    pieces: Pieces

    @classmethod
    def of(cls, capacity: Capacity, terms: LineTerms) -> "_Maker":
        """Cut the capacity where a price, an owner, a policy or the billing day changes."""
        days, holds = terms.day_schedule(), capacity.holds
        segments, pieces = _cut(capacity, terms, days)
        pieces = divide_held(
            pieces, ints(holds, "active_ms"), ints(holds, "idle_ms"), ints(holds, "held_ms")
        )
        numbers, pools = terms.numbers(), len(capacity.pools.node_id)
        return cls(terms, numbers, days, len(holds), pools, segments, pieces)

    def actual_parts(self) -> tuple[Parts, Pieces]:
        """Return the segments at their prices, with covered parts behind them, and their pieces."""
        segments, terms = self.segments, self.terms
        tariff = terms.tariffs.schedules.at(segments.pool, segments.start_ms)
        if terms.spans is None:
            return _whole(segments, tariff, terms.tariffs.tariffs, segments.device_ms), self.pieces
        covered = cover(segments, self.pieces, terms.spans)
        rest_ms = np.zeros(len(segments.pool), dtype=np.int64)
        np.add.at(rest_ms, covered.rest.segment, covered.rest.ms)
        rest = _whole(segments, tariff, terms.tariffs.tariffs, rest_ms)
        price_id = terms.spans.price_id[covered.allotment]
        ms = np.zeros(len(covered.segment), dtype=np.int64)
        np.add.at(ms, covered.pieces.segment, covered.pieces.ms)
        taken = Parts(
            pool=segments.pool[covered.segment],
            start_ms=segments.start_ms[covered.segment],
            end_ms=segments.end_ms[covered.segment],
            tariff=len(self.numbers.actual) + np.searchsorted(self.numbers.committed, price_id),
            ms=ms,
            cost_nanos=covered.cost_nanos,
        )
        behind = replace(covered.pieces, segment=covered.pieces.segment + len(rest_ms))
        return rest.followed_by(taken), join([covered.rest, behind])

    def card_parts(self, card: Card) -> Parts:
        """Return the segments at the prices of the card."""
        tariff = card.tariffs.schedules.at(self.segments.pool, self.segments.start_ms)
        parts = _whole(self.segments, tariff, card.tariffs.tariffs, self.segments.device_ms)
        before = len(self.numbers.actual) + len(self.numbers.committed) + len(self.numbers.energy)
        return replace(parts, tariff=parts.tariff + before)

    def priced(self, parts: Parts, pieces: Pieces) -> _Placed:
        """Split the parts' costs over their pieces."""
        pieces, cost_nanos = split_costs(parts, pieces)
        return self._placed(
            pieces,
            parts.pool[pieces.segment],
            (parts.start_ms[pieces.segment], parts.end_ms[pieces.segment]),
            tariff=parts.tariff[pieces.segment],
            ms=pieces.ms,
            cost_nanos=cost_nanos,
            measure=pieces.ms,
        )

    def energy(self) -> EnergyCosts | None:
        """Return what the pieces' energy costs, if any boards are owned."""
        own = self.terms.energy
        if own is None:
            return None
        return energy_costs(self.segments, self.pieces, own.tariffs, own.measured, self.pools)

    def energy_lines(self, energy: EnergyCosts) -> _Placed:
        """Return what energy costs as lines of the kinds of the time, without time."""
        pieces, segments = energy.pieces, self.segments
        return self._placed(
            pieces,
            segments.pool[pieces.segment],
            (segments.start_ms[pieces.segment], segments.end_ms[pieces.segment]),
            tariff=energy.tariff + len(self.numbers.actual) + len(self.numbers.committed),
            ms=np.zeros(len(pieces.ms), dtype=np.int64),
            cost_nanos=energy.cost_nanos,
            measure=energy.energy_mj,
        )

    def on_card(self, placed: _Placed) -> npt.NDArray[np.bool_]:
        """Say which lines are of a time in which the card counts."""
        if self.terms.card is None:
            return np.zeros(len(placed.pool), dtype=bool)
        begins = placed.lines.start_ms
        return self.terms.card.counts.at(np.zeros_like(begins), begins) > 0

    def is_unpriced(self, placed: _Placed) -> npt.NDArray[np.bool_]:
        """Say which lines nothing prices."""
        unpriced: npt.NDArray[np.bool_] = self.numbers.ids[placed.lines.tariff] == 0
        return unpriced

    def variance(self, actual: Sequence[_Placed], charged: _Placed) -> Lines:
        """Return what is left to the platform: the actual cost less what the card charges."""
        both = joined([*(one.lines for one in actual), charged.lines])
        pool = np.concatenate([*(one.pool for one in actual), charged.pool])
        sign = np.concatenate(
            [*(np.ones_like(one.pool) for one in actual), -np.ones_like(charged.pool)]
        )
        nobody = np.full(len(pool), self.holds, dtype=np.int64)
        return replace(
            both,
            subject=pool + self.holds,
            kind=np.full(len(pool), int(ChargeKind.ADJUSTMENT), dtype=np.int64),
            team=self.terms.payers.schedules.at(nobody, both.start_ms),
            tariff=np.full(len(pool), len(self.numbers.ids) - 1, dtype=np.int64),
            ms=np.zeros(len(pool), dtype=np.int64),
            cost_nanos=both.cost_nanos * sign,
        )

    def _placed(
        self,
        pieces: Pieces,
        pool: Int64s,
        span: tuple[Int64s, Int64s],
        *,
        tariff: Int64s,
        ms: Int64s,
        cost_nanos: Int64s,
        measure: Int64s,
    ) -> _Placed:
        begins, ends = span
        payer = np.where(pieces.hold == NOBODY, self.holds, pieces.hold)
        lines = Lines(
            subject=subject_of(pieces, pool, self.holds),
            kind=pieces.kind,
            team=self.terms.payers.schedules.at(payer, begins),
            tariff=tariff,
            day=self.days.at(np.zeros_like(begins), begins),
            start_ms=begins,
            end_ms=ends,
            ms=ms,
            cost_nanos=cost_nanos,
            measure=measure,
        )
        return _Placed(lines, pool)


def _cut(capacity: Capacity, terms: LineTerms, days: Schedules) -> tuple[Segments, Pieces]:
    segments, pieces, holds = capacity.segments, capacity.pieces, capacity.holds
    start_ms, end_ms = segments.start_ms, segments.end_ms
    alone = np.zeros_like(segments.pool)
    payer = np.where(pieces.hold == NOBODY, len(holds), pieces.hold)
    of_owners = terms.payers.schedules.cuts(payer, start_ms[pieces.segment], end_ms[pieces.segment])
    cuts = [
        terms.tariffs.schedules.cuts(segments.pool, start_ms, end_ms),
        days.cuts(alone, start_ms, end_ms),
        Cuts(pieces.segment[of_owners.row], of_owners.at_ms),
    ]
    if terms.spans is not None:
        cuts.append(terms.spans.cuts(segments))
    if terms.energy is not None:
        cuts.append(terms.energy.tariffs.schedules.cuts(segments.pool, start_ms, end_ms))
    if terms.card is not None:
        cuts.append(terms.card.tariffs.schedules.cuts(segments.pool, start_ms, end_ms))
        cuts.append(terms.card.counts.cuts(alone, start_ms, end_ms))
    return cut_segments(segments, pieces, cuts)


def _whole(segments: Segments, tariff: Int64s, tariffs: tuple[Tariff, ...], ms: Int64s) -> Parts:
    """Return segments with the cost of some of their milliseconds."""
    return Parts(
        pool=segments.pool,
        start_ms=segments.start_ms,
        end_ms=segments.end_ms,
        tariff=tariff,
        ms=ms,
        cost_nanos=segment_costs(ms, tariff, [one.nanos_per_ms for one in tariffs]),
    )


def _ids(tariffs: Sequence[Tariff]) -> Int64s:
    return np.array([one.price_id for one in tariffs], dtype=np.int64)


_NONE = np.zeros(0, dtype=np.int64)
