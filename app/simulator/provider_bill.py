"""A provider's FOCUS 1.0 bill of the synthetic machines, hour by hour, with a known sum."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from app.simulator.hardware import Node
from app.simulator.spec import HOUR_MS

# Mandatory columns of FOCUS 1.0, and those by which machines are found.
COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency"),
    *("BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass"),
    *("ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountStatus"),
    *("ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ProviderName", "PublisherName", "ResourceId", "ResourceName"),
    *("ServiceCategory", "ServiceName", "Tags"),
)
# A machine is paid for from its start, and joins its cluster some minutes later.
_BOOT_MS = 4 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledHours:
    """Which machines are billed for ``[start_ms, end_ms)``, whole hours of one UTC month.

    ``hourly`` is the price of a machine by instance type; a type without one is free.
    """

    nodes: Sequence[Node]
    hourly: Mapping[str, Decimal]
    start_ms: int
    end_ms: int
    account: str = "100200300400"
    currency: str = "USD"


def bill_rows(billed: BilledHours) -> Iterator[dict[str, str]]:
    """Yield a row a machine and hour, and behind them storage and tax, by column."""
    whole = Decimal(0)
    for hour_ms in range(billed.start_ms, billed.end_ms, HOUR_MS):
        for node in billed.nodes:
            start_ms = max(hour_ms, node.created_ms - _BOOT_MS)
            end_ms = min(hour_ms + HOUR_MS, node.deleted_ms)
            price = billed.hourly.get(node.shape.instance_type, Decimal(0))
            if start_ms < end_ms:
                cost = (price * (end_ms - start_ms) / HOUR_MS).quantize(Decimal("1e-10"))
                whole += cost
                yield _row(billed, cost, start_ms, end_ms) | {
                    "ResourceId": node.provider_id().rpartition(":///")[2].rpartition("/")[2],
                    "ResourceName": node.name,
                    "ChargeDescription": f"{node.shape.instance_type} in {node.shape.region}",
                }
    storage = (whole / 50).quantize(Decimal("0.01"))
    yield _row(billed, storage, billed.start_ms, billed.end_ms) | {
        "ResourceId": "model-weights",
        "ServiceCategory": "Storage",
        "ServiceName": "Object Storage",
    }
    yield _row(billed, (whole / 10).quantize(Decimal("0.01")), billed.start_ms, billed.end_ms) | {
        "ChargeCategory": "Tax",
        "ServiceCategory": "Other",
        "ServiceName": "Tax",
    }


def bill_csv(billed: BilledHours) -> bytes:
    """Return the rows as a file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(bill_rows(billed))
    return text.getvalue().encode()


def _row(billed: BilledHours, cost: Decimal, start_ms: int, end_ms: int) -> dict[str, str]:
    month = _at(billed.start_ms).replace(day=1, hour=0)
    after = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    amount = format(cost, "f")
    return {
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), amount),
        **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), "Simulated Cloud"),
        "BillingAccountId": billed.account,
        "BillingAccountName": "GPU platform",
        "BillingCurrency": billed.currency,
        "BillingPeriodStart": _text(month),
        "BillingPeriodEnd": _text(after),
        "ChargeCategory": "Usage",
        "ChargePeriodStart": _text(_at(start_ms)),
        "ChargePeriodEnd": _text(_at(end_ms)),
        "PricingQuantity": "1.0",
        "PricingUnit": "Hours",
        "ServiceCategory": "Compute",
        "ServiceName": "Virtual Machines",
    }


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, tz=UTC)


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
