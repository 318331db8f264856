import pytest
from sqlalchemy import Engine

from app.errors import InputError
from app.store.contracts import ContractStore
from app.store.prices import PriceStore
from app.store.windows import WindowStore
from app.workflows.rating import rate_window
from app.workflows.reading import cost_sums
from tests.store.builders import CLUSTER
from tests.workflows.stored import CONTRACT, PRICES, UTC_ZONE, collect, contract, prices, span

USD = 1_000_000_000


def _pending(engine: Engine) -> int:
    with engine.connect() as connection:
        return len(WindowStore(connection, CLUSTER).pending())


def _rate(engine: Engine) -> None:
    rate_window(CLUSTER, span(3), engine=engine, billing_zone=UTC_ZONE)


def _by_team(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = cost_sums(connection, span(3), ("team",), zone=UTC_ZONE).rows
    money = [name for name in rows.columns if name.endswith("_nanos")]
    return dict(zip(rows["team"], rows[money].sum(axis="columns"), strict=True))


def test_an_import_says_what_it_moves_and_rating_moves_exactly_that(database: Engine) -> None:
    collect(database, hours=3)
    contract(database)
    _rate(database)

    imported = prices(database)
    moved = {line.team: line.moved_nanos for line in imported.moved}
    _rate(database)

    # 2 GPUs × 3 h × 3.00 are held by search, 6 GPUs × 3 h × 3.00 by nobody.
    assert moved == {"search": 18 * USD, "platform": 54 * USD}
    assert _by_team(database) == moved
    assert imported.hours == 3


def test_an_import_marks_the_hours_it_touches_and_rating_clears_the_marks(database: Engine) -> None:
    collect(database, hours=3)
    _rate(database)
    assert _pending(database) == 0

    prices(database, PRICES.replace("2026-01-01,,", "2026-11-23T13:30:00Z,,"))

    assert _pending(database) == 2
    _rate(database)
    assert _pending(database) == 0


def test_a_dry_run_says_the_same_and_stores_nothing(database: Engine) -> None:
    collect(database, hours=3)
    _rate(database)

    dry = prices(database, dry_run=True)

    assert _pending(database) == 0
    with database.connect() as connection:
        assert PriceStore(connection).rows() == ()
    assert dry.dry_run
    assert dry.moved == prices(database).moved


def test_the_same_file_again_changes_nothing(database: Engine) -> None:
    collect(database, hours=1)
    prices(database)
    contract(database)
    _rate(database)

    again, same = prices(database), contract(database)

    assert (again.added, again.superseded, again.unchanged, again.hours) == (0, 0, 1, 0)
    assert (same.version, same.hours) == (1, 0)
    assert _pending(database) == 0


def test_nothing_of_a_refused_file_is_taken(database: Engine) -> None:
    collect(database, hours=1)
    prices(database)
    _rate(database)

    bad = PRICES + ",,,,A100,,,gpu_hour,-1,USD,2026-01-01,,list\n"
    with pytest.raises(InputError, match="line 3"):
        prices(database, bad)

    with database.connect() as connection:
        assert len(PriceStore(connection).rows()) == 1
    assert _pending(database) == 0


def test_a_contract_with_two_owners_of_a_namespace_leaves_the_old_one(database: Engine) -> None:
    contract(database)

    two = CONTRACT.replace(
        "platform:",
        "  - { name: ads, namespaces: [search-x] }\n"
        "  - { name: ml, namespaces: [search-x] }\nplatform:",
    )
    with pytest.raises(InputError, match="ads"):
        contract(database, two)

    with database.connect() as connection:
        stored = ContractStore(connection).latest()
    assert stored is not None
    assert stored.version == 1


def test_another_contract_moves_the_money_of_open_hours(database: Engine) -> None:
    collect(database, hours=2)
    prices(database)
    contract(database)
    _rate(database)

    moved = contract(database, CONTRACT.replace("name: search,", "name: finding,"))

    assert {line.team: line.moved_nanos for line in moved.moved} == {
        "finding": 12 * USD,
        "search": -12 * USD,
        "platform": 0,
    }
