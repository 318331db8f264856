from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from app.attribution.capacity import UsageMismatchError, capacity_of
from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Team
from app.attribution.rating import Rated, rate
from app.pricing.rows import PriceUnit, plain_amount
from app.units.money import from_nanos, to_nanos
from app.units.window import HOUR_MS
from app.usage import frames
from app.usage.identity import hold_id, namespace_id, node_id, team_id
from tests.attribution.fleets import (
    CLUSTER,
    ELEVEN,
    H100,
    MINUTE,
    TEN,
    AFleet,
    AHold,
    APool,
    frame_of,
    rated,
    rating_input,
)
from tests.pricing.builders import a_price

SEARCH = Contract(
    teams=(Team(name="search", namespaces=("search-*",)),), platform=(Platform(team="platform"),)
)
HALF_PAST = TEN + 30 * MINUTE


def lines(result: Rated) -> dict[tuple[str, str], tuple[int, str]]:
    """Return GPU-seconds and money by team and kind."""
    teams = {team_id(name): name for name in (*result.teams, "")}
    sums = result.charges.groupby(["team_id", "kind"])[["gpu_ms", "cost_nanos"]].sum()
    return {
        (teams[team], ChargeKind(kind).name.lower()): (
            int(row["gpu_ms"]) // 1000,
            plain_amount(from_nanos(row["cost_nanos"])),
        )
        for (team, kind), row in sums.iterrows()
    }


def test_two_gpus_for_an_hour_are_charged_to_their_holder() -> None:
    fleet = AFleet(holds=(AHold(pod="a", gpus=2, active=((TEN, HALF_PAST),)),))

    result = rated(fleet, [a_price("3.00")], SEARCH)

    assert lines(result) == {("search", "used"): (3600, "3"), ("search", "idle"): (3600, "3")}
    assert result.notes.empty


def test_every_state_has_its_own_line_and_the_platform_pays_for_nobodys_time() -> None:
    fleet = AFleet(
        pools=(APool(devices=4, allocatable=3),),
        holds=(AHold(pod="a", unmeasured=((TEN, HALF_PAST),), active=((HALF_PAST, ELEVEN),)),),
        unobserved=((HALF_PAST, ELEVEN),),
    )

    assert lines(rated(fleet, [a_price("2")], SEARCH)) == {
        ("search", "used"): (1800, "1"),
        ("search", "unmeasured"): (1800, "1"),
        ("platform", "unallocated"): (3600, "2"),
        ("platform", "stranded"): (1800, "1"),
        ("platform", "unobserved"): (5400, "3"),
    }


def test_a_price_change_at_10_37_splits_the_hour_there() -> None:
    change = TEN + 37 * MINUTE
    prices = [a_price("3", valid_to_ms=change), a_price("6", valid_from_ms=change)]
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a"),))

    charges = rated(fleet, prices, SEARCH).charges.sort_values("start_ms")

    assert charges["gpu_ms"].tolist() == [37 * MINUTE, 23 * MINUTE]
    assert charges["cost_nanos"].tolist() == [to_nanos(Decimal("1.85")), to_nanos(Decimal("2.3"))]
    assert charges["price_id"].tolist() == [row.price_id for row in prices]


def test_no_price_is_a_line_without_money_and_a_note() -> None:
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a"),))

    result = rated(fleet, [a_price("3", gpu_model="A100")], SEARCH)

    assert result.charges["priced"].tolist() == [False]
    assert result.charges[["cost_nanos", "price_id"]].to_numpy().tolist() == [[0, 0]]
    (note,) = result.notes.itertuples()
    assert (note.kind, note.subject, note.quantity) == ("unpriced", f"node-1 {H100}", HOUR_MS)


def test_a_free_price_is_a_price() -> None:
    fleet = AFleet(pools=(APool(devices=1),))

    result = rated(fleet, [a_price("0")], SEARCH)

    assert result.charges["priced"].tolist() == [True]
    assert result.notes.empty


def test_no_owner_is_unowned_and_noted() -> None:
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a", namespace="lost"),))

    result = rated(fleet, [a_price("3")], SEARCH)

    assert lines(result) == {("unowned", "idle"): (3600, "3")}
    (note,) = result.notes.itertuples()
    assert (note.kind, note.subject, note.quantity) == ("unowned", "lost", HOUR_MS)


