"""The energy of boards that comes after the closing is adjusted like every other late fact."""

from dataclasses import replace
from datetime import UTC
from decimal import Decimal

from sqlalchemy import Engine

from app.store.price_versions import ImportKind
from app.units.money import to_nanos
from app.units.window import HOUR_MS
from app.workflows.adjusting import adjust_period
from app.workflows.closing import close_period
from app.workflows.imports import import_prices
from tests.store.builders import a_node, pool_energy
from tests.workflows.adjusting_world import an_adjusting, begin, held, last_hour, put, rate
from tests.workflows.closing_world import DECEMBER_MS, TERMS, an_order

OWNED = f"""\
[[assets]]
name = "dgx"
nodes = ["{a_node().name}"]
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
WH = 3_600_000


def test_an_idle_board_that_was_charged_by_rated_power_is_adjusted(database: Engine) -> None:
    """Nobody held two boards, charged as 1.4 kWh; they drew 0.14: 1.26 × 1.5 × 0.20 = 0.378."""
    begin(database)
    import_prices(
        OWNED,
        kind=ImportKind.OWNED,
        file_name="owned.toml",
        currency="USD",
        engine=database,
        billing_zone=UTC,
        at_ms=DECEMBER_MS,
        dry_run=False,
    )
    put(database, held(last_hour(), 0))
    rate(database)
    close_period(an_order(), TERMS, engine=database)
    told = pool_energy(last_hour(), energy_mj=140 * WH)
    told = told.assign(measured_ms=2 * HOUR_MS, boards_measured=2, boards=2)

    put(database, replace(held(last_hour(), 0), pool_energy=told))
    done = adjust_period("2026-11", an_adjusting(database))

    assert [(team.team, team.nanos) for team in done.teams] == [
        ("platform", -to_nanos(Decimal("0.378")))
    ]
