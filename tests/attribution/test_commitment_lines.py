from decimal import Decimal
from fractions import Fraction

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Team
from app.pricing.commitments import AllotmentRule, Commitment, CommitmentKind, CommitmentUnit
from app.pricing.rows import PriceUnit
from app.units.money import from_nanos, to_nanos
from app.units.window import HOUR_MS
from app.usage.identity import cluster_id, team_id
from tests.attribution.committed_fleets import Company, alone, committed
from tests.attribution.fleets import CLUSTER, MINUTE, TEN, AFleet, AHold, APool
from tests.pricing.builders import a_price
from tests.pricing.test_commitments import a_commitment

CONTRACT = Contract(
    teams=(
        Team(name="search", namespaces=("search-*",)),
        Team(name="ml", namespaces=("ml",)),
    ),
    platform=(Platform(team="platform"),),
)
HALF_PAST = TEN + 30 * MINUTE


def by_team_and_price(company: Company, commitments: list[Commitment]) -> dict[object, object]:
    """Return GPU-minutes and money by team and by the commitment's id, '' for on demand."""
    names = {one.price_id: one.commitment for one in commitments}
    teams = {team_id(name): name for name in ("search", "ml", "platform")}
    charges = company.charges
    sums = charges.groupby(["team_id", "price_id"])[["gpu_ms", "cost_nanos"]].sum()
    return {
        (teams[team], names.get(price, "")): (
            Fraction(int(row["gpu_ms"]), MINUTE),
            from_nanos(row["cost_nanos"]).normalize(),
        )
        for (team, price), row in sums.iterrows()
    }


def test_a_commitment_over_two_clusters_is_partly_used() -> None:
    """Six GPUs are committed for 12 USD an hour; two clusters have four for an hour and one idle.

    prod-eu has two GPUs for the hour, prod-us two for half of it: three GPU-hours of six are
    used, so 6 USD pay for them and 6 are unused.
    """
    reservation = a_commitment(quantity=Decimal(6), recurring_per_hour=Decimal(12))
    fleets = {
        "prod-eu": AFleet(holds=(AHold(pod="a"),)),
        "prod-us": AFleet(
            pools=(APool(node="node-2", end=HALF_PAST),),
            holds=(AHold(pod="b", node="node-2", namespace="ml", end=HALF_PAST),),
        ),
    }

    company = committed(fleets, [a_price("5")], [reservation], CONTRACT)

    assert by_team_and_price(company, [reservation]) == {
        ("search", "ri-1"): (60, Decimal(2)),
        ("ml", "ri-1"): (30, Decimal(1)),
        ("platform", "ri-1"): (90, Decimal(3)),
    }
    assert company.unused_nanos == to_nanos(Decimal(6))
    (hour,) = company.allotted.hours.to_dict("records")
    assert (hour["committed"], hour["used"]) == (6 * HOUR_MS, 3 * HOUR_MS)
    assert hour["eligible_ms"] == hour["covered_ms"] == 3 * HOUR_MS
    assert hour["eligible_nanos"] == hour["covered_nanos"] == to_nanos(Decimal(15))


def test_every_pool_gets_the_same_fraction_of_too_small_a_commitment() -> None:
    """Three GPUs are committed where six run: half of each pool is covered."""
    reservation = a_commitment(quantity=Decimal(3), recurring_per_hour=Decimal(3))
    fleets = {
        "prod-eu": AFleet(pools=(APool(devices=4),), holds=(AHold(pod="a", gpus=4),)),
        "prod-us": AFleet(
            pools=(APool(node="node-2", devices=2),),
            holds=(AHold(pod="b", node="node-2", namespace="ml", gpus=2),),
        ),
    }

    company = committed(fleets, [a_price("5")], [reservation], CONTRACT)

    assert by_team_and_price(company, [reservation]) == {
        ("search", "ri-1"): (120, Decimal(2)),
        ("search", ""): (120, Decimal(10)),
        ("ml", "ri-1"): (60, Decimal(1)),
        ("ml", ""): (60, Decimal(5)),
    }


def test_priority_fills_the_clusters_in_the_order_in_which_they_are_listed() -> None:
    fleets = {
        "prod-eu": AFleet(holds=(AHold(pod="a", gpus=2),)),
        "prod-us": AFleet(
            pools=(APool(node="node-2"),),
            holds=(AHold(pod="b", node="node-2", namespace="ml", gpus=2),),
        ),
    }
    first_eu = a_commitment(quantity=Decimal(3), allotment=AllotmentRule.PRIORITY)
    first_us = a_commitment(
        quantity=Decimal(3),
        allotment=AllotmentRule.PRIORITY,
        clusters=("prod-us", "prod-eu"),
    )

    covered = [
        {
            team: float(ms)
            for (team, name), (ms, _) in by_team_and_price(
                committed(fleets, [a_price("5")], [one], CONTRACT), [one]
            ).items()
            if name
        }
        for one in (first_eu, first_us)
    ]

    assert covered == [{"search": 120, "ml": 60}, {"search": 60, "ml": 120}]


