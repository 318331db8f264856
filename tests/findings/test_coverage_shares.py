"""Shares of time and money, against a walk over every single piece of GPU time."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from app.findings.coverage import (
    COVERAGE_GROUPS,
    CoverageRow,
    Measure,
    coverage_rows,
    grouped,
)
from tests.findings.covering import Row, a_time, service_evidence, time_evidence

HOUR_MS = 3_600_000
HELD = ("used", "idle", "unmeasured")
NOBODY = ("unallocated", "stranded", "unobserved")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some GPU time with everything that is known of it; ``nanos`` None is no price."""

    ms: int
    kind: str
    nanos: int | None
    rated: bool
    cluster: str
    namespace: str
    team: str
    service: str
    tokens: bool
    requests: bool
    latency: bool
    started: bool

    def is_known(self, measure: Measure) -> bool | None:
        """Say whether the piece is measured; None where there is nothing to measure."""
        served = bool(self.service)
        match measure:
            case Measure.GPU_UTILIZATION:
                wanted = self.kind in HELD or self.kind == "unobserved"
                return self.kind in ("used", "idle") if wanted else None
            case Measure.TOKEN_THROUGHPUT:
                return self.tokens if served else None
            case Measure.LATENCY:
                return (self.latency if self.requests else None) if served else None
            case Measure.COLD_START:
                return self.started if served else None
            case Measure.OWNERSHIP:
                return self.rated and self.kind != "unobserved" and self.team != "unowned"
            case Measure.PRICE:
                return self.rated and self.nanos is not None


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    kind = draw(st.sampled_from((*HELD, *NOBODY)))
    held = kind in HELD
    rated = draw(st.booleans())
    priced = rated and draw(st.booleans())
    service = draw(st.sampled_from(("", "chat"))) if held else ""
    requests = draw(st.booleans())
    return Piece(
        ms=draw(st.integers(1, 10**12)),
        kind=kind,
        nanos=draw(st.integers(0, 10**15)) if priced else None,
        rated=rated,
        cluster=draw(st.sampled_from(("eu", "us"))),
        namespace=draw(st.sampled_from(("a", "b"))) if held else "",
        team=draw(st.sampled_from(("search", "unowned"))) if rated else "",
        service=service,
        tokens=draw(st.booleans()),
        requests=requests,
        latency=requests and draw(st.booleans()),
        started=draw(st.booleans()),
    )


def rows_of(told: list[Piece]) -> tuple[CoverageRow, ...]:
    """Sum the pieces as the database does, then compute."""
    times = [_time(piece) for piece in told]
    by_service = sorted(
        (piece for piece in told if piece.service), key=lambda one: (one.cluster, one.namespace)
    )
    services = [
        _service(key, list(group))
        for key, group in groupby(by_service, key=lambda one: (one.cluster, one.namespace))
    ]
    return coverage_rows(time_evidence(times), service_evidence(services))


def _time(piece: Piece) -> Row:
    return a_time(
        cluster=piece.cluster,
        namespace=piece.namespace,
        team=piece.team,
        rated=piece.rated,
        **{f"{piece.kind}_ms": piece.ms, f"{piece.kind}_nanos": piece.nanos or 0},
        unpriced_ms=piece.ms if piece.rated and piece.nanos is None else 0,
    )


def _service(key: tuple[str, str], group: list[Piece]) -> Row:
    def ms(wanted: list[Piece]) -> int:
        return sum(piece.ms for piece in wanted)

    def nanos(wanted: list[Piece]) -> int:
        return sum(piece.nanos or 0 for piece in wanted)

    quiet = [piece for piece in group if not piece.requests]
    known = {
        "tokens": [piece for piece in group if piece.tokens],
        "latency": [piece for piece in group if piece.latency],
        "starts": [piece for piece in group if piece.started],
        "quiet": quiet,
        "unowned": [piece for piece in group if piece.team == "unowned"],
        **{kind: [piece for piece in group if piece.kind == kind] for kind in HELD},
    }
    return {
        "cluster": key[0],
        "namespace": key[1],
        "service": "chat",
        "unpriced_ms": ms([piece for piece in group if piece.rated and piece.nanos is None]),
        "unrated_ms": ms([piece for piece in group if not piece.rated]),
        **{f"{name}_ms": ms(wanted) for name, wanted in known.items()},
        **{f"{name}_nanos": nanos(wanted) for name, wanted in known.items()},
    }


@given(st.lists(pieces(), min_size=1, max_size=12))
def test_every_share_is_that_of_a_walk_over_the_pieces(told: list[Piece]) -> None:
    rows = rows_of(told)

    for row in rows:
        mine = [
            piece
            for piece in told
            if (piece.cluster, piece.namespace, piece.service)
            == (row.cluster, row.namespace, row.service)
        ]
        assert row.ms == sum(piece.ms for piece in mine)
        for measure, share in row.shares.items():
            wanted = [piece for piece in mine if piece.is_known(measure) is not None]
            known = [piece for piece in wanted if piece.is_known(measure)]
            assert (share.ms, share.measured_ms) == (
                sum(piece.ms for piece in wanted),
                sum(piece.ms for piece in known),
            )
            assert (share.nanos, share.measured_nanos) == (
                sum(piece.nanos or 0 for piece in wanted),
                sum(piece.nanos or 0 for piece in known),
            )


@given(st.lists(pieces(), min_size=1, max_size=12))
def test_rows_add_up_to_the_whole_and_no_part_is_more_than_it(told: list[Piece]) -> None:
    rows = rows_of(told)

    for group_by in ((), ("cluster",), ("cluster", "namespace"), COVERAGE_GROUPS):
        summed = grouped(rows, group_by)
        assert sum(row.ms for row in summed) == sum(piece.ms for piece in told)
        assert sum(row.nanos for row in summed) == sum(piece.nanos or 0 for piece in told)
        for row in summed:
            for measure, share in row.shares.items():
                assert 0 <= share.measured_ms <= share.ms <= row.ms
                assert 0 <= share.measured_nanos <= share.nanos <= row.nanos
                assert (row.cost_ratio(measure) or 0) <= 1
    assert grouped(rows, COVERAGE_GROUPS) == rows


@given(st.lists(pieces(), min_size=1, max_size=12))
def test_what_is_not_known_is_never_measured(told: list[Piece]) -> None:
    unknown = [
        Piece(
            ms=piece.ms,
            kind="unmeasured" if piece.kind in HELD else "unobserved",
            nanos=None,
            rated=piece.rated,
            cluster=piece.cluster,
            namespace=piece.namespace,
            team="unowned" if piece.rated else "",
            service=piece.service,
            tokens=False,
            requests=True,
            latency=False,
            started=False,
        )
        for piece in told
    ]

    (whole,) = grouped(rows_of(unknown), ())

    assert {share.measured_ms for share in whole.shares.values()} == {0}
    assert {whole.cost_ratio(measure) for measure in Measure} == {None}


def test_money_that_nobody_knows_makes_the_share_of_priced_money_unknown() -> None:
    rows = coverage_rows(
        time_evidence(
            [
                a_time(used_ms=3 * HOUR_MS, used_nanos=9),
                a_time(used_ms=HOUR_MS, unpriced_ms=HOUR_MS),
            ]
        ),
        service_evidence([]),
    )

    (row,) = rows
    assert row.shares[Measure.PRICE].time_ratio == Fraction(3, 4)
    assert row.cost_ratio(Measure.PRICE) is None
    assert row.cost_ratio(Measure.GPU_UTILIZATION) == 1
    assert not row.shares[Measure.GPU_UTILIZATION].complete
