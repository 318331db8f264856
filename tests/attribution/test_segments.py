import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind
from app.attribution.schedules import Cuts
from app.attribution.segments import HELD, NOBODY, Pieces, Segments, cut_segments, divide_held
from app.units.money import split


def ints(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def pieces_of(parts: list[list[int]]) -> Pieces:
    """Return pieces of segments: the last part of each is nobody's, the others are of holds."""
    rows = [
        (segment, NOBODY if number == len(of_one) - 1 else number, ms)
        for segment, of_one in enumerate(parts)
        for number, ms in enumerate(of_one)
        if ms
    ]
    return Pieces(
        segment=ints([segment for segment, _, _ in rows]),
        hold=ints([hold for _, hold, _ in rows]),
        kind=ints([ChargeKind.STRANDED if hold == NOBODY else HELD for _, hold, _ in rows]),
        ms=ints([ms for _, _, ms in rows]),
    )


@st.composite
def segments(draw: st.DrawFn) -> tuple[Segments, Pieces, Cuts]:
    """Segments of shared devices, whose pieces are no multiples of their length, and cuts."""
    lengths = draw(st.lists(st.integers(2, 4000), min_size=1, max_size=4))
    devices = [draw(st.integers(1, 3)) for _ in lengths]
    parts = [
        split(length * count, draw(st.lists(st.integers(1, 99), min_size=2, max_size=5)), range(9))
        for length, count in zip(lengths, devices, strict=True)
    ]
    starts = [1000 + 5000 * number for number in range(len(lengths))]
    cuts = [
        (row, starts[row] + at)
        for row, length in enumerate(lengths)
        for at in draw(st.lists(st.integers(1, length - 1), max_size=4))
    ]
    return (
        Segments(
            pool=ints(list(range(len(lengths)))),
            start_ms=ints(starts),
            end_ms=ints([start + length for start, length in zip(starts, lengths, strict=True)]),
            devices=ints(devices),
        ),
        pieces_of(parts),
        Cuts(ints([row for row, _ in cuts]), ints([at for _, at in cuts])),
    )


@given(segments())
def test_cutting_keeps_every_part_and_every_holder_whole(
    given_: tuple[Segments, Pieces, Cuts],
) -> None:
    whole, pieces, cuts = given_

    smaller, divided = cut_segments(whole, pieces, [cuts, cuts])

    assert np.array_equal(
        np.bincount(divided.segment, divided.ms, len(smaller.pool)).astype(np.int64),
        smaller.device_ms,
    )
    for segment in range(len(whole.pool)):
        for hold in range(NOBODY, 5):
            before = (pieces.segment == segment) & (pieces.hold == hold)
            after = (smaller.pool[divided.segment] == segment) & (divided.hold == hold)
            assert divided.ms[after].sum() == pieces.ms[before].sum()
    expected = {(row, at) for row, at in zip(cuts.row.tolist(), cuts.at_ms.tolist(), strict=True)}
    inner = smaller.start_ms != whole.start_ms[smaller.pool]
    found = zip(smaller.pool[inner].tolist(), smaller.start_ms[inner].tolist(), strict=True)
    assert set(found) == expected


@given(segments(), st.data())
def test_held_pieces_are_divided_without_losing_a_millisecond(
    given_: tuple[Segments, Pieces, Cuts], data: st.DataObject
) -> None:
    _, pieces, _ = given_
    held = np.zeros(6, dtype=np.int64)
    of_holds = pieces.kind == HELD
    np.add.at(held, pieces.hold[of_holds], pieces.ms[of_holds])
    active = ints([data.draw(st.integers(0, int(ms))) for ms in held])
    idle = ints([data.draw(st.integers(0, int(rest))) for rest in held - active])

    lines = divide_held(pieces, active, idle, held)

    for hold in range(6):
        for kind, total in (
            (ChargeKind.USED, active),
            (ChargeKind.IDLE, idle),
            (ChargeKind.UNMEASURED, held - active - idle),
        ):
            assert lines.ms[(lines.hold == hold) & (lines.kind == kind)].sum() == total[hold]
        for segment in np.unique(pieces.segment):
            of_one = (pieces.hold == hold) & (pieces.segment == segment)
            divided = (lines.hold == hold) & (lines.segment == segment)
            assert lines.ms[divided].sum() == pieces.ms[of_one].sum()
    assert (lines.ms > 0).all()


def test_whole_devices_are_cut_to_the_millisecond() -> None:
    whole = Segments(pool=ints([0]), start_ms=ints([0]), end_ms=ints([1000]), devices=ints([3]))

    _, divided = cut_segments(
        whole, pieces_of([[1000, 2000, 0]]), [Cuts(ints([0, 0]), ints([333, 334]))]
    )

    order = np.lexsort((divided.hold, divided.segment))
    assert divided.ms[order].tolist() == [333, 666, 1, 2, 666, 1332]


def test_more_than_843_gpu_hours_of_one_hold_are_divided_exactly() -> None:
    held = 4_000_000_000
    pieces = pieces_of([[held // 2, 0], [held // 2, 0]])

    lines = divide_held(pieces, ints([held - 1]), ints([1]), ints([held]))

    assert lines.ms[lines.kind == ChargeKind.USED].sum() == held - 1
