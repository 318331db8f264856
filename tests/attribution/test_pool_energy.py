"""What boards drew that nobody held, or of whose holders nothing was measured: by hand, and any."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Team
from app.attribution.rating import Rated, rate
from app.pricing.inputs import PriceInputs
from app.pricing.owned import EnergyTariff
from app.units.money import from_nanos
from app.units.window import HOUR_MS, OPEN_MS
from app.usage import frames
from app.usage.identity import gpu_model_id, hold_id, node_id, team_id
from tests.attribution.fleets import (
    CLUSTER,
    MINUTE,
    TEN,
    AFleet,
    AHold,
    APool,
    frame_of,
    rating_input,
)
from tests.pricing.builders import a_price

CONTRACT = Contract(
    teams=(Team(name="search", namespaces=("search-*",)), Team(name="ml", namespaces=("ml",))),
    platform=(Platform(team="platform"),),
)
# A watt for an hour.
WH = 3_600_000
# Boards are rated 0.7 kW.
RATED_MJ_PER_MS = 700
HALF_PAST = TEN + 30 * MINUTE


def a_tariff(price: str = "0.20", **changes: object) -> EnergyTariff:
    defaults: dict[str, object] = {
        "asset": "dgx",
        "price_per_kwh": Decimal(price),
        "currency": "USD",
        "pue": Decimal("1.5"),
        "rated_board_kw": Decimal("0.7"),
        "valid_from_ms": 0,
        "valid_to_ms": OPEN_MS,
        "instance_type": "p5",
    }
    return EnergyTariff(**(defaults | changes))


def of_boards(energy_mj: int, measured_ms: int, boards: int, pool: APool) -> pd.DataFrame:
    row = {
        "window_start_ms": TEN,
        "node_id": node_id(CLUSTER, pool.node),
        "gpu_model_id": gpu_model_id(pool.gpu_model),
        "energy_mj": energy_mj,
        "measured_ms": measured_ms,
        "boards_measured": measured_ms // HOUR_MS,
        "boards": boards,
    }
    return frame_of(frames.POOL_ENERGY, [row])


def rated_with(
    fleet: AFleet,
    of_holds: dict[str, int],
    of_pool: pd.DataFrame | None,
    tariffs: tuple[EnergyTariff, ...] = (a_tariff(),),
) -> Rated:
    """Rate with the energy of some pods and of the only pool's boards."""
    made = rating_input(fleet, [a_price("3")], CONTRACT)
    known = {hold_id(CLUSTER, pod, "nvidia.com/gpu"): mj for pod, mj in of_holds.items()}
    told = pd.Series(
        [known.get(one, pd.NA) for one in made.hold_usage["hold_id"]],
        dtype="Int64",
        index=made.hold_usage.index,
    )
    return rate(
        replace(
            made,
            hold_usage=made.hold_usage.assign(energy_mj=told),
            energy=PriceInputs(book=made.price_book, energy=tariffs),
            pool_energy=of_pool,
        )
    )


def energy_money(result: Rated) -> dict[tuple[str, str], str]:
    """Return money without time by team and kind."""
    teams = {team_id(name): name for name in result.teams}
    lines = result.charges[result.charges["gpu_ms"] == 0]
    sums = lines.groupby(["team_id", "kind"])["cost_nanos"].sum()
    return {
        (teams[team], ChargeKind(kind).name.lower()): f"{from_nanos(nanos).normalize():f}"
        for (team, kind), nanos in sums.items()
    }


def noted(result: Rated, kind: str) -> list[int]:
    return result.notes.loc[result.notes["kind"] == kind, "quantity"].tolist()


TWO = APool(devices=2)
ONE_HELD = AFleet(pools=(TWO,), holds=(AHold(pod="a"),))


def test_an_idle_board_that_nobody_holds_costs_what_it_drew() -> None:
    """0.7 kWh × 1.5 × 0.20 = 0.21 for the holder, 0.07 × 1.5 × 0.20 = 0.021 for nobody."""
    boards = of_boards((700 + 70) * WH, 2 * HOUR_MS, 2, TWO)

    result = rated_with(ONE_HELD, {"a": 700 * WH}, boards)

    assert energy_money(result) == {
        ("search", "idle"): "0.21",
        ("platform", "unallocated"): "0.021",
    }
    assert noted(result, "energy_rated") == []
    assert noted(result, "energy_contradiction") == []


def test_without_the_boards_energy_an_idle_board_costs_its_rated_power() -> None:
    result = rated_with(ONE_HELD, {"a": 700 * WH}, None)

    assert energy_money(result)["platform", "unallocated"] == "0.21"
    assert noted(result, "energy_rated") == [HOUR_MS]


def test_a_board_without_a_counter_is_rated_beside_one_that_has_one() -> None:
    """Of two boards that nobody holds one drew 0.07 kWh; the other is taken for 0.7 kWh."""
    pool = APool(devices=3)
    fleet = AFleet(pools=(pool,), holds=(AHold(pod="a"),))
    boards = of_boards((400 + 70) * WH, 2 * HOUR_MS, 3, pool)

    result = rated_with(fleet, {"a": 400 * WH}, boards)

    assert energy_money(result) == {
        ("search", "idle"): "0.12",
        ("platform", "unallocated"): "0.231",
    }
    assert noted(result, "energy_rated") == [HOUR_MS]


def test_a_holder_of_unknown_boards_shares_what_the_pool_drew_with_nobody() -> None:
    """0.77 kWh in all, of which the two boards' time has a half each: 0.385 × 1.5 × 0.20."""
    boards = of_boards((700 + 70) * WH, 2 * HOUR_MS, 2, TWO)

    result = rated_with(ONE_HELD, {}, boards)

    assert energy_money(result) == {
        ("search", "idle"): "0.1155",
        ("platform", "unallocated"): "0.1155",
    }
    assert noted(result, "energy_rated") == []


