"""Exchange rates, discounts and markup in the price of an instant, against a walk over all rows."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pricing.book import Division, PriceBook
from app.pricing.exchange import ExchangeRate, ExchangeRates, RateOverlapError
from app.pricing.inputs import PriceInputs
from app.pricing.owned import energy_tariffs, owned_rows
from app.pricing.rows import RANK_COLUMNS, ModelCount, PricedPool, PriceRow, PriceUnit
from app.pricing.terms import PriceTerm, TermKind, TermOverlapError, why_not
from app.units.window import HOUR_MS, OPEN_MS
from tests.pricing.builders import H100, a_pool, a_price
from tests.pricing.inputs import JAN_2026, JAN_2027, a_rate, a_term, an_asset

HOURLY = Fraction(10**9, HOUR_MS)
END = 24


def euros(price: str = "4.00", **columns: str) -> PriceRow:
    return replace(a_price(price, **columns), currency="EUR")


def test_a_price_of_another_currency_costs_its_rate_of_the_instant_and_is_cut_there() -> None:
    rates = [a_rate("1.25", valid_to_ms=600_000), a_rate("1.50", valid_from_ms=600_000)]

    spans = PriceBook([euros()], rates).spans(a_pool(), 0, HOUR_MS)

    assert [(one.from_ms, one.to_ms, one.nanos_per_ms / HOURLY) for one in spans] == [
        (0, 600_000, 5),
        (600_000, HOUR_MS, 6),
    ]
    assert spans[0].price_id != spans[1].price_id


def test_a_price_without_a_rate_at_the_instant_is_no_price_and_says_why() -> None:
    book = PriceBook([euros()], [a_rate(valid_from_ms=1_000)])

    before, after = book.spans(a_pool(), 0, 2_000)

    assert (before.row, before.price_id, before.nanos_per_ms) == (None, 0, 0)
    assert before.unconverted == euros()
    assert before.unpriced_reason == "there is no exchange rate of EUR"
    assert (after.from_ms, after.unpriced_reason) == (1_000, "")


def test_a_less_specific_price_does_not_step_in_for_one_without_a_rate() -> None:
    book = PriceBook([euros(node="node-1"), a_price("3")], [a_rate(valid_to_ms=1)])

    choice = book.choice(a_pool(), 5)

    assert choice.winner.row is None
    assert [loser.reason for loser in choice.losers] == ["the winner names the node"]


def test_discount_and_markup_are_factors_of_the_price() -> None:
    """10.00 × (1 - 10 %) × (1 + 20 %) = 10.80."""
    terms = [a_term(), a_term(TermKind.MARKUP, "20")]

    (span,) = PriceBook([a_price("10")], (), terms).spans(a_pool(), 0, 1)

    assert span.nanos_per_ms / HOURLY == Fraction("10.80")
    assert span.price is not None
    assert span.price.unit_price == Fraction("10.80")
    assert span.price_id not in (0, a_price("10").price_id)


def test_of_one_kind_only_the_most_specific_term_counts() -> None:
    terms = [
        a_term(percent="10"),
        a_term(percent="50", provider="aws"),
        a_term(percent="90", node="x"),
    ]

    (span,) = PriceBook([a_price("10")], (), terms).spans(a_pool(), 0, 1)

    assert span.nanos_per_ms / HOURLY == 5
    assert why_not(terms[0], terms[1], 0) == "the one that counts names the provider more closely"


def test_a_list_price_is_exchanged_and_never_discounted() -> None:
    row = replace(euros("4"), list_price=Decimal(8))
    (span,) = PriceBook([row], [a_rate()], [a_term()]).spans(a_pool(), 0, 1)

    assert span.price is not None
    assert (span.price.list_unit_price, span.price.unit_price) == (10, Fraction("4.5"))


def test_a_price_without_rate_or_terms_keeps_its_own_identity() -> None:
    (span,) = PriceBook([a_price()], [a_rate()], [a_term(node="other")]).spans(a_pool(), 0, 1)

    assert span.price_id == a_price().price_id


def test_a_list_price_is_part_of_a_prices_identity() -> None:
    assert replace(a_price(), list_price=Decimal(4)).price_id != a_price().price_id


def test_overlapping_rates_and_terms_are_refused() -> None:
    with pytest.raises(RateOverlapError, match="EUR"):
        ExchangeRates([a_rate(valid_to_ms=10), a_rate("2", valid_from_ms=9)])
    with pytest.raises(TermOverlapError, match="discount"):
        PriceBook([], (), [a_term(gpu_model="H100"), a_term(percent="5", gpu_model="nvidia h100")])
    # One of each kind at the same time is what they are for.
    assert PriceBook([], (), [a_term(), a_term(TermKind.MARKUP)]).rows == ()


def test_a_charges_price_is_found_by_its_identity_and_an_instant() -> None:
    book = PriceBook(
        [euros("4"), a_price("3", gpu_model="A100")],
        [a_rate(valid_to_ms=5), a_rate("2", valid_from_ms=5)],
        [a_term(), a_term(TermKind.MARKUP, "20", valid_to_ms=5)],
    )
    inputs = PriceInputs(book=book)

    for span in book.spans(a_pool(), 0, 10):
        assert inputs.price_of(span.price_id, span.from_ms) == span.price
    assert inputs.price_of(0, 0) is None


def test_energy_is_priced_by_the_most_specific_tariff_with_terms() -> None:
    asset, kind = an_asset(), an_asset(nodes=(), instance_type="p5.48xlarge")
    rates = ExchangeRates()
    inputs = PriceInputs(
        book=PriceBook(owned_rows(asset), (), [a_term(TermKind.MARKUP, "20", JAN_2027)]),
        energy=(*energy_tariffs(kind, rates), *energy_tariffs(asset, rates)),
    )

    before, first, second = inputs.energy_spans(a_pool(), JAN_2026 - 5, JAN_2027 + 5)

    assert before.price is None
    assert first.price is not None
    assert first.price.tariff.node == "node-1"
    assert (first.to_ms, second.from_ms) == (JAN_2027, JAN_2027)
    assert second.price is not None
    assert second.price.nanos_per_mj == first.price.nanos_per_mj * Fraction("1.2")
    assert inputs.energy_of(second.price.price_id, JAN_2027) == second.price
    assert inputs.energy_of(first.price.price_id, JAN_2026) == first.price
    assert inputs.energy_spans(a_pool(node="other", instance_type="x"), 0, 1)[0].price is None


# Few values, so that rows often fit, tie and change inside the day.
_COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "node": st.sampled_from(["node-1", "node-2"]),
        "gpu_model": st.sampled_from(["H100", "H100 80GB", "A100"]),
        "provider": st.sampled_from(["aws", "gcp"]),
        "cluster": st.sampled_from(["prod-eu", "prod-us"]),
    },
)


def _times(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, END - 1))
    return start, draw(st.one_of(st.integers(start + 1, END), st.just(OPEN_MS)))


@st.composite
def _books(draw: st.DrawFn) -> tuple[list[PriceRow], list[ExchangeRate], list[PriceTerm]]:
    rows: list[PriceRow] = []
    for _ in range(draw(st.integers(0, 6))):
        start, end = _times(draw)
        row = replace(
            a_price(
                str(draw(st.integers(0, 9))),
                draw(st.sampled_from(PriceUnit)),
                start,
                end,
                **draw(_COLUMNS),
            ),
            currency=draw(st.sampled_from(["USD", "EUR"])),
        )
        if all(_apart(row, other) for other in rows):
            rows.append(row)
    rates: list[ExchangeRate] = [a_rate("3", valid_from_ms=END + 5)]
    for _ in range(draw(st.integers(0, 3))):
        start, end = _times(draw)
        rate = a_rate(str(draw(st.integers(1, 4))), valid_from_ms=start, valid_to_ms=min(end, END))
        if all(_apart(rate, other) for other in rates):
            rates.append(rate)
    terms: list[PriceTerm] = []
    for _ in range(draw(st.integers(0, 5))):
        start, end = _times(draw)
        percent = str(draw(st.integers(0, 100)))
        term = a_term(draw(st.sampled_from(TermKind)), percent, start, end, **draw(_COLUMNS))
        if all(_apart(term, other) for other in terms):
            terms.append(term)
    return rows, rates, terms


def _apart(
    one: PriceRow | ExchangeRate | PriceTerm, other: PriceRow | ExchangeRate | PriceTerm
) -> bool:
    """Say whether two that are for the same are never valid at one instant."""
    after = one.valid_from_ms >= other.valid_to_ms
    return one.key != other.key or after or other.valid_from_ms >= one.valid_to_ms


def _fits(value: PriceRow | PriceTerm, pool: PricedPool) -> bool:
    """Say whether a row fits, column by column, models by the words they begin with."""
    model = value.gpu_model.casefold().split()
    reported = pool.gpu_model.removeprefix("NVIDIA-").casefold().split("-")
    return reported[: len(model)] == model and all(
        getattr(value, name) in ("", getattr(pool, name))
        for name in ("node", "provider", "cluster")
    )


def _closeness(value: PriceRow | PriceTerm) -> tuple[int, ...]:
    node_hour = int(isinstance(value, PriceRow) and value.unit is PriceUnit.NODE_HOUR)
    columns = [
        len(value.gpu_model.split()) if name == "gpu_model" else len(getattr(value, name)) > 0
        for name in RANK_COLUMNS[:-1]
    ]
    return (*map(int, columns), node_hour)


def _walk(
    rows: list[PriceRow],
    rates: list[ExchangeRate],
    terms: list[PriceTerm],
    pool: PricedPool,
    at: int,
) -> Fraction | None:
    """Return what a GPU-hour costs at the instant by looking at everything, None for nothing."""
    valid = [row for row in rows if row.valid_from_ms <= at < row.valid_to_ms and _fits(row, pool)]
    if not valid:
        return None
    row = max(valid, key=_closeness)
    price = Fraction(row.price)
    if row.currency == "EUR":
        rate = [one for one in rates if one.valid_from_ms <= at < one.valid_to_ms]
        if not rate:
            return None
        price *= Fraction(rate[0].rate)
    for kind, sign in ((TermKind.DISCOUNT, -1), (TermKind.MARKUP, 1)):
        fitting = [
            term
            for term in terms
            if term.kind is kind
            and term.valid_from_ms <= at < term.valid_to_ms
            and _fits(term, pool)
        ]
        if fitting:
            price *= 1 + sign * Fraction(max(fitting, key=_closeness).percent) / 100
    return price / 8 if row.unit is PriceUnit.NODE_HOUR else price


@given(_books())
def test_the_price_of_every_instant_is_what_a_walk_over_all_rows_rates_and_terms_finds(
    book: tuple[list[PriceRow], list[ExchangeRate], list[PriceTerm]],
) -> None:
    rows, rates, terms = book
    pool = a_pool(H100)

    spans = PriceBook(rows, rates, terms).spans(pool, 0, END)

    assert [spans[0].from_ms, *(one.to_ms for one in spans)] == [
        *(one.from_ms for one in spans),
        END,
    ]
    for at in range(END):
        (span,) = (one for one in spans if one.from_ms <= at < one.to_ms)
        told = _walk(rows, rates, terms, pool, at)
        assert (span.row is None) == (told is None)
        assert span.nanos_per_ms == (told or 0) * HOURLY


def test_rows_of_two_currencies_divide_a_node_by_their_worth_in_one() -> None:
    """A node at 30.00: H100 worth 4 EUR × 2.5 = 10, A100 worth 5, one of each: 20 and 10."""
    pool = replace(a_pool(), on_node=(ModelCount(H100, 1), ModelCount("NVIDIA-A100-SXM4-80GB", 1)))
    book = PriceBook(
        [
            a_price("30", PriceUnit.NODE_HOUR, node="node-1"),
            euros("4", gpu_model="H100"),
            a_price("5", gpu_model="A100"),
        ],
        [a_rate("2.5")],
    )

    (span,) = book.spans(pool, 0, 1)

    assert (span.nanos_per_ms / HOURLY, span.division) == (20, Division.GPU_HOUR_ROWS)
