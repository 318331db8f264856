"""A hosted API's price list (CSV): all of it as values, or one error with its line."""

import csv
import io
import re
from datetime import date
from decimal import Decimal
from importlib.resources import files

from app.errors import InputError
from app.planning.break_even import HostedPrice
from app.pricing.currencies import CURRENCIES

COLUMNS = (
    "provider",
    "model",
    "prompt_price",
    "cached_prompt_price",
    "generation_price",
    "currency",
    "date",
    "source",
)
_AMOUNT = re.compile(r"\d{1,9}(\.\d{1,12})?", re.ASCII)
# The longest list that is read: every model of every provider has a few thousand lines.
_MOST_ROWS = 20_000


class HostedPriceError(InputError):
    """The price list cannot be used; ``line`` counts from 1."""

    def __init__(self, filename: str, line: int, reason: str) -> None:
        super().__init__(
            f"{filename}, line {line}: {reason}.",
            hint=f"A list has the columns {','.join(COLUMNS)}; prices are for a million tokens.",
        )
        self.line = line


def read_hosted_prices(text: str, *, filename: str) -> tuple[HostedPrice, ...]:
    """Return the prices of a list, all or none; a provider's model may stand there once."""
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    prices: list[HostedPrice] = []
    seen: set[tuple[str, str]] = set()
    try:
        header = tuple(name.strip() for name in next(lines, []))
        if header != COLUMNS:
            raise HostedPriceError(filename, 1, f"the header is {','.join(header) or 'empty'}")
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            price = _price(cells, filename, lines.line_num)
            if (key := (price.provider, price.model)) in seen:
                what = f"{price.model} of {price.provider} stands there twice"
                raise HostedPriceError(filename, lines.line_num, what)
            seen.add(key)
            prices.append(price)
            if len(prices) > _MOST_ROWS:
                raise HostedPriceError(filename, lines.line_num, "the list is too long")
    except csv.Error as error:
        raise HostedPriceError(filename, lines.line_num, f"it is not CSV: {error}") from error
    if not prices:
        raise HostedPriceError(filename, 1, "there are no prices below the header")
    return tuple(prices)


def starter_hosted_prices() -> tuple[HostedPrice, ...]:
    """Return the shipped list: open models at some providers, as they were on the dates in it."""
    name = "hosted_prices_starter.csv"
    text = files("app.sources").joinpath(name).read_text("utf-8")
    return read_hosted_prices(text, filename=name)


def _price(cells: list[str], filename: str, line: int) -> HostedPrice:
    if len(cells) != len(COLUMNS):
        what = f"it has {len(cells)} cells instead of {len(COLUMNS)}"
        raise HostedPriceError(filename, line, what)
    row = dict(zip(COLUMNS, (cell.strip() for cell in cells), strict=True))
    for name in ("provider", "model"):
        if not row[name]:
            raise HostedPriceError(filename, line, f"the {name} is empty")
    if row["currency"] not in CURRENCIES:
        what = f"{row['currency']!r} is no currency of ISO 4217, as USD is"
        raise HostedPriceError(filename, line, what)
    try:
        date.fromisoformat(row["date"])
    except ValueError as error:
        what = f"{row['date']!r} is no date, as 2026-11-23 is"
        raise HostedPriceError(filename, line, what) from error
    cached = row["cached_prompt_price"]
    return HostedPrice(
        provider=row["provider"],
        model=row["model"],
        prompt=_amount(row, "prompt_price", filename, line),
        cached=_amount(row, "cached_prompt_price", filename, line) if cached else None,
        generation=_amount(row, "generation_price", filename, line),
        currency=row["currency"],
        date=row["date"],
        source=row["source"],
    )


def _amount(row: dict[str, str], name: str, filename: str, line: int) -> Decimal:
    if not _AMOUNT.fullmatch(row[name]):
        what = f"the {name} {row[name]!r} is no plain amount of 0 or more"
        raise HostedPriceError(filename, line, what)
    return Decimal(row[name])
