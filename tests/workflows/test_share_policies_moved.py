"""A change of the policies of shares is a change of the contract: it moves money, and says so."""

from dataclasses import replace

from sqlalchemy import Engine

from app.attribution.charges import ChargeKind
from app.store.charges import ChargeStore
from app.store.inventory import InventoryStore
from app.store.naming import NameStore
from app.store.usage import UsageStore
from app.units.window import HOUR_MS
from app.usage.kinds import Sharing
from app.workflows.rating import rate_window
from app.workflows.reading import explanation
from tests.store.builders import (
    CLUSTER,
    NOON_MS,
    a_hold,
    a_node,
    an_hour,
    facts,
    hold_usage,
    pool_usage,
)
from tests.store.builders import a_count as what_may_be_held
from tests.workflows.stored import CONTRACT, UTC_ZONE, contract, prices, span

USD = 1_000_000_000
PRESENT = CONTRACT + "policies: { time_slicing: present }\n"
ONE_SLOT = {
    "share_num": 1,
    "share_den": 4,
    "compute_num": 1,
    "compute_den": 4,
    "units": 1,
    "sharing": int(Sharing.TIME_SLICING),
}


def collect_a_slot(engine: Engine) -> None:
    """Store an hour of one GPU with four slots, of which search holds one and does nothing."""
    quarter = HOUR_MS // 4
    hour = an_hour(0)
    pools = pool_usage(hour, devices=1, held=1).assign(
        held_ms=quarter,
        unallocated_ms=HOUR_MS - quarter,
        claimed_ms=quarter,
        allocatable_ms=HOUR_MS,
        compute_allocatable_ms=HOUR_MS,
    )
    holds = hold_usage(hour, units=1).assign(
        **ONE_SLOT, held_ms=quarter, idle_ms=quarter, band_0_ms=quarter
    )
    with engine.begin() as connection:
        inventory = InventoryStore(connection, CLUSTER)
        inventory.put_node(a_node(), [what_may_be_held(1, 1)], at_ms=NOON_MS)
        inventory.put_hold(replace(a_hold(units=1), share_den=4, sharing=Sharing.TIME_SLICING))
        NameStore(connection).ensure_models(["llama"])
        UsageStore(connection, CLUSTER).replace(hour, facts(hour, pools=pools, holds=holds))


def test_a_policy_moves_the_money_that_its_dry_run_says(database: Engine) -> None:
    collect_a_slot(database)
    prices(database)
    contract(database)
    rate(database)

    dry = contract(database, PRESENT, dry_run=True)
    applied = contract(database, PRESENT)
    rate(database)

    # An hour of the device costs 3.00: a quarter of it before, all of it where nobody else is.
    moved = {line.team: line.moved_nanos for line in dry.moved}
    assert moved == {"search": 9 * USD // 4, "platform": -9 * USD // 4}
    assert applied.moved == dry.moved
    with database.connect() as connection:
        (charge,) = ChargeStore(connection, CLUSTER, UTC_ZONE).within(span(1)).itertuples()
        team, explained = explanation(connection, charge.charge_id, "USD")
    assert (charge.kind, charge.cost_nanos, team) == (ChargeKind.IDLE, 3 * USD, "search")
    text = explained.text()
    assert "which share the devices in use, by time_slicing: present" in text
    assert "held: 3600.000 GPU-seconds" in text
    assert "1 devices, held 3600.000" in text


def rate(engine: Engine) -> None:
    rate_window(CLUSTER, span(1), engine=engine, billing_zone=UTC_ZONE)
