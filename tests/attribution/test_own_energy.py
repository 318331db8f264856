"""Energy of owned boards and the rate card, by hand and for any fleet."""

from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.contract import Contract, Platform, Policies, RatingPolicy, Team
from app.attribution.rating import Rated, rate
from app.pricing.book import PriceBook
from app.pricing.inputs import PriceInputs
from app.pricing.owned import EnergyTariff
from app.pricing.rows import PriceRow
from app.units.money import from_nanos, to_nanos
from app.units.window import HOUR_MS, OPEN_MS
from app.usage.identity import hold_id, team_id
from tests.attribution.fleets import (
    CLUSTER,
    ELEVEN,
    MINUTE,
    TEN,
    AFleet,
    AHold,
    APool,
    rating_input,
)
from tests.pricing.builders import a_price

TEAMS = (Team(name="search", namespaces=("search-*",)), Team(name="ml", namespaces=("ml",)))
CONTRACT = Contract(teams=TEAMS, platform=(Platform(team="platform"),))
HALF_PAST = TEN + 30 * MINUTE
KWH_MJ = 3_600_000_000


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


def with_energy(
    fleet: AFleet,
    tariffs: tuple[EnergyTariff, ...],
    energy_mj: dict[str, int],
    contract: Contract = CONTRACT,
    card: list[PriceRow] | None = None,
) -> Rated:
    """Rate at 3 USD a GPU-hour; ``energy_mj`` is by pod, and null for a pod without."""
    given = rating_input(fleet, [a_price("3")], contract)
    ids = {hold_id(CLUSTER, pod, "nvidia.com/gpu"): mj for pod, mj in energy_mj.items()}
    told = pd.Series(
        [ids.get(one, pd.NA) for one in given.hold_usage["hold_id"]],
        dtype="Int64",
        index=given.hold_usage.index,
    )
    return rate(
        replace(
            given,
            hold_usage=given.hold_usage.assign(energy_mj=told),
            energy=PriceInputs(book=given.price_book, energy=tariffs),
            card=PriceBook(card) if card is not None else None,
        )
    )


def energy_lines(result: Rated) -> dict[tuple[str, str], str]:
    """Return money without time by team and kind."""
    teams = {team_id(name): name for name in result.teams}
    lines = result.charges[(result.charges["gpu_ms"] == 0) & (result.charges["step"] == 0)]
    sums = lines.groupby(["team_id", "kind"])["cost_nanos"].sum()
    return {
        (teams[team], ChargeKind(kind).name.lower()): f"{from_nanos(nanos).normalize():f}"
        for (team, kind), nanos in sums.items()
    }


def test_energy_that_was_measured_costs_its_holder_by_the_time_it_was_used_in() -> None:
    """Two boards drew 1 kWh in the hour, a quarter of it active: 1 × 1.5 × 0.20 = 0.30 USD."""
    fleet = AFleet(holds=(AHold(pod="a", gpus=2, active=((TEN, TEN + 15 * MINUTE),)),))

    result = with_energy(fleet, (a_tariff(),), {"a": KWH_MJ})

    assert energy_lines(result) == {("search", "used"): "0.075", ("search", "idle"): "0.225"}
    assert "energy_rated" not in result.notes["kind"].tolist()
    assert int(result.charges["gpu_ms"].sum()) == 2 * HOUR_MS
    assert int(result.charges["cost_nanos"].sum()) == to_nanos(Decimal("6.30"))


