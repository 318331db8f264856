"""FOCUS files of our own making: rows with round figures, as CSV, gzipped CSV or Parquet."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

Row = Mapping[str, str]

# Every mandatory column of 1.0, and the conditional ones that bills are matched by.
COLUMNS_1_0 = (
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountStatus",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ServiceCategory",
    "ServiceName",
    "Tags",
)
COLUMNS_1_3 = (*COLUMNS_1_0, "HostProviderName", "InvoiceId", "ServiceProviderName")
_COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity")
_INSTANTS = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")


def a_focus_row(resource: str = "i-00000001", cost: str = "24.00", **other: str) -> Row:
    """A machine's usage of 23 November 2026, UTC, on the bill of account 1234; by column name."""
    row = {
        "BilledCost": cost,
        "BillingAccountId": "1234",
        "BillingAccountName": "GPU platform",
        "BillingCurrency": "USD",
        "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "BillingPeriodStart": "2026-11-01T00:00:00Z",
        "ChargeCategory": "Usage",
        "ChargeDescription": "p5.48xlarge, Linux, on demand",
        "ChargePeriodEnd": "2026-11-24T00:00:00Z",
        "ChargePeriodStart": "2026-11-23T00:00:00Z",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "HostProviderName": "AWS",
        "InvoiceId": "INV-1",
        "InvoiceIssuerName": "AWS",
        "ListCost": cost,
        "PricingQuantity": "24.0",
        "PricingUnit": "Hours",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "ResourceId": resource,
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "ServiceProviderName": "AWS",
    }
    return row | other


def focus_csv(rows: Sequence[Row], columns: Sequence[str] = COLUMNS_1_0) -> bytes:
    """The rows as CSV; what a row does not say is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([row.get(name, "") for name in columns] for row in rows)
    return text.getvalue().encode()


def focus_table(rows: Sequence[Row], columns: Sequence[str] = COLUMNS_1_0) -> pa.Table:
    """The rows as a table with decimals and instants of their own types."""
    return pa.table({name: _column(name, [row.get(name, "") for row in rows]) for name in columns})


def _column(name: str, texts: Sequence[str]) -> pa.Array:
    if name in _COSTS:
        values = [Decimal(text) if text else None for text in texts]
        return pa.array(values, pa.decimal128(38, 18))
    if name in _INSTANTS:
        instants = [datetime.fromisoformat(text).astimezone(UTC) for text in texts]
        return pa.array(instants, pa.timestamp("us", tz="UTC"))
    return pa.array([text or None for text in texts], pa.string())


def write_focus(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS_1_0) -> Path:
    """Write the rows as the name of the file says, and return the path."""
    if path.suffix == ".parquet":
        parquet.write_table(focus_table(rows, columns), path)
    else:
        body = focus_csv(rows, columns)
        path.write_bytes(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)
    return path
