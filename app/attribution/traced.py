"""The segments that a first-hand charge was made from, each with what it was split by."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from app.attribution.charges import LineStep
from app.attribution.lines import Int64s, Lines, Names, Subjects, charge_ids_of
from app.attribution.rating import RatingInput, rated_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPart:
    """A charge's part of one segment at one price.

    ``segment_*`` are of the whole segment, also of those who share it. ``measure`` is what was
    priced, GPU-milliseconds or millijoules; ``weight`` by what its nanos were split.
    """

    start_ms: int
    end_ms: int
    measure: int
    weight: int
    nanos: int
    segment_measure: int
    segment_weight: int
    segment_nanos: int

    @property
    def exact(self) -> Fraction:
        """The part before it was rounded to nanos."""
        if not self.segment_weight:
            return Fraction(self.nanos)
        return Fraction(self.segment_nanos * self.weight, self.segment_weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedLine:
    """A first-hand charge as its segments make it; a variance is actual cost less the card's."""

    parts: tuple[SegmentPart, ...]
    gpu_ms: int
    nanos: int
    is_energy: bool = False
    actual_nanos: int = 0
    card_nanos: int = 0

    @property
    def measure(self) -> int:
        """GPU-milliseconds, or millijoules of energy."""
        return sum(one.measure for one in self.parts)


def trace(given: RatingInput, charge_id: int, step: LineStep) -> TracedLine | None:
    """Return the segments of a charge of step 0, or the sides of one of step 13.

    None where the rating of these facts has no such charge.
    """
    rated = rated_lines(given)
    if rated is None:
        return None
    names, subjects = rated.names, rated.subjects
    if step is LineStep.CARD_VARIANCE:
        return _variance(rated.made.variance, subjects, names, charge_id)
    lines = rated.made.lines
    own = charge_ids_of(lines, subjects, names) == charge_id
    if not own.any():
        return None
    parts = _parts(lines, subjects, own)
    return TracedLine(
        parts=parts,
        gpu_ms=int(lines.ms[own].sum()),
        nanos=int(lines.cost_nanos[own].sum()),
        is_energy=bool((lines.ms[own] == 0).all() and (lines.measure[own] > 0).any()),
    )


def _variance(
    lines: Lines | None, subjects: Subjects, names: Names, charge_id: int
) -> TracedLine | None:
    if lines is None:
        return None
    own = charge_ids_of(lines, subjects, names, LineStep.CARD_VARIANCE) == charge_id
    nanos = lines.cost_nanos[own]
    if not len(nanos):
        return None
    return TracedLine(
        parts=(),
        gpu_ms=0,
        nanos=int(nanos.sum()),
        actual_nanos=int(nanos[nanos > 0].sum()),
        card_nanos=-int(nanos[nanos < 0].sum()),
    )


def _parts(
    lines: Lines, subjects: Subjects, own: "np.typing.NDArray[np.bool_]"
) -> tuple[SegmentPart, ...]:
    """Return the charge's parts in order of time; lines of one pool, span and price share one."""
    keys = _segment_keys(lines, subjects)
    wanted, segment = np.unique(keys[own], axis=0, return_inverse=True)
    segment = segment.reshape(-1)
    weights = _weights(lines)
    found: list[SegmentPart] = []
    for number, key in enumerate(wanted):
        there = (keys == key).all(axis=1)
        mine = np.flatnonzero(own)[segment == number]
        found.append(
            SegmentPart(
                start_ms=int(lines.start_ms[mine[0]]),
                end_ms=int(lines.end_ms[mine[0]]),
                measure=int(lines.measure[mine].sum()),
                weight=int(weights[mine].sum()),
                nanos=int(lines.cost_nanos[mine].sum()),
                segment_measure=int(lines.measure[there].sum()),
                segment_weight=int(weights[there].sum()),
                segment_nanos=int(lines.cost_nanos[there].sum()),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.start_ms, one.end_ms)))


def _segment_keys(lines: Lines, subjects: Subjects) -> Int64s:
    return np.column_stack(
        [
            subjects.window_ms[lines.subject],
            subjects.node_id[lines.subject],
            subjects.gpu_model_id[lines.subject],
            lines.start_ms,
            lines.end_ms,
            lines.tariff,
        ]
    )


def _weights(lines: Lines) -> Int64s:
    """Return by what lines were split: time, and energy in millijoules."""
    weights: Int64s = np.where(lines.ms > 0, lines.ms, lines.measure)
    return weights