def test_without_a_platform_team_nobodys_time_has_no_team() -> None:
    result = rated(AFleet(), [a_price("3")])

    assert result.charges["team_id"].tolist() == [0]
    assert result.teams == ()


def test_a_contested_namespace_is_unowned_and_names_both_teams() -> None:
    contract = Contract(
        teams=(
            Team(name="a", labels=(("team", "x"),)),
            Team(name="b", labels=(("app", "y"),)),
        )
    )
    labels = (("team", "x"), ("app", "y"), ("pod", "1"))
    fleet = AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a", labels=labels),))

    result = rated(fleet, [a_price("3")], contract)

    assert lines(result) == {("unowned", "idle"): (3600, "3")}
    details = result.notes.set_index("kind")["detail"]
    assert details["contested"].startswith("a and b claim it equally")


def test_a_change_of_owner_splits_only_the_pools_that_hold_for_it() -> None:
    contract = Contract(
        teams=(
            Team(name="ml", namespaces=("ml",), valid_to_ms=HALF_PAST),
            Team(name="web", namespaces=("ml",), valid_from_ms=HALF_PAST),
        ),
        platform=(Platform(team="platform"),),
    )
    fleet = AFleet(pools=(APool(), APool(node="node-2")), holds=(AHold(pod="a", namespace="ml"),))

    result = rated(fleet, [a_price("3")], contract)

    other = result.charges[result.charges["node_id"] == node_id(CLUSTER, "node-2")]
    assert other[["start_ms", "end_ms"]].to_numpy().tolist() == [[TEN, ELEVEN]]
    assert lines(result) == {
        ("ml", "idle"): (1800, "1.5"),
        ("web", "idle"): (1800, "1.5"),
        ("platform", "unallocated"): (10800, "9"),
    }


def test_midnight_of_the_billing_zone_ends_a_charge() -> None:
    window = (TEN + 8 * HOUR_MS, TEN + 9 * HOUR_MS)
    fleet = AFleet(pools=(APool(devices=1),))

    in_utc = rated(fleet, [a_price("3")], windows=(window,), zone=UTC).charges
    in_india = rated(
        fleet, [a_price("3")], windows=(window,), zone=ZoneInfo("Asia/Kolkata")
    ).charges

    assert len(in_utc) == 1
    assert sorted(in_india["start_ms"] - window[0]) == [0, 30 * MINUTE]
    assert in_india["charge_id"].is_unique


def test_a_node_price_is_carried_by_all_its_devices() -> None:
    fleet = AFleet(pools=(APool(devices=8, allocatable=2),), holds=(AHold(pod="a", gpus=2),))

    result = rated(fleet, [a_price("80", PriceUnit.NODE_HOUR)], SEARCH)

    assert lines(result) == {
        ("search", "idle"): (7200, "20"),
        ("platform", "stranded"): (21600, "60"),
    }


def test_a_node_of_two_models_costs_its_price_once() -> None:
    fleet = AFleet(
        pools=(APool(devices=4), APool(gpu_model="NVIDIA-A100-SXM4-80GB", devices=4)),
        holds=(AHold(pod="a", gpus=4),),
    )
    node = a_price("40", PriceUnit.NODE_HOUR, instance_type="p5")
    gpus = [a_price("3", gpu_model="H100"), a_price("1", gpu_model="A100")]

    assert lines(rated(fleet, [node, *gpus], SEARCH)) == {
        ("search", "idle"): (14400, "30"),
        ("platform", "unallocated"): (14400, "10"),
    }
    assert lines(rated(fleet, [node], SEARCH))["search", "idle"] == (14400, "20")


def test_a_price_for_one_node_leaves_the_others() -> None:
    fleet = AFleet(pools=(APool(devices=1), APool(node="node-2", devices=1)))

    charges = rated(fleet, [a_price("3"), a_price("9", node="node-2")]).charges

    costs = dict(zip(charges["node_id"], charges["cost_nanos"], strict=True))
    assert costs[node_id(CLUSTER, "node-1")] == to_nanos(Decimal(3))
    assert costs[node_id(CLUSTER, "node-2")] == to_nanos(Decimal(9))


