"""Policies divide what nobody used and what the platform runs, through the database."""

from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from app.attribution.charges import ChargeKind
from app.attribution.contract import (
    Contract,
    Platform,
    Policies,
    SharedMetric,
    SharedPolicy,
    Team,
    UnallocatedPolicy,
)
from app.attribution.day_costs import DAY_COSTS, day_costs, holders_of, summed
from app.attribution.redistribution import billing_days
from app.store.charges import ChargeStore
from app.store.costs import CostStore
from app.store.day_costs import DayCostStore
from app.store.naming import NameStore
from app.store.redistribution import RedistributionStore
from app.units.window import HOUR_MS, from_ms
from app.usage.identity import cluster_id, team_id
from app.workflows.reading import explanation
from app.workflows.redistributing import mark_days
from app.workflows.redistribution_preview import RedistributionPreview
from tests.workflows.explained import explain_all
from tests.workflows.gateway_days import DAY, EU, US, Days, Service, a_line, hour

MONITORING = Service("eu", "prometheus", namespace="monitoring")
BATCH = Service("eu", "batch", namespace="batch")
CONTRACT = Contract(
    teams=(Team(name="search"), Team(name="ads")),
    platform=(Platform(team="provider", namespaces=("monitoring",)),),
    policies=(
        Policies(unallocated=UnallocatedPolicy.PROPORTIONAL, shared=SharedPolicy.EVEN),
        Policies(
            clusters=("us",),
            shared=SharedPolicy.FIXED,
            shared_percent=(("ads", Decimal(30)), ("search", Decimal(70))),
        ),
    ),
)


@pytest.fixture
def days(database: Engine) -> Days:
    """Search paid 60 and ads 40 in eu; the provider 20 for monitoring and 40 for nobody."""
    days = Days(database, UTC)
    with database.begin() as connection:
        NameStore(connection).ensure_team_names(["search", "ads"])
        NameStore(connection).ensure_namespaces(["monitoring", "batch", "serving"])
    days.charge(
        hour(1),
        a_line(hour(1), BATCH, 60, team="search"),
        a_line(hour(1), EU, 30, team="ads"),
        a_line(hour(1), MONITORING, 20),
        a_line(hour(1), None, 40, kind=ChargeKind.UNALLOCATED),
    )
    days.charge(hour(2), a_line(hour(2), EU, 10, kind=ChargeKind.IDLE, team="ads"))
    days.charge(
        hour(3),
        a_line(hour(3), US, 1_000, team="search"),
        a_line(hour(3), Service("us", "prometheus", namespace="monitoring"), 10),
        cluster="us",
    )
    return days


def costs(days: Days, *by: str) -> dict[tuple[str, ...], int]:
    with days.engine.connect() as connection:
        rows = CostStore(connection, days.zone).costs(DAY, by).rows
    nanos = rows[[name for name in rows.columns if name.endswith("_nanos")]].sum(axis="columns")
    keys = rows[[*by]].itertuples(index=False, name=None)
    return dict(zip(keys, nanos.tolist(), strict=True))


def test_the_platform_keeps_nothing_that_others_pay_for(days: Days) -> None:
    before = costs(days, "team")

    assert days.redistribute(CONTRACT).lines == 3 + 3 + 3

    assert before == {("provider",): 70, ("search",): 1_060, ("ads",): 40}
    # In eu 40 by 60:40 and 20 by halves, in us 10 by 70:30.
    assert costs(days, "team") == {
        ("provider",): 0,
        ("search",): 1_060 + 24 + 10 + 7,
        ("ads",): 40 + 16 + 10 + 3,
    }
    assert costs(days, "cluster") == {("eu",): 160, ("us",): 1_010}
    assert costs(days, "kind")[("redistributed",)] == 0
    assert costs(days, "namespace")[("monitoring",)] == 30


def test_the_weights_stand_beside_every_line(days: Days) -> None:
    days.redistribute(CONTRACT)

    with days.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT c.name, l.step, w.charge_kind, w.basis, t.name, l.cost_nanos,"
                " w.weight, w.weight_sum FROM redistribution_weights AS w"
                " JOIN charges AS l USING (cluster_id, window_start, charge_id)"
                " JOIN clusters AS c USING (cluster_id) JOIN teams AS t USING (team_id)"
                " ORDER BY c.name, l.step, t.name"
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        ("eu", 1, 4, 1, "ads", 16, 40, 100),
        ("eu", 1, 4, 1, "provider", -40, 100, 100),
        ("eu", 1, 4, 1, "search", 24, 60, 100),
        ("eu", 2, 0, 2, "ads", 10, 1, 2),
        ("eu", 2, 0, 2, "provider", -20, 2, 2),
        ("eu", 2, 0, 2, "search", 10, 1, 2),
        ("us", 2, 0, 3, "ads", 3, 30_000_000, 100_000_000),
        ("us", 2, 0, 3, "provider", -10, 100_000_000, 100_000_000),
        ("us", 2, 0, 3, "search", 7, 70_000_000, 100_000_000),
    ]


