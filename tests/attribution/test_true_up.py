"""What a provider charged against what pools cost: by hand, by brute force, and to the nano."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribution.bill_pieces import Piece, Place, pieces_of
from app.attribution.days import day_starts
from app.attribution.node_matching import NodeIndex
from app.attribution.provider_bills import Bill, BillRow, ChargeCategory, NodeLife
from app.attribution.redistribution import billing_days
from app.attribution.true_up import DayState, NodeDay, PoolCost, node_days, spans_of, true_up_lines
from app.units.window import HOUR_MS, OPEN_MS

INDIA = ZoneInfo("Asia/Kolkata")
# 2026-10-01T00:00:00Z.
OCTOBER_MS = 1_790_812_800_000
DAY_MS = 24 * HOUR_MS
USD = 10**9
CLUSTER, PLATFORM, SEARCH, ML = 7, 50, 51, 52


def a_bill(number: int = 1, *, start_ms: int = OCTOBER_MS, covered_ms: int = 0) -> Bill:
    end_ms = start_ms + 31 * DAY_MS
    return Bill(
        bill_id=number,
        provider="AWS",
        billing_account="1234",
        start_ms=start_ms,
        end_ms=end_ms,
        covered_until_ms=covered_ms or end_ms,
    )


def a_row(  # a builder has a default for everything
    node: str,
    nanos: int,
    start_ms: int,
    end_ms: int,
    *,
    bill: int = 1,
    number: int = 1,
    category: ChargeCategory = ChargeCategory.USAGE,
    unused: bool = False,
) -> BillRow:
    return BillRow(
        bill_id=bill,
        number=number,
        start_ms=start_ms,
        end_ms=end_ms,
        category=category,
        nanos=nanos,
        unused=unused,
        resource_id=node,
    )


def a_life(number: int, *, created_ms: int = 0, deleted_ms: int = OPEN_MS) -> NodeLife:
    return NodeLife(
        cluster_id=CLUSTER,
        cluster="prod",
        node_id=number,
        name=f"gpu-{number}",
        provider_id=f"aws:///us-east-1a/i-{number:08x}",
        created_ms=created_ms,
        deleted_ms=deleted_ms,
    )


def a_cost(  # a builder has a default for everything
    node: int,
    nanos: int,
    day_ms: int,
    *,
    span_ms: int | None = None,
    team: int = SEARCH,
    priced: bool = True,
    model: int = 90,
) -> PoolCost:
    return PoolCost(
        day_ms=day_ms,
        span_ms=day_ms if span_ms is None else span_ms,
        cluster_id=CLUSTER,
        node_id=node,
        team_id=team,
        namespace_id=team + 100,
        gpu_model_id=model,
        nanos=nanos,
        priced=priced,
    )


def pieces(rows: Sequence[BillRow], lives: Sequence[NodeLife], zone: ZoneInfo) -> list[Piece]:
    return pieces_of(rows, NodeIndex(lives), lambda start, end: day_starts(zone, start, end))


def compared(
    bills: Sequence[Bill], found: Sequence[Piece], pool: Sequence[PoolCost], zone: ZoneInfo
) -> tuple[NodeDay, ...]:
    starts = ({one.day_ms for one in found} | {one.day_ms for one in pool}) - {0}
    spans = {ms: spans_of(billing_days(zone, ms, ms + 1)[0], bills) for ms in starts}
    return node_days(bills, found, pool, spans)


def test_two_nodes_of_a_day_in_india_one_joined_at_half_past_ten_and_one_is_not_ours() -> None:
    """The day of 2 October in India is [1 October 18:30Z, 2 October 18:30Z).

    gpu-1 was billed 48 USD for the UTC day of 2 October, 2 USD an hour: 18.5 h of it, 37 USD, are
    on the 2nd of India, 5.5 h, 11 USD, on the 3rd. gpu-2 joined at 10:30 of India (05:00Z) and was
    billed 24 USD for that UTC day: 5 of 24 hours, 5 USD, lie before it joined, 13.5 USD on the 2nd,
    5.5 USD on the 3rd. i-99 is not ours.
    """
    second_ms = OCTOBER_MS + 18 * HOUR_MS + HOUR_MS // 2
    third_ms = second_ms + DAY_MS
    joined_ms = OCTOBER_MS + DAY_MS + 5 * HOUR_MS
    utc_day = (OCTOBER_MS + DAY_MS, OCTOBER_MS + 2 * DAY_MS)
    rows = [
        a_row("i-00000001", 48 * USD, *utc_day, number=1),
        a_row("arn:aws:ec2:us-east-1:1234:instance/i-00000002", 24 * USD, *utc_day, number=2),
        a_row("i-00000099", 7 * USD, *utc_day, number=3),
    ]
    lives = [a_life(1), a_life(2, created_ms=joined_ms)]
    pool = [
        a_cost(1, 30 * USD, second_ms),
        a_cost(1, 12 * USD, third_ms),
        a_cost(2, 10 * USD, second_ms, team=SEARCH),
        a_cost(2, 5 * USD, second_ms, team=ML),
    ]

    found = pieces(rows, lives, INDIA)
    days = compared([a_bill()], found, pool, INDIA)
    lines = true_up_lines(days, pool, lambda _day, _cluster: PLATFORM)
    spread = true_up_lines(days, pool, lambda _day, _cluster: None)

    outside = [(one.number, one.nanos) for one in found if one.place is Place.NOT_IN_CLUSTER]
    assert outside == [(2, 5 * USD)]
    assert [(one.number, one.reason) for one in found if one.place is Place.UNMATCHED] == [
        (3, "no_node")
    ]
    assert [(one.node[1], one.day_ms, one.provider_nanos, one.pool_nanos) for one in days] == [
        (1, second_ms, 37 * USD, 30 * USD),
        (1, third_ms, 11 * USD, 12 * USD),
        (2, second_ms, 13_500_000_000, 15 * USD),
    ]
    assert [(one.node_id, one.day_ms, one.team_id, one.nanos) for one in lines] == [
        (1, second_ms, PLATFORM, 7 * USD),
        (1, third_ms, PLATFORM, -1 * USD),
        (2, second_ms, PLATFORM, -1_500_000_000),
    ]
    # Two thirds of the node's first-hand cost are search's, one third is ml's.
    assert [(one.team_id, one.nanos) for one in spread if one.node_id == 2] == [
        (SEARCH, -1 * USD),
        (ML, -500_000_000),
    ]


def test_a_row_of_a_scale_set_is_split_by_the_time_of_its_machines() -> None:
    """Of a UTC day's 36 USD gpu-1 was there for 24 hours and gpu-2 for 12, 6 of them on each day.

    The day in India begins at 18:30Z.
    """
    path = "/subscriptions/s/providers/Microsoft.Compute/virtualMachineScaleSets/gpu"
    second_ms = OCTOBER_MS + 18 * HOUR_MS + HOUR_MS // 2
    lives = [
        replace(a_life(1), provider_id=f"azure://{path}/virtualMachines/1"),
        replace(
            a_life(2, created_ms=second_ms - 6 * HOUR_MS, deleted_ms=second_ms + 6 * HOUR_MS),
            provider_id=f"azure://{path}/virtualMachines/2",
        ),
    ]
    rows = [
        a_row(path, 36 * USD, OCTOBER_MS + 6 * HOUR_MS, OCTOBER_MS + 30 * HOUR_MS),
        a_row(path, 5 * USD, OCTOBER_MS - HOUR_MS, OCTOBER_MS, number=2),
    ]

    found = pieces(rows[:1], lives, INDIA)
    alone = pieces(rows[1:], lives[1:], INDIA)

    first_ms = second_ms - DAY_MS
    assert [(one.day_ms, one.node[1], one.nanos) for one in found] == [
        (first_ms, 1, 12_500_000_000),
        (first_ms, 2, 6 * USD),
        (second_ms, 1, 11_500_000_000),
        (second_ms, 2, 6 * USD),
    ]
    assert [(one.place, one.nanos) for one in alone] == [(Place.NOT_IN_CLUSTER, 5 * USD)]


def test_only_usage_is_a_nodes() -> None:
    span = (OCTOBER_MS, OCTOBER_MS + DAY_MS)
    rows = [
        a_row("i-00000001", 1, *span, number=number, category=category)
        for number, category in enumerate(ChargeCategory)
    ]
    rows.append(a_row("i-00000001", 1, *span, number=9, unused=True))

    found = pieces(rows, [a_life(1)], INDIA)

    assert {(one.number, one.place, one.reason) for one in found} == {
        (0, Place.IN_CLUSTER, ""),
        (1, Place.UNMATCHED, "purchase"),
        (2, Place.UNMATCHED, "tax"),
        (3, Place.UNMATCHED, "credit"),
        (4, Place.UNMATCHED, "adjustment"),
        (9, Place.COMMITMENT_UNUSED, ""),
    }


def test_a_machine_that_was_registered_again_is_two_nodes_in_turn() -> None:
    again_ms = OCTOBER_MS + 12 * HOUR_MS
    first = a_life(1, deleted_ms=again_ms - HOUR_MS)
    second = NodeLife(
        cluster_id=CLUSTER,
        cluster="prod",
        node_id=2,
        name="gpu-1",
        provider_id=first.provider_id,
        created_ms=again_ms,
    )

    found = pieces(
        [a_row("i-00000001", 24 * USD, OCTOBER_MS, OCTOBER_MS + DAY_MS)],
        [first, second],
        ZoneInfo("UTC"),
    )

    assert [(one.place.value, one.node[1], one.nanos) for one in found] == [
        ("in_cluster", 1, 11 * USD),
        ("not_in_cluster", 2, 1 * USD),
        ("in_cluster", 2, 12 * USD),
    ]


@pytest.mark.parametrize(
    ("pool", "bill", "state"),
    [
        (a_cost(1, USD, OCTOBER_MS), a_bill(), DayState.DUE),
        (a_cost(1, 0, OCTOBER_MS, priced=False), a_bill(), DayState.UNPRICED),
        (
            a_cost(1, USD, OCTOBER_MS),
            a_bill(covered_ms=OCTOBER_MS + DAY_MS - 1),
            DayState.UNCOVERED,
        ),
        (a_cost(1, USD, OCTOBER_MS), a_bill(covered_ms=OCTOBER_MS + DAY_MS), DayState.DUE),
    ],
)
def test_a_day_waits_for_its_prices_and_for_the_rest_of_the_bill(
    pool: PoolCost, bill: Bill, state: DayState
) -> None:
    utc = ZoneInfo("UTC")
    found = pieces(
        [a_row("i-00000001", 3 * USD, OCTOBER_MS, OCTOBER_MS + HOUR_MS)], [a_life(1)], utc
    )

    (day,) = compared([bill], found, [pool], utc)

    assert day.state is state
    lines = true_up_lines([day], [pool], lambda _day, _cluster: PLATFORM)
    assert bool(lines) is (state is DayState.DUE)


def test_a_day_over_the_border_of_two_bills_is_compared_with_both() -> None:
    """1 October of India begins on 30 September 18:30Z: 5.5 h of it are on September's bill."""
    first_ms = OCTOBER_MS - 5 * HOUR_MS - HOUR_MS // 2
    september, october = a_bill(1, start_ms=OCTOBER_MS - 31 * DAY_MS), a_bill(2)
    rows = [
        a_row("i-00000001", 11 * USD, first_ms, OCTOBER_MS, bill=1),
        a_row("i-00000001", 37 * USD, OCTOBER_MS, first_ms + DAY_MS, bill=2),
    ]
    pool = [
        a_cost(1, 10 * USD, first_ms),
        a_cost(1, 30 * USD, first_ms, span_ms=OCTOBER_MS),
    ]

    both = compared([september, october], pieces(rows, [a_life(1)], INDIA), pool, INDIA)
    alone = compared([october], pieces(rows[1:], [a_life(1)], INDIA), pool, INDIA)

    assert [(one.bill_id, one.true_up_nanos) for one in both] == [(1, USD), (2, 7 * USD)]
    assert {one.state for one in both} == {DayState.DUE}
    # Without September's bill nobody knows what its hours cost.
    assert [(one.state, one.pool_nanos) for one in alone] == [(DayState.UNCOVERED, 30 * USD)]