def test_segments_of_one_price_and_owner_are_one_charge() -> None:
    holds = tuple(
        AHold(pod=f"p{n}", start=TEN + n * MINUTE, end=TEN + (n + 1) * MINUTE) for n in range(1, 59)
    )
    fleet = AFleet(holds=(AHold(pod="long"), *holds))

    charges = rated(fleet, [a_price("3")], SEARCH).charges

    long = charges[charges["hold_id"] == hold_id(CLUSTER, "long", "nvidia.com/gpu")]
    assert long[["start_ms", "end_ms", "gpu_ms"]].to_numpy().tolist() == [[TEN, ELEVEN, HOUR_MS]]
    assert len(charges) == 1 + 58 + 1
    assert long["namespace_id"].tolist() == [namespace_id("search-a")]


def test_a_pod_of_twenty_seconds_is_charged_for_twenty_seconds() -> None:
    fleet = AFleet(holds=(AHold(pod="a", start=TEN + 5_000, end=TEN + 25_000),))

    assert lines(rated(fleet, [a_price("3.60")], SEARCH))["search", "idle"] == (20, "0.02")


def test_nothing_gives_nothing() -> None:
    result = rated(AFleet(pools=()), [a_price("3")])

    assert (len(result.charges), len(result.notes)) == (0, 0)


def test_a_node_that_the_inventory_lost_is_priced_by_model_and_named() -> None:
    fleet = AFleet(pools=(APool(devices=1),))

    result = rated(fleet, [a_price("3", gpu_model="H100")], known_nodes=False)

    assert result.charges["cost_nanos"].tolist() == [to_nanos(Decimal(3))]
    assert result.notes["kind"].tolist() == ["unknown_node"]


def test_a_hold_that_the_inventory_lost_is_unowned_and_counted() -> None:
    fleet = AFleet(holds=(AHold(pod="a", gpus=2),))

    result = rated(fleet, [a_price("3")], SEARCH, known_holds=False)

    assert lines(result) == {("unowned", "idle"): (7200, "6")}
    assert "unknown_holds" in result.notes["kind"].tolist()


@pytest.mark.parametrize("change", [{"held_ms": HOUR_MS - 1}, {"held_ms": 0}])
def test_usage_that_contradicts_itself_is_refused(change: dict[str, int]) -> None:
    fleet = AFleet(holds=(AHold(pod="a"),))
    holds = frame_of(frames.HOLD_USAGE, fleet.hold_rows(TEN, ELEVEN)).assign(**change)

    with pytest.raises(UsageMismatchError, match="contradicts itself"):
        capacity_of(frame_of(frames.POOL_USAGE, fleet.pool_rows(TEN, ELEVEN)), holds)


def test_charges_are_declared_integers() -> None:
    charges = rated(AFleet(), [a_price("3")]).charges

    assert {str(dtype) for name, dtype in charges.dtypes.items() if name != "priced"} == {"int64"}


def test_three_sharers_of_one_device_pay_a_third_each_and_its_price_once() -> None:
    change = TEN + 37 * MINUTE + 1
    prices = [a_price("3", valid_to_ms=change), a_price("6", valid_from_ms=change)]
    given = rating_input(AFleet(pools=(APool(devices=1),), holds=(AHold(pod="a"),)), prices)
    third = {"share_den": 3, "held_ms": HOUR_MS // 3, "idle_ms": HOUR_MS // 3}
    ids = [hold_id(CLUSTER, pod, "nvidia.com/gpu") for pod in ("a", "b", "c")]
    sharers = [given.hold_usage.assign(hold_id=one, **third) for one in ids]

    charges = rate(replace(given, hold_usage=pd.concat(sharers, ignore_index=True))).charges

    assert charges.groupby("hold_id")["gpu_ms"].sum().to_dict() == dict.fromkeys(ids, HOUR_MS // 3)
    by_price = charges.groupby("price_id")["gpu_ms"].sum().to_dict()
    assert by_price == {prices[0].price_id: change - TEN, prices[1].price_id: ELEVEN - change}
    exact = (3 * (change - TEN) + 6 * (ELEVEN - change)) * 10**9 / HOUR_MS
    assert charges["cost_nanos"].sum() == pytest.approx(exact, abs=1)