def test_what_no_counter_tells_is_charged_by_rated_power_and_noted() -> None:
    """A board without a counter and one that nobody holds: 0.7 kWh × 1.5 × 0.20 = 0.21 USD."""
    fleet = AFleet(
        pools=(APool(devices=3),),
        holds=(AHold(pod="a"), AHold(pod="b", namespace="ml")),
    )

    result = with_energy(fleet, (a_tariff(),), {"a": KWH_MJ // 2})

    assert energy_lines(result) == {
        ("search", "idle"): "0.15",
        ("ml", "idle"): "0.21",
        ("platform", "unallocated"): "0.21",
    }
    (note,) = result.notes[result.notes["kind"] == "energy_rated"].itertuples()
    assert note.quantity == 2 * HOUR_MS


def test_less_than_a_joule_weighs_what_it_is() -> None:
    """1.001 and 2 joules cost 83.4 and 166.7 nanos at 0.30 USD a kilowatt-hour."""
    fleet = AFleet(holds=(AHold(pod="a"), AHold(pod="b", namespace="ml")))

    charges = with_energy(fleet, (a_tariff(),), {"a": 1_001, "b": 2_000}).charges

    assert sorted(charges.loc[charges["gpu_ms"] == 0, "cost_nanos"]) == [83, 167]


def test_energy_is_spread_over_the_hour_and_cut_where_the_tariff_changes() -> None:
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a"),))
    tariffs = (a_tariff("0.20", valid_to_ms=HALF_PAST), a_tariff("0.40", valid_from_ms=HALF_PAST))

    result = with_energy(fleet, tariffs, {"a": KWH_MJ})

    lines = result.charges[result.charges["gpu_ms"] == 0].sort_values("start_ms")
    assert lines["cost_nanos"].tolist() == [to_nanos(Decimal("0.15")), to_nanos(Decimal("0.30"))]
    assert lines["price_id"].tolist() == [one.price_id for one in tariffs]
    assert lines["priced"].all()


def test_a_pool_that_no_tariff_is_for_has_no_energy_lines() -> None:
    fleet = AFleet(pools=(APool(devices=1, instance_type="g5"),), holds=(AHold(pod="a"),))

    assert energy_lines(with_energy(fleet, (a_tariff(),), {"a": KWH_MJ})) == {}


CARDED = Contract(
    teams=TEAMS,
    platform=(Platform(team="platform"),),
    policies=(Policies(rating=RatingPolicy.RATE_CARD),),
)


def test_teams_pay_the_card_and_the_platform_has_the_difference() -> None:
    """Two GPUs at 3 USD, of which the card says 5: search pays 5, and 2 × (3 - 5) is left."""
    fleet = AFleet(holds=(AHold(pod="a"),))

    result = with_energy(fleet, (), {}, CARDED, [a_price("5")])

    by_step = result.charges.groupby("step")["cost_nanos"].sum().to_dict()
    assert by_step == {0: to_nanos(Decimal(10)), 13: to_nanos(Decimal(-4))}
    (line,) = result.charges[result.charges["step"] == LineStep.CARD_VARIANCE].itertuples()
    assert (line.kind, line.hold_id, line.gpu_ms) == (ChargeKind.ADJUSTMENT, 0, 0)
    assert line.team_id == team_id("platform")
    assert line.priced


def test_a_card_from_half_past_counts_from_then_on() -> None:
    contract = replace(
        CARDED, policies=(Policies(rating=RatingPolicy.RATE_CARD, valid_from_ms=HALF_PAST),)
    )
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a"),))

    charges = with_energy(fleet, (), {}, contract, [a_price("5")]).charges

    assert sorted(charges["cost_nanos"]) == [
        to_nanos(Decimal(-1)),
        to_nanos(Decimal("1.5")),
        to_nanos(Decimal("2.5")),
    ]


def test_what_the_card_does_not_price_is_unpriced_and_its_cost_stays_with_the_platform() -> None:
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a"),))

    charges = with_energy(fleet, (), {}, CARDED, []).charges

    assert charges[["step", "priced", "cost_nanos"]].to_numpy().tolist() == [
        [0, False, 0],
        [13, True, to_nanos(Decimal(3))],
    ]


@settings(max_examples=60, deadline=None)
@given(
    devices=st.integers(1, 4),
    gpus=st.lists(st.integers(1, 2), max_size=2),
    ends=st.lists(st.integers(1, HOUR_MS), min_size=2, max_size=2),
    energies=st.lists(st.one_of(st.none(), st.integers(0, 10**10)), min_size=2, max_size=2),
    prices=st.tuples(*[st.decimals(0, 3, places=4)] * 3),
    since=st.sampled_from([0, TEN + 11, HALF_PAST, ELEVEN]),
)
def test_the_card_changes_who_pays_and_not_what_it_cost(
    devices: int,
    gpus: list[int],
    ends: list[int],
    energies: list[int | None],
    prices: tuple[Decimal, Decimal, Decimal],
    since: int,
) -> None:
    holds = tuple(
        AHold(pod=f"p{n}", namespace="ml", gpus=count, end=TEN + end, start=TEN)
        for n, (count, end) in enumerate(zip(gpus, ends, strict=False))
    )
    fleet = AFleet(pools=(APool(devices=devices + sum(gpus)),), holds=holds)
    tariffs = (
        a_tariff(str(prices[0]), valid_to_ms=HALF_PAST),
        a_tariff(str(prices[1]), valid_from_ms=HALF_PAST),
    )
    told = {f"p{n}": one for n, one in enumerate(energies) if one is not None}
    carded = replace(
        CARDED, policies=(Policies(rating=RatingPolicy.RATE_CARD, valid_from_ms=since),)
    )

    actual = with_energy(fleet, tariffs, told).charges
    card = with_energy(fleet, tariffs, told, carded, [a_price(str(prices[2]))]).charges

    # Segments are cut where the card begins: a nano for each of them.
    assert abs(int(card["cost_nanos"].sum()) - int(actual["cost_nanos"].sum())) <= 40
    assert int(card["gpu_ms"].sum()) == int(actual["gpu_ms"].sum())
    assert card["charge_id"].is_unique


@pytest.mark.parametrize("measured", [True, False])
def test_holders_energy_sums_to_the_boards(measured: bool) -> None:  # noqa: FBT001 - a column of the table
    fleet = AFleet(
        pools=(APool(devices=2),),
        holds=(
            AHold(pod="a", end=TEN + 17 * MINUTE, active=((TEN, TEN + 1000),)),
            AHold(pod="b", namespace="ml", start=TEN + 17 * MINUTE),
            AHold(pod="c", namespace="ml"),
        ),
    )
    energy = {"a": 700_000_001, "b": 1_900_000_003, "c": 999} if measured else {}

    charges = with_energy(fleet, (a_tariff(),), energy).charges

    total = sum(energy.values()) if measured else 2 * 700 * HOUR_MS
    exact = Decimal(total) / KWH_MJ * Decimal("1.5") * Decimal("0.20") * 10**9
    money = int(charges[charges["gpu_ms"] == 0]["cost_nanos"].sum())
    assert abs(money - exact) <= 3
