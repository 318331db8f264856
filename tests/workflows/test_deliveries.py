"""Whatever comes after a closing: pinned charges and adjustments are one rating of the last facts.

The rating is told by hand, hour by hour; a second ledger that had the last facts when it was closed
says the same, with every policy and over two clusters.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.attribution.charges import ChargeKind
from app.chargeback.costs import Basis
from app.store.engine import SERVICE_ROLE, engine_of
from app.store.price_versions import ImportKind
from app.usage.facts import UsageFacts
from app.workflows.adjusting import Correction, adjust_period, correct_period
from app.workflows.closing import close_period
from tests.store.builders import CLUSTER
from tests.store.postgres import another_database
from tests.workflows.adjusting_world import (
    NANOS,
    an_adjusting,
    begin,
    close,
    costs,
    held,
    last_hour,
    ledger,
    prices,
    put,
    rate,
)
from tests.workflows.closing_world import DECEMBER_MS, NOVEMBER_MS, TERMS, an_order

OTHER = "prod-us"
CLUSTERS = (CLUSTER, OTHER)
POLICIES = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"] }
  - { name: ml, cost_center: CC-2, namespaces: ["ml-*"] }
platform: { team: platform, namespaces: [gpu-operator] }
policies: { unallocated: proportional, rating: rate_card }
"""
JANUARY_MS = DECEMBER_MS + 31 * 24 * 3_600_000
# Of one of two hours: how many GPUs the pod held, and on how many it worked.
_HOUR = st.tuples(st.integers(1, 2), st.integers(0, 2), st.integers(0, 2)).map(
    lambda one: (one[0], one[1], min(one[1], one[2]))
)


@pytest.fixture(scope="module")
def closed(module_database: Engine) -> Engine:
    close(module_database, held(last_hour(2), 1), held(last_hour(1), 1))
    return module_database


_LAST = {1: (1, 0), 2: (1, 0)}


@settings(max_examples=6)
@given(deliveries=st.lists(st.lists(_HOUR, min_size=1, max_size=3), min_size=1, max_size=2))
def test_pinned_and_adjustments_are_what_is_told_by_hand(
    closed: Engine, deliveries: list[list[tuple[int, int, int]]]
) -> None:
    for hours in deliveries:
        for before, gpus, active in hours:
            put(closed, held(last_hour(before), gpus, active=active))
            _LAST[before] = (gpus, active)
        adjust_period("2026-11", an_adjusting(closed))

    expected: Counter[tuple[object, ...]] = Counter()
    for before, (gpus, active) in _LAST.items():
        start = last_hour(before).start
        parts = {"USED": active, "IDLE": gpus - active, "UNALLOCATED": 2 - gpus}
        for kind, count in parts.items():
            expected[start, int(ChargeKind[kind])] += count
    found = Counter(
        {(key[1], key[8]): nanos // (3 * NANOS) for key, (_, nanos) in ledger(closed).items()}
    )
    assert found == +expected
    rows = costs(closed, NOVEMBER_MS, DECEMBER_MS, "cluster", basis=Basis.USAGE)
    nanos = rows[[name for name in rows.columns if name.endswith("_nanos")]].to_numpy().sum()
    times = rows[[name for name in rows.columns if name.endswith("_ms")]].to_numpy().sum()
    assert (nanos, times) == (12 * NANOS, 4 * 3_600_000)


@pytest.mark.parametrize("seed", [1, 2])
def test_pinned_and_adjustments_are_one_rating_of_the_last_facts(
    database: Engine, postgres_server: URL, postgres_url: URL, seed: int
) -> None:
    dice = Random(seed)
    hours = [(cluster, before) for cluster in CLUSTERS for before in (1, 2, 3)]
    last = dict.fromkeys(hours, (1, 0))
    _closed(database, last)
    for _ in range(3):
        for hour in dice.sample(hours, 2):
            gpus = dice.randrange(3)
            last[hour] = (gpus, dice.randrange(gpus + 1))
            put(database, _facts(hour, last), cluster=hour[0])
        adjust_period("2026-11", an_adjusting(database))
    prices(database, "1.00")
    rate(database, clusters=CLUSTERS)

    with another_database(postgres_server, postgres_url) as address:
        again = engine_of(address, role=SERVICE_ROLE)
        _closed(again, last)
        wanted, found = ledger(again), ledger(database)
        assert found == wanted
        assert sum(nanos for _, nanos in found.values()) == 12 * 3 * NANOS
        # Corrected by other prices it is the ledger that is closed by those.
        order = Correction(period="2026-11", reason="Too dear.", author="ada")
        for engine in (database, again):
            if engine is again:
                prices(again, "1.00")
            correct_period(order, an_adjusting(engine))
        assert ledger(again) == ledger(database)
        assert sum(nanos for _, nanos in ledger(again).values()) == 12 * NANOS
        again.dispose()


def _facts(hour: tuple[str, int], last: dict[tuple[str, int], tuple[int, int]]) -> UsageFacts:
    gpus, active = last[hour]
    return held(last_hour(hour[1]), gpus, active=active, cluster=hour[0])


def _closed(engine: Engine, last: dict[tuple[str, int], tuple[int, int]]) -> None:
    """Collect and rate the hours of both clusters, and close November with them."""
    begin(engine, POLICIES, CLUSTERS)
    prices(engine, "4.00", kind=ImportKind.RATE_CARD)
    for hour in last:
        put(engine, _facts(hour, last), cluster=hour[0])
    rate(engine, clusters=CLUSTERS)
    close_period(an_order(), TERMS, engine=engine)
