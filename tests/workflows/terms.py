"""A price book and a team contract as text for the ledger and as plain values for the oracle."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from fractions import Fraction
from random import Random

from app.simulator.hardware import Node
from app.simulator.spec import OPEN_MS
from tests.oracle.ledger_oracle import UNOWNED, Owner, Price

PLATFORM = "platform"
# How many devices the machines of small fleets have, which are of types that nobody sells.
_SIZES = range(2, 8)
_COLUMNS = (
    "cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,"
    "valid_from,valid_to,source"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A price of machines of one family, whatever their size; ``unit`` is gpu_hour or node_hour."""

    family: str
    price: str
    unit: str = "gpu_hour"
    from_ms: int = 0
    to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """A team that owns namespaces, named or by a glob, for a while."""

    namespaces: tuple[str, ...]
    team: str
    from_ms: int = 0
    to_ms: int = OPEN_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """By what a test's charges are made."""

    rates: tuple[Rate, ...]
    owners: tuple[Ownership, ...]
    mig_share: str = "max"
    time_slicing: str = "slots"

    def price_book(self, *more: str) -> str:
        """Return the CSV; ``more`` are rows as they stand."""
        rows = [
            f",,,{one.family}.{gpus}gpu,,,,{one.unit},{one.price},USD,"
            f"{instant(one.from_ms)},{instant(one.to_ms)},test"
            for one in self.rates
            for gpus in _SIZES
        ]
        return "\n".join([_COLUMNS, *rows, *more, ""])

    def contract(self) -> str:
        """Return the YAML."""
        blocks = [
            f"  - {{ name: {one.team}, namespaces: {list(one.namespaces)}"
            + (f", valid_from: {instant(one.from_ms)}" if one.from_ms else "")
            + (f", valid_to: {instant(one.to_ms)}" if one.to_ms < OPEN_MS else "")
            + " }"
            for one in self.owners
        ]
        shares = f"policies: {{ mig_share: {self.mig_share}, time_slicing: {self.time_slicing} }}"
        return "\n".join(["teams:", *blocks, f"platform: {{ team: {PLATFORM} }}", shares, ""])

    def oracle_prices(self, nodes: Iterable[Node]) -> Mapping[str, tuple[Price, ...]]:
        """Return by node what each of its devices costs an hour."""
        return {
            node.name: tuple(
                Price(
                    start_ms=one.from_ms,
                    end_ms=one.to_ms,
                    per_device_hour=Fraction(one.price)
                    / (node.devices if one.unit == "node_hour" else 1),
                )
                for one in self.rates
                if one.family == node.shape.instance_type.split(".")[0]
            )
            for node in nodes
        }

    def oracle_owners(self, namespaces: Iterable[str]) -> tuple[Owner, ...]:
        """Return who owns the namespaces when."""
        return tuple(
            Owner(namespace=name, team=one.team, start_ms=one.from_ms, end_ms=one.to_ms)
            for name in sorted(set(namespaces))
            for one in self.owners
            if any(fnmatchcase(name, glob) for glob in one.namespaces)
        )

    def borders(self) -> tuple[int, ...]:
        """Return the instants at which a price or an owner changes."""
        return tuple(
            sorted(
                {at for one in (*self.rates, *self.owners) for at in (one.from_ms, one.to_ms)}
                - {0, OPEN_MS}
            )
        )

    def teams(self) -> tuple[str, ...]:
        """Return every name that a line may carry."""
        return (*sorted({one.team for one in self.owners}), PLATFORM, UNOWNED)


def drawn_seconds(draw: Random, start_ms: int, end_ms: int, *, count: int) -> list[int]:
    """Return instants inside a span, in order; prices are valid to the second."""
    return sorted(1000 * draw.randrange(start_ms // 1000 + 1, end_ms // 1000) for _ in range(count))


def drawn_terms(seed: int, start_ms: int, end_ms: int) -> Terms:
    """Return prices and owners of the simulated fleets that change at random instants of a span.

    A machine with L40S is unpriced at first, research has no owner at first, others never do.
    """
    draw = Random(seed)
    first, second, third, handover, found = drawn_seconds(draw, start_ms, end_ms, count=5)
    a100 = {"family": "p4de", "unit": "node_hour"}
    return Terms(
        rates=(
            Rate(family="p5", price="3.333333", to_ms=second),
            Rate(family="p5", price="4.1", from_ms=second, to_ms=handover),
            Rate(family="p5", price="2.718281828", from_ms=handover),
            Rate(**a100, price="11.20", to_ms=third),
            Rate(**a100, price="13.57", from_ms=third),
            Rate(family="g6e", price="1.1", from_ms=first),
            Rate(family="Standard_ND96isr_MI300X_v5", price="5.25"),
            Rate(family="bare-flex170", price="0.61", to_ms=third),
            Rate(family="bare-flex170", price="0.59", from_ms=third),
            Rate(family="dl1", price="1.638", unit="node_hour"),
            Rate(family="ct5lp-hightpu-4t", price="1.2", from_ms=second),
            Rate(family="trn1", price="1.34375"),
        ),
        owners=(
            Ownership(namespaces=("search-*",), team="search"),
            Ownership(namespaces=("ml-*",), team="ml", to_ms=third),
            Ownership(namespaces=("ml-*",), team="foundation", from_ms=third),
            Ownership(namespaces=("ads-*",), team="ads"),
            Ownership(namespaces=("research-*",), team="research", from_ms=found),
        ),
    )


def instant(at_ms: int) -> str:
    """Return an instant as the files write it, with its millisecond; '' for ever and never."""
    if at_ms in (0, OPEN_MS):
        return ""
    at = datetime.fromtimestamp(at_ms // 1000, tz=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
