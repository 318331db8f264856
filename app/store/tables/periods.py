"""Billing periods: what happened to them, what their closings pinned, and their statements."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.store.tables.columns import METADATA, instant, number, text


def _key(name: str) -> Column[str]:
    return Column(name, Text(collation="C"), primary_key=True)


# Written by the functions of `period_guards` alone, in the transaction that changes the period.
PERIOD_EVENTS = Table(
    "period_events",
    METADATA,
    _key("period"),
    number("version", key=True),
    _key("event"),
    instant("at", key=True),
    text("reason"),
    text("author"),
    CheckConstraint("event IN ('defined', 'closed', 'reopened')", name="event_known"),
    CheckConstraint("author <> ''", name="author_given"),
    CheckConstraint("event <> 'reopened' OR reason <> ''", name="reopened_with_reason"),
)

# What a closing pinned for the period as a whole. `accepted` are the exceptions it was closed with.
PERIOD_VERSIONS = Table(
    "period_versions",
    METADATA,
    _key("period"),
    number("version", key=True),
    instant("started_at"),
    instant("until"),
    instant("closed_at"),
    text("author"),
    text("zone"),
    text("currency"),
    number("price_version"),
    number("contract_version"),
    number("rating_version"),
    Column("settings", JSONB, nullable=False),
    Column("accepted", JSONB, nullable=False),
    number("statements"),
    number("charges_nanos"),
    number("adjustments_nanos"),
    number("total_minor"),
    CheckConstraint("version > 0", name="version_positive"),
    CheckConstraint("until > started_at", name="not_empty"),
)

# What a closing pinned for each hour of each cluster.
PERIOD_PINS = Table(
    "period_pins",
    METADATA,
    _key("period"),
    number("version", key=True),
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("revision"),
    number("rating_version"),
    number("price_version"),
    number("contract_version"),
    ForeignKeyConstraint(
        ["period", "version"], ["period_versions.period", "period_versions.version"]
    ),
    Index("period_pins_by_window", "cluster_id", "window_start"),
)

# `team` is '' on the statement of lines without a team.
STATEMENTS = Table(
    "statements",
    METADATA,
    _key("number"),
    number("version", key=True),
    text("period"),
    text("team"),
    instant("closed_at"),
    text("currency"),
    number("total_nanos"),
    number("total_minor"),
    text("sha256"),
    text("csv_sha256"),
    Column("body", LargeBinary, nullable=False),
    Column("csv", LargeBinary, nullable=False),
    CheckConstraint("version > 0", name="version_positive"),
    ForeignKeyConstraint(
        ["period", "version"], ["period_versions.period", "period_versions.version"]
    ),
    CheckConstraint("sha256 = encode(sha256(body), 'hex')", name="sha256_of_body"),
    CheckConstraint("csv_sha256 = encode(sha256(csv), 'hex')", name="sha256_of_csv"),
    Index("statements_by_period", "period", "version", "team", unique=True),
)
