"""What `focus-validator` does not see of a FOCUS file: read as text, checked with Decimal."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal, Inexact

EXACT = Context(prec=200, traps=[Inexact])
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_DECIMAL = re.compile(r"-?\d+\.\d+", re.ASCII)
DECIMALS = (
    *("BilledCost", "ConsumedQuantity", "ContractedCost", "ContractedUnitPrice", "EffectiveCost"),
    *("ListCost", "ListUnitPrice", "PricingQuantity", "CommitmentDiscountQuantity"),
    *("PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost"),
    "PricingCurrencyListUnitPrice",
)
INSTANTS = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
UNITS = {"GPU-Hours", "Node-Hours", "kWh", "Hours", "Tokens", "GB-Hours", ""}
_SKU_KEYS = {
    *("CoreCount", "DiskMaxIops", "DiskSpace", "DiskType", "GpuCount", "InstanceType"),
    *("InstanceSeries", "MemorySize", "NetworkMaxIops", "NetworkMaxThroughput"),
    *("OperatingSystem", "Redundancy", "StorageClass"),
}
METRICS = (
    *("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"),
    *("ConsumedQuantity", "PricingQuantity", "CommitmentDiscountQuantity"),
)
Row = Mapping[str, str]


def read(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file, as a strict reader of RFC 4180 understands it."""
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def faults(rows: Sequence[Row], *, known: Sequence[str]) -> list[str]:
    """Return what is wrong with the rows of a file whose FOCUS columns are ``known``."""
    found = [f"row {number}: {fault}" for number, row in enumerate(rows) for fault in _of_row(row)]
    header = [*rows[0]] if rows else []
    own = [name for name in header if name not in known]
    found += [f"{name} has no x_" for name in own if not name.startswith("x_")]
    if own and header[-len(own) :] != own:
        found.append("own columns do not stand last")
    whole = [tuple(row.values()) for row in rows]
    if len(set(whole)) < len(whole):
        found.append("a row stands twice")
    return [*found, *_of_splits(rows)]


def _of_row(row: Row) -> Iterator[str]:
    yield from _of_formats(row)
    yield from _of_figures(row)
    if any(isinstance(value, dict | list) for value in json.loads(row["Tags"] or "{}").values()):
        yield "nested Tags"
    for key in json.loads(row["SkuPriceDetails"] or "{}"):
        if key not in _SKU_KEYS and not key.startswith("x_"):
            yield f"SkuPriceDetails {key}"


def _of_formats(row: Row) -> Iterator[str]:
    yield from (f"{one} {row[one]!r}" for one in INSTANTS if not _INSTANT.fullmatch(row[one]))
    for name in DECIMALS:
        if row.get(name) and not _DECIMAL.fullmatch(row[name]):
            yield f"{name} {row[name]!r}"
    for name in ("ConsumedUnit", "PricingUnit"):
        if row[name] not in UNITS:
            yield f"{name} {row[name]!r}"
    if any(not text.strip() and text for text in row.values()):
        yield "a blank text for null"


def _of_figures(row: Row) -> Iterator[str]:
    for kind in ("Billing", "Charge"):
        if row[f"{kind}PeriodStart"] >= row[f"{kind}PeriodEnd"]:
            yield f"the {kind} period does not end after it starts"
    for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
        if row[price] and row["PricingQuantity"] and row["ChargeClass"] != "Correction":
            product = EXACT.multiply(Decimal(row[price]), Decimal(row["PricingQuantity"]))
            if product != Decimal(row[cost]):
                yield f"{cost} {row[cost]} is not {product}"
    covered = row["CommitmentDiscountId"] or row["ChargeCategory"] == "Purchase"
    if not covered and Decimal(row["EffectiveCost"]) != Decimal(row["BilledCost"]):
        yield "EffectiveCost is not BilledCost"


def allocated(row: Row, name: str) -> str:
    """Return a column of the split, under its name in 1.3 or that of 1.2."""
    return row.get(name, "") or row.get(f"x_{name}", "")


def _of_splits(rows: Sequence[Row]) -> Iterator[str]:
    ratios: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        details = allocated(row, "AllocatedMethodDetails")
        method = allocated(row, "AllocatedMethodId")
        if bool(allocated(row, "AllocatedResourceId")) != bool(
            allocated(row, "AllocatedResourceName")
        ):
            yield "AllocatedResourceName and AllocatedResourceId do not go together"
        if allocated(row, "AllocatedResourceId") and not method:
            yield "a resource without a method"
        if details and not method:
            yield "method details without a method"
        if details:
            (element,) = json.loads(details, parse_float=Decimal)["Elements"]
            ratios[row["x_OriginKey"]] += Decimal(element["AllocatedRatio"])
    yield from (f"ratios of {key} sum to {ratio}" for key, ratio in ratios.items() if ratio != 1)
