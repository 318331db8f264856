"""Discounts and markups: dated percentages on the prices of the pools that they match."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from app.errors import InputError
from app.pricing.products import product_tokens
from app.pricing.rows import (
    RANK_COLUMNS,
    PricedPool,
    PriceKey,
    PriceUnit,
    capacity_word,
    matches,
    plain_amount,
)
from app.units.identity import hash64
from app.units.window import OPEN_MS


class TermKind(StrEnum):
    """What a percentage does to a price."""

    DISCOUNT = "discount"
    MARKUP = "markup"


class TermOverlapError(InputError):
    """Two terms of one kind for the same are valid at one instant: ``first`` and ``second``."""

    def __init__(self, first: "PriceTerm", second: "PriceTerm") -> None:
        super().__init__(
            f"Two {first.kind} terms for the same are valid at the same time:"
            f" {first.percent} % and {second.percent} %.",
            hint="End the one before the other begins.",
        )
        self.first = first
        self.second = second


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTerm:
    """A discount or markup in percent, and the pools it is for; a blank column means any."""

    kind: TermKind
    percent: Decimal
    valid_from_ms: int
    valid_to_ms: int = OPEN_MS
    cluster: str = ""
    provider: str = ""
    region: str = ""
    instance_type: str = ""
    gpu_model: str = ""
    capacity_type: str = ""
    node: str = ""
    reason: str = ""

    @property
    def match_key(self) -> PriceKey:
        """The columns in the form in which price rows are compared; the unit means nothing."""
        return PriceKey(
            node=self.node.casefold(),
            instance_type=self.instance_type.casefold(),
            gpu_model=product_tokens(self.gpu_model),
            capacity_type=capacity_word(self.capacity_type),
            cluster=self.cluster,
            region=self.region.casefold(),
            provider=self.provider.casefold(),
            unit=PriceUnit.GPU_HOUR,
        )

    @property
    def key(self) -> tuple[TermKind, PriceKey]:
        """Of what two terms may not be valid at one instant."""
        return self.kind, self.match_key

    @property
    def term_id(self) -> int:
        """The identity of the term: kind, percent, what it is for, since when and until when."""
        return hash64(
            "price term",
            self.kind.value,
            plain_amount(self.percent),
            self.cluster,
            self.provider,
            self.region,
            self.instance_type,
            self.gpu_model,
            self.capacity_type,
            self.node,
            str(self.valid_from_ms),
            str(self.valid_to_ms),
        )

    @property
    def factor(self) -> Fraction:
        """By what the price is multiplied: 1 - percent/100 for a discount, 1 + for a markup."""
        part = Fraction(self.percent) / 100
        return 1 - part if self.kind is TermKind.DISCOUNT else 1 + part

    def holds_at(self, at_ms: int) -> bool:
        """Say whether the term is valid at the instant."""
        return self.valid_from_ms <= at_ms < self.valid_to_ms


class PriceTerms:
    """Terms, no two of one kind with equal keys at one instant."""

    def __init__(self, terms: Iterable[PriceTerm] = ()) -> None:
        self.terms = tuple(sorted(terms, key=lambda one: (one.valid_from_ms, one.term_id)))
        by_key: dict[tuple[TermKind, PriceKey], list[PriceTerm]] = {}
        for term in self.terms:
            by_key.setdefault(term.key, []).append(term)
        for same in by_key.values():
            for first, second in pairwise(same):
                if second.valid_from_ms < first.valid_to_ms:
                    raise TermOverlapError(first, second)
        self._by_key = by_key

    def fitting(self, pool: PricedPool) -> tuple[PriceTerm, ...]:
        """Return the terms that fit the pool at any time, the most specific first."""
        tokens = product_tokens(pool.gpu_model)
        keys = [key for key in self._by_key if matches(key[1], pool, tokens)]
        keys.sort(key=lambda key: key[1].rank, reverse=True)
        return tuple(term for key in keys for term in self._by_key[key])

    def choices_at(
        self, at_ms: int
    ) -> tuple[tuple[PriceTerm | None, ...], tuple[PriceTerm | None, ...]]:
        """Return what may count at the instant: the discounts and the markups, or none of each."""
        valid = [one for one in self.terms if one.holds_at(at_ms)]
        discounts = (one for one in valid if one.kind is TermKind.DISCOUNT)
        markups = (one for one in valid if one.kind is TermKind.MARKUP)
        return (None, *discounts), (None, *markups)


def term_at(fitting: Iterable[PriceTerm], kind: TermKind, at_ms: int) -> PriceTerm | None:
    """Return the term of the kind that counts at the instant: the first valid one."""
    return next((one for one in fitting if one.kind is kind and one.holds_at(at_ms)), None)


def why_not(term: PriceTerm, counting: PriceTerm | None, at_ms: int) -> str:
    """Say why a fitting term does not count at the instant beside the one that does."""
    if at_ms < term.valid_from_ms:
        return "it is not valid yet"
    if at_ms >= term.valid_to_ms:
        return "it is not valid any more"
    if counting is None:
        message = "A valid term that fits the pool cannot lose to none."
        raise AssertionError(message)
    ranks = zip(RANK_COLUMNS, term.match_key.rank, counting.match_key.rank, strict=True)
    column = next(column for column, own, other in ranks if own != other)
    return f"the one that counts names the {column} more closely"
