"""A fleet's hour that is collected again after its period was closed, from the same Prometheus."""

from collections.abc import Mapping

from sqlalchemy import Engine

from app.simulator.fleet import Fleet
from app.simulator.spec import MINUTE_MS
from app.store.windows import WindowStore
from app.workflows.adjusting import adjust_period
from app.workflows.rating import rate_window
from tests.workflows.adjusting_world import accept_all, an_adjusting, contract, ledger, prices
from tests.workflows.closing_world import UTC_ZONE
from tests.workflows.rows_kept import fingerprint
from tests.workflows.worlds import CLUSTER, ENDS_MS, WINDOW, World, a_spec, a_world


def test_an_hour_that_comes_whole_after_the_close_is_adjusted_to_its_rating(
    database: Engine,
) -> None:
    fleet = Fleet.build(a_spec(11))
    with a_world(fleet, database) as world:
        world.watch()
        whole = whole_of(world)
        before = fingerprint(database)

        # The worker collects it again, rates it, and the watch goes on: none of it fails.
        late = world.collect()
        rate_window(CLUSTER, WINDOW, engine=database, billing_zone=UTC_ZONE)
        again = world.collect()

        assert (late.result.late, late.result.changed, late.result.revision) == (True, True, 3)
        assert not again.result.changed
        with database.connect() as connection:
            assert WindowStore(connection, CLUSTER).pending() == ()
        done = adjust_period("2026-11", an_adjusting(database))

    assert done.posted
    assert ledger(database) == whole
    assert fingerprint(database) == before


def whole_of(world: World) -> Mapping[tuple[object, ...], tuple[int, int]]:
    """Return the ledger that the whole facts give; leave the period closed with a part of them."""
    world.collect()
    prices(world.engine, "3.00", gpu_model="")
    contract(world.engine)
    rate_window(CLUSTER, WINDOW, engine=world.engine, billing_zone=UTC_ZONE)
    whole = ledger(world.engine)
    world.prometheus.oldest_ms = ENDS_MS - 5 * MINUTE_MS
    world.collect(forced_reason="Prometheus was started anew.")
    world.prometheus.oldest_ms = 0
    rate_window(CLUSTER, WINDOW, engine=world.engine, billing_zone=UTC_ZONE)
    assert ledger(world.engine) != whole
    accept_all(world.engine)
    return whole
