"""Providers' bills by version, the rows that machines are looked for in, and true-up's days."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Numeric, Table, Text
from sqlalchemy import UniqueConstraint as Unique

from app.store.tables.columns import METADATA, code, instant, number, text

# A bill of a period is never edited: an import of the same period is its next version, whole.
PROVIDER_BILLS = Table(
    "provider_bills",
    METADATA,
    number("bill_id", key=True),
    text("provider"),
    text("billing_account"),
    instant("period_start"),
    instant("period_end"),
    number("version"),
    instant("imported_at"),
    instant("covered_until"),
    text("file_names"),
    text("sha256"),
    text("spec"),
    # The names of all columns of the files, comma separated, in the order of the first file.
    text("columns"),
    text("currency"),
    number("row_count"),
    number("kept_count"),
    # In the bill's own currency, exact.
    Column("billed_total", Numeric, nullable=False),
    Column("effective_total", Numeric, nullable=False),
    # In the billing currency: the sum of the rows' nanos.
    number("effective_nanos"),
    Unique(
        *("provider", "billing_account", "period_start", "version"),
        name="provider_bills_one_version",
    ),
    CheckConstraint("period_end > period_start", name="not_empty"),
    CheckConstraint("version > 0", name="version_counts"),
)

PROVIDER_BILL_ROWS = Table(
    "provider_bill_rows",
    METADATA,
    number("bill_id", key=True),
    number("row_number", key=True),
    instant("charge_start"),
    instant("charge_end"),
    code("category"),
    Column("unused", Boolean, nullable=False),
    Column("compute", Boolean, nullable=False),
    text("service"),
    text("resource_id"),
    text("resource_name"),
    # The row's tags, and all of its columns that are not null, as JSON objects of texts.
    Column("tags", Text(collation="C"), nullable=False),
    text("columns"),
    number("effective_nanos"),
    CheckConstraint("charge_end > charge_start", name="not_empty"),
    Index("provider_bill_rows_by_charge_start", "bill_id", "charge_start"),
)

# What else is on a bill, so that it adds up.
PROVIDER_BILL_SUMS = Table(
    "provider_bill_sums",
    METADATA,
    number("bill_id", key=True),
    Column("service_category", Text(collation="C"), primary_key=True),
    Column("service", Text(collation="C"), primary_key=True),
    code("category", key=True),
    number("row_count"),
    number("effective_nanos"),
)

# Billing days that bills have charges of, and how often something changed under their true-up.
TRUE_UP_DAYS = Table(
    "true_up_days",
    METADATA,
    instant("started_at", key=True),
    instant("until"),
    number("marks"),
    number("done_marks"),
    CheckConstraint("until > started_at", name="not_empty"),
    CheckConstraint("done_marks <= marks", name="done_a_known_mark"),
)