def test_a_policy_that_ends_takes_its_lines_and_weights_back(days: Days) -> None:
    days.redistribute(CONTRACT)
    days.charge(hour(2), a_line(hour(2), EU, 10, kind=ChargeKind.IDLE, team="ads"))

    days.redistribute(Contract(platform=CONTRACT.platform))

    with days.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM redistribution_weights")) == 0
        assert connection.scalar(text("SELECT count(*) FROM charges WHERE step > 0")) == 0
    assert costs(days, "team")[("provider",)] == 70


def test_redistributing_again_gives_the_same_lines_and_rollup(days: Days) -> None:
    days.redistribute(CONTRACT)
    lines, rollup = stored(days), costs(days, "team", "day")
    for number in (2, 1):
        with days.engine.begin() as connection:
            store = ChargeStore(connection, "eu", UTC)
            again = store.within(hour(number))
        days.charge(hour(number), again)

    days.redistribute(CONTRACT)

    assert stored(days) == lines
    assert costs(days, "team", "day") == rollup
    assert costs(days, "team", "hour") != rollup


def stored(days: Days) -> list[tuple[object, ...]]:
    with days.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT * FROM charges WHERE step > 0 ORDER BY cluster_id, charge_id")
        )
        return [tuple(row) for row in rows]


def test_pods_and_tokens_are_weights_as_they_are_measured(days: Days) -> None:
    days.serve(hour(1), EU, prompt=30, generation=7)
    days.serve(hour(1), BATCH, prompt=10, generation=7)

    def shared_by(metric: SharedMetric) -> dict[tuple[str, ...], int]:
        policies = Policies(shared=SharedPolicy.METRIC, shared_metric=metric)
        days.charge(hour(2), a_line(hour(2), EU, 10, kind=ChargeKind.IDLE, team="ads"))
        days.redistribute(Contract(platform=CONTRACT.platform, policies=(policies,)))
        found = costs(days, "team")
        return {key: found[key] for key in (("search",), ("ads",))}

    # Monitoring's 20 in eu; in us search alone held anything, and no tokens were counted there.
    assert shared_by(SharedMetric.PROMPT_TOKENS) == {("search",): 1_060 + 5, ("ads",): 40 + 15}
    assert shared_by(SharedMetric.PODS) == {("search",): 1_060 + 10 + 10, ("ads",): 40 + 10}


def test_an_unused_commitment_of_no_single_cluster_is_divided_over_all(days: Days) -> None:
    values = {"start": from_ms(hour(1).start_ms), "end": from_ms(hour(1).end_ms)}
    with days.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO charges (cluster_id, window_start, node_id, charge_id, gpu_model_id,"
                " hold_id, workload_id, namespace_id, team_id, kind, price_id, step, started_at,"
                " ended_at, gpu_ms, cost_nanos) VALUES (0, :start, 0, 1, 0, 0, 0, 0, :team, 7, 0,"
                " 10, :start, :end, 0, 1100)"
            ),
            values | {"team": team_id("provider")},
        )

    days.redistribute(CONTRACT)

    with days.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT t.name, l.cost_nanos FROM charges AS l JOIN teams AS t USING (team_id)"
                " WHERE cluster_id = 0 AND step = 1 ORDER BY 1"
            )
        ).all()
    # Search had 1060 of 1100, ads 40.
    assert [tuple(row) for row in rows] == [("ads", 40), ("provider", -1_100), ("search", 1_060)]


def test_costs_of_a_day_are_read_as_they_are_summed_from_charges(days: Days) -> None:
    (day,) = billing_days(UTC, DAY.start_ms, DAY.end_ms)
    workloads = [EU.identity]

    with days.engine.connect() as connection:
        store = DayCostStore(connection)
        read, measured = store.costs(day, workloads), store.measured(day)
        only = store.costs_of(day, workloads)
        frames = {
            cluster_id(name): ChargeStore(connection, name, UTC).within(DAY)
            for name in ("eu", "us")
        }

    parts = [day_costs(key, frame, day, workloads) for key, frame in frames.items()]
    DAY_COSTS.validate(read)
    pd.testing.assert_frame_equal(summed([read]), summed(parts))
    pd.testing.assert_frame_equal(
        summed([only]), summed([read.loc[read["workload_id"] == EU.identity]])
    )
    held = pd.concat([holders_of(key, frame, day) for key, frame in frames.items()])
    order = [*held.columns]
    pd.testing.assert_frame_equal(
        measured.holders.sort_values(order, ignore_index=True),
        held.sort_values(order, ignore_index=True),
    )
    assert int(measured.holders["gpu_ms"].sum()) == 6 * HOUR_MS


