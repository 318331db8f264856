"""Compare what models of one's own cost with what hosted ones would cost for the same tokens."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.chargeback.tables import Cell, Table, amount
from app.planning.break_even import Comparison, HostedPrice, ServedModel, break_even
from app.pricing.exchange import ExchangeRates
from app.store.costs import IncompleteHours
from app.store.dimensions import Filters
from app.store.prices import PriceStore
from app.units.window import Window
from app.usage.models import ModelEntry, ModelTable
from app.workflows.reading import inference_sums

COLUMNS = (
    "model",
    "provider",
    "price_date",
    "tokens",
    "total_cost",
    "hosted_cost",
    "difference",
    "currency",
    "break_even_ratio",
    "break_even_tokens_per_day",
    "active_ratio",
    "reachable",
    "reason",
    "source",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """The comparisons of a window, and what the window lacks."""

    rows: tuple[Comparison, ...]
    hours: IncompleteHours

    def table(self, currency: str) -> Table:
        """Return the comparisons as people read them."""
        return Table(COLUMNS, tuple(_cells(row, currency) for row in self.rows))


def compare_with_hosted(
    connection: Connection,
    window: Window,
    filters: Filters,
    prices: Sequence[HostedPrice],
    *,
    zone: ZoneInfo,
    currency: str,
    models: Sequence[ModelEntry] = (),
) -> BreakEven:
    """Return what each served model cost on the reserved basis beside every hosted price of it.

    Prices in another currency are exchanged at the rate of the window's last instant.
    """
    found = inference_sums(connection, window, ("model",), filters, zone=zone)
    store = PriceStore(connection)
    rates = ExchangeRates(store.rates(store.version()))
    at_ms = window.end_ms - 1
    factors: dict[str, Fraction] = {currency: Fraction(1)}
    for code in {price.currency for price in prices} - {currency}:
        if (rate := rates.at(code, at_ms)) is not None:
            factors[code] = Fraction(rate.rate)
    table = ModelTable(models)
    rows = break_even(
        [_served(row) for row in found.rows.to_dict("records")],
        prices,
        span_ms=window.length_ms,
        match=lambda served, listed: _same(table.canonical(served), listed),
        rates=factors,
    )
    return BreakEven(rows=rows, hours=found.hours)


def _cells(row: Comparison, currency: str) -> tuple[Cell, ...]:
    money = (row.own_nanos, row.hosted_nanos, row.difference_nanos)
    active = None if row.active_ratio is None else Decimal(f"{row.active_ratio:.4f}")
    return (
        row.model,
        row.provider,
        row.price_date,
        row.tokens,
        *(None if nanos is None else amount(nanos) for nanos in money),
        currency,
        row.break_even_ratio,
        row.break_even_tokens_per_day,
        active,
        row.reachable,
        row.reason,
        row.source,
    )


def _served(row: Mapping[Hashable, object]) -> ServedModel:
    ratio = row["active_ratio"]
    return ServedModel(
        model=str(row["model"]),
        prompt_tokens=_count(row["prompt_tokens"]),
        cached_prompt_tokens=_count(row["cached_prompt_tokens"]),
        generation_tokens=_count(row["generation_tokens"]),
        nanos=_count(row["total_nanos"]),
        gpu_ms=_count(row["gpu_ms"]) or 0,
        # NaN is the null of a float column.
        active_ratio=ratio if isinstance(ratio, float) and ratio == ratio else None,  # noqa: PLR0124 see above
        doubt="" if row["cost_per_million_tokens"] is not None else str(row["unit_cost_reason"]),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _same(served: str, listed: str) -> bool:
    """Say whether a served name is a listed one, with or without the organization before it."""
    one, other = served.casefold(), listed.casefold()
    return one == other or one == other.rpartition("/")[2] or one.rpartition("/")[2] == other
