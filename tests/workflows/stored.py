"""A database with collected hours of one pool: 8 GPUs at 3.00 an hour, 2 of them held."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.usage import UsageStore
from app.units.window import Window
from app.workflows.imports import Imported, apply_contract, import_prices
from tests.store.builders import CLUSTER, NOON_MS, a_count, a_hold, a_node, an_hour, facts

UTC_ZONE = ZoneInfo("UTC")
PRICES = """\
cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,valid_from,valid_to,source
,,,,H100,,,gpu_hour,3.00,USD,2026-01-01,,list
"""
CONTRACT = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"], slack: "#search-gpu" }
platform: { team: platform, namespaces: [gpu-operator] }
"""


def span(hours: int) -> Window:
    """The ``hours`` from noon."""
    return Window(an_hour().start, an_hour().start + timedelta(hours=hours))


def collect(engine: Engine, *, hours: int, partial_hour: int | None = None) -> None:
    """Store facts of the hours from noon as a collector would."""
    with engine.begin() as connection:
        inventory = InventoryStore(connection, CLUSTER)
        inventory.put_node(a_node(), [a_count()], at_ms=NOON_MS)
        inventory.put_hold(a_hold())
        NameStore(connection).ensure_models(["llama"])
        for hour in range(hours):
            UsageStore(connection, CLUSTER).replace(
                an_hour(hour), facts(an_hour(hour), partial=hour == partial_hour)
            )


def prices(engine: Engine, text: str = PRICES, *, dry_run: bool = False) -> Imported:
    return import_prices(
        text,
        file_name="prices.csv",
        currency="USD",
        engine=engine,
        billing_zone=UTC_ZONE,
        at_ms=NOON_MS,
        dry_run=dry_run,
        reason="the price list changed",
        author="finance",
    )


def contract(engine: Engine, text: str = CONTRACT, *, dry_run: bool = False) -> Imported:
    return apply_contract(
        text,
        file_name="teams.yaml",
        engine=engine,
        billing_zone=UTC_ZONE,
        at_ms=NOON_MS,
        dry_run=dry_run,
    )
