"""Two GPUs at 3.00 an hour in the last hours of November, which is closed with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Engine, text

from app.chargeback.closing import obstacles_table, read_accept_file
from app.chargeback.costs import Basis
from app.chargeback.tables import csv_bytes
from app.store.costs import CostStore
from app.store.inventory import InventoryStore
from app.store.late_facts import put_facts
from app.store.price_versions import ImportKind
from app.store.usage import ReplaceResult
from app.units.window import HOUR_MS, Window, from_ms
from app.usage import frames
from app.usage.facts import UsageFacts
from app.usage.identity import hold_id, node_id, workload_id
from app.usage.inventory import PodHold
from app.workflows.closing import close_period, preview
from app.workflows.imports import apply_contract, import_prices
from app.workflows.postings import Adjusting
from app.workflows.rating import rate_window
from tests.store.builders import (
    CLUSTER,
    a_count,
    a_hold,
    a_node,
    facts,
    hold_usage,
    pool_usage,
)
from tests.workflows.closing_world import DECEMBER_MS, TERMS, UTC_ZONE, an_order

# Noon of the 3rd of December.
LATER_MS = DECEMBER_MS + 60 * HOUR_MS
PRICES = """\
cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,valid_from,valid_to,source
,,,,{gpu_model},,,gpu_hour,{price},USD,2026-01-01,,list
"""
CONTRACT = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"] }
  - { name: ml, cost_center: CC-2, namespaces: ["ml-*"] }
platform: { team: platform, namespaces: [gpu-operator] }
"""
# From the 30th of November on everything nobody held is divided, and search-* is ml's.
OTHER_CONTRACT = """\
teams:
  - { name: ml, cost_center: CC-2, namespaces: ["search-*", "ml-*"] }
platform: { team: platform, namespaces: [gpu-operator] }
"""
NANOS = 10**9


def last_hour(before: int = 1) -> Window:
    """The hour that begins so many hours before December."""
    start_ms = DECEMBER_MS - before * HOUR_MS
    return Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))


def held(
    window: Window, gpus: int, *, active: int = 0, seen: int = 960, cluster: str = CLUSTER
) -> UsageFacts:
    """An hour in which one pod held so many of the two GPUs and worked on ``active`` of them."""
    holds = frames.empty(frames.HOLD_USAGE)
    if gpus:
        holds = hold_usage(window, units=gpus, active_ms=active * HOUR_MS)
    pools = pool_usage(window, devices=2, held=gpus)
    return facts(
        window,
        pools=_in_cluster(pools, cluster),
        holds=_in_cluster(holds, cluster),
        tokens=frames.empty(frames.TOKEN_USAGE),
        seen=seen,
    )


def _in_cluster(rows: pd.DataFrame, cluster: str) -> pd.DataFrame:
    """Give the builders' rows the identities that their node and pod have in a cluster."""
    hold = pod_in(cluster)
    own = {
        "node_id": node_id(cluster, hold.node_uid),
        "hold_id": hold_id(cluster, hold.pod_uid, hold.resource),
        "workload_id": workload_id(cluster, hold.workload),
    }
    columns = {name: value for name, value in own.items() if name in rows.columns}
    return rows.assign(**{name: pd.Series(value, rows.index) for name, value in columns.items()})


def pod_in(cluster: str) -> PodHold:
    """The pod of a cluster: search's in the usual one, ml's in any other."""
    namespace = "search-prod" if cluster == CLUSTER else "ml-prod"
    return a_hold(namespace=namespace, start_ms=last_hour(30).start_ms)


def begin(engine: Engine, words: str = CONTRACT, clusters: Sequence[str] = (CLUSTER,)) -> None:
    """Put a node and a pod of each cluster, the prices and the contract."""
    with engine.begin() as connection:
        for cluster in clusters:
            inventory = InventoryStore(connection, cluster)
            inventory.put_node(a_node(), [a_count(2, 2)], at_ms=last_hour(30).start_ms)
            inventory.put_hold(pod_in(cluster))
    prices(engine, "3.00")
    contract(engine, words)


def prices(
    engine: Engine,
    price: str,
    *,
    zone: ZoneInfo = UTC_ZONE,
    kind: ImportKind = ImportKind.PRICES,
    gpu_model: str = "H100",
) -> int:
    return import_prices(
        PRICES.format(price=price, gpu_model=gpu_model),
        file_name="prices.csv",
        currency="USD",
        engine=engine,
        billing_zone=zone,
        at_ms=DECEMBER_MS,
        dry_run=False,
        kind=kind,
        reason="It was another price.",
        author="ada",
    ).version


