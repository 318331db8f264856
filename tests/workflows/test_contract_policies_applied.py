"""A contract with other policies says what it moves, and rating moves exactly that."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from app.errors import InputError
from app.store.windows import WindowStore
from app.units.window import Window
from app.workflows.rating import rate_window
from app.workflows.reading import cost_sums
from tests.store.builders import CLUSTER, NOON_MS, an_hour
from tests.workflows.stored import CONTRACT, UTC_ZONE, collect, contract, prices, span

USD = 1_000_000_000
PROPORTIONAL = CONTRACT + "policies: { unallocated: proportional }\n"
# Search holds 2 of 8 GPUs at 3.00 for two hours.
HELD, UNALLOCATED = 12 * USD, 36 * USD
# Redistributed lines stand at the day's beginning.
DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


def by_team(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = cost_sums(connection, DAY, ("team",), zone=UTC_ZONE).rows
    money = [name for name in rows.columns if name.endswith("_nanos")]
    return dict(zip(rows["team"], rows[money].sum(axis="columns").tolist(), strict=True))


@pytest.fixture
def rated(database: Engine) -> Engine:
    collect(database, hours=2)
    prices(database)
    contract(database)
    rate(database)
    return database


def rate(engine: Engine) -> None:
    rate_window(CLUSTER, span(2), engine=engine, billing_zone=UTC_ZONE)


def test_a_policy_moves_what_the_dry_run_said_and_back_again(rated: Engine) -> None:
    before = by_team(rated)

    dry = contract(rated, PROPORTIONAL, dry_run=True)
    unchanged = by_team(rated)
    done = contract(rated, PROPORTIONAL)
    rate(rated)

    assert before == unchanged == {"search": HELD, "platform": UNALLOCATED}
    assert dry.moved == done.moved
    assert {line.team: line.moved_nanos for line in dry.moved} == {
        "search": UNALLOCATED,
        "platform": -UNALLOCATED,
    }
    assert by_team(rated) == {"search": HELD + UNALLOCATED, "platform": 0}

    back = contract(rated, CONTRACT + "policies: { unallocated: platform }\n")
    rate(rated)

    assert {line.team: line.moved_nanos for line in back.moved} == {
        "search": -UNALLOCATED,
        "platform": UNALLOCATED,
    }
    assert by_team(rated) == before


def test_a_later_rating_of_an_hour_divides_its_day_again(rated: Engine) -> None:
    contract(rated, PROPORTIONAL)
    rate(rated)

    prices(rated, dearer())
    rate(rated)

    assert by_team(rated) == {"search": (HELD + UNALLOCATED) * 2, "platform": 0}


def dearer() -> str:
    return (
        "cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,"
        "valid_from,valid_to,source\n,,eu-central-1,,H100,,,gpu_hour,6.00,USD,2026-01-01,,list\n"
    )


def test_hours_of_a_closed_period_are_left_alone_and_said_so(rated: Engine) -> None:
    with rated.begin() as connection:
        connection.execute(text("SET LOCAL ROLE gpuledger_owner"))
        connection.execute(
            text(
                "INSERT INTO billing_periods (name, started_at, until, closed_at) VALUES"
                " ('p', '2026-11-01Z', to_timestamp(:until), to_timestamp(:until))"
            ),
            {"until": NOON_MS // 1000 + 1800},
        )

    done = contract(rated, PROPORTIONAL)

    with rated.connect() as connection:
        pending = WindowStore(connection, CLUSTER).pending()
    # The hour over the border belongs to the period that it begins in.
    assert (done.hours, done.closed_hours) == (1, 1)
    assert [state.window for state in pending] == [an_hour(1)]


@pytest.mark.parametrize(
    "bad",
    [
        "policies: { shared: fixed, shared_percent: { search: 99 } }\n",
        "policies: { shared: fixed, shared_percent: { nobody: 100 } }\n",
        "departments: [{ name: a, parent: b }, { name: b, parent: a }]\n",
        "policies: [{ clusters: [x] }, { clusters: [x] }]\n",
    ],
)
def test_nothing_of_a_contract_that_cannot_be_taken_changes_anything(
    rated: Engine, bad: str
) -> None:
    with pytest.raises(InputError, match=r"teams\.yaml, line"):
        contract(rated, CONTRACT + bad)

    with rated.connect() as connection:
        assert WindowStore(connection, CLUSTER).pending() == ()
        assert connection.scalar(text("SELECT max(version) FROM contracts")) == 1
        assert connection.scalar(text("SELECT count(*) FROM team_affiliations")) == 1


def test_names_of_clusters_that_nobody_knows_are_said(rated: Engine) -> None:
    named = CONTRACT.replace("cost_center", f"clusters: [{CLUSTER}, nowhere], cost_center")

    assert contract(rated, named).warnings == ("no cluster 'nowhere' was ever collected",)
