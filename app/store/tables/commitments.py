"""Commitments, the clusters of billing accounts, and who used what of which commitment."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from app.store.tables.columns import METADATA, instant, number, text
from app.store.tables.ledger import CHARGES

# A commitment is never edited: a row that replaces another names the version that superseded it.
COMMITMENTS = Table(
    "commitments",
    METADATA,
    number("price_id", key=True),
    Column("version", ForeignKey("price_imports.version"), primary_key=True, autoincrement=False),
    text("commitment"),
    text("name"),
    text("type"),
    text("billing_account"),
    Column("clusters", JSONB, nullable=False),
    text("provider"),
    text("region"),
    text("instance_type"),
    text("gpu_model"),
    text("capacity_type"),
    text("unit"),
    Column("quantity", Numeric(30, 12), nullable=False),
    Column("upfront", Numeric(30, 12), nullable=False),
    Column("recurring_per_hour", Numeric(30, 12), nullable=False),
    Column("discount_ratio", Numeric(30, 12), nullable=False),
    text("currency"),
    instant("term_start"),
    instant("term_end"),
    text("payer"),
    text("allotment"),
    text("source"),
    number("superseded_version", nullable=True),
    CheckConstraint("commitment <> ''", name="named"),
    CheckConstraint("term_end > term_start", name="not_empty"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("upfront >= 0 AND recurring_per_hour >= 0", name="not_negative"),
    CheckConstraint("discount_ratio >= 0 AND discount_ratio < 1", name="discount_a_ratio"),
    CheckConstraint("superseded_version > version", name="superseded_later"),
)

# Which provider account pays for a cluster, and its place among the clusters of the settings.
CLUSTER_ACCOUNTS = Table(
    "cluster_accounts",
    METADATA,
    number("cluster_id", key=True),
    text("billing_account"),
    number("place"),
)

# Hours of an account whose allotment is stored, and a hash of everything it was made from.
ALLOTTED_HOURS = Table(
    "allotted_hours",
    METADATA,
    Column("billing_account", Text(collation="C"), primary_key=True),
    instant("window_start", key=True),
    Column("fingerprint", LargeBinary, nullable=False),
)

# What commitments cover of a pool in a span of an hour, and the part of their cost that it carries.
ALLOTMENTS = Table(
    "allotments",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("node_id", key=True),
    number("gpu_model_id", key=True),
    instant("started_at", key=True),
    number("price_id", key=True),
    instant("ended_at"),
    number("covered_ms"),
    number("cost_nanos"),
    CheckConstraint("ended_at > started_at", name="not_empty"),
    CheckConstraint("covered_ms > 0 AND cost_nanos >= 0", name="covers_something"),
    postgresql_partition_by="RANGE (window_start)",
)

# A commitment's hour over all clusters of its account; `cluster_id` is 0.
COMMITMENT_HOURS = Table(
    "commitment_hours",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("price_id", key=True),
    Column("billing_account", Text(collation="C"), nullable=False),
    *(
        number(name)
        for name in (
            "committed",
            "used",
            "eligible_ms",
            "covered_ms",
            "eligible_nanos",
            "covered_nanos",
            "cost_nanos",
            "used_nanos",
        )
    ),
    CheckConstraint("used_nanos <= cost_nanos", name="used_part_of_cost"),
    CheckConstraint("covered_ms <= eligible_ms", name="covered_part_of_eligible"),
    postgresql_partition_by="RANGE (window_start)",
)

# Lines that no rating of a window makes are few among those that one does.
Index(
    "charges_derived",
    CHARGES.c.cluster_id,
    CHARGES.c.window_start,
    postgresql_where="step <> 0 AND step <> 13",
)
