"""All kinds of price inputs share one sequence of versions, and every version stays readable."""

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.pricing.credits import Credit
from app.pricing.owned import EnergyPrice
from app.pricing.rows import PriceUnit
from app.pricing.terms import TermKind
from app.store.price_versions import ImportKind, ImportNote
from app.store.prices import PriceOverlapError, PriceStore
from app.units.window import HOUR_MS, OPEN_MS
from tests.pricing.builders import a_pool, a_price
from tests.pricing.inputs import JAN_2026, JAN_2027, a_rate, a_term, an_asset
from tests.store.builders import NOON_MS

NOTE = ImportNote(
    imported_ms=NOON_MS, file_name="file", sha256="0", reason="mistyped", author="ada"
)


@pytest.fixture
def store(ledger: Connection) -> PriceStore:
    return PriceStore(ledger)


def a_credit(amount: str = "100", currency: str = "EUR", name: str = "launch") -> Credit:
    return Credit(
        name=name,
        team="search",
        amount=Decimal(amount),
        currency=currency,
        valid_from_ms=JAN_2026,
        valid_to_ms=JAN_2027,
        reason="a gift",
    )


def test_an_empty_ledger_has_inputs_without_anything(store: PriceStore) -> None:
    inputs = store.inputs()

    assert (inputs.version, inputs.book.rows, inputs.card) == (0, (), None)
    assert (inputs.energy, inputs.credits, inputs.commitments, inputs.owned) == ((), (), (), ())


def test_every_kind_comes_back_as_it_was_and_counts_one_version(store: PriceStore) -> None:
    row = replace(a_price(valid_from_ms=NOON_MS, gpu_model="H100"), list_price=Decimal("3.5"))
    rate = a_rate("1.123456789012", valid_from_ms=JAN_2026)
    term = a_term(TermKind.MARKUP, "12.5", NOON_MS, provider="aws", gpu_model="H100")
    asset = an_asset(
        nodes=("a", "b"),
        tariffs=(
            EnergyPrice(price_per_kwh=Decimal("0.2"), valid_from_ms=0, valid_to_ms=JAN_2027),
            EnergyPrice(price_per_kwh=Decimal("0.3"), valid_from_ms=JAN_2027),
        ),
    )

    store.take_rates([rate], NOTE)
    store.take_prices([row], NOTE)
    store.take_card([row], NOTE)
    store.take_terms([term], NOTE)
    store.take_credits([a_credit()], NOTE)
    store.take_assets([asset], NOTE)

    inputs = store.inputs()
    assert inputs.version == 6
    assert [one.kind for one in store.versions()] == [
        ImportKind.EXCHANGE_RATES,
        ImportKind.PRICES,
        ImportKind.RATE_CARD,
        ImportKind.TERMS,
        ImportKind.CREDITS,
        ImportKind.OWNED,
    ]
    assert {(one.reason, one.author) for one in store.versions()} == {("mistyped", "ada")}
    assert (inputs.book.rates.rates, inputs.book.terms.terms) == ((rate,), (term,))
    assert [one for one in inputs.book.rows if one.owned is None] == [row]
    assert inputs.card is not None
    assert (inputs.card.rows, inputs.card.terms.terms) == ((row,), ())
    assert inputs.owned == (asset,)
    assert {one.node for one in inputs.energy} == {"a", "b"}
    (credit,) = inputs.credits
    assert credit == replace(a_credit(), rate=rate)
    assert credit.nanos == 112_345_678_901
    assert store.inputs(1).book.rows == ()


def test_owned_nodes_price_their_pools(store: PriceStore) -> None:
    store.take_assets([an_asset()], NOTE)

    (span,) = store.inputs().book.spans(a_pool(), JAN_2026, JAN_2026 + HOUR_MS)

    assert span.nanos_per_ms * HOUR_MS * 8 == 9_440_000_000


def test_a_correction_keeps_what_was_there_under_its_version(store: PriceStore) -> None:
    store.take_rates([a_rate("1.10")], NOTE)
    store.take_terms([a_term(percent="10")], NOTE)
    store.take_assets([an_asset()], NOTE)

    rates = store.take_rates([a_rate("1.20")], NOTE)
    terms = store.take_terms([a_term(percent="20")], NOTE)
    assets = store.take_assets([an_asset(salvage="1")], NOTE)

    assert [len(one.superseded) for one in (rates, terms, assets)] == [1, 1, 1]
    assert [one.rate for one in store.rates()] == [Decimal("1.2")]
    assert [one.rate for one in store.rates(3)] == [Decimal("1.1")]
    assert [one.percent for one in store.terms(4)] == [Decimal(10)]
    assert [one.salvage for one in store.assets(5)] == [Decimal(43344)]
    assert [one.salvage for one in store.assets()] == [Decimal(1)]


