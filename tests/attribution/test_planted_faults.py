"""Each fault that a ledger could have, planted on purpose, is found by the walk or refused."""

import pandas as pd
import pytest

from app.attribution.capacity import UsageMismatchError
from app.attribution.charges import ChargeKind
from app.attribution.owners import Ownership
from app.attribution.rating import Rated, RatingInput, rate
from app.pricing.book import PriceBook
from app.pricing.rows import PriceRow
from app.usage.identity import hold_id
from tests.attribution.by_millisecond import walk
from tests.attribution.fleets import CLUSTER, MINUTE, TEN, AFleet, AHold, APool, rating_input
from tests.attribution.random_fleets import END, WINDOW
from tests.attribution.test_invariants import a_contract, by_line, owners
from tests.pricing.builders import a_price

CHANGE = TEN + 4 * MINUTE
FLEET = AFleet(
    pools=(APool(devices=2), APool(node="node-2", devices=1)),
    holds=(
        AHold(pod="pod-0", start=TEN + MINUTE, end=TEN + 6 * MINUTE, active=((TEN, CHANGE),)),
        AHold(pod="pod-1", namespace="ml", start=TEN, end=END),
    ),
    unobserved=((TEN + 7 * MINUTE, TEN + 8 * MINUTE),),
)
PRICES = (
    a_price("3", instance_type="p5", valid_to_ms=CHANGE),
    a_price("4", instance_type="p5", valid_from_ms=CHANGE),
)
HANDOVER = TEN + 5 * MINUTE


def given() -> RatingInput:
    return rating_input(FLEET, PRICES, a_contract(HANDOVER), (WINDOW,))


def agrees(result: Rated, prices: tuple[PriceRow, ...] = PRICES) -> bool:
    """Say whether the charges are the walk's, to the millisecond and to 10 nanos."""
    expected = walk(FLEET, prices, owners(HANDOVER), "platform", WINDOW)
    found = by_line(FLEET, result)
    return set(found) == set(expected) and all(
        found[line].ms == amount.ms and abs(found[line].cost - amount.cost) <= 10
        for line, amount in expected.items()
    )


def with_frames(**frames: pd.DataFrame) -> RatingInput:
    columns = {name: getattr(given(), name) for name in RatingInput.__slots__}
    return RatingInput(**{**columns, **frames})


def with_charges(charges: pd.DataFrame) -> Rated:
    right = rate(given())
    return Rated(charges=charges, notes=right.notes, teams=(*right.teams, ""))


def test_without_a_fault_the_ledger_agrees_with_the_walk() -> None:
    assert agrees(rate(given()))


def test_pricing_the_whole_window_at_its_first_price_is_found() -> None:
    faulty = with_frames(price_book=PriceBook([a_price("3", instance_type="p5")]))

    assert not agrees(rate(faulty))


def test_giving_the_whole_window_to_its_first_owner_is_found() -> None:
    faulty = with_frames(ownership=Ownership(a_contract(END)))

    assert not agrees(rate(faulty))


def test_counting_a_shared_device_for_every_sharer_is_refused() -> None:
    usage = given().hold_usage
    sharer = usage.iloc[[0]].assign(hold_id=hold_id(CLUSTER, "sharer", "nvidia.com/gpu"))

    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        rate(with_frames(hold_usage=pd.concat([usage, sharer], ignore_index=True)))


def test_booking_idle_time_to_nobody_is_found() -> None:
    charges = rate(given()).charges
    idle = charges["kind"] == ChargeKind.IDLE
    charges.loc[idle, "team_id"] = 0

    assert idle.any()
    assert not agrees(with_charges(charges))


def test_reading_a_gap_as_free_devices_is_found() -> None:
    pools = given().pool_usage
    pools["unallocated_ms"] += pools["unobserved_ms"]

    assert not agrees(rate(with_frames(pool_usage=pools.assign(unobserved_ms=0))))


def test_reading_a_gap_as_idle_time_of_the_holder_is_refused() -> None:
    pools = given().pool_usage
    pools["held_ms"] += pools["unobserved_ms"]

    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        rate(with_frames(pool_usage=pools.assign(unobserved_ms=0)))


@pytest.mark.parametrize("row", [0, 1])
def test_dropping_a_late_hold_is_refused(row: int) -> None:
    usage = given().hold_usage

    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        rate(with_frames(hold_usage=usage.drop(index=row).reset_index(drop=True)))


def test_dropping_a_late_row_of_the_pool_is_found() -> None:
    pools = given().pool_usage
    free = pools.index[pools["held_ms"] == 0][:1]

    assert len(free) == 1
    assert not agrees(rate(with_frames(pool_usage=pools.drop(index=free))))


def test_charging_a_line_twice_is_found() -> None:
    charges = rate(given()).charges

    assert not agrees(with_charges(pd.concat([charges, charges.iloc[[0]]], ignore_index=True)))
