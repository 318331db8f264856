"""Any fleets of two clusters, prices and commitments, against sums and walks of our own."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attribution.contract import Contract, Platform, Team
from app.pricing.commitments import AllotmentRule, Commitment, CommitmentKind, CommitmentUnit
from app.pricing.rows import PriceRow
from app.units.window import HOUR_MS
from app.usage.identity import hold_id, node_id
from tests.attribution.committed_fleets import alone, committed
from tests.attribution.fleets import CLUSTER, ELEVEN, MINUTE, TEN, AFleet, AHold, APool
from tests.pricing.builders import a_price
from tests.pricing.test_commitments import a_commitment

CONTRACT = Contract(
    teams=(
        Team(name="search", namespaces=("search-*",)),
        Team(name="ml", namespaces=("ml",)),
    ),
    platform=(Platform(team="platform"),),
)

INSTANTS = st.integers(0, 60).map(lambda minute: TEN + minute * MINUTE)


@st.composite
def commitments(draw: st.DrawFn) -> list[Commitment]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        start = draw(INSTANTS)
        end = draw(st.integers(start + 1, ELEVEN + HOUR_MS))
        unit = draw(st.sampled_from(CommitmentUnit))
        spend = unit is CommitmentUnit.SPEND_HOUR
        found.append(
            a_commitment(
                commitment=f"c-{number}",
                kind=draw(st.sampled_from(CommitmentKind)),
                unit=unit,
                quantity=Decimal(draw(st.integers(1, 12))),
                upfront=draw(st.decimals(0, 1000, places=2)),
                recurring_per_hour=draw(st.decimals(0, 100, places=9)),
                discount_ratio=draw(st.decimals(0, Decimal("0.9"), places=3))
                if spend
                else Decimal(0),
                term_start_ms=start,
                term_end_ms=end,
                clusters=draw(st.sampled_from([(), ("prod-us",), ("prod-us", "prod-eu")])),
                gpu_model=draw(st.sampled_from(["", "H100", "A100"])),
                allotment=draw(st.sampled_from(AllotmentRule)),
            )
        )
    return found


@st.composite
def a_fleet(draw: st.DrawFn, prefix: str) -> AFleet:
    pools, holds = [], []
    for number in range(draw(st.integers(1, 2))):
        node = f"{prefix}-{number}"
        devices = draw(st.integers(1, 4))
        model = draw(st.sampled_from(["NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB"]))
        start = draw(st.sampled_from([TEN - HOUR_MS, TEN + 7 * MINUTE + 13]))
        pools.append(APool(node=node, devices=devices, gpu_model=model, start=start))
        left = devices
        for pod in range(draw(st.integers(0, 2))):
            gpus = draw(st.integers(0, left))
            left -= gpus
            begin = min(max(draw(INSTANTS) + draw(st.integers(0, 999)), start), ELEVEN)
            end = draw(st.integers(begin, ELEVEN))
            if gpus and end > begin:
                half = (begin + end) // 2
                holds.append(
                    AHold(
                        pod=f"{node}-{pod}",
                        node=node,
                        gpu_model=model,
                        namespace=draw(st.sampled_from(["search-a", "ml"])),
                        gpus=gpus,
                        start=begin,
                        end=end,
                        active=((begin, half),),
                    )
                )
    return AFleet(pools=tuple(pools), holds=tuple(holds))


@st.composite
def companies(draw: st.DrawFn) -> tuple[dict[str, AFleet], list[PriceRow], list[Commitment]]:
    fleets = {"prod-eu": draw(a_fleet("eu")), "prod-us": draw(a_fleet("us"))}
    change = draw(INSTANTS)
    amounts = [draw(st.decimals(0, 9, places=3)) for _ in range(2)]
    prices = [
        a_price(str(amounts[0]), gpu_model="H100", valid_to_ms=change + 1),
        a_price(str(amounts[1]), gpu_model="H100", valid_from_ms=change + 1),
        *([a_price("2.5", gpu_model="A100")] if draw(st.booleans()) else []),
    ]
    return fleets, prices, draw(commitments())


@settings(max_examples=150, deadline=None)
@given(company=companies())
def test_charges_are_pool_cost_and_commitments_to_the_nano(
    company: tuple[dict[str, AFleet], list[PriceRow], list[Commitment]],
) -> None:
    fleets, prices, given_commitments = company
    result = committed(fleets, prices, given_commitments, CONTRACT)

    charges = result.charges
    ids = [one.price_id for one in given_commitments]
    covered = charges[charges["price_id"].isin(ids)]
    cost = sum(one.cost_nanos(TEN) for one in given_commitments)
    assert int(covered["cost_nanos"].sum()) + result.unused_nanos == cost
    assert int(covered["gpu_ms"].sum()) == int(result.allotted.allotments["covered_ms"].sum())
    without = committed(fleets, prices, [], CONTRACT).charges
    assert held(charges) == held(without)
    assert (charges["gpu_ms"] > 0).all()
    assert charges["charge_id"].is_unique
    for name, nanos in off_price(prices, charges, set(ids)).items():
        assert abs(nanos) <= 40, name


def held(charges: pd.DataFrame) -> dict[object, int]:
    """Return device time by whom it belongs to, whatever it costs."""
    keys = ["node_id", "hold_id", "team_id", "kind"]
    sums = charges.groupby(keys)["gpu_ms"].sum()
    return {key: int(ms) for key, ms in sums.items()}


def off_price(prices: list[PriceRow], charges: pd.DataFrame, ids: set[int]) -> dict[int, int]:
    """Return by price how far its money is from its time at the price: a rounding a segment."""
    rest = charges[~charges["price_id"].isin(ids) & charges["priced"]]
    off: dict[int, int] = {}
    for price in prices:
        mine = rest[rest["price_id"] == price.price_id]
        exact = Fraction(price.price) * 10**9 * int(mine["gpu_ms"].sum()) / HOUR_MS
        off[price.price_id] = round(exact) - int(mine["cost_nanos"].sum())
    return off


@settings(max_examples=40, deadline=None)
@given(
    quantity=st.integers(1, 6),
    start=st.integers(0, 40).map(lambda second: TEN + second * 1000),
    gpus=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    lengths=st.lists(st.integers(1, 3_600), min_size=3, max_size=3),
)
def test_a_walk_over_every_second_covers_the_same_time(
    quantity: int, start: int, gpus: list[int], lengths: list[int]
) -> None:
    """The oracle counts device-seconds inside the term, caps them, and gives each node its part."""
    nodes = [f"node-{number}" for number in range(len(gpus))]
    pools = tuple(
        APool(node=node, devices=count, end=TEN + length * 1000)
        for node, count, length in zip(nodes, gpus, lengths, strict=False)
    )
    one = a_commitment(
        quantity=Decimal(quantity), term_start_ms=start, term_end_ms=start + 2 * HOUR_MS
    )

    company = alone(AFleet(pools=pools), [a_price("5")], [one], CONTRACT)

    clock = np.arange(TEN, ELEVEN, 1000)
    promised = quantity * int((clock >= start).sum())
    eligible = {
        pool.node: pool.devices * int(((clock >= start) & (clock < pool.end)).sum())
        for pool in pools
    }
    total = sum(eligible.values())
    part = Fraction(min(promised, total), total) if total else Fraction(0)
    charges = company.charges
    for node, seconds in eligible.items():
        mine = charges[
            (charges["node_id"] == node_id(CLUSTER, node)) & (charges["price_id"] == one.price_id)
        ]
        assert abs(int(mine["gpu_ms"].sum()) - seconds * 1000 * part) <= 1
    used = Fraction(min(promised, total), promised) if promised else Fraction(0)
    assert company.unused_nanos == one.cost_nanos(TEN) - round(one.cost_nanos(TEN) * used)


@settings(max_examples=25, deadline=None)
@given(
    fleet=a_fleet("eu"),
    quantity=st.integers(1, 4),
    start=st.integers(TEN, ELEVEN - 1),
    length=st.integers(1, HOUR_MS),
)
def test_every_millisecond_of_every_line_is_covered_by_the_same_fraction(
    fleet: AFleet, quantity: int, start: int, length: int
) -> None:
    """The oracle counts the devices that each pod and nobody have at every millisecond."""
    end = min(start + length, ELEVEN)
    one = a_commitment(quantity=Decimal(quantity), term_start_ms=start, term_end_ms=end)

    charges = alone(fleet, [a_price("5")], [one], CONTRACT).charges

    clock = np.arange(start, end)
    had: dict[tuple[int, int], int] = {}
    for pool in fleet.pools:
        node = node_id(CLUSTER, pool.node)
        alive = (clock >= pool.start) & (clock < pool.end)
        free = int(alive.sum()) * pool.devices
        for hold in fleet.holds:
            if hold.node == pool.node:
                ms = hold.gpus * int((alive & (clock >= hold.start) & (clock < hold.end)).sum())
                had[node, hold_id(CLUSTER, hold.pod, "nvidia.com/gpu")] = ms
                free -= ms
        had[node, 0] = free
    total = sum(had.values())
    part = min(Fraction(1), Fraction(quantity * (end - start), total)) if total else Fraction(0)
    covered = charges[charges["price_id"] == one.price_id]
    found = covered.groupby(["node_id", "hold_id"])[["gpu_ms", "cost_nanos"]].sum()
    for key, ms in had.items():
        mine = found.loc[key] if key in found.index else None
        # A millisecond for each segment that begins or ends inside, and its money.
        assert abs((int(mine["gpu_ms"]) if mine is not None else 0) - ms * part) <= 12
    assert int(covered["gpu_ms"].sum()) == int(total * part)
    used = round(one.cost_nanos(TEN) * total * part / (quantity * (end - start)))
    assert int(covered["cost_nanos"].sum()) == (used if int(total * part) else 0)
