"""Statements: what they are made from, and what they are once they are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

import pandera.pandas as pa

from app.chargeback.closing import Accepted
from app.chargeback.rounding import currency_decimals
from app.units.window import from_ms

LINE_GROUPS = ("team", "cost_center", "cluster", "namespace", "workload", "gpu_model", "kind")
_FIGURES = {name: pa.Column("int64") for name in ("gpu_ms", "unpriced_ms", "cost_nanos")}
# What was charged in a period, one row a line of a statement, in the order of its texts. `price_id`
# is 0 where no single price stands behind the line; `unpriced_ms` is the time without any price.
LINES = pa.DataFrameSchema(
    {name: pa.Column("str") for name in LINE_GROUPS} | {"price_id": pa.Column("int64")} | _FIGURES,
    strict=True,
    coerce=False,
)
# What was posted in a period about earlier ones; `kind` is that of the adjusted charges.
ADJUSTMENTS = pa.DataFrameSchema(
    {
        **{name: pa.Column("str") for name in LINE_GROUPS},
        **{name: pa.Column("str") for name in ("usage_day", "type", "reason", "author")},
        "run_id": pa.Column("int64"),
    }
    | _FIGURES,
    strict=True,
    coerce=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamHeader:
    """What a statement says of its team, as of the end of the period."""

    cost_center: str = ""
    department: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceText:
    """What a price of the lines is: an amount per unit, as its source gives it.

    ``effective`` is what the unit costs in the billing currency, with exchange rate, discount and
    markup, to the nano.
    """

    unit: str
    price: Decimal
    currency: str
    effective: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """The inputs that a closing pins; ``windows_sha256`` is that of the versions of every hour."""

    prices: int
    contract: int
    rating: int
    windows: int
    windows_sha256: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodHeader:
    """What the statements of one closing have in common."""

    period: str
    version: int
    start_ms: int
    end_ms: int
    closed_ms: int
    author: str
    zone: str
    currency: str
    pinned: Pinned
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementHead:
    """A statement without its content; ``total_minor`` is in minor units of the currency."""

    number: str
    version: int
    period: str
    team: str
    closed_ms: int
    currency: str
    total_nanos: int
    total_minor: int
    sha256: str
    csv_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One team's statement. ``total_minor`` is in minor units of the currency."""

    number: str
    version: int
    period: str
    team: str
    closed_ms: int
    currency: str
    total_nanos: int
    total_minor: int
    body: bytes
    csv: bytes

    @property
    def sha256(self) -> str:
        """The hash of the canonical bytes."""
        return sha256(self.body).hexdigest()

    @property
    def csv_sha256(self) -> str:
        """The hash of the statement as CSV."""
        return sha256(self.csv).hexdigest()

    @property
    def total(self) -> Decimal:
        """The rounded total in the currency."""
        return minor_amount(self.total_minor, self.currency)


def statement_number(period: str, team: str) -> str:
    """Return what a statement is called; that of the lines without a team has no team's name."""
    return f"CB-{period}-{team}" if team else f"CB-{period}"


def minor_amount(count: int, currency: str) -> Decimal:
    """Return a count of minor units as an amount of the currency."""
    return Decimal(count).scaleb(-currency_decimals(currency))


def instant_text(ms: int) -> str:
    """Return an instant in UTC, as 2026-11-01T00:00:00Z."""
    return from_ms(ms).isoformat().replace("+00:00", "Z")