def test_the_boards_energy_is_spread_over_the_hour_and_cut_where_the_tariff_changes() -> None:
    """0.07 kWh, half of it at 0.20 and half at 0.40: 0.035 × 1.5 × (0.20 + 0.40)."""
    pool = APool(devices=1)
    tariffs = (a_tariff("0.20", valid_to_ms=HALF_PAST), a_tariff("0.40", valid_from_ms=HALF_PAST))

    result = rated_with(AFleet(pools=(pool,)), {}, of_boards(70 * WH, HOUR_MS, 1, pool), tariffs)

    assert energy_money(result) == {("platform", "unallocated"): "0.0315"}
    assert sorted(result.charges.loc[result.charges["gpu_ms"] == 0, "cost_nanos"]) == [
        10_500_000,
        21_000_000,
    ]


def test_holders_that_drew_more_than_the_boards_keep_their_figures_and_it_is_noted() -> None:
    boards = of_boards(600 * WH, 2 * HOUR_MS, 2, TWO)

    result = rated_with(ONE_HELD, {"a": 700 * WH}, boards)

    assert energy_money(result) == {
        ("search", "idle"): "0.21",
        ("platform", "unallocated"): "0.21",
    }
    assert noted(result, "energy_contradiction") == [100 * 3_600]
    assert noted(result, "energy_rated") == [HOUR_MS]


def test_a_board_that_the_node_does_not_offer_is_noted() -> None:
    pool = APool(devices=1)
    fleet = AFleet(pools=(pool,), holds=(AHold(pod="a"),))

    result = rated_with(fleet, {"a": 700 * WH}, of_boards(770 * WH, 2 * HOUR_MS, 1, pool))

    assert energy_money(result) == {("search", "idle"): "0.21"}
    assert noted(result, "energy_contradiction") == [70 * 3_600]


def test_energy_of_another_pool_or_hour_does_not_count() -> None:
    boards = of_boards(770 * WH, 2 * HOUR_MS, 2, TWO)

    for other in (boards.assign(node_id=1), boards.assign(window_start_ms=TEN - HOUR_MS)):
        result = rated_with(ONE_HELD, {"a": 700 * WH}, other)

        assert energy_money(result)["platform", "unallocated"] == "0.21"


def test_pools_without_a_tariff_have_no_energy_lines_and_no_notes() -> None:
    boards = of_boards(600 * WH, 2 * HOUR_MS, 2, TWO)

    result = rated_with(ONE_HELD, {"a": 700 * WH}, boards, (a_tariff(instance_type="g5"),))

    assert energy_money(result) == {}
    assert noted(result, "energy_contradiction") == []


@settings(max_examples=80, deadline=None)
@given(
    free=st.integers(0, 3),
    holders=st.lists(
        st.tuples(
            st.integers(1, 2),
            st.integers(0, HOUR_MS - 1),
            st.integers(1, HOUR_MS),
            st.one_of(st.none(), st.integers(0, 3 * 10**9)),
        ),
        max_size=3,
    ),
    more_mj=st.integers(0, 10**10),
    measured=st.one_of(st.none(), st.integers(0, 7)),
    border=st.sampled_from([TEN, TEN + 11, HALF_PAST]),
)
def test_energy_lines_sum_to_what_the_boards_drew(
    free: int,
    holders: list[tuple[int, int, int, int | None]],
    more_mj: int,
    measured: int | None,
    border: int,
) -> None:
    """All boards' energy × PUE × tariff; what no counter tells is at rated power."""
    holds = tuple(
        AHold(pod=f"p{n}", namespace="ml", gpus=gpus, start=TEN + low, end=TEN + max(high, low + 1))
        for n, (gpus, low, high, _) in enumerate(holders)
    )
    # One board is never held, so that there is always somebody else's time.
    pool = APool(devices=1 + free + sum(one.gpus for one in holds))
    known = {f"p{n}": mj for n, (*_, mj) in enumerate(holders) if mj is not None}
    known_ms = sum(one.gpus * (one.end - one.start) for one in holds if one.pod in known)
    capacity_ms = pool.devices * HOUR_MS
    told_ms = capacity_ms if measured is None else min(known_ms + measured * HOUR_MS, capacity_ms)
    drawn_mj = sum(known.values()) + (more_mj if told_ms > known_ms else 0)
    boards = of_boards(drawn_mj, told_ms, pool.devices, pool)
    tariffs = (a_tariff(valid_to_ms=border), a_tariff(valid_from_ms=border))

    charges = rated_with(AFleet(pools=(pool,), holds=holds), known, boards, tariffs).charges

    mj = drawn_mj + (capacity_ms - told_ms) * RATED_MJ_PER_MS
    exact = Fraction(mj, 1_000 * WH) * Fraction(3, 2) * Fraction(1, 5) * 10**9
    lines = charges[charges["gpu_ms"] == 0]
    spans = 2 * (2 * len(holds) + 2)
    # Half a nano a span for the money, and less than a joule for the pieces' millijoules.
    assert abs(int(lines["cost_nanos"].sum()) - exact) <= spans
    assert int(charges["gpu_ms"].sum()) == capacity_ms


@pytest.mark.parametrize("rest", [0, 1, 999])
def test_rounded_down_shares_of_holders_are_no_contradiction(rest: int) -> None:
    pool = APool(devices=1)
    fleet = AFleet(pools=(pool,), holds=(AHold(pod="a"),))
    boards = of_boards(700 * WH + rest, HOUR_MS, 1, pool)

    result = rated_with(fleet, {"a": 700 * WH}, boards)

    assert energy_money(result) == {("search", "idle"): "0.21"}
    assert noted(result, "energy_contradiction") == []
