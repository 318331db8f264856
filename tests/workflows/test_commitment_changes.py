"""Commitments that change after hours were rated, dry runs, credits, closed periods."""

from decimal import Decimal
from threading import Barrier, Thread

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from app.attribution.charges import ChargeKind, LineStep
from app.errors import InputError
from app.pricing.allotment import COMMITMENT_HOURS
from app.store.allotments import AllotmentStore
from app.store.commitments import CommitmentStore
from app.store.locking import ClosedPeriodError
from app.store.price_versions import ImportKind
from app.store.prices import PriceStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.money import to_nanos
from app.usage.identity import cluster_id
from app.workflows.allotting import allotted, unused_charges
from app.workflows.commitments import (
    put_accounts,
)
from app.workflows.imports import import_prices
from app.workflows.price_files import CorrectionError
from app.workflows.rating import rated, terms_at
from tests.store.builders import CLUSTER, NOON_MS, a_node, an_hour
from tests.workflows.committed import (
    OTHER,
    charges,
    collect_other,
    commit,
    pending,
    rate,
    unused,
)
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span


def test_a_dry_run_says_what_would_move_and_stores_nothing(database: Engine) -> None:
    collect(database, hours=1)
    prices(database)
    contract(database)
    rate(database, CLUSTER)
    before = charges(database, CLUSTER)

    done = commit(database, 10, "10", dry_run=True)

    moved = {line.team: line.moved_nanos for line in done.moved}
    assert moved["search"] == to_nanos(Decimal(-4))
    # Six GPUs at 1 and not 3, and two that are committed and not there.
    assert moved["platform"] == to_nanos(Decimal(-12 + 2))
    assert pending(database, CLUSTER) == 0
    pd.testing.assert_frame_equal(before, charges(database, CLUSTER))
    with database.connect() as connection:
        assert CommitmentStore(connection).rows() == ()


def test_rating_twice_gives_the_same_and_a_withdrawn_commitment_leaves_nothing(
    database: Engine,
) -> None:
    collect(database, hours=2)
    prices(database)
    contract(database)
    commit(database, 20, "20")
    rate(database, CLUSTER, 2)
    first = charges(database, CLUSTER, 2)
    rate(database, CLUSTER, 2)
    pd.testing.assert_frame_equal(first, charges(database, CLUSTER, 2))

    with pytest.raises(CorrectionError):
        commit(database, 2, "2")
    commit(database, 2, "2", why="returned to the provider")
    rate(database, CLUSTER, 2)

    assert int(charges(database, CLUSTER, 2)["cost_nanos"].sum()) == to_nanos(
        2 * (Decimal(2) + 6 * 3)
    )
    assert unused(database) == {}
    with database.connect() as connection:
        assert [len(CommitmentStore(connection).rows(version)) for version in (1, 2, 3)] == [
            0,
            1,
            1,
        ]


def test_what_is_computed_is_what_is_stored_also_of_pinned_versions(database: Engine) -> None:
    collect(database, hours=1)
    collect_other(database, 1)
    prices(database)
    contract(database)
    commit(database, 20, "20")
    for cluster in (CLUSTER, OTHER):
        rate(database, cluster)
    pinned = 2

    commit(database, 2, "2", why="returned to the provider")

    with database.connect() as connection:
        terms = terms_at(connection, pinned, 1)
        accounts = allotted(
            connection, span(1), terms.inputs, facts=lambda name: UsageStore(connection, name)
        )
        again = rated(
            connection,
            CLUSTER,
            span(1),
            terms,
            UTC_ZONE,
            facts=UsageStore(connection, CLUSTER),
            allotments=accounts[0].of(CLUSTER),
        )
        lines = unused_charges(accounts, terms.inputs, terms.contract, UTC_ZONE)
    stored = charges(database, CLUSTER)
    assert sorted(again.charges["charge_id"]) == sorted(stored["charge_id"])
    assert int(again.charges["cost_nanos"].sum()) == int(stored["cost_nanos"].sum())
    assert lines["cost_nanos"].tolist() == [to_nanos(Decimal(4))]
    assert lines["step"].tolist() == [int(LineStep.COMMITMENT)]
    assert lines["kind"].tolist() == [int(ChargeKind.COMMITMENT_UNUSED)]