@pytest.mark.parametrize(
    "policies",
    [
        CONTRACT.policies,
        (Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.PODS),),
        (Policies(shared=SharedPolicy.METRIC, shared_metric=SharedMetric.GENERATION_TOKENS),),
        (Policies(),),
    ],
)
def test_a_preview_says_what_the_redistribution_then_does(
    days: Days, policies: tuple[Policies, ...]
) -> None:
    contract = replace(CONTRACT, policies=policies)
    days.redistribute(CONTRACT)
    days.serve(hour(1), EU, prompt=30, generation=7)
    days.serve(hour(1), BATCH, prompt=10, generation=3)
    # The hour would be charged otherwise: batch becomes a team's of its own.
    after = pd.concat(
        [
            a_line(hour(1), BATCH, 90, team="second"),
            a_line(hour(1), EU, 30, team="ads"),
            a_line(hour(1), MONITORING, 40),
            a_line(hour(1), None, 70, kind=ChargeKind.STRANDED),
        ],
        ignore_index=True,
    )
    with days.engine.begin() as connection:
        preview = RedistributionPreview(connection, UTC, contract)
        store = ChargeStore(connection, "eu", UTC)
        preview.add("eu", hour(1), store.within(hour(1)), after)
        before, would = preview.moved()
    was = redistributed(days)

    days.charge(hour(1), after)
    days.redistribute(contract)

    assert {team: nanos for team, nanos in before.items() if nanos} == was
    assert {team: nanos for team, nanos in would.items() if nanos} == redistributed(days)


def redistributed(days: Days) -> dict[int, int]:
    with days.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT team_id, sum(cost_nanos) FROM charges WHERE step BETWEEN 1 AND 3"
                " GROUP BY 1 HAVING sum(cost_nanos) <> 0"
            )
        ).all()
    return {row[0]: int(row[1]) for row in rows}


def test_days_of_a_closed_period_keep_their_lines(days: Days) -> None:
    days.redistribute(CONTRACT)
    lines = stored(days)
    with days.engine.begin() as connection:
        RedistributionStore(connection, UTC).mark(billing_days(UTC, DAY.start_ms, DAY.end_ms))
        connection.execute(text("SET LOCAL ROLE gpuledger_owner"))
        connection.execute(
            text(
                "INSERT INTO billing_periods (name, started_at, until, closed_at)"
                " VALUES ('2026-11', '2026-11-01Z', '2026-12-01Z', '2026-12-02Z')"
            )
        )

    done = days.redistribute(Contract(platform=CONTRACT.platform))
    with days.engine.begin() as connection:
        mark_days(connection, DAY, CONTRACT, UTC)
        marked = RedistributionStore(connection, UTC).marked()
    moved = Days(days.engine, ZoneInfo("Asia/Kolkata")).redistribute(CONTRACT)

    assert (done.days, moved.days) == (0, 0)
    assert stored(days) == lines
    # It waits since before the closing; nothing marks it again.
    assert [one.marks for one in marked] == [4]


def test_only_days_that_begin_in_an_open_period_are_marked(days: Days) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    border = "2026-11-23T18:30:00Z"
    with days.engine.begin() as connection:
        connection.execute(text("SET LOCAL ROLE gpuledger_owner"))
        connection.execute(text("DELETE FROM redistributed_days"))
        connection.execute(
            text(
                "INSERT INTO billing_periods (name, started_at, until, closed_at, zone)"
                " VALUES ('p', '2026-10-31T18:30Z', :border, :border, 'Asia/Kolkata')"
            ),
            {"border": border},
        )
        mark_days(connection, DAY, CONTRACT, zone)
        marked = RedistributionStore(connection, zone).marked()

    assert [from_ms(one.day.start_ms).isoformat() for one in marked] == [
        "2026-11-23T18:30:00+00:00"
    ]


def test_a_redistributed_line_is_explained_by_its_policy_and_weights(days: Days) -> None:
    days.redistribute(CONTRACT)
    with days.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT c.name, l.step, t.name, l.charge_id FROM charges AS l"
                " JOIN clusters AS c USING (cluster_id) JOIN teams AS t USING (team_id)"
                " WHERE l.step IN (1, 2)"
            )
        ).all()
        told = {
            (row[0], row[1], row[2]): explanation(connection, row[3], "USD")[1].text()
            for row in rows
        }

    credit, debit = told["eu", 1, "search"], told["eu", 1, "provider"]
    assert "a part of unallocated GPU time in eu on the billing day" in credit
    assert "is given to search: 0.000000024 USD" in credit
    assert "0.000000060 USD of 0.000000100 USD, 60.0000%" in credit
    assert "taken from: provider" in credit
    assert "rounding: +0.000 nanos" in credit
    assert "is taken from provider, who paid for it: -0.000000040 USD" in debit
    assert "what was charged on the day: 1 charge" in debit
    assert "held in its namespace monitoring in eu" in told["eu", 2, "ads"]
    assert "1 of 2, 50.0000%" in told["eu", 2, "ads"]
    assert "70 % of 100 %, 70.0000%" in told["us", 2, "search"]
    lines = explain_all(days.engine)
    assert {one.row.step for one in lines} == {0, 1, 2}
    first_hand = [one for one in lines if one.row.step == 0]
    moved = [one for one in first_hand if "debit" in one.figures("Redistribution")]
    assert sum(one.row.cost_nanos for one in moved) == 40 + 20 + 10