def test_a_negative_line_of_a_rate_card_carries_no_part_of_a_spread_difference() -> None:
    pool = [a_cost(1, 3 * USD, OCTOBER_MS), a_cost(1, -1 * USD, OCTOBER_MS, team=PLATFORM)]
    day = NodeDay(
        bill_id=1,
        node=(CLUSTER, 1),
        day_ms=OCTOBER_MS,
        provider_nanos=5 * USD,
        pool_nanos=2 * USD,
        state=DayState.DUE,
    )

    lines = true_up_lines([day], pool, lambda _day, _cluster: None)

    assert [(one.team_id, one.nanos) for one in lines] == [(SEARCH, 3 * USD)]


NODES = st.integers(1, 3)
INSTANTS = st.integers(0, 80).map(lambda half: OCTOBER_MS + half * HOUR_MS // 2)
SPANS = st.tuples(INSTANTS, st.integers(1, 30)).map(
    lambda pair: (pair[0], pair[0] + pair[1] * HOUR_MS)
)
ROWS = st.lists(
    st.tuples(NODES, st.integers(-(10**12), 10**12), SPANS, st.sampled_from(ChargeCategory)),
    max_size=8,
)
LIVES = st.tuples(*(st.tuples(INSTANTS, st.integers(1, 60)) for _ in range(2)))


@given(rows=ROWS, lives=LIVES, zone=st.sampled_from([INDIA, ZoneInfo("America/New_York")]))
def test_pieces_are_what_a_walk_of_half_hours_gives(
    rows: list[tuple[int, int, tuple[int, int], ChargeCategory]],
    lives: tuple[tuple[int, int], ...],
    zone: ZoneInfo,
) -> None:
    """Node 3 is not ours; the others live for some half hours. Every border is a half hour."""
    nodes = [
        a_life(number, created_ms=start, deleted_ms=start + halves * HOUR_MS // 2)
        for number, (start, halves) in enumerate(lives, start=1)
    ]
    made = [
        a_row(f"i-{node:08x}", nanos, *span, number=number, category=category)
        for number, (node, nanos, span, category) in enumerate(rows)
    ]

    found = pieces(made, nodes, zone)

    exact: dict[tuple[int, str, int], Fraction] = defaultdict(Fraction)
    for row, (node, *_) in zip(made, rows, strict=True):
        steps = range(row.start_ms, row.end_ms, HOUR_MS // 2)
        for at_ms in steps:
            key = (row.number, "unmatched", 0)
            if row.category is ChargeCategory.USAGE and node in (1, 2):
                life = nodes[node - 1]
                inside = life.created_ms <= at_ms < life.deleted_ms
                day = billing_days(zone, at_ms, at_ms + 1)[0].start_ms
                key = (
                    (row.number, "in_cluster", day) if inside else (row.number, "not_in_cluster", 0)
                )
            exact[key] += Fraction(row.nanos, len(steps))
    given_: dict[tuple[int, str, int], int] = defaultdict(int)
    for piece in found:
        given_[piece.number, piece.place.value, piece.day_ms] += piece.nanos
    assert given_.keys() == exact.keys()
    # Each piece is rounded once; before and after a life are two pieces of one place.
    assert all(abs(given_[key] - exact[key]) < 2 for key in exact)
    by_row: dict[int, int] = defaultdict(int)
    for piece in found:
        by_row[piece.number] += piece.nanos
    assert by_row == {row.number: row.nanos for row in made}
