"""Exchange rates, terms and owned nodes as they reach charges."""

from dataclasses import replace

import pandas as pd

from app.attribution.rating import Rated, rate
from app.pricing.book import PriceBook
from app.pricing.exchange import ExchangeRate
from app.pricing.owned import owned_rows
from app.pricing.rows import PriceRow
from app.pricing.terms import PriceTerm, TermKind
from app.units.window import HOUR_MS
from tests.attribution.fleets import H100, TEN, AFleet, APool, rating_input
from tests.pricing.builders import a_price
from tests.pricing.inputs import a_rate, a_term, an_asset

EURO = replace(a_price("4"), currency="EUR")


def rated(
    rows: list[PriceRow],
    rates: list[ExchangeRate] | None = None,
    terms: list[PriceTerm] | None = None,
) -> Rated:
    """An hour of 8 GPUs that nobody holds."""
    given = rating_input(AFleet(pools=(APool(devices=8),)), [])
    return rate(replace(given, price_book=PriceBook(rows, rates or [], terms or [])))


def costs(charges: pd.DataFrame) -> list[int]:
    return charges.sort_values("start_ms")["cost_nanos"].tolist()


def test_a_rate_that_changes_inside_the_hour_makes_two_lines() -> None:
    change = TEN + 37 * 60_000 + 1_000
    rates = [a_rate("1.25", valid_to_ms=change), a_rate("1.50", valid_from_ms=change)]

    result = rated([EURO], rates)

    # 37 minutes and a second at 5.00, the rest at 6.00, for each of 8 GPUs.
    first = 8 * 5 * 10**9 * (37 * 60 + 1)
    second = 8 * 6 * 10**9 * (3600 - 37 * 60 - 1)
    assert costs(result.charges) == [round(first / 3600), round(second / 3600)]
    assert result.charges["price_id"].nunique() == 2


def test_time_without_a_rate_is_unpriced_and_the_note_says_so() -> None:
    half = TEN + HOUR_MS // 2

    result = rated([EURO], [a_rate("1.25", valid_from_ms=half)])

    assert costs(result.charges) == [0, 20 * 10**9]
    assert sorted(result.charges["priced"].tolist()) == [False, True]
    (note,) = result.notes.itertuples()
    assert (note.kind, note.subject, note.quantity) == (
        "unpriced",
        f"node-1 {H100}",
        4 * HOUR_MS,
    )
    assert note.detail == "there is no exchange rate of EUR"


def test_both_reasons_of_unpriced_time_are_said() -> None:
    row = replace(EURO, valid_to_ms=TEN + 1_000)

    (note,) = rated([row], [a_rate(valid_to_ms=TEN)]).notes.itertuples()

    assert note.detail == (
        "no row of the price book fits the pool; there is no exchange rate of EUR"
    )


def test_a_term_for_a_node_counts_where_no_price_names_one() -> None:
    for node, hourly in (("node-1", 30), ("node-2", 24)):
        result = rated([a_price("3")], terms=[a_term(TermKind.MARKUP, "25", node=node)])

        assert costs(result.charges) == [hourly * 10**9]


def test_an_owned_node_costs_its_components() -> None:
    asset = an_asset(nodes=("node-1",))

    result = rated(list(owned_rows(replace(asset, cluster=""))))

    assert costs(result.charges) == [9_440_000_000]
