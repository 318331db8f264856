from fractions import Fraction

import pytest

from tests.oracle.ledger_oracle import (
    HELD,
    HOUR_MS,
    STRANDED,
    UNALLOCATED,
    UNOBSERVED,
    UNOWNED,
    Amount,
    Count,
    Ledger,
    LineKey,
    Measured,
    OracleError,
    OracleHold,
    OracleNode,
    Owner,
    Price,
    Span,
    measured,
    walk,
)

END_MS = 10_000
WHOLE = Span(start_ms=0, end_ms=END_MS)


def a_node(
    *, devices: int = 2, counts: tuple[Count, ...] | None = None, prices: tuple[Price, ...] = ()
) -> OracleNode:
    every = (Count(start_ms=0, end_ms=END_MS, allocatable=devices),)
    return OracleNode(
        name="n1",
        devices=devices,
        start_ms=0,
        end_ms=END_MS,
        counts=every if counts is None else counts,
        prices=prices,
    )


def a_hold(
    *, key: str = "h1", devices: int = 1, start_ms: int = 0, end_ms: int = END_MS
) -> OracleHold:
    return OracleHold(
        key=key,
        node="n1",
        namespace="search",
        devices=devices,
        start_ms=start_ms,
        end_ms=end_ms,
    )


def a_ledger(
    node: OracleNode,
    *holds: OracleHold,
    observed: tuple[Span, ...] = (WHOLE,),
    owners: tuple[Owner, ...] = (),
) -> Ledger:
    return walk(
        start_ms=0, end_ms=END_MS, nodes=[node], holds=holds, observed=observed, owners=owners
    )


def _ms(ledger: Ledger) -> dict[tuple[str, str], int]:
    return {(k.state, k.hold): int(a.device_ms) for k, a in ledger.items() if a.device_ms}


def test_a_free_device_is_unallocated() -> None:
    ledger = a_ledger(a_node(), a_hold())

    assert _ms(ledger) == {(HELD, "h1"): 10_000, (UNALLOCATED, ""): 10_000}


def test_what_may_not_be_held_is_stranded() -> None:
    counts = (Count(start_ms=0, end_ms=4_000, allocatable=2),)

    assert _ms(a_ledger(a_node(counts=counts))) == {
        (UNALLOCATED, ""): 8_000,
        (STRANDED, ""): 12_000,
    }


def test_an_unhealthy_device_that_is_held_is_held() -> None:
    counts = (Count(start_ms=0, end_ms=END_MS, allocatable=1),)

    assert _ms(a_ledger(a_node(counts=counts), a_hold(devices=2))) == {(HELD, "h1"): 20_000}


def test_what_nobody_watched_is_unobserved_unless_held() -> None:
    ledger = a_ledger(a_node(), a_hold(), observed=(Span(start_ms=2_500, end_ms=END_MS),))

    assert _ms(ledger) == {
        (HELD, "h1"): 10_000,
        (UNOBSERVED, ""): 2_500,
        (UNALLOCATED, ""): 7_500,
    }


def test_two_devices_for_an_hour_at_three_dollars_cost_six() -> None:
    node = OracleNode(
        name="n1",
        devices=2,
        start_ms=0,
        end_ms=HOUR_MS,
        counts=(),
        prices=(Price(start_ms=0, end_ms=HOUR_MS, per_device_hour=Fraction(3)),),
    )

    ledger = walk(
        start_ms=0,
        end_ms=HOUR_MS,
        nodes=[node],
        holds=[a_hold(devices=2, end_ms=HOUR_MS)],
        observed=[],
    )

    assert ledger[LineKey("n1", HELD, "h1", UNOWNED)] == Amount(
        Fraction(2 * HOUR_MS), Fraction(0), Fraction(6)
    )


def test_a_price_change_splits_a_hold_at_its_millisecond() -> None:
    prices = (
        Price(start_ms=0, end_ms=3_001, per_device_hour=Fraction(HOUR_MS)),
        Price(start_ms=3_001, end_ms=9_000, per_device_hour=Fraction(2 * HOUR_MS)),
    )

    amount = a_ledger(a_node(prices=prices), a_hold())[LineKey("n1", HELD, "h1", UNOWNED)]

    assert amount.cost == 3_001 + 2 * 5_999
    assert amount.unpriced_ms == 1_000


def test_an_owner_change_splits_a_hold() -> None:
    owners = (
        Owner(namespace="search", team="a", start_ms=0, end_ms=4_000),
        Owner(namespace="search", team="b", start_ms=5_000, end_ms=END_MS),
    )

    ledger = a_ledger(a_node(), a_hold(), owners=owners)

    assert {k.team: a.device_ms for k, a in ledger.items() if k.hold} == {
        "a": 4_000,
        "b": 5_000,
        UNOWNED: 1_000,
    }


def test_holders_of_more_than_there_is_shrink_in_proportion() -> None:
    ledger = a_ledger(a_node(), a_hold(devices=2), a_hold(key="h2", devices=1))

    parts = {k.hold: a.device_ms for k, a in ledger.items() if k.hold}
    assert parts == {"h1": Fraction(40_000, 3), "h2": Fraction(20_000, 3)}


def test_a_node_that_comes_and_goes_has_only_its_own_time() -> None:
    node = OracleNode(name="n1", devices=3, start_ms=9_000, end_ms=99_000, counts=())

    assert _ms(a_ledger(node)) == {(STRANDED, ""): 3_000}


@pytest.mark.parametrize("devices", [1, 2, 5])
def test_every_device_is_somewhere_in_every_millisecond(devices: int) -> None:
    holds = [a_hold(key=f"h{i}", start_ms=1_000 * i, end_ms=4_000 + 777 * i) for i in range(5)]
    counts = (Count(start_ms=2_000, end_ms=8_000, allocatable=devices - 1),)

    ledger = a_ledger(
        a_node(devices=devices, counts=counts),
        *holds,
        observed=(Span(start_ms=0, end_ms=6_500),),
    )

    assert sum(amount.device_ms for amount in ledger.values()) == devices * END_MS


def test_contradictions_are_refused() -> None:
    node = OracleNode(name="n1", devices=1, start_ms=1_000, end_ms=END_MS, counts=())
    twice = tuple(Price(start_ms=0, end_ms=5, per_device_hour=Fraction(1)) for _ in range(2))
    owners = tuple(
        Owner(namespace="search", team=team, start_ms=0, end_ms=END_MS) for team in ("a", "b")
    )

    with pytest.raises(OracleError, match="does not exist"):
        a_ledger(node, a_hold())
    with pytest.raises(OracleError, match="Two prices"):
        a_ledger(a_node(prices=twice))
    with pytest.raises(OracleError, match="two owners"):
        a_ledger(a_node(), a_hold(), owners=owners)


def test_a_sample_speaks_for_the_time_since_the_one_before() -> None:
    samples = [(1_000, Fraction(1, 2)), (2_000, Fraction(1)), (6_000, Fraction(1))]

    found = measured(samples, start_ms=500, end_ms=5_500, scrape_ms=1_000)

    # 500 ms at one half, 1,000 ms at one, a gap of 2,000 ms, then 1,500 ms of 2 scrapes.
    assert found == Measured(Fraction(250 + 1_000 + 1_500), 500 + 1_000 + 1_500)