def test_a_savings_plan_covers_until_its_spend_is_used() -> None:
    """9 USD an hour at 25 % off pay for 12 USD on demand: 2.4 GPU-hours at 5 USD of four."""
    plan = a_commitment(
        commitment="sp-1",
        kind=CommitmentKind.SAVINGS_PLAN,
        unit=CommitmentUnit.SPEND_HOUR,
        quantity=Decimal(9),
        recurring_per_hour=Decimal(9),
        discount_ratio=Decimal("0.25"),
    )
    fleet = AFleet(pools=(APool(devices=4),), holds=(AHold(pod="a", gpus=4),))

    company = alone(fleet, [a_price("5")], [plan], CONTRACT)

    assert by_team_and_price(company, [plan]) == {
        ("search", "sp-1"): (144, Decimal(9)),
        ("search", ""): (96, Decimal(8)),
    }
    assert company.unused_nanos == 0


def test_nodes_are_covered_whole_by_their_own_number_of_devices() -> None:
    """One node of two is committed for 8 USD: half of each one's hour, whatever GPUs it has."""
    nodes = a_commitment(unit=CommitmentUnit.NODE_HOUR, quantity=Decimal(1))
    fleet = AFleet(
        pools=(APool(devices=8), APool(node="node-2", devices=2)),
        holds=(AHold(pod="a", gpus=8), AHold(pod="b", node="node-2", namespace="ml", gpus=2)),
    )

    company = alone(fleet, [a_price("80", PriceUnit.NODE_HOUR)], [nodes], CONTRACT)

    assert by_team_and_price(company, [nodes]) == {
        ("search", "ri-1"): (240, Decimal(4)),
        ("search", ""): (240, Decimal(40)),
        ("ml", "ri-1"): (60, Decimal(4)),
        ("ml", ""): (60, Decimal(40)),
    }
    assert company.allotted.hours["used"].tolist() == [HOUR_MS]


def test_a_capacity_block_from_half_past_covers_the_second_half_hour() -> None:
    block = a_commitment(
        kind=CommitmentKind.CAPACITY_BLOCK,
        quantity=Decimal(2),
        recurring_per_hour=Decimal(0),
        upfront=Decimal(48),
        term_start_ms=HALF_PAST,
        term_end_ms=HALF_PAST + 24 * HOUR_MS,
    )
    fleet = AFleet(
        holds=(
            AHold(pod="a", gpus=2, end=HALF_PAST),
            AHold(pod="b", namespace="ml", gpus=2, start=HALF_PAST),
        )
    )

    company = alone(fleet, [a_price("5")], [block], CONTRACT)

    assert by_team_and_price(company, [block]) == {
        ("search", ""): (60, Decimal(5)),
        ("ml", "ri-1"): (60, Decimal(1)),
    }


def test_time_covered_by_one_is_not_eligible_for_the_next() -> None:
    first = a_commitment(quantity=Decimal(1), recurring_per_hour=Decimal(1), gpu_model="H100")
    second = a_commitment(commitment="ri-2", quantity=Decimal(4), recurring_per_hour=Decimal(4))
    fleet = AFleet(pools=(APool(devices=3),), holds=(AHold(pod="a", gpus=3),))

    company = alone(fleet, [a_price("5")], [second, first], CONTRACT)

    assert by_team_and_price(company, [first, second]) == {
        ("search", "ri-1"): (60, Decimal(1)),
        ("search", "ri-2"): (120, Decimal(2)),
    }
    assert company.unused_nanos == to_nanos(Decimal(2))


def test_what_nothing_prices_stays_unpriced_beside_what_a_commitment_covers() -> None:
    reservation = a_commitment(quantity=Decimal(1), recurring_per_hour=Decimal(3))
    fleet = AFleet(holds=(AHold(pod="a", gpus=2),))

    company = alone(fleet, [], [reservation], CONTRACT)

    charges = company.charges.sort_values("priced")
    assert charges[["priced", "gpu_ms", "cost_nanos"]].to_numpy().tolist() == [
        [False, HOUR_MS, 0],
        [True, HOUR_MS, to_nanos(Decimal(3))],
    ]


def test_an_hour_without_a_fitting_device_is_all_unused() -> None:
    reservation = a_commitment(gpu_model="A100")

    company = alone(AFleet(), [a_price("5")], [reservation], CONTRACT)

    assert company.unused_nanos == to_nanos(Decimal(8))
    assert company.allotted.allotments.empty


def test_the_kinds_of_a_hold_are_covered_alike() -> None:
    reservation = a_commitment(quantity=Decimal(1), recurring_per_hour=Decimal(2))
    fleet = AFleet(holds=(AHold(pod="a", gpus=2, active=((TEN, TEN + 15 * MINUTE),)),))

    charges = alone(fleet, [a_price("5")], [reservation], CONTRACT).charges

    covered = charges[charges["price_id"] == reservation.price_id].set_index("kind")["gpu_ms"]
    assert covered.to_dict() == {
        int(ChargeKind.USED): 15 * MINUTE,
        int(ChargeKind.IDLE): 45 * MINUTE,
    }
    assert cluster_id(CLUSTER) != 0