def test_two_imports_at_once_wait_for_each_other(database: Engine) -> None:
    start = Barrier(2)
    failures: list[InputError] = []

    def take(quantity: int) -> None:
        start.wait(timeout=30)
        try:
            commit(database, quantity)
        except InputError as error:
            failures.append(error)

    threads = [Thread(target=take, args=(quantity,)) for quantity in (4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    # The second finds the first one's row, and a correction needs a reason.
    assert [type(one) for one in failures] == [CorrectionError]
    with database.connect() as connection:
        assert PriceStore(connection).version() == 1
        assert len(CommitmentStore(connection).rows()) == 1


def test_a_credit_is_a_negative_line_of_each_billing_day(database: Engine) -> None:
    """31 USD over the last week of November: a day of it has a seventh, less than a nano off."""
    collect(database, hours=13)
    prices(database)
    contract(database)
    credit = """\
name,amount,currency,team,valid_from,valid_to,reason
outage,31,USD,search,2026-11-20,2026-11-27,two days of outage
free,7,USD,,2026-11-20,2026-11-27,promotion
"""
    import_prices(
        credit,
        kind=ImportKind.CREDITS,
        file_name="credits.csv",
        currency="USD",
        engine=database,
        billing_zone=UTC_ZONE,
        at_ms=NOON_MS,
        dry_run=False,
    )

    for _ in range(2):
        rate(database, CLUSTER, 13)

    with database.connect() as connection:
        lines = connection.execute(
            text(
                "SELECT t.name, c.cluster_id, c.kind, c.cost_nanos, c.window_start"
                " FROM charges AS c JOIN teams AS t USING (team_id) WHERE c.step = 12"
                " ORDER BY c.window_start, t.name"
            )
        ).all()
        rollup = connection.execute(
            text(
                "SELECT day::text, sum(adjustment_nanos)::bigint AS nanos FROM charge_days"
                " GROUP BY 1"
            )
        ).all()
    # A credit grows by rounded-down nanos; the 23rd and 24th are its fourth and fifth days.
    seventh = [31 * 10**9 * day // 7 for day in (3, 4, 5)]
    parts = [seventh[1] - seventh[0], seventh[2] - seventh[1]]
    assert [(row.name, row.cluster_id, row.cost_nanos) for row in lines] == [
        ("platform", 0, -(10**9)),
        ("search", 0, -parts[0]),
        ("platform", 0, -(10**9)),
        ("search", 0, -parts[1]),
    ]
    assert {row.kind for row in lines} == {int(ChargeKind.ADJUSTMENT)}
    assert {row.day: row.nanos for row in rollup} == {
        "2026-11-23": -(10**9) - parts[0],
        "2026-11-24": -(10**9) - parts[1],
    }


def test_clusters_that_change_their_account_are_allotted_again(database: Engine) -> None:
    collect(database, hours=1)
    collect_other(database, 1)
    put_accounts(database, {CLUSTER: "", OTHER: ""})
    prices(database)
    contract(database)
    commit(database, 8, "8")
    for cluster in (CLUSTER, OTHER):
        rate(database, cluster)
    put_accounts(database, {CLUSTER: "", OTHER: ""})
    assert pending(database, CLUSTER) == 0

    put_accounts(database, {CLUSTER: "", OTHER: "other"})

    assert [pending(database, one) for one in (CLUSTER, OTHER)] == [1, 1]
    for cluster in (CLUSTER, OTHER):
        rate(database, cluster)
    assert [int(charges(database, one)["cost_nanos"].sum()) for one in (CLUSTER, OTHER)] == [
        to_nanos(Decimal(8)),
        to_nanos(Decimal(24)),
    ]


def test_hours_of_a_closed_period_keep_their_allotment(database: Engine, owner: Engine) -> None:
    collect(database, hours=1)
    prices(database)
    contract(database)
    commit(database, 20, "20")
    rate(database, CLUSTER)
    before = charges(database, CLUSTER)
    with owner.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO billing_periods (name, started_at, until, closed_at) VALUES"
                " ('2026-11', '2026-11-01', '2026-12-01', '2026-12-02')"
            )
        )

    commit(database, 2, "2", why="returned to the provider")
    rate(database, CLUSTER)

    assert unused(database) == {cluster_id(CLUSTER): to_nanos(Decimal(12))}
    pd.testing.assert_frame_equal(before, charges(database, CLUSTER))
    with database.begin() as connection, pytest.raises(ClosedPeriodError):
        AllotmentStore(connection, "").replace(
            span(1),
            {an_hour().start_ms: b""},
            [cluster_id(CLUSTER)],
            AllotmentStore(connection, "").within([], []),
            pd.DataFrame({name: [] for name in COMMITMENT_HOURS.columns}),
        )


OWNED = """\
[[assets]]
name = "dgx"
nodes = ["{node}"]
gpus = 8
purchase = 43824
salvage = 0
currency = "USD"
in_service = 2026-01-01
life_years = 5
rated_kw = 5.6
board_kw = 0.7
pue = 1.5
tariffs = [{{ price_per_kwh = 0.20 }}]
"""


def test_owned_hardware_has_lines_of_time_and_lines_of_energy(database: Engine) -> None:
    """1.00 an hour for the node. Boards at 0.7 kW × 1.5 × 0.20 where nothing is measured: 0.21."""
    collect(database, hours=1)
    contract(database)
    import_prices(
        OWNED.format(node=a_node().name),
        kind=ImportKind.OWNED,
        file_name="owned.toml",
        currency="USD",
        engine=database,
        billing_zone=UTC_ZONE,
        at_ms=NOON_MS,
        dry_run=False,
    )

    rate(database, CLUSTER)

    found = charges(database, CLUSTER)
    fixed, energy = found[found["gpu_ms"] > 0], found[found["gpu_ms"] == 0]
    assert int(fixed["cost_nanos"].sum()) == to_nanos(Decimal(1))
    nobody = energy[energy["hold_id"] == 0]
    assert int(nobody["cost_nanos"].sum()) == to_nanos(6 * Decimal("0.21"))
    assert set(energy["kind"]) == set(fixed["kind"])
    with database.connect() as connection:
        notes = WindowStore(connection, CLUSTER).rating_notes(span(1))
    assert "energy_rated" in notes["kind"].tolist()