def test_no_later_import_changes_what_a_version_says(store: PriceStore) -> None:
    said = [_said(store, 0)]
    for step in range(3):
        store.take_rates([a_rate(str(1 + step), valid_to_ms=JAN_2027 + step)], NOTE)
        said.append(_said(store, len(said)))
        store.take_terms([a_term(percent=str(step)), a_term(percent="1", node=str(step))], NOTE)
        said.append(_said(store, len(said)))
        store.take_prices([a_price(str(step)), a_price("1", gpu_model=f"H{step}")], NOTE)
        said.append(_said(store, len(said)))
        store.take_assets([an_asset(salvage=str(step))], NOTE)
        said.append(_said(store, len(said)))

    assert len(said) == 13
    assert [_said(store, version) for version in range(13)] == said
    assert len({str(one) for one in said}) == 13


def _said(store: PriceStore, version: int) -> tuple[object, ...]:
    inputs = store.inputs(version)
    book = inputs.book
    return (book.rows, book.rates.rates, book.terms.terms, inputs.energy, inputs.owned)


def test_the_same_again_makes_no_version(store: PriceStore) -> None:
    store.take_assets([an_asset()], NOTE)
    store.take_credits([a_credit(currency="USD")], NOTE)

    again = store.take_assets([an_asset(salvage="43344.00")], NOTE)
    credit = store.take_credits([a_credit("100.0", "USD")], NOTE)

    assert (again.version, again.unchanged, again.spans) == (2, 1, ())
    assert (credit.version, credit.unchanged) == (2, 1)


def test_another_list_price_is_a_correction(store: PriceStore) -> None:
    store.take_prices([a_price()], NOTE)

    done = store.take_prices([replace(a_price(), list_price=Decimal(9))], NOTE)

    assert len(done.superseded) == 1
    assert [row.list_price for row in store.rows()] == [Decimal(9)]


def test_the_card_and_the_book_may_price_the_same(store: PriceStore) -> None:
    store.take_prices([a_price("3")], NOTE)
    store.take_card([a_price("3")], NOTE)
    store.take_card([a_price("5")], NOTE)

    assert [row.price for row in store.rows()] == [Decimal(3)]
    assert [row.price for row in store.card_rows()] == [Decimal(5)]
    assert [row.price for row in store.card_rows(2)] == [Decimal(3)]


def test_overlaps_are_refused_in_every_kind(store: PriceStore) -> None:
    store.take_rates([a_rate()], NOTE)
    store.take_terms([a_term()], NOTE)
    store.take_credits([a_credit(currency="USD")], NOTE)

    with pytest.raises(PriceOverlapError, match=r"^The rate 2 of EUR"):
        store.take_rates([a_rate("2", valid_from_ms=NOON_MS)], NOTE)
    with pytest.raises(PriceOverlapError, match=r"^The discount of 5 % for anything"):
        store.take_terms([a_term(percent="5", valid_from_ms=NOON_MS)], NOTE)
    with pytest.raises(PriceOverlapError, match=r"^The credit launch"):
        store.take_credits(
            [replace(a_credit(currency="USD"), valid_from_ms=JAN_2026 + HOUR_MS)], NOTE
        )
    assert store.version() == 3


def test_owned_rows_that_meet_a_price_for_the_same_are_refused_where_they_are_read(
    store: PriceStore,
) -> None:
    store.take_assets([an_asset()], NOTE)
    store.take_prices(
        [a_price("80", PriceUnit.NODE_HOUR, JAN_2026, OPEN_MS, node="node-1", cluster="prod-eu")],
        NOTE,
    )

    with pytest.raises(Exception, match="are valid at the same time"):
        store.inputs()


@pytest.mark.parametrize(
    ("table", "change", "constraint"),
    [
        ("exchange_rates", "rate = 0", "exchange_rates_positive"),
        ("price_terms", "percent = 101", "price_terms_discount_at_most_all"),
        ("price_terms", "percent = -1", "price_terms_not_negative"),
        ("credits", "amount = -1", "credits_not_negative"),
        ("owned_assets", "salvage = purchase + 1", "owned_assets_salvage_within_purchase"),
        ("owned_assets", "life_months = 0", "owned_assets_has_a_life"),
        ("price_rows", "list_price = -1", "price_rows_list_not_negative"),
    ],
)
def test_the_database_refuses_what_cannot_be(
    ledger: Connection, store: PriceStore, table: str, change: str, constraint: str
) -> None:
    store.take_rates([a_rate()], NOTE)
    store.take_terms([a_term()], NOTE)
    store.take_credits([a_credit(currency="USD")], NOTE)
    store.take_assets([an_asset()], NOTE)
    store.take_prices([a_price()], NOTE)
    ledger.execute(text("SET LOCAL ROLE gpuledger_owner"))

    with pytest.raises(DBAPIError, match=constraint):
        ledger.execute(text(f"UPDATE {table} SET {change}"))


@pytest.mark.parametrize(
    "change",
    ["exchange_rates SET rate = 2", "price_rows SET price = 2", "price_imports SET reason = 'x'"],
)
def test_the_service_may_not_edit_what_was_imported(
    ledger: Connection, store: PriceStore, change: str
) -> None:
    store.take_rates([a_rate()], NOTE)
    store.take_prices([a_price()], NOTE)

    with pytest.raises(DBAPIError, match="permission denied"):
        ledger.execute(text(f"UPDATE {change}"))
