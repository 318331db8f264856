"""Commitments: capacity or spend promised to a provider, and what each of its hours costs."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from app.pricing.products import names_product, product_tokens
from app.pricing.rows import PricedPool, capacity_word, plain_amount
from app.units.identity import hash64
from app.units.money import NANOS_PER_UNIT, split, to_nanos
from app.units.window import HOUR_MS

# A commitment that names no capacity type is not used up by capacity sold under another name.
_NOT_COMMITTED = "spot"


class CommitmentKind(StrEnum):
    """What was bought, in the order in which commitments that fit one pool cover it."""

    CAPACITY_BLOCK = "capacity_block"
    RESERVATION = "reservation"
    COMMITTED_USE = "committed_use"
    SAVINGS_PLAN = "savings_plan"


class CommitmentUnit(StrEnum):
    """What the quantity counts: GPUs, nodes, or money an hour at the discounted prices."""

    GPU_HOUR = "gpu_hour"
    NODE_HOUR = "node_hour"
    SPEND_HOUR = "spend_hour"


class AllotmentRule(StrEnum):
    """How an hour's covered time is divided: the same fraction of every pool, or by cluster."""

    BLENDED = "blended"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """One commitment over its term ``[term_start_ms, term_end_ms)``; blank columns mean any.

    ``quantity`` is a whole number of GPUs or nodes, or money an hour. ``upfront`` and
    ``recurring_per_hour`` are what it costs, used or not; ``discount_ratio`` is 0 or more and less
    than 1 and says for a spend commitment what the on-demand price is lowered by. ``clusters`` are
    names, empty for all of the billing account; ``payer`` is the team of what is left unused.
    """

    commitment: str
    kind: CommitmentKind
    unit: CommitmentUnit
    quantity: Decimal
    currency: str
    term_start_ms: int
    term_end_ms: int
    upfront: Decimal = Decimal(0)
    recurring_per_hour: Decimal = Decimal(0)
    discount_ratio: Decimal = Decimal(0)
    name: str = ""
    billing_account: str = ""
    clusters: tuple[str, ...] = ()
    provider: str = ""
    region: str = ""
    instance_type: str = ""
    gpu_model: str = ""
    capacity_type: str = ""
    payer: str = ""
    allotment: AllotmentRule = AllotmentRule.BLENDED
    source: str = ""

    @property
    def price_id(self) -> int:
        """The identity by which charges name the commitment: all that decides what they cost."""
        return hash64(
            "commitment",
            self.commitment,
            self.kind.value,
            self.unit.value,
            *(
                plain_amount(amount)
                for amount in (
                    self.quantity,
                    self.upfront,
                    self.recurring_per_hour,
                    self.discount_ratio,
                )
            ),
            self.currency,
            str(self.term_start_ms),
            str(self.term_end_ms),
            self.billing_account,
            " ".join(self.clusters),
            self.provider,
            self.region,
            self.instance_type,
            self.gpu_model,
            self.capacity_type,
            self.allotment.value,
        )

    @property
    def order(self) -> tuple[int, tuple[int, ...], str, int]:
        """Sort commitments by this: the earlier covers first what two of them fit."""
        filled = (
            int(self.instance_type != ""),
            len(product_tokens(self.gpu_model)),
            int(self.capacity_type != ""),
            int(self.clusters != ()),
            int(self.region != ""),
            int(self.provider != ""),
        )
        rank = tuple(CommitmentKind).index(self.kind)
        return rank, tuple(-count for count in filled), self.commitment, self.term_start_ms

    def fits(self, pool: PricedPool) -> bool:
        """Say whether the commitment may cover the pool, whose account is taken for granted.

        Where no capacity type is named, spot capacity is not covered: providers sell it apart.
        """
        capacity_type = capacity_word(pool.capacity_type)
        wanted = capacity_word(self.capacity_type)
        return (
            (not self.clusters or pool.cluster in self.clusters)
            and self.provider.casefold() in ("", pool.provider.casefold())
            and self.region.casefold() in ("", pool.region.casefold())
            and self.instance_type.casefold() in ("", pool.instance_type.casefold())
            and (wanted == capacity_type if wanted else capacity_type != _NOT_COMMITTED)
            and names_product(product_tokens(self.gpu_model), product_tokens(pool.gpu_model))
        )

    def active_ms(self, window_ms: int) -> int:
        """Return how long the commitment counts in the hour that begins at ``window_ms``."""
        low, high = max(window_ms, self.term_start_ms), min(window_ms + HOUR_MS, self.term_end_ms)
        return max(high - low, 0)

    def committed(self, window_ms: int) -> Fraction:
        """Return what is promised for the hour: GPU- or node-milliseconds, or nanos of spend."""
        active_ms = self.active_ms(window_ms)
        if self.unit is CommitmentUnit.SPEND_HOUR:
            return Fraction(self.quantity) * NANOS_PER_UNIT * active_ms / HOUR_MS
        return Fraction(self.quantity) * active_ms

    def cost_nanos(self, window_ms: int) -> int:
        """Return what the hour costs: its part of the upfront, and the recurring price.

        The parts of the upfront sum to it over the term; the recurring price is rounded half to
        even in an hour that is not wholly of the term.
        """
        active_ms = self.active_ms(window_ms)
        if not active_ms:
            return 0
        recurring = Fraction(self.recurring_per_hour) * NANOS_PER_UNIT * active_ms / HOUR_MS
        return self.upfront_nanos(window_ms) + round(recurring)

    def upfront_nanos(self, window_ms: int) -> int:
        """Return the part of the upfront that an hour of the term carries."""
        if not self.active_ms(window_ms):
            return 0
        first_ms = self.term_start_ms // HOUR_MS * HOUR_MS
        parts = _upfront_parts(to_nanos(self.upfront), self.term_start_ms, self.term_end_ms)
        return parts[(window_ms - first_ms) // HOUR_MS]


def active_commitments(
    commitments: Iterable[Commitment], start_ms: int, end_ms: int
) -> tuple[Commitment, ...]:
    """Return those whose term meets ``[start_ms, end_ms)``, in the order in which they cover."""
    meeting = [
        one for one in commitments if one.term_start_ms < end_ms and one.term_end_ms > start_ms
    ]
    return tuple(sorted(meeting, key=lambda one: one.order))


@lru_cache(maxsize=256)
def _upfront_parts(upfront_nanos: int, start_ms: int, end_ms: int) -> tuple[int, ...]:
    """Split an upfront over the hours that the term touches, by their milliseconds in it."""
    hours = range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS)
    weights = [min(end_ms, hour + HOUR_MS) - max(start_ms, hour) for hour in hours]
    return tuple(split(upfront_nanos, weights, hours))
