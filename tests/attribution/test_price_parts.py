"""What an explanation says of a price beside its row."""

from dataclasses import replace
from decimal import Decimal

from app.attribution.charge_explanation import explain
from app.attribution.price_explanation import BookPrice
from app.pricing.book import PriceBook
from app.pricing.owned import owned_rows
from app.pricing.terms import TermKind
from tests.attribution.test_explanation import FACTS
from tests.pricing.builders import a_pool, a_price
from tests.pricing.inputs import JAN_2026, a_rate, a_term, an_asset


def figures(book: PriceBook, at_ms: int = JAN_2026) -> dict[str, str]:
    facts = replace(FACTS, price=BookPrice(choice=book.choice(a_pool(), at_ms)))
    (step,) = [step for step in explain(facts).steps if step.title == "Price"]
    return {"": step.text, **dict(step.figures)}


def test_list_price_exchange_rate_discount_and_markup_are_shown() -> None:
    """4 EUR × 1.25 × 0.9 × 1.2 = 5.40 USD."""
    row = replace(a_price("4"), currency="EUR", list_price=Decimal("8.00"))
    terms = [replace(a_term(), reason="frame contract"), a_term(TermKind.MARKUP, "20")]

    shown = figures(PriceBook([row], [a_rate()], terms))

    assert shown["list price"] == "8 EUR"
    assert shown["exchange rate"] == "1.25 USD for 1 EUR"
    assert (shown["discount"], shown["markup"]) == ("10 % frame contract", "20 %")
    assert shown["one GPU-hour"] == "5.400000000 USD"


def test_the_components_of_owned_hardware_are_shown() -> None:
    shown = figures(PriceBook(owned_rows(an_asset())))

    names = ("depreciation", "space", "support", "power")
    assert [shown[name] for name in names] == [
        "5 USD an hour",
        "1 USD an hour",
        "2 USD an hour",
        "1.44 USD an hour",
    ]
    assert shown["source"] == "owned:dgx"


def test_a_missing_exchange_rate_is_named() -> None:
    row = replace(a_price("4"), currency="EUR")

    shown = figures(PriceBook([row], [a_rate(valid_to_ms=JAN_2026)]))

    assert shown == {"": "there is no exchange rate of EUR; it is unpriced"}
