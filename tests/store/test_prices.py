from decimal import Decimal

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.pricing.rows import PriceRow, PriceUnit
from app.store.prices import PriceImport, PriceOverlapError, PriceStore
from app.units.window import HOUR_MS, OPEN_MS
from tests.store.builders import NOON_MS


def a_price(
    amount: str = "3.00",
    *,
    from_ms: int = NOON_MS,
    to_ms: int = OPEN_MS,
    gpu_model: str = "H100",
    unit: PriceUnit = PriceUnit.GPU_HOUR,
    source: str = "list",
) -> PriceRow:
    return PriceRow(
        unit=unit,
        price=Decimal(amount),
        currency="USD",
        valid_from_ms=from_ms,
        valid_to_ms=to_ms,
        gpu_model=gpu_model,
        source=source,
    )


@pytest.fixture
def store(ledger: Connection) -> PriceStore:
    return PriceStore(ledger)


def take(store: PriceStore, *rows: PriceRow) -> PriceImport:
    return store.import_rows(rows, imported_ms=NOON_MS, file_name="prices.csv", sha256="0")


def test_prices_come_back_exactly(store: PriceStore) -> None:
    row = a_price("2.123456789012", to_ms=NOON_MS + HOUR_MS)

    result = take(store, row)

    assert (result.version, result.added) == (1, (row,))
    assert store.rows() == (row,)
    assert store.rows()[0].price_id == row.price_id


def test_the_same_prices_again_make_no_version(store: PriceStore) -> None:
    take(store, a_price())

    again = take(store, a_price("3"))

    assert (again.version, again.unchanged, again.added, again.spans) == (1, 1, (), ())
    assert store.version() == 1


def test_another_price_from_the_same_instant_supersedes_and_the_old_stays_readable(
    store: PriceStore,
) -> None:
    old, fresh = a_price("3.00"), a_price("2.50")
    take(store, old)

    result = take(store, fresh)

    assert (result.version, result.superseded) == (2, (old,))
    assert store.rows() == (fresh,)
    assert (store.rows(1), store.rows(2)) == ((old,), (fresh,))
    assert store.by_id(old.price_id) == old


def test_a_price_can_come_back_after_it_was_superseded(store: PriceStore) -> None:
    take(store, a_price("3.00"))
    take(store, a_price("2.50"))

    take(store, a_price("3.00"))

    assert [row.price for row in store.rows()] == [Decimal(3)]
    assert [row.price for row in store.rows(2)] == [Decimal("2.5")]


def test_a_price_change_is_an_old_row_that_ends_and_a_fresh_one(store: PriceStore) -> None:
    change = NOON_MS + 37 * 60_000
    take(store, a_price("3.00"))

    result = take(store, a_price("3.00", to_ms=change), a_price("2.00", from_ms=change))

    assert [row.price for row in store.rows()] == [Decimal(3), Decimal(2)]
    assert result.spans == (
        (NOON_MS, change),
        (NOON_MS, OPEN_MS),
        (change, OPEN_MS),
    )


@pytest.mark.parametrize("model", ["H100", "h100", "NVIDIA-H100"])
def test_an_overlap_is_refused_and_nothing_is_taken(store: PriceStore, model: str) -> None:
    take(store, a_price())
    fits = a_price(gpu_model="A100")

    with pytest.raises(PriceOverlapError, match="overlaps") as refusal:
        take(store, fits, a_price("2.00", from_ms=NOON_MS + 1, gpu_model=model))

    assert "valid_to" in refusal.value.hint
    assert len(store.rows()) == 1


def test_an_overlap_inside_one_file_is_refused(store: PriceStore) -> None:
    with pytest.raises(PriceOverlapError):
        take(store, a_price(), a_price("2.00", from_ms=NOON_MS + 1))


def test_touching_rows_do_not_overlap(store: PriceStore) -> None:
    result = take(store, a_price(to_ms=NOON_MS + 1), a_price("2.00", from_ms=NOON_MS + 1))

    assert len(result.added) == 2


def test_units_are_prices_of_their_own(store: PriceStore) -> None:
    result = take(store, a_price(), a_price("24.00", unit=PriceUnit.NODE_HOUR))

    assert len(result.added) == 2


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("price = -1", "not_negative"),
        ("valid_to = valid_from", "not_empty"),
        ("unit = 'minute'", "unit_known"),
        ("superseded_version = version", "superseded_later"),
    ],
)
def test_the_database_refuses_what_no_price_can_be(
    ledger: Connection, store: PriceStore, change: str, constraint: str
) -> None:
    take(store, a_price())
    ledger.execute(text("SET LOCAL ROLE gpuledger_owner"))

    with pytest.raises(DBAPIError, match=f"price_rows_{constraint}"):
        ledger.execute(text(f"UPDATE price_rows SET {change}"))


def test_the_database_refuses_overlaps_of_equal_keys(ledger: Connection, store: PriceStore) -> None:
    take(store, a_price())

    with pytest.raises(DBAPIError, match="price_rows_one_at_a_time"):
        ledger.execute(
            text(
                "INSERT INTO price_rows SELECT price_id + 1, version, cluster, provider, region,"
                " instance_type, gpu_model, capacity_type, node, unit, price, currency,"
                " valid_from + interval '1 hour', NULL, source, NULL FROM price_rows"
            )
        )
