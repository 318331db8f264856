"""Own cost beside a hosted price: figures that a person checks by hand."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from app.planning.break_even import (
    Comparison,
    HostedPrice,
    ServedModel,
    break_even,
    hosted_cost,
)

USD = 10**9
DAY_MS = 86_400_000
RATES = {"USD": Fraction(1)}


def a_price(**changes: object) -> HostedPrice:
    """1.00 for a million prompt tokens, 0.10 cached, 4.00 generated."""
    values: dict[str, object] = {
        "provider": "somebody",
        "model": "llama",
        "prompt": Decimal(1),
        "cached": Decimal("0.1"),
        "generation": Decimal(4),
        "currency": "USD",
        "date": "2026-11-23",
        "source": "their page",
        **changes,
    }
    return HostedPrice(**values)  # type: ignore[arg-type] # the builder's keywords are the fields


def a_model(**changes: object) -> ServedModel:
    """6 million prompt tokens, 1 million of them cached, 1 million generated, for 18.20."""
    values: dict[str, object] = {
        "model": "llama",
        "prompt_tokens": 6_000_000,
        "cached_prompt_tokens": 1_000_000,
        "generation_tokens": 1_000_000,
        "nanos": 18_200_000_000,
        "gpu_ms": DAY_MS,
        "active_ratio": 0.25,
        **changes,
    }
    return ServedModel(**values)  # type: ignore[arg-type] # the builder's keywords are the fields


def compared(model: ServedModel, *prices: HostedPrice) -> tuple[Comparison, ...]:
    return break_even(
        [model], prices, span_ms=DAY_MS, match=lambda one, other: one == other, rates=RATES
    )


def test_twice_the_volume_would_break_even() -> None:
    # 5 × 1.00 + 1 × 0.10 + 1 × 4.00 = 9.10 hosted; 18.20 of one's own is twice that.
    (row,) = compared(a_model(), a_price())

    assert row.hosted_nanos == 9_100_000_000
    assert row.difference_nanos == 9_100_000_000
    assert row.break_even_ratio == Decimal("2.0000")
    assert row.tokens == 7_000_000
    assert row.break_even_tokens_per_day == 14_000_000
    # A quarter of the time was active: twice the volume fits.
    assert row.reachable is True


def test_a_volume_for_which_the_gpus_have_no_time_is_not_reachable() -> None:
    (row,) = compared(a_model(active_ratio=0.75), a_price())

    assert row.reachable is False


def test_without_a_price_for_cached_tokens_they_cost_what_prompt_tokens_cost() -> None:
    assert hosted_cost(a_model(), a_price(cached=None)) == 10 * USD


def test_every_provider_of_the_model_is_a_row_and_a_model_nobody_hosts_says_so() -> None:
    rows = compared(a_model(), a_price(provider="b"), a_price(provider="a"))
    (other,) = compared(a_model(model="our-own"), a_price())

    assert [row.provider for row in rows] == ["a", "b"]
    assert other.reason.startswith("not listed")
    assert other.hosted_nanos is None


def test_what_is_idle_has_no_break_even_but_shows_its_money() -> None:
    idle = a_model(
        prompt_tokens=0, cached_prompt_tokens=0, generation_tokens=0, doubt="idle, 18.20"
    )
    (row,) = compared(idle, a_price())

    assert (row.own_nanos, row.hosted_nanos) == (18_200_000_000, 0)
    assert row.break_even_ratio is None
    assert row.reason == "idle, 18.20"


def test_a_doubtful_or_unpriced_cost_and_a_foreign_currency_are_reasons() -> None:
    (doubtful,) = compared(a_model(doubt="carried"), a_price())
    (unpriced,) = compared(a_model(nanos=None), a_price())
    (foreign,) = compared(a_model(), a_price(currency="EUR"))

    assert (doubtful.reason, doubtful.break_even_ratio) == ("carried", None)
    assert unpriced.reason.startswith("unpriced")
    assert foreign.reason == "no exchange rate: the list is in EUR"


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(1, 10**15),
)
def test_at_the_break_even_volume_both_cost_the_same(
    uncached: int, cached: int, generation: int, nanos: int
) -> None:
    model = a_model(
        prompt_tokens=uncached + cached,
        cached_prompt_tokens=cached,
        generation_tokens=generation,
        nanos=nanos,
    )
    (row,) = compared(model, a_price())

    # Token by token, by hand: nanos of a million tokens are thousands of a nano each.
    by_hand = Fraction(uncached * 1000 + cached * 100 + generation * 4000)
    assert row.hosted_nanos == round(by_hand)
    if row.break_even_ratio is not None:
        error = abs(Fraction(row.break_even_ratio) * by_hand - nanos)
        assert error <= by_hand * Fraction(1, 20_000)
