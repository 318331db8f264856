"""Commitments over two clusters of one account: 8 GPUs each, 2 of them held."""

from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from app.store.commitments import CommitmentStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.units.money import to_nanos
from app.usage.identity import cluster_id
from app.workflows.commitments import (
    commitment_report,
    put_accounts,
)
from app.workflows.rating import rate_window
from app.workflows.reading import explanation
from tests.store.builders import CLUSTER, an_hour, facts
from tests.workflows.committed import (
    OTHER,
    charges,
    collect_other,
    commit,
    costs_by,
    pending,
    rate,
    unused,
)
from tests.workflows.stored import collect, contract, prices, span


def test_two_clusters_share_what_is_committed_and_the_rest_is_unused(database: Engine) -> None:
    """20 GPUs are committed for 20 USD an hour: 16 run, so 16 USD are used and 4 are not."""
    collect(database, hours=1)
    collect_other(database, 1)
    prices(database)
    contract(database)
    commit(database, 20, "20")

    rate(database, CLUSTER)
    rate(database, OTHER)

    for cluster in (CLUSTER, OTHER):
        found = charges(database, cluster)
        assert int(found["cost_nanos"].sum()) == to_nanos(Decimal(8))
        assert len(set(found["price_id"])) == 1
        assert pending(database, cluster) == 0
    assert unused(database) == {0: to_nanos(Decimal(4))}
    assert costs_by(database, "cluster") == {
        "": Decimal(4),
        CLUSTER: Decimal(8),
        OTHER: Decimal(8),
    }
    assert costs_by(database, "day") == {"2026-11-23": Decimal(20)}
    with database.connect() as connection:
        (report,) = commitment_report(connection, span(1))
        price_id = int(charges(database, OTHER)["price_id"].iloc[0])
        named = CommitmentStore(connection).by_price_id(price_id)
    assert (report.use.used, report.use.committed) == (16 * 3_600_000, 20 * 3_600_000)
    assert named == report.commitment


def test_an_hour_waits_for_the_other_cluster_and_is_rated_without(database: Engine) -> None:
    collect(database, hours=1)
    collect_other(database, 1)
    with database.begin() as connection:
        UsageStore(connection, CLUSTER).replace(an_hour(1), facts(an_hour(1)))
    prices(database)
    contract(database)
    commit(database, 20, "20")

    rate(database, CLUSTER, 2)

    found = charges(database, CLUSTER, 2).groupby("window_start_ms")["cost_nanos"].sum()
    assert found.tolist() == [to_nanos(Decimal(8)), to_nanos(Decimal(24))]
    assert pending(database, CLUSTER) == 1
    with database.connect() as connection:
        notes = WindowStore(connection, CLUSTER).rating_notes(span(2))
    assert notes["kind"].tolist() == ["commitments_waiting"]

    collect_other(database, 2)
    rate(database, OTHER, 2)

    assert pending(database, CLUSTER) == 1
    rate(database, CLUSTER, 2)
    assert pending(database, CLUSTER) == 0
    assert int(charges(database, CLUSTER, 2)["cost_nanos"].sum()) == to_nanos(Decimal(16))


def test_other_facts_of_one_cluster_let_the_others_hour_wait(database: Engine) -> None:
    """Half of the other cluster's node goes away: its half of the commitment goes to this one."""
    collect(database, hours=1)
    collect_other(database, 1)
    prices(database)
    contract(database)
    commit(database, 8, "8")
    for cluster in (CLUSTER, OTHER):
        rate(database, cluster)
    before = charges(database, CLUSTER)
    assert int(before["cost_nanos"].sum()) == to_nanos(Decimal(16))
    less = facts(an_hour())
    pools = less.pool_usage
    with database.begin() as connection:
        changed = replace(
            less,
            pool_usage=pools.assign(
                devices=pools["devices"] // 2,
                unallocated_ms=pools["unallocated_ms"] - pools["devices"] // 2 * 3_600_000,
            ),
        )
        UsageStore(connection, OTHER).replace(an_hour(), changed, forced_reason="fewer devices")

    rate(database, OTHER)

    assert pending(database, CLUSTER) == 1
    rate(database, CLUSTER)
    assert [pending(database, one) for one in (CLUSTER, OTHER)] == [0, 0]
    total = sum(int(charges(database, one)["cost_nanos"].sum()) for one in (CLUSTER, OTHER))
    assert total == to_nanos(Decimal(8 + 4 * 3))


def test_clusters_of_other_accounts_use_nothing(database: Engine) -> None:
    collect(database, hours=1)
    collect_other(database, 1)
    put_accounts(database, {CLUSTER: "", OTHER: "other"})
    prices(database)
    contract(database)
    commit(database, 20, "20", payer="search")

    rate(database, CLUSTER)
    rate(database, OTHER)

    assert int(charges(database, OTHER)["cost_nanos"].sum()) == to_nanos(Decimal(24))
    assert int(charges(database, CLUSTER)["cost_nanos"].sum()) == to_nanos(Decimal(8))
    # The account's only cluster carries what is unused.
    assert unused(database) == {cluster_id(CLUSTER): to_nanos(Decimal(12))}


def test_an_hour_that_two_billing_days_share_divides_what_is_unused(database: Engine) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    collect(database, hours=8)
    prices(database)
    contract(database)
    commit(database, 20, "20")

    rate_window(CLUSTER, span(8), engine=database, billing_zone=zone)

    with database.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT cost_nanos FROM charges WHERE step = 10"
                " AND window_start = '2026-11-23T18:00:00Z'"
            )
        ).scalars()
        assert sorted(rows) == [to_nanos(Decimal(6))] * 2


def test_a_covered_charge_can_be_explained(database: Engine) -> None:
    collect(database, hours=1)
    prices(database)
    contract(database)
    commit(database, 20, "20")
    rate(database, CLUSTER)

    with database.connect() as connection:
        charge_id = int(charges(database, CLUSTER)["charge_id"].iloc[0])
        _, found = explanation(connection, charge_id, "USD")

    assert found.charge_id == charge_id


def test_accounts_of_several_clusters_keep_their_unused_lines_apart(database: Engine) -> None:
    collect(database, hours=1)
    others = {OTHER: "", "dev-a": "dev", "dev-b": "dev"}
    for name in others:
        collect_other(database, 1, name)
    put_accounts(database, {CLUSTER: "", **others})
    prices(database)
    contract(database)
    commit(database, 20, "20")
    commit(database, 30, "30", account="dev")

    for _ in range(2):
        for name in (CLUSTER, *others):
            rate(database, name)

    # 4 of 20 and 14 of 30 are unused, whoever is rated last.
    assert unused(database) == {0: to_nanos(Decimal(4 + 14))}
    with database.connect() as connection:
        used = {one.use.account: one.use for one in commitment_report(connection, span(1))}
    assert {name: one.unused_nanos for name, one in used.items()} == {
        "": to_nanos(Decimal(4)),
        "dev": to_nanos(Decimal(14)),
    }
