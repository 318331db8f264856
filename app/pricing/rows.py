"""The price book's rows, and the attributes of a pool that they are matched with."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from app.pricing.components import OwnedPrice
from app.pricing.products import names_product, product_tokens
from app.units.identity import hash64
from app.units.money import NANOS_PER_UNIT
from app.units.window import HOUR_MS, OPEN_MS

# What nodes say they are; a price for another word fits no node.
CAPACITY_TYPES = ("on_demand", "spot", "reserved", "capacity_block")
# Providers' words for one capacity type, beside the ledger's own.
_CAPACITY_WORDS = {"ondemand": "on_demand", "preemptible": "spot"}


class PriceUnit(StrEnum):
    """What a price is for: one GPU or the whole node, an hour each."""

    GPU_HOUR = "gpu_hour"
    NODE_HOUR = "node_hour"


@dataclass(frozen=True, slots=True)
class PriceKey:
    """What a row is for, in the form that is compared; blank or empty means any."""

    node: str
    instance_type: str
    gpu_model: tuple[str, ...]
    capacity_type: str
    cluster: str
    region: str
    provider: str
    unit: PriceUnit

    @property
    def rank(self) -> tuple[int, ...]:
        """How specific the key is: the first column that differs decides, then the unit."""
        return (
            int(self.node != ""),
            int(self.instance_type != ""),
            len(self.gpu_model),
            int(self.capacity_type != ""),
            int(self.cluster != ""),
            int(self.region != ""),
            int(self.provider != ""),
            int(self.unit is PriceUnit.NODE_HOUR),
        )


RANK_COLUMNS = (
    "node",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "cluster",
    "region",
    "provider",
    "unit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One price and what it is for, from ``valid_from_ms`` until before ``valid_to_ms``.

    A blank column means any. ``price`` is the contracted unit price for one hour and
    ``list_price`` the public one, None where the book does not say it; both in ``currency``.
    A row derived from an owned asset carries its exact components in ``owned``; its ``price`` is
    their sum to 12 decimals.
    """

    unit: PriceUnit
    price: Decimal
    currency: str
    valid_from_ms: int
    valid_to_ms: int = OPEN_MS
    cluster: str = ""
    provider: str = ""
    region: str = ""
    instance_type: str = ""
    gpu_model: str = ""
    capacity_type: str = ""
    node: str = ""
    source: str = ""
    list_price: Decimal | None = None
    owned: OwnedPrice | None = None

    @property
    def key(self) -> PriceKey:
        """The columns that say what the row is for, compared without regard to case."""
        return PriceKey(
            node=self.node.casefold(),
            instance_type=self.instance_type.casefold(),
            gpu_model=product_tokens(self.gpu_model),
            capacity_type=capacity_word(self.capacity_type),
            cluster=self.cluster,
            region=self.region.casefold(),
            provider=self.provider.casefold(),
            unit=self.unit,
        )

    @property
    def price_id(self) -> int:
        """The identity of the price: what it is for, how much, since when and until when."""
        return hash64(
            "price",
            self.cluster,
            self.provider,
            self.region,
            self.instance_type,
            self.gpu_model,
            self.capacity_type,
            self.node,
            self.unit.value,
            plain_amount(self.price),
            self.currency,
            str(self.valid_from_ms),
            str(self.valid_to_ms),
            *_more(self),
        )

    @property
    def exact_price(self) -> Fraction:
        """The contracted unit price for one hour, in the row's currency."""
        return Fraction(self.price) if self.owned is None else self.owned.total

    @property
    def nanos_per_ms(self) -> Fraction:
        """The price in nanos of the row's currency for one millisecond of its unit, exact."""
        return self.exact_price * NANOS_PER_UNIT / HOUR_MS

    def holds_at(self, at_ms: int) -> bool:
        """Say whether the row is valid at the instant."""
        return self.valid_from_ms <= at_ms < self.valid_to_ms


@dataclass(frozen=True, slots=True)
class ModelCount:
    """How many devices of one model a node has."""

    gpu_model: str
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedPool:
    """A pool as the price book sees it, and all models of its node, this pool's included."""

    cluster: str
    provider: str
    region: str
    instance_type: str
    capacity_type: str
    node: str
    gpu_model: str
    on_node: tuple[ModelCount, ...]

    @property
    def devices(self) -> int:
        """The pool's own devices."""
        return sum(one.devices for one in self.on_node if one.gpu_model == self.gpu_model)


def matches(key: PriceKey, pool: PricedPool, tokens: tuple[str, ...]) -> bool:
    """Say whether every filled column of the key is the pool's; ``tokens`` are of its GPU model."""
    return (
        key.node in ("", pool.node.casefold())
        and key.instance_type in ("", pool.instance_type.casefold())
        and key.capacity_type in ("", capacity_word(pool.capacity_type))
        and key.cluster in ("", pool.cluster)
        and key.region in ("", pool.region.casefold())
        and key.provider in ("", pool.provider.casefold())
        and names_product(key.gpu_model, tokens)
    )


def capacity_word(text: str) -> str:
    """Return a capacity type in the ledger's spelling: ``On-Demand`` is ``on_demand``."""
    word = text.strip().casefold().replace("-", "_").replace(" ", "_")
    return _CAPACITY_WORDS.get(word, word)


def _more(row: PriceRow) -> tuple[str, ...]:
    """Return what else tells a price from others; nothing for a row without a list price."""
    listed = () if row.list_price is None else ("list", plain_amount(row.list_price))
    if row.owned is None:
        return listed
    return (*listed, "owned", row.owned.asset, *(str(part) for _, part in row.owned.parts))


def plain_amount(amount: Decimal) -> str:
    """Return an amount as plain digits without trailing zeros: 3.00 and 3 are the same price."""
    return format(amount.normalize(), "f")
