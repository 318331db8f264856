"""A closed November with a line of every kind but step 2, and what was posted to it later."""

from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Engine

from app.pricing.credits import Credit
from app.pricing.owned import EnergyPrice
from app.pricing.rows import PriceRow, PriceUnit
from app.pricing.terms import TermKind
from app.store.inventory import InventoryStore
from app.store.price_versions import ImportNote
from app.store.prices import PriceStore
from app.units.window import HOUR_MS
from app.workflows.adjusting import Correction, adjust_period, correct_period
from app.workflows.commitments import CommitmentFile, import_commitments
from tests.pricing.builders import a_price
from tests.pricing.inputs import JAN_2026, JAN_2027, a_rate, a_term, an_asset
from tests.sources.focus_files import a_focus_row
from tests.store.builders import CLUSTER, a_count, a_node
from tests.workflows.adjusting_world import (
    accept_all,
    an_adjusting,
    begin,
    held,
    last_hour,
    put,
    rate,
)
from tests.workflows.billed import Bills
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, UTC_ZONE
from tests.workflows.gateway_days import Days, Service

CARDED, OWNED = "prod-card", "home"
CLUSTERS = (CLUSTER, CARDED, OWNED)
CONTRACT = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"] }
  - { name: ml, cost_center: CC-2, namespaces: ["ml-*"] }
platform: { team: platform, namespaces: [gpu-operator] }
policies:
  - { unallocated: proportional, true_up: spread }
  - { clusters: [prod-card], rating: rate_card }
consumers: { source: litellm, map: { search-key: search, ml-key: ml } }
"""
COMMITMENTS = """\
commitment,type,billing_account,clusters,provider,region,instance_type,gpu_model,capacity_type,unit,quantity,upfront,recurring_per_hour,currency,term_start,term_end,payer
ri-half,reservation,,prod-eu,,,,H100,,gpu_hour,1,720.000000001,0.50,USD,2026-11-01,2026-12-01,
ri-idle,reservation,,,,,,A100,,gpu_hour,1,,2,USD,2026-11-01,2026-12-01,search
"""


def a_note() -> ImportNote:
    return ImportNote(imported_ms=NOVEMBER_MS, file_name="f", sha256="0", reason="r", author="ada")


def euros(price: str) -> PriceRow:
    row = a_price(price, gpu_model="H100", provider="aws", source="frame contract")
    return replace(row, currency="EUR", list_price=Decimal(8))


def put_inputs(engine: Engine) -> None:
    """Put a price in euros with terms, a card, owned hardware, a credit, and commitments."""
    note = a_note()
    asset = replace(
        an_asset(
            tariffs=(EnergyPrice(price_per_kwh=Decimal("0.2"), valid_from_ms=0),), nodes=("gpu-1",)
        ),
        cluster=OWNED,
        currency="USD",
    )
    gift = Credit(
        name="launch",
        team="ml",
        amount=Decimal(100),
        currency="EUR",
        valid_from_ms=NOVEMBER_MS,
        valid_to_ms=JAN_2027,
        reason="a gift",
    )
    with engine.begin() as connection:
        store = PriceStore(connection)
        store.take_prices([euros("4")], note)
        store.take_rates([a_rate("1.25", valid_from_ms=JAN_2026)], note)
        store.take_terms([a_term(TermKind.DISCOUNT, "10"), a_term(TermKind.MARKUP, "5")], note)
        store.take_card([a_price("5", PriceUnit.GPU_HOUR)], note)
        store.take_assets([asset], note)
        store.take_credits([gift], note)
    import_commitments(
        CommitmentFile(
            text=COMMITMENTS,
            file_name="commitments.csv",
            currency="USD",
            at_ms=NOVEMBER_MS,
            reason="bought",
            author="ada",
        ),
        engine=engine,
        billing_zone=UTC_ZONE,
        dry_run=False,
    )


def put_machines(engine: Engine) -> None:
    """Let the first cluster's node be a machine that the provider's bill names."""
    with engine.begin() as connection:
        node = replace(a_node(), provider_id="aws:///us-east-1a/i-00000001")
        inventory = InventoryStore(connection, CLUSTER)
        inventory.put_node(node, [a_count(2, 2)], at_ms=last_hour(30).start_ms)


def put_tokens(engine: Engine) -> None:
    """Let two keys send tokens to the pod of the first cluster."""
    days = Days(engine, UTC)
    service = Service(CLUSTER, "ranker", namespace="search-prod")
    days.serve(last_hour(2), service, prompt=700, generation=400)
    days.send(last_hour(2), 300, key="search-key", prompt=100, cluster=CLUSTER)
    days.send(last_hour(2), 101, key="ml-key", prompt=7, cluster=CLUSTER)


def closed_november(engine: Engine, folder: Path) -> None:
    """Collect, rate, bill and close November; then post late facts and a correction to it."""
    begin(engine, CONTRACT, CLUSTERS)
    put_inputs(engine)
    put_machines(engine)
    for cluster in CLUSTERS:
        for hour in (3, 2, 1):
            put(engine, held(last_hour(hour), 1, cluster=cluster), cluster=cluster)
    put_tokens(engine)
    for _ in range(2):
        rate(engine, clusters=CLUSTERS)
    bills = Bills(engine, folder)
    row = a_focus_row(
        cost="16.00",
        ChargePeriodStart="2026-11-30T00:00:00Z",
        ChargePeriodEnd="2026-12-01T00:00:00Z",
    )
    bills.take(row, at_ms=DECEMBER_MS)
    rate(engine, clusters=CLUSTERS)
    accept_all(engine)


def adjusted_november(engine: Engine) -> None:
    """Deliver an hour again and adjust; correct the card's price and adjust again."""
    put(engine, held(last_hour(1), 2, active=1, cluster=CARDED), cluster=CARDED)
    put(engine, held(last_hour(1), 2, active=1))
    adjust_period("2026-11", an_adjusting(engine))
    with engine.begin() as connection:
        version = PriceStore(connection).take_prices([euros("4.40")], a_note()).version
    order = Correction(
        period="2026-11", prices=version, reason="The price was another.", author="ada"
    )
    correct_period(order, an_adjusting(engine, at_ms=DECEMBER_MS + 90 * HOUR_MS))
