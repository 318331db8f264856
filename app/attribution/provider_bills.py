"""What a provider charged, as values: a bill of one period, its rows, and what they are about."""

from dataclasses import dataclass
from enum import IntEnum

from app.units.window import OPEN_MS


class ChargeCategory(IntEnum):
    """FOCUS' ChargeCategory; the numbers are what the database stores."""

    USAGE = 1
    PURCHASE = 2
    TAX = 3
    CREDIT = 4
    ADJUSTMENT = 5

    @property
    def focus(self) -> str:
        """The word that a FOCUS file has."""
        return self.name.title()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One account's bill of one period, in its version; instants in milliseconds.

    ``covered_until_ms`` is until when it lists charges: the period's end if it was imported after
    that, else the end of its latest charge.
    """

    bill_id: int
    provider: str
    billing_account: str
    start_ms: int
    end_ms: int
    covered_until_ms: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What is natural about it, whatever its version."""
        return self.provider, self.billing_account, self.start_ms

    def covers(self, start_ms: int, end_ms: int) -> bool:
        """Say whether its charges of a span are all there."""
        return self.start_ms <= start_ms and end_ms <= self.covered_until_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRow:
    """One row: what was charged for ``[start_ms, end_ms)``, in nanos of the billing currency.

    ``nanos`` is its EffectiveCost. ``unused`` is a commitment's cost that no usage took
    (CommitmentDiscountStatus Unused). ``compute`` says that its ServiceCategory is Compute.
    """

    bill_id: int
    number: int
    start_ms: int
    end_ms: int
    category: ChargeCategory
    nanos: int
    unused: bool = False
    compute: bool = True
    service: str = ""
    resource_id: str = ""
    resource_name: str = ""
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLife:
    """A node by its UID, from its creation to its deletion; several may be one machine in turn."""

    cluster_id: int
    cluster: str
    node_id: int
    name: str
    provider_id: str = ""
    hostname: str = ""
    created_ms: int = 0
    deleted_ms: int = OPEN_MS
