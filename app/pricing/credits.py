"""Credits: money given back over a span of time."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from app.pricing.exchange import ExchangeRate
from app.pricing.rows import plain_amount
from app.units.identity import hash64
from app.units.money import NANOS_PER_UNIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """An amount that is given back, spread evenly over the hours of ``[from, to)``.

    ``amount`` is of ``currency`` and not negative; ``team`` '' is the platform team's. ``rate`` is
    the exchange rate at the credit's beginning, None for the billing currency.
    """

    name: str
    team: str
    amount: Decimal
    currency: str
    valid_from_ms: int
    valid_to_ms: int
    reason: str = ""
    rate: ExchangeRate | None = None

    @property
    def nanos(self) -> int:
        """The amount in nanos of the billing currency, rounded half to even."""
        rate = Fraction(self.rate.rate) if self.rate else Fraction(1)
        return round(Fraction(self.amount) * rate * NANOS_PER_UNIT)

    @property
    def key(self) -> tuple[str, str]:
        """Of what two credits may not be valid at one instant."""
        return self.name, self.team

    @property
    def credit_id(self) -> int:
        """The identity of the credit: whose, how much, since when and until when."""
        return hash64(
            "credit",
            self.name,
            self.team,
            plain_amount(self.amount),
            self.currency,
            str(self.valid_from_ms),
            str(self.valid_to_ms),
        )