def contract(engine: Engine, words: str = CONTRACT, *, zone: ZoneInfo = UTC_ZONE) -> int:
    return apply_contract(
        words,
        file_name="teams.yaml",
        engine=engine,
        billing_zone=zone,
        at_ms=DECEMBER_MS,
        dry_run=False,
    ).version


def put(
    engine: Engine, given: UsageFacts, *, reason: str = "", cluster: str = CLUSTER
) -> ReplaceResult:
    """Deliver an hour's facts as a collector does, through whichever door it has to take."""
    start_ms = int(given.pool_usage["window_start_ms"].iloc[0])
    window = Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))
    with engine.begin() as connection:
        return put_facts(connection, cluster, window, given, forced_reason=reason)


def rate(
    engine: Engine, *, zone: ZoneInfo = UTC_ZONE, clusters: Sequence[str] = (CLUSTER,)
) -> None:
    for cluster in clusters:
        rate_window(
            cluster,
            Window(last_hour(30).start, last_hour(0).end),
            engine=engine,
            billing_zone=zone,
        )


def close(engine: Engine, *hours: UsageFacts) -> None:
    """Collect and rate November's last hours, and close it."""
    begin(engine)
    for one in hours:
        put(engine, one)
    rate(engine)
    close_period(an_order(), TERMS, engine=engine)


def accept_all(engine: Engine, period: str = "2026-11", at_ms: int = DECEMBER_MS) -> None:
    """Close a period with whatever is in the way of it."""
    order = an_order(period, at_ms=at_ms)
    found = preview(order, TERMS, engine=engine)
    header, *lines = csv_bytes(obstacles_table(found.obstacles)).decode().splitlines()
    told = "\n".join([header, *(f"{line}known" for line in lines)])
    accepted = read_accept_file(told, file_name="accept.csv")
    close_period(replace(order, accept=accepted), TERMS, engine=engine)


def an_adjusting(engine: Engine, *, at_ms: int = LATER_MS, dry_run: bool = False) -> Adjusting:
    return Adjusting(engine=engine, billing_zone=UTC_ZONE, at_ms=at_ms, dry_run=dry_run)


def costs(
    engine: Engine,
    start_ms: int,
    end_ms: int,
    *groups: str,
    basis: Basis = Basis.POSTED,
    filters: Sequence[tuple[str, tuple[str, ...]]] = (),
) -> pd.DataFrame:
    """Return summed costs of a span."""
    with engine.connect() as connection:
        store = CostStore(connection, UTC_ZONE)
        window = Window(from_ms(start_ms), from_ms(end_ms))
        return store.costs(window, groups, tuple(filters), basis=basis).rows


def money(
    engine: Engine, start_ms: int, end_ms: int, *, basis: Basis = Basis.POSTED, by: str = "team"
) -> dict[str, int]:
    """Return all money of a span in nanos by a column."""
    rows = costs(engine, start_ms, end_ms, by, basis=basis)
    nanos = rows[[name for name in rows.columns if name.endswith("_nanos")]].sum(axis="columns")
    return dict(zip(rows[by].tolist(), (int(one) for one in nanos), strict=True))


def ledger(engine: Engine) -> Mapping[tuple[object, ...], tuple[int, int]]:
    """Return GPU-milliseconds and nanos by line: pinned charges and adjustments added up."""
    key = (
        "cluster_id, window_start, node_id, gpu_model_id, hold_id, workload_id, namespace_id,"
        " team_id, {kind}, price_id, step, consumer_id"
    )
    query = (
        "SELECT cluster_id, window_start, node_id, gpu_model_id, hold_id, workload_id,"
        " namespace_id, team_id, kind, price_id, step, consumer_id, sum(gpu_ms)::bigint AS ms,"
        " sum(nanos)::bigint AS nanos FROM ("
        f"SELECT {key.format(kind='kind')}, gpu_ms, coalesce(cost_nanos, 0) AS nanos FROM charges"
        f" UNION ALL SELECT {key.format(kind='charge_kind')}, gpu_ms, cost_nanos FROM adjustments"
        ") AS k GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
    )
    with engine.connect() as connection:
        rows = connection.execute(text(query)).all()
    return {tuple(row[:-2]): (row.ms, row.nanos) for row in rows if row.ms or row.nanos}


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        found: int = connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0
    return found
