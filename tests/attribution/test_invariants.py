"""The promises of the ledger: it equals a walk of every millisecond, whatever the fleet."""

from collections import Counter
from dataclasses import replace

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind
from app.attribution.contract import Contract, Platform, Team
from app.attribution.rating import Rated
from app.pricing.rows import PriceRow
from app.usage.identity import hold_id, node_id, team_id
from tests.attribution.by_millisecond import Amount, Line, walk
from tests.attribution.fleets import CLUSTER, TEN, AFleet, rated
from tests.attribution.random_fleets import END, WINDOW, fleets, instants, price_rows

POOL_KINDS = {ChargeKind.UNALLOCATED, ChargeKind.STRANDED, ChargeKind.UNOBSERVED}


def a_contract(handover_ms: int) -> Contract:
    """search owns search-*; ml goes from ml to research at an instant; nobody owns the rest."""
    return Contract(
        teams=(
            Team(name="search", namespaces=("search-*",)),
            Team(name="ml", namespaces=("ml",), valid_to_ms=handover_ms),
            Team(name="research", namespaces=("ml",), valid_from_ms=handover_ms),
        ),
        platform=(Platform(team="platform"),),
    )


def owners(handover_ms: int) -> dict[str, tuple[tuple[int, str], ...]]:
    return {
        "search-a": ((0, "search"),),
        "search-b": ((0, "search"),),
        "ml": ((0, "ml"), (handover_ms, "research")),
        "nobody": ((0, "unowned"),),
    }


def by_line(fleet: AFleet, result: Rated) -> dict[Line, Amount]:
    """Return the charges as the walk counts them: a hold's used, idle and unmeasured as one."""
    pods = {hold_id(CLUSTER, one.pod, "nvidia.com/gpu"): one.pod for one in fleet.holds}
    nodes = {node_id(CLUSTER, pool.node): pool.node for pool in fleet.pools}
    teams = {team_id(name): name for name in (*result.teams, "")}
    found: dict[Line, Amount] = {}
    for row in result.charges.itertuples():
        subject = pods[row.hold_id] if row.hold_id else ChargeKind(row.kind).name
        line = Line(nodes[row.node_id], subject, teams[row.team_id], row.priced)
        amount = found.setdefault(line, Amount())
        amount.ms += row.gpu_ms
        amount.cost += row.cost_nanos
    return found


def named(result: Rated) -> pd.DataFrame:
    return result.charges.sort_values("charge_id").reset_index(drop=True)


@settings(max_examples=30)
@given(fleets(), price_rows(), instants)
def test_the_ledger_equals_a_walk_of_every_millisecond(
    fleet: AFleet, prices: tuple[PriceRow, ...], handover_ms: int
) -> None:
    result = rated_with(fleet, prices, handover_ms)

    expected = walk(fleet, prices, owners(handover_ms), "platform", WINDOW)
    found = by_line(fleet, result)
    segments = len(fleet.pool_rows(*WINDOW)) + 8 * len(fleet.pools)
    assert {line: amount.ms for line, amount in found.items()} == {
        line: amount.ms for line, amount in expected.items()
    }
    for line, amount in expected.items():
        # Each segment rounds its cost by half a nano and each of three lines in it by less than 1.
        assert abs(found[line].cost - amount.cost) <= 4 * segments
    total = sum(amount.cost for amount in expected.values())
    assert abs(int(result.charges["cost_nanos"].sum()) - total) <= segments / 2


@settings(max_examples=40)
@given(fleets(), price_rows(), instants)
def test_time_and_activity_are_kept_to_the_millisecond(
    fleet: AFleet, prices: tuple[PriceRow, ...], handover_ms: int
) -> None:
    charges = rated_with(fleet, prices, handover_ms).charges

    capacity = sum(row["devices"] * (row["end_ms"] - row["start_ms"]) for row in pool_rows(fleet))
    assert charges["gpu_ms"].sum() == capacity
    for column, kind in (
        ("active_ms", ChargeKind.USED),
        ("idle_ms", ChargeKind.IDLE),
        ("unmeasured_ms", ChargeKind.UNMEASURED),
    ):
        of_kind = charges[charges["kind"] == kind].groupby("hold_id")["gpu_ms"].sum().to_dict()
        rows = {row["hold_id"]: row[column] for row in fleet.hold_rows(*WINDOW) if row[column]}
        assert of_kind == rows
    for column, kind in (
        ("unallocated_ms", ChargeKind.UNALLOCATED),
        ("stranded_ms", ChargeKind.STRANDED),
        ("unobserved_ms", ChargeKind.UNOBSERVED),
    ):
        total = sum(row[column] for row in pool_rows(fleet))
        assert charges.loc[charges["kind"] == kind, "gpu_ms"].sum() == total


@settings(max_examples=40)
@given(fleets(), price_rows(), instants, st.permutations(range(7)), st.permutations(range(3)))
def test_renaming_pods_teams_and_nodes_permutes_the_charges(
    fleet: AFleet,
    prices: tuple[PriceRow, ...],
    handover_ms: int,
    pods: list[int],
    nodes: list[int],
) -> None:
    other_node = {f"node-{number + 1}": f"host-{name}" for number, name in enumerate(nodes)}
    renamed = replace(
        fleet,
        pools=tuple(replace(pool, node=other_node[pool.node]) for pool in fleet.pools),
        holds=tuple(
            replace(
                one,
                pod=f"other-{pods[int(one.pod.removeprefix('pod-'))]}",
                node=other_node[one.node],
                namespace=f"x{one.namespace}",
            )
            for one in fleet.holds
        ),
    )
    contract = a_contract(handover_ms)
    other_teams = replace(
        contract,
        teams=tuple(
            replace(team, name=f"zz-{team.name}", namespaces=(f"x{team.namespaces[0]}",))
            for team in contract.teams
        ),
        platform=(Platform(team="aa-platform"),),
    )

    before = rated_with(fleet, prices, handover_ms)
    after = rated(renamed, prices, other_teams, (WINDOW,))

    assert money(after) == money(before)


