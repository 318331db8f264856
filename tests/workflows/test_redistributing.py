"""Services' costs reach the consumers of their tokens, through the database, to the nano."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from fractions import Fraction
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from app.attribution.contract import Contract
from app.attribution.redistribution import (
    DayCost,
    RedistributionStep,
    Share,
    billing_days,
    redistribute,
)
from app.store.charges import ChargeStore
from app.store.costs import CostStore
from app.store.naming import NameStore
from app.store.redistribution import RedistributionStore
from app.units.window import HOUR_MS
from app.usage.identity import cluster_id, gpu_model_id, team_id
from tests.workflows.gateway_days import (
    CONTRACT,
    DAY,
    EU,
    OTHER,
    US,
    Days,
    a_line,
    hour,
    in_two_clusters,
)


@pytest.fixture
def days(database: Engine) -> Days:
    return Days(database, UTC)


@pytest.fixture
def two_clusters(days: Days) -> Days:
    return in_two_clusters(days)


def sums(lines: list[tuple[object, ...]], *columns: int) -> dict[tuple[object, ...], int]:
    found: dict[tuple[object, ...], int] = defaultdict(int)
    for line in lines:
        found[tuple(line[column] for column in columns)] += int(str(line[3]))
    return dict(found)


def test_the_consumers_of_a_service_in_two_clusters_pay_what_it_cost(two_clusters: Days) -> None:
    two_clusters.redistribute()

    lines = two_clusters.lines()
    credits_ = [line for line in lines if line[2] != "-"]
    costs = {"llama-eu": 1_500_000_010, "llama-us": 2_000_000_001}
    # Prompt 1, cached 0.1, generation 4, in tenths.
    weights = {"search-key": 1_000 + 500 + 40 * 530, "ads-key": 8_000, "nobody-s-key": 1_600}
    weights[""] = 5_200
    assert sums(lines, 0) == {("llama-eu",): 0, ("llama-us",): 0}
    assert sums(credits_, 0) == {(name,): nanos for name, nanos in costs.items()}
    for (name, key), nanos in sums(credits_, 0, 2).items():
        exact = Fraction(costs[str(name)] * weights[str(key)], sum(weights.values()))
        # The service's cost came from two teams: a part is split for each.
        assert abs(nanos - exact) < (2 if name == "llama-eu" else 1)
    assert sums(credits_, 1, 2).keys() == {
        ("search", "search-key"),
        ("ads", "ads-key"),
        ("unowned", "nobody-s-key"),
        ("provider", ""),
        ("second", ""),
    }


def test_money_is_conserved_over_all_clusters_and_in_every_rollup(two_clusters: Days) -> None:
    before = costs_by(two_clusters, "team")
    two_clusters.redistribute()

    after = costs_by(two_clusters, "team")
    total = 9_000_000_000 + 1_500_000_010 + 2_000_000_001 + 77
    assert sum(before.values()) == sum(after.values()) == total
    assert before != after
    for group in ("cluster", "gpu_model", "namespace", "workload", "consumer", "kind", "day"):
        assert sum(costs_by(two_clusters, group).values()) == total
    assert costs_by(two_clusters, "cluster") == {"eu": 10_500_000_010, "us": 2_000_000_078}
    assert costs_by(two_clusters, "kind")["redistributed"] == 0


def costs_by(days: Days, group: str) -> dict[str, int]:
    with days.engine.connect() as connection:
        rows = CostStore(connection, days.zone).costs(DAY, [group]).rows
    nanos = [name for name in rows.columns if name.endswith("_nanos")]
    return dict(zip(rows[group].tolist(), rows[nanos].sum(axis="columns").tolist(), strict=True))


def test_costs_can_be_grouped_by_consumer(two_clusters: Days) -> None:
    two_clusters.redistribute()

    found = costs_by(two_clusters, "consumer")

    assert set(found) == {"", "search-key", "ads-key", "nobody-s-key", "no identity"}
    # What has no consumer is what nobody held, a service nobody asked, and the debits.
    assert found[""] == 9_000_000_000 + 77


def test_the_ratio_stands_beside_every_line(two_clusters: Days) -> None:
    two_clusters.redistribute()

    with two_clusters.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT DISTINCT gateway_tokens, engine_tokens, scope FROM reassignments")
        ).all()
        count = connection.scalar(text("SELECT count(*) FROM reassignments"))
    assert [tuple(row) for row in rows] == [(600 + 530 + 200 + 40 + 130, 2_000, 2)]
    assert count == len(two_clusters.lines())


def test_redistributing_again_changes_nothing(two_clusters: Days) -> None:
    first = two_clusters.redistribute()
    lines, rollup = two_clusters.lines(), rollups(two_clusters)

    assert two_clusters.redistribute().days == 0
    two_clusters.charge(hour(20), a_line(hour(20), US, 5), cluster="us")
    two_clusters.redistribute()
    assert two_clusters.lines() != lines
    two_clusters.charge(
        hour(20),
        a_line(hour(20), US, 2_000_000_001),
        a_line(hour(20), OTHER, 77),
        cluster="us",
    )
    assert two_clusters.redistribute() == first
    assert two_clusters.lines() == lines
    pd.testing.assert_frame_equal(rollups(two_clusters), rollup)


def rollups(days: Days) -> pd.DataFrame:
    with days.engine.connect() as connection:
        return pd.concat(
            [
                ChargeStore(connection, name, days.zone).days(DAY)
                for name in sorted(NameStore(connection).clusters().values())
            ],
            ignore_index=True,
        )


def test_an_hour_that_is_rated_again_neither_loses_nor_doubles_lines(two_clusters: Days) -> None:
    two_clusters.redistribute()
    lines = two_clusters.lines()

    # The first hour of the day is where the day's lines stand.
    for number in (0, 1):
        two_clusters.charge(hour(number), a_line(hour(number), None, 5))

    assert two_clusters.lines() == lines
    with two_clusters.engine.begin() as connection:
        store = ChargeStore(connection, "eu", UTC)
        written = store.days(DAY)
        store.rebuild_days(DAY)
        pd.testing.assert_frame_equal(store.days(DAY), written)


def test_a_rollup_is_the_sum_of_the_lines(two_clusters: Days) -> None:
    two_clusters.redistribute()
    written = rollups(two_clusters)

    with two_clusters.engine.begin() as connection:
        for name in ("eu", "us"):
            ChargeStore(connection, name, UTC).rebuild_days(DAY)

    pd.testing.assert_frame_equal(rollups(two_clusters), written)
    assert written["redistributed_nanos"].any()


def test_a_whole_day_that_is_rated_again_keeps_its_lines_in_the_rollup(two_clusters: Days) -> None:
    two_clusters.redistribute()
    before = rollups(two_clusters)

    with two_clusters.engine.begin() as connection:
        store = ChargeStore(connection, "us", UTC)
        store.replace(DAY, store.within(DAY))

    pd.testing.assert_frame_equal(rollups(two_clusters), before)


def test_a_day_without_tokens_stays_with_the_provider(days: Days) -> None:
    days.charge(hour(1), a_line(hour(1), EU, 10))
    days.charge(hour(25), a_line(hour(25), EU, 10))
    for number in (1, 25):
        days.serve(hour(number), EU, prompt=1, generation=1)
    days.send(hour(25), 1, key="search-key")

    days.redistribute()

    assert {line[5].day for line in days.lines()} == {24}  # type: ignore[attr-defined]  # an instant


def test_without_a_source_of_consumers_lines_are_taken_back(two_clusters: Days) -> None:
    two_clusters.redistribute()
    two_clusters.charge(hour(3), a_line(hour(3), None, 1))

    two_clusters.redistribute(Contract(teams=CONTRACT.teams))

    assert two_clusters.lines() == []
    assert not rollups(two_clusters)["redistributed_nanos"].any()


def test_tokens_of_models_elsewhere_are_noted_where_the_gateway_is(two_clusters: Days) -> None:
    two_clusters.redistribute()

    with two_clusters.engine.connect() as connection:
        notes = connection.execute(
            text("SELECT kind, subject, quantity FROM window_notes WHERE stage = 'redistribute'")
        ).all()
    assert [tuple(note) for note in notes] == [("model_elsewhere", "litellm gpt-4o", 10**9)]


def test_a_day_of_a_zone_with_half_an_hour_is_its_own(database: Engine) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    days = Days(database, zone)
    # The billing day ends at 18:30 UTC: of this hour each day has a half.
    border_ms = hour(18).start_ms + HOUR_MS // 2
    days.charge(
        hour(18),
        a_line(hour(18), EU, 100),
        a_line(hour(18), EU, 1_000, start_ms=border_ms),
    )
    days.serve(hour(18), EU, prompt=1, generation=1)
    days.serve(hour(19), EU, prompt=1, generation=1)
    days.send(hour(18), 1, key="search-key")
    days.send(hour(19), 1, key="ads-key")

    days.redistribute()

    moved = [(line[1], line[3], str(line[5])) for line in days.lines()]
    assert moved == [
        ("provider", -100, "2026-11-22 19:00:00+00:00"),
        ("search", 100, "2026-11-22 19:00:00+00:00"),
        ("ads", 1_000, "2026-11-23 19:00:00+00:00"),
        ("provider", -1_000, "2026-11-23 19:00:00+00:00"),
    ]
    written = rollups(days)
    with database.begin() as connection:
        ChargeStore(connection, "eu", zone).rebuild_days(DAY)
    pd.testing.assert_frame_equal(rollups(days), written)


def test_days_of_another_billing_zone_are_taken_back(two_clusters: Days) -> None:
    two_clusters.redistribute()
    zone = ZoneInfo("America/New_York")
    moved = Days(two_clusters.engine, zone)
    with moved.engine.begin() as connection:
        for name in ("eu", "us"):
            ChargeStore(connection, name, zone).rebuild_days(DAY)

    moved.redistribute()

    # The first five hours of the UTC day are the day before in New York.
    lines = moved.lines()
    assert {str(line[5])[:13] for line in lines} == {"2026-11-22 05", "2026-11-23 05"}
    assert {line[0] for line in lines if str(line[5])[:13] == "2026-11-22 05"} == {"llama-eu"}
    credits_ = [line for line in lines if line[2] != "-"]
    assert sums(credits_, 0) == {("llama-eu",): 1_500_000_010, ("llama-us",): 2_000_000_001}
    written = rollups(moved)
    with moved.engine.begin() as connection:
        for name in ("eu", "us"):
            ChargeStore(connection, name, zone).rebuild_days(DAY)
    pd.testing.assert_frame_equal(rollups(moved), written)


def test_a_source_that_says_nothing_is_noted(days: Days) -> None:
    days.charge(hour(1), a_line(hour(1), EU, 10))
    days.serve(hour(1), EU, prompt=1, generation=1)

    days.redistribute()

    with days.engine.connect() as connection:
        notes = connection.execute(text("SELECT kind, subject FROM window_notes")).all()
    assert [tuple(note) for note in notes] == [("consumers_silent", "litellm")]


def test_clusters_that_are_rated_at_once_end_in_what_one_after_the_other_gives(
    two_clusters: Days,
) -> None:
    two_clusters.redistribute()
    lines, rollup = two_clusters.lines(), rollups(two_clusters)

    def rate(cluster: str) -> None:
        for _ in range(3):
            with two_clusters.engine.connect() as connection:
                store = ChargeStore(connection, cluster, UTC)
                stored = store.within(DAY)
            for window in (hour(1), hour(20)):
                own = stored[stored["window_start_ms"] == window.start_ms]
                if len(own):
                    two_clusters.charge(window, own, cluster=cluster)
            two_clusters.redistribute()

    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in [pool.submit(rate, name) for name in ("eu", "us")]:
            done.result(timeout=60)

    two_clusters.redistribute()
    assert two_clusters.lines() == lines
    pd.testing.assert_frame_equal(rollups(two_clusters), rollup)


def test_a_step_that_is_not_replaced_keeps_its_lines_and_weights(two_clusters: Days) -> None:
    (day,) = billing_days(UTC, DAY.start_ms, DAY.end_ms)
    cost = DayCost(
        cluster_id=cluster_id("eu"),
        workload_id=0,
        namespace_id=0,
        gpu_model_id=gpu_model_id("H100"),
        team_id=team_id("provider"),
        nanos=9_000_000_000,
    )
    share = Share(key=("second",), team_id=team_id("second"), weight=1)
    step = RedistributionStep.NOBODY
    with two_clusters.engine.begin() as connection:
        store = RedistributionStore(connection, UTC)
        store.lock(day)
        lines = redistribute(step, day, [cost], lambda _cost: [share])
        store.replace(day, lines, {}, steps=[step])

    with two_clusters.engine.begin() as connection:
        store = RedistributionStore(connection, UTC)
        store.lock(day)
        store.replace(day, (), {}, steps=[RedistributionStep.CONSUMERS])

    with two_clusters.engine.connect() as connection:
        steps = connection.execute(
            text("SELECT step, count(*) FROM charges WHERE step > 0 GROUP BY 1 ORDER BY 1")
        ).all()
        weights = connection.execute(
            text("SELECT basis, weight, weight_sum FROM redistribution_weights")
        ).all()
    assert [tuple(row) for row in steps] == [(1, 2)]
    assert [tuple(row) for row in weights] == [(4, 1, 1), (4, 1, 1)]
    assert costs_by(two_clusters, "team")["second"] == 9_000_000_003
