"""From a gateway's facts to consumers' costs, by the workflows as they run every hour."""

from dataclasses import replace
from datetime import timedelta

import pandas as pd
from sqlalchemy import Engine, text

from app.attribution.redistribution import billing_days
from app.store.consumers import ConsumerStore
from app.store.costs import CostStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.redistribution import RedistributionStore
from app.store.usage import UsageStore
from app.units.identity import hash64
from app.units.window import Window
from app.usage.consumers import CONSUMER_USAGE, GatewayConsumer, GatewayRoute
from app.usage.identity import cluster_id, workload_id
from app.usage.models import ModelEntry
from app.usage.serving_pods import LORA_ADAPTERS, SERVED_MODELS
from app.workflows.rating import rate_window
from tests.store.builders import (
    CLUSTER,
    NOON,
    NOON_MS,
    a_count,
    a_hold,
    a_node,
    a_workload,
    an_hour,
    facts,
)
from tests.workflows.stored import CONTRACT, UTC_ZONE, contract, prices, span

# The day's lines stand at its beginning.
DAY = Window(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
WITH_CONSUMERS = (
    CONTRACT.replace(
        "platform:", '  - { name: web }\n  - { name: ads, cost_center: "CC-2" }\nplatform:'
    )
    + "consumers: { source: litellm, map: { key-w: web, key-a: ads } }\n"
)


def sent(window: Window, **tokens: int) -> pd.DataFrame:
    """Generated tokens by key, all of the model that the service serves."""
    rows = [
        dict.fromkeys(CONSUMER_USAGE.columns, pd.NA)
        | {
            "window_start_ms": window.start_ms,
            "consumer_id": a_consumer(key).consumer_id,
            "route_id": GatewayRoute(model="llama").route_id,
            "generation_tokens": count,
            "carried": False,
        }
        for key, count in tokens.items()
    ]
    dtypes = {name: str(column.dtype) for name, column in CONSUMER_USAGE.columns.items()}
    return pd.DataFrame(rows, columns=[*dtypes]).astype(dtypes)


def a_consumer(key: str) -> GatewayConsumer:
    return GatewayConsumer(gateway="litellm", key_alias=key.replace("_", "-"))


def collect(engine: Engine, hour: int, **tokens: int) -> None:
    """Store an hour as a collector would: two of eight GPUs held by a service, and a gateway."""
    window = an_hour(hour)
    with engine.begin() as connection:
        inventory = InventoryStore(connection, CLUSTER)
        inventory.put_node(a_node(), [a_count()], at_ms=NOON_MS)
        inventory.put_hold(a_hold())
        NameStore(connection).ensure_models(["llama"])
        ConsumerStore(connection).put(map(a_consumer, tokens), [GatewayRoute(model="llama")])
        found = replace(facts(window), consumer_usage=sent(window, **tokens))
        UsageStore(connection, CLUSTER).replace(window, found)


def rate(engine: Engine, window: Window) -> None:
    rate_window(CLUSTER, window, engine=engine, billing_zone=UTC_ZONE)


def by_team(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = CostStore(connection, UTC_ZONE).costs(DAY, ["team"]).rows
    nanos = [name for name in rows.columns if name.endswith("_nanos")]
    sums = rows[nanos].sum(axis="columns").tolist()
    return {team: total // 10**6 for team, total in zip(rows["team"], sums, strict=True)}


def pending(engine: Engine, *clusters: int) -> int:
    with engine.connect() as connection:
        return CostStore(connection, UTC_ZONE).incomplete_hours(span(2), clusters).pending


def test_two_hours_of_a_service_are_paid_by_its_consumers(database: Engine) -> None:
    collect(database, 0, key_w=30, key_a=10)
    collect(database, 1, key_a=40)
    prices(database)
    contract(database, WITH_CONSUMERS)

    rate(database, span(2))

    # 2 hours × 2 GPUs × 3.00 for the service, 2 × 6 × 3.00 for what nobody held.
    assert by_team(database) == {"platform": 36_000, "search": 0, "web": 4_500, "ads": 7_500}
    assert pending(database) == 0


def test_an_hour_rated_at_a_time_comes_to_the_same(database: Engine) -> None:
    collect(database, 0, key_w=30, key_a=10)
    collect(database, 1, key_a=40)
    prices(database)
    contract(database, WITH_CONSUMERS)

    for hour in (1, 0, 1):
        rate(database, an_hour(hour))

    assert by_team(database) == {"platform": 36_000, "search": 0, "web": 4_500, "ads": 7_500}


def test_a_late_fact_of_a_gateway_leaves_the_day_waiting_and_then_counts(
    database: Engine,
) -> None:
    collect(database, 0, key_w=30, key_a=10)
    collect(database, 1)
    prices(database)
    contract(database, WITH_CONSUMERS)
    rate(database, span(2))
    assert by_team(database)["web"] == 9_000

    collect(database, 1, key_a=40)

    assert pending(database) == 2
    # What another cluster shows of this day waits as well.
    assert pending(database, cluster_id(CLUSTER), hash64("cluster", "elsewhere")) == 2
    rate(database, an_hour(1))
    assert by_team(database)["web"] == 4_500
    assert pending(database) == 0


def test_what_a_crash_left_undone_is_made_up_by_the_next_rating(database: Engine) -> None:
    collect(database, 0, key_w=30, key_a=10)
    collect(database, 1, key_w=1)
    prices(database)
    contract(database, WITH_CONSUMERS)
    rate(database, an_hour(0))
    # The charges of an hour are written and its day is marked, then the process dies.
    with database.begin() as connection:
        connection.execute(text("UPDATE redistributed_days SET marks = marks + 1"))
        connection.execute(text("DELETE FROM charges WHERE step = 3"))
        connection.execute(text("DELETE FROM reassignments"))

    assert pending(database) == 2
    rate(database, an_hour(1))

    assert by_team(database)["search"] == 0
    with database.connect() as connection:
        assert RedistributionStore(connection, UTC_ZONE).marked() == ()


def test_a_contract_shows_the_money_that_it_moves_between_consumers(database: Engine) -> None:
    collect(database, 0, key_w=30, key_a=10)
    collect(database, 1, key_a=40)
    prices(database)
    contract(database)
    rate(database, span(2))
    before = by_team(database)

    dry = contract(database, WITH_CONSUMERS, dry_run=True)
    contract(database, WITH_CONSUMERS)
    waiting = pending(database)
    rate(database, span(2))

    after = by_team(database)
    moved = {line.team: line.moved_nanos // 10**6 for line in dry.moved if line.moved_nanos}
    assert waiting == 2
    assert moved == {"search": -12_000, "web": 4_500, "ads": 7_500}
    assert {team: after[team] - before.get(team, 0) for team in moved} == moved
    # And back: what is stored is compared with a contract that knows no consumers.
    back = contract(database, dry_run=True)
    assert {one.team: one.moved_nanos // 10**6 for one in back.moved if one.moved_nanos} == {
        team: -nanos for team, nanos in moved.items()
    }


def test_other_names_that_a_pod_gives_its_model_find_the_service(database: Engine) -> None:
    names = {SERVED_MODELS: "llama\nchat", LORA_ADAPTERS: "legal"}
    with database.begin() as connection:
        inventory = InventoryStore(connection, CLUSTER)
        inventory.put_node(a_node(), [a_count()], at_ms=NOON_MS)
        inventory.put_hold(replace(a_hold(), labels=tuple(sorted(names.items()))))
        store = ConsumerStore(connection)
        (day,) = billing_days(UTC_ZONE, NOON_MS, NOON_MS + 1)

        entries = store.model_entries([workload_id(CLUSTER, a_workload())], day)

    assert entries == (ModelEntry(name="llama", aliases=("chat",), adapters=("legal",)),)


def test_consumers_bring_their_cost_centers(database: Engine) -> None:
    collect(database, 0, key_a=1)
    prices(database)
    contract(database, WITH_CONSUMERS)
    rate(database, an_hour(0))

    with database.connect() as connection:
        rows = CostStore(connection, UTC_ZONE).costs(DAY, ["cost_center"]).rows

    assert set(rows["cost_center"]) == {"", "CC-1", "CC-2"}
