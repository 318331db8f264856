"""The ledger: charges, their rollups, and the inputs they are made from."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Numeric,
    Table,
    Text,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from app.store.tables.columns import METADATA, code, instant, number, text

CHARGES = Table(
    "charges",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("node_id", key=True),
    number("charge_id", key=True),
    number("gpu_model_id"),
    number("hold_id"),
    number("workload_id"),
    number("namespace_id"),
    number("team_id"),
    code("kind"),
    number("price_id"),
    code("step"),
    instant("started_at"),
    instant("ended_at"),
    number("gpu_ms"),
    # Null: nobody has a price for it.
    number("cost_nanos", nullable=True),
    # Who sent the tokens for which a line of step 3 was reassigned, 0 on every other line.
    Column("consumer_id", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("ended_at >= started_at", name="ended_after_started"),
    Index("charges_by_id", "charge_id"),
    postgresql_partition_by="RANGE (window_start)",
)

# The kinds in the order of their numbers; each has a column of milliseconds and one of nanos.
MS_KINDS = ("used", "idle", "unmeasured", "unallocated", "stranded", "unobserved")
NANO_KINDS = (
    *MS_KINDS,
    "commitment_unused",
    "redistributed",
    "true_up",
    "adjustment",
    "rounding",
)
MS_COLUMNS = (*(f"{kind}_ms" for kind in MS_KINDS), "unpriced_ms")
NANO_COLUMNS = tuple(f"{kind}_nanos" for kind in NANO_KINDS)

# Charges summed by day of the billing zone.
CHARGE_DAYS = Table(
    "charge_days",
    METADATA,
    number("cluster_id", key=True),
    Column("day", Date, primary_key=True),
    number("team_id", key=True),
    number("namespace_id", key=True),
    number("gpu_model_id", key=True),
    *(number(name) for name in (*MS_COLUMNS, *NANO_COLUMNS)),
)

BILLING_PERIODS = Table(
    "billing_periods",
    METADATA,
    Column("name", Text(collation="C"), primary_key=True),
    instant("started_at"),
    instant("until"),
    instant("closed_at", nullable=True),
    # How often it was closed, and the zone whose midnights are its borders.
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("zone", Text(collation="C"), nullable=False, server_default="UTC"),
    CheckConstraint("until > started_at", name="not_empty"),
    ExcludeConstraint(
        (func.tstzrange(literal_column("started_at"), literal_column("until")), "&&"),
        name="billing_periods_no_overlap",
    ),
)

PRICE_IMPORTS = Table(
    "price_imports",
    METADATA,
    number("version", key=True),
    instant("imported_at"),
    text("file_name"),
    text("sha256"),
    number("added"),
    number("superseded"),
    # What was imported, and for a correction why and by whom.
    Column("kind", Text(collation="C"), nullable=False, server_default="prices"),
    Column("reason", Text(collation="C"), nullable=False, server_default=""),
    Column("author", Text(collation="C"), nullable=False, server_default=""),
)

_PRICE_KEY = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
    "unit",
)

# A price is never edited: a row that replaces another names the version that superseded it.
PRICE_ROWS = Table(
    "price_rows",
    METADATA,
    number("price_id", key=True),
    Column("version", ForeignKey("price_imports.version"), primary_key=True, autoincrement=False),
    *(text(name) for name in _PRICE_KEY),
    Column("price", Numeric(30, 12), nullable=False),
    text("currency"),
    instant("valid_from"),
    instant("valid_to", nullable=True),
    text("source"),
    number("superseded_version", nullable=True),
    Column("list_price", Numeric(30, 12), nullable=True),
    # What the pool costs, or what teams pay for it by the rate card.
    Column("book", Text(collation="C"), nullable=False, server_default="actual"),
    CheckConstraint("price >= 0", name="not_negative"),
    CheckConstraint("list_price >= 0", name="list_not_negative"),
    CheckConstraint("book IN ('actual', 'rate_card')", name="book_known"),
    CheckConstraint("valid_to > valid_from", name="not_empty"),
    CheckConstraint("unit IN ('gpu_hour', 'node_hour')", name="unit_known"),
    CheckConstraint("superseded_version > version", name="superseded_later"),
    ExcludeConstraint(
        *((name, "=") for name in ("book", *_PRICE_KEY)),
        (func.tstzrange(literal_column("valid_from"), literal_column("valid_to")), "&&"),
        name="price_rows_one_at_a_time",
        where="superseded_version IS NULL",
    ),
)

CONTRACTS = Table(
    "contracts",
    METADATA,
    number("version", key=True),
    instant("applied_at"),
    text("file_name"),
    text("sha256"),
    text("yaml"),
    # The time zone whose midnights its dates mean.
    Column("zone", Text(collation="C"), nullable=False, server_default="UTC"),
)
