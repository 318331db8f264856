"""Late deliveries where periods meet: two ledgers that end with the same facts are the same.

One is closed with what was known and is delivered the rest, the other had all of it at the closing.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.attribution.charges import LineStep
from app.store.engine import SERVICE_ROLE, engine_of
from app.usage.facts import UsageFacts
from app.workflows.adjusting import Correction, adjust_period, correct_period
from app.workflows.closing import close_period
from app.workflows.postings import Adjusting
from app.workflows.reopening import reopen_period
from tests.store.builders import CLUSTER
from tests.store.postgres import another_database
from tests.workflows.adjusting_world import (
    NANOS,
    begin,
    contract,
    held,
    last_hour,
    ledger,
    prices,
    put,
    rate,
)
from tests.workflows.closing_world import DECEMBER_MS, TERMS, an_order

KOLKATA = ZoneInfo("Asia/Kolkata")
OTHER = "prod-us"
CLUSTERS = (CLUSTER, OTHER)
# November ends in Kolkata at 18:30 UTC, inside the sixth hour before December.
HOURS = (7, 6, 5)
POLICIES = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"] }
  - { name: ml, cost_center: CC-2, namespaces: ["ml-*"] }
platform: { team: platform, namespaces: [gpu-operator] }
policies: { unallocated: proportional }
# Days are those of Kolkata.
"""
Hours = Mapping[tuple[str, int], int]
ONE_EACH = {(cluster, before): 1 for cluster in CLUSTERS for before in HOURS}


def test_an_open_day_redistributes_what_late_facts_say_of_its_frozen_half_hour(
    database: Engine,
) -> None:
    """Of the border hour search held one GPU of two at 3.00; as it turns out both.

    To December's first day in Kolkata belong half of that hour and the next hour. What nobody held
    was 1.50 and 3.00; after the delivery it is 3.00, and that goes from the platform to search.
    """
    _closed(database, {(CLUSTER, before): 1 for before in HOURS})
    assert _redistributed_in_december(database) == [-4_500_000_000, 4_500_000_000]

    put(database, held(last_hour(6), 2))
    adjust_period("2026-11", _adjusting(database))
    rate(database, zone=KOLKATA)

    assert _redistributed_in_december(database) == [-3 * NANOS, 3 * NANOS]


@pytest.mark.parametrize("seed", [1, 2])
def test_any_deliveries_corrections_and_a_reopening_end_in_one_ledger(
    database: Engine, postgres_server: URL, postgres_url: URL, seed: int
) -> None:
    dice, last = Random(seed), dict(ONE_EACH)
    _closed(database, last)
    for turn in range(3):
        for hour in dice.sample(sorted(last), 2):
            last[hour] = dice.randrange(3)
            put(database, _facts(hour, last), cluster=hour[0])
        adjust_period("2026-11", _adjusting(database))
        if turn == 0:
            prices(database, "5.00", zone=KOLKATA)
            order = Correction(period="2026-11", reason="It was 5.00.", author="ada")
            correct_period(order, _adjusting(database))
    rate(database, zone=KOLKATA, clusters=CLUSTERS)

    with another_database(postgres_server, postgres_url) as address:
        again = engine_of(address, role=SERVICE_ROLE)
        _closed(again, last, price="5.00")
        assert ledger(database) == ledger(again)
        again.dispose()

    assert sum(nanos for _, nanos in ledger(database).values()) == 12 * 5 * NANOS
    reopen_period("2026-11", reason="Early.", author="ada", given=_adjusting(database))
    rate(database, zone=KOLKATA, clusters=CLUSTERS)
    assert sum(nanos for _, nanos in ledger(database).values()) == 12 * 5 * NANOS


def _closed(engine: Engine, hours: Hours, price: str = "3.00") -> None:
    """Collect and rate the hours, of which two belong to November in part, and close it."""
    begin(engine, POLICIES, CLUSTERS)
    if price != "3.00":
        prices(engine, price, zone=KOLKATA)
    contract(engine, POLICIES + "# India\n", zone=KOLKATA)
    for hour in hours:
        put(engine, _facts(hour, hours), cluster=hour[0])
    rate(engine, zone=KOLKATA, clusters=CLUSTERS)
    close_period(an_order(), replace(TERMS, zone=KOLKATA), engine=engine)


def _redistributed_in_december(engine: Engine) -> list[int]:
    """Return the lines of the day's first step, which stand in its first whole hour."""
    return sorted(
        nanos
        for (_, window, *key), (_, nanos) in ledger(engine).items()
        if (window, key[-2]) == (last_hour(5).start, LineStep.NOBODY)
    )


def _facts(hour: tuple[str, int], gpus: Hours) -> UsageFacts:
    return held(last_hour(hour[1]), gpus[hour], cluster=hour[0])


def _adjusting(engine: Engine) -> Adjusting:
    return Adjusting(engine=engine, billing_zone=KOLKATA, at_ms=DECEMBER_MS)