@settings(max_examples=40)
@given(fleets(), price_rows(), instants, st.data())
def test_a_change_on_one_pool_moves_no_line_of_another(
    fleet: AFleet, prices: tuple[PriceRow, ...], handover_ms: int, data: st.DataObject
) -> None:
    changed = data.draw(st.sampled_from(fleet.pools))
    other = replace(
        fleet,
        pools=tuple(
            replace(pool, devices=pool.devices + 1, instance_type="p6") if pool == changed else pool
            for pool in fleet.pools
        ),
        holds=tuple(one for one in fleet.holds if one.node != changed.node),
    )

    before = rated_with(fleet, prices, handover_ms)
    after = rated_with(other, prices, handover_ms)

    own = node_id(CLUSTER, changed.node)
    pd.testing.assert_frame_equal(
        named(after)[lambda rows: rows["node_id"] != own].reset_index(drop=True),
        named(before)[lambda rows: rows["node_id"] != own].reset_index(drop=True),
    )


@settings(max_examples=40)
@given(fleets(), price_rows(changes=0), st.integers(TEN + 1, END - 1))
def test_cutting_a_window_moves_a_pool_by_one_nano_and_a_line_by_one_a_rounding(
    fleet: AFleet, prices: tuple[PriceRow, ...], cut: int
) -> None:
    """A cut makes two segments of one: one more rounding, one more split among the lines.

    Nothing is lost by it: the pool's cost moves by a nano at most. A line may move by the nano of
    each split that it takes part in.
    """
    whole = rated_with(fleet, prices, TEN).charges
    cut_in_two = rated_with(fleet, prices, TEN, ((TEN, cut), (cut, END))).charges

    assert most_moved(whole, cut_in_two, ["node_id"]) <= 1
    splits = max(Counter(row["node_id"] for row in pool_rows(fleet)).values(), default=0) + 1
    assert most_moved(whole, cut_in_two, ["node_id", "hold_id", "kind", "team_id"]) <= splits
    key = ["node_id", "hold_id", "kind", "team_id", "price_id"]
    pd.testing.assert_series_equal(
        cut_in_two.groupby(key)["gpu_ms"].sum(), whole.groupby(key)["gpu_ms"].sum()
    )


@settings(max_examples=30)
@given(fleets(), price_rows(), instants)
def test_rating_twice_gives_the_same_rows(
    fleet: AFleet, prices: tuple[PriceRow, ...], handover_ms: int
) -> None:
    turned = replace(fleet, holds=fleet.holds[::-1], pools=fleet.pools[::-1])

    first = rated_with(fleet, prices, handover_ms)
    again = rated_with(turned, prices[::-1], handover_ms)

    pd.testing.assert_frame_equal(named(again), named(first))
    assert first.charges["charge_id"].is_unique


@settings(max_examples=30)
@given(fleets(), price_rows(), instants)
def test_many_windows_at_once_give_the_charges_of_each_alone(
    fleet: AFleet, prices: tuple[PriceRow, ...], handover_ms: int
) -> None:
    middle = TEN + 5 * 60_000
    together = rated_with(fleet, prices, handover_ms, ((TEN, middle), (middle, END)))
    alone = [
        rated_with(fleet, prices, handover_ms, (one,)) for one in ((TEN, middle), (middle, END))
    ]

    each = pd.concat([one.charges for one in alone]).sort_values("charge_id")
    pd.testing.assert_frame_equal(named(together), each.reset_index(drop=True))


def test_the_generated_fleets_hold_share_and_waste() -> None:
    """The properties above would say little about fleets in which nothing happens."""
    seen: Counter[int] = Counter()

    @settings(max_examples=60, database=None)
    @given(fleets(), price_rows(), instants)
    def look(fleet: AFleet, prices: tuple[PriceRow, ...], handover_ms: int) -> None:
        seen.update(set(rated_with(fleet, prices, handover_ms).charges["kind"].tolist()))

    look()

    assert set(seen) >= {ChargeKind.USED, ChargeKind.IDLE, ChargeKind.UNMEASURED, *POOL_KINDS}


def rated_with(
    fleet: AFleet,
    prices: tuple[PriceRow, ...],
    handover_ms: int,
    windows: tuple[tuple[int, int], ...] = (WINDOW,),
) -> Rated:
    return rated(fleet, prices, a_contract(handover_ms), windows)


def pool_rows(fleet: AFleet) -> list[dict[str, int]]:
    return fleet.pool_rows(*WINDOW)


def money(result: Rated) -> Counter[tuple[int, ...]]:
    columns = ["kind", "start_ms", "end_ms", "gpu_ms", "cost_nanos", "price_id"]
    return Counter(result.charges[columns].itertuples(index=False, name=None))


def most_moved(before: pd.DataFrame, after: pd.DataFrame, key: list[str]) -> int:
    costs = [frame.groupby(key)["cost_nanos"].sum().to_dict() for frame in (before, after)]
    lines = {*costs[0], *costs[1]}
    return max((abs(costs[0].get(one, 0) - costs[1].get(one, 0)) for one in lines), default=0)
