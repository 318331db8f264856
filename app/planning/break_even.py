"""Break-even: from which volume on a model of one's own costs less than a hosted one's tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

_MILLION = 10**6
# Shares and multiples are shown to a hundredth of a percent.
_RATIO_DECIMALS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPrice:
    """What a provider asks for a million tokens of a model, in ``currency``, read on ``date``.

    Cached prompt tokens cost ``prompt`` where the list has no price of their own.
    """

    provider: str
    model: str
    prompt: Decimal
    cached: Decimal | None
    generation: Decimal
    currency: str
    date: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What a model of one's own served and cost on the reserved basis.

    ``nanos`` is None where no price covers anything, tokens are None where no engine counts them;
    cached tokens are part of the prompt tokens. ``doubt`` says why the cost is not all of it, ''
    where it is.
    """

    model: str
    prompt_tokens: int | None
    cached_prompt_tokens: int | None
    generation_tokens: int | None
    nanos: int | None
    gpu_ms: int
    active_ratio: float | None
    doubt: str = ""


class Comparison(NamedTuple):
    """Own cost and hosted cost of the same tokens; amounts in nanos of the billing currency.

    ``break_even_ratio`` is by how much the volume must grow (above 1) or may shrink (below 1) for
    both to cost the same: what GPUs cost does not depend on what they serve. ``reason`` says why
    something is None, ``reachable`` is whether the GPUs had the idle time to serve that volume.
    """

    model: str
    provider: str
    price_date: str
    tokens: int | None
    own_nanos: int | None
    hosted_nanos: int | None
    difference_nanos: int | None
    break_even_ratio: Decimal | None
    break_even_tokens_per_day: int | None
    active_ratio: float | None
    reachable: bool | None
    reason: str
    source: str


def break_even(
    served: Iterable[ServedModel],
    prices: Sequence[HostedPrice],
    *,
    span_ms: int,
    match: Callable[[str, str], bool],
    rates: Mapping[str, Fraction],
) -> tuple[Comparison, ...]:
    """Compare each served model with every provider that hosts it, in the order of their names.

    ``match`` says whether a served model is one of the list; ``rates`` has the billing currency's
    nanos for a nano of each currency, the billing currency itself among them. ``span_ms`` is how
    long the tokens were counted.
    """
    rows: list[Comparison] = []
    for one in sorted(served, key=lambda model: model.model):
        hosted = [price for price in prices if match(one.model, price.model)]
        if not hosted:
            rows.append(_without(one, "not listed: no provider of the list hosts it"))
        rows.extend(
            _compared(one, price, span_ms, rates.get(price.currency))
            for price in sorted(hosted, key=lambda price: (price.provider, price.model))
        )
    return tuple(rows)


def hosted_cost(served: ServedModel, price: HostedPrice) -> Fraction | None:
    """Return what the tokens cost at a hosted price, in nanos of its currency, exact."""
    if served.prompt_tokens is None and served.generation_tokens is None:
        return None
    prompt, cached = served.prompt_tokens or 0, served.cached_prompt_tokens or 0
    for_cached = price.prompt if price.cached is None else price.cached
    million = (
        Fraction(max(prompt - cached, 0)) * Fraction(price.prompt)
        + cached * Fraction(for_cached)
        + (served.generation_tokens or 0) * Fraction(price.generation)
    )
    return million / _MILLION * 10**9


def _compared(
    served: ServedModel, price: HostedPrice, span_ms: int, rate: Fraction | None
) -> Comparison:
    row = _without(served, "")._replace(
        provider=price.provider, price_date=price.date, source=price.source
    )
    cost = hosted_cost(served, price)
    if cost is None:
        return row._replace(reason="uncounted: the engine publishes no token counter")
    if rate is None:
        return row._replace(reason=f"no exchange rate: the list is in {price.currency}")
    hosted = round(cost * rate)
    row = row._replace(hosted_nanos=hosted)
    if served.nanos is None:
        return row._replace(reason="unpriced: no price covers the time")
    row = row._replace(difference_nanos=served.nanos - hosted)
    if not hosted:
        return row._replace(reason=served.doubt or "idle: nothing was served")
    if served.doubt:
        # A part of the cost is unknown: the true break-even lies elsewhere.
        return row._replace(reason=served.doubt)
    ratio = Fraction(served.nanos) / (cost * rate)
    tokens = (row.tokens or 0) * ratio * 86_400_000 / span_ms
    return row._replace(
        break_even_ratio=_rounded(ratio),
        break_even_tokens_per_day=round(tokens),
        reachable=_reachable(ratio, served.active_ratio),
    )


def _without(served: ServedModel, reason: str) -> Comparison:
    counts = (served.prompt_tokens, served.generation_tokens)
    known = [count for count in counts if count is not None]
    return Comparison(
        model=served.model,
        provider="",
        price_date="",
        tokens=sum(known) if known else None,
        own_nanos=served.nanos,
        hosted_nanos=None,
        difference_nanos=None,
        break_even_ratio=None,
        break_even_tokens_per_day=None,
        active_ratio=served.active_ratio,
        reachable=None,
        reason=reason,
        source="",
    )


def _reachable(ratio: Fraction, active_ratio: float | None) -> bool | None:
    """Say whether the GPUs would have had the time: active time grows with the volume at most."""
    if active_ratio is None:
        return None
    return ratio * Fraction(active_ratio) <= 1


def _rounded(ratio: Fraction) -> Decimal:
    return Decimal(round(ratio * 10**_RATIO_DECIMALS)).scaleb(-_RATIO_DECIMALS)
