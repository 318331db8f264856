"""What prices are made from beside the price book: rates, terms, credits, owned hardware."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Numeric, Table, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

from app.store.tables.columns import METADATA, instant, number, text


def _version() -> Column[int]:
    return Column(
        "version", ForeignKey("price_imports.version"), primary_key=True, autoincrement=False
    )


def _amount(name: str) -> Column[object]:
    return Column(name, Numeric(30, 12), nullable=False)


def _one_at_a_time(table: str, *key: str) -> ExcludeConstraint:
    return ExcludeConstraint(
        *((name, "=") for name in key),
        (func.tstzrange(literal_column("valid_from"), literal_column("valid_to")), "&&"),
        name=f"{table}_one_at_a_time",
        where="superseded_version IS NULL",
    )


# Nothing here is edited: a row that replaces another names the version that superseded it.
EXCHANGE_RATES = Table(
    "exchange_rates",
    METADATA,
    number("rate_id", key=True),
    _version(),
    text("currency"),
    _amount("rate"),
    instant("valid_from"),
    instant("valid_to", nullable=True),
    text("source"),
    number("superseded_version", nullable=True),
    CheckConstraint("rate > 0", name="positive"),
    CheckConstraint("valid_to > valid_from", name="not_empty"),
    CheckConstraint("superseded_version > version", name="superseded_later"),
    _one_at_a_time("exchange_rates", "currency"),
)

_MATCHED = (
    "cluster",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "node",
)

PRICE_TERMS = Table(
    "price_terms",
    METADATA,
    number("term_id", key=True),
    _version(),
    text("kind"),
    _amount("percent"),
    *(text(name) for name in _MATCHED),
    instant("valid_from"),
    instant("valid_to", nullable=True),
    text("reason"),
    number("superseded_version", nullable=True),
    CheckConstraint("kind IN ('discount', 'markup')", name="kind_known"),
    CheckConstraint("percent >= 0", name="not_negative"),
    CheckConstraint("kind <> 'discount' OR percent <= 100", name="discount_at_most_all"),
    CheckConstraint("valid_to > valid_from", name="not_empty"),
    CheckConstraint("superseded_version > version", name="superseded_later"),
    _one_at_a_time("price_terms", "kind", *_MATCHED),
)

CREDITS = Table(
    "credits",
    METADATA,
    number("credit_id", key=True),
    _version(),
    text("name"),
    text("team"),
    _amount("amount"),
    text("currency"),
    instant("valid_from"),
    instant("valid_to"),
    text("reason"),
    number("superseded_version", nullable=True),
    CheckConstraint("name <> ''", name="name_given"),
    CheckConstraint("amount >= 0", name="not_negative"),
    CheckConstraint("valid_to > valid_from", name="not_empty"),
    CheckConstraint("superseded_version > version", name="superseded_later"),
    _one_at_a_time("credits", "name", "team"),
)

# All amounts are of one node; `nodes` are names, `tariffs` the dated prices of a kilowatt-hour.
OWNED_ASSETS = Table(
    "owned_assets",
    METADATA,
    number("asset_id", key=True),
    _version(),
    text("name"),
    text("cluster"),
    Column("nodes", JSONB, nullable=False),
    text("instance_type"),
    number("gpus"),
    text("currency"),
    _amount("purchase"),
    _amount("salvage"),
    instant("in_service"),
    instant("retired", nullable=True),
    number("life_months"),
    _amount("space_per_month"),
    _amount("support_per_year"),
    _amount("rated_kw"),
    _amount("board_kw"),
    _amount("pue"),
    Column("tariffs", JSONB, nullable=False),
    number("superseded_version", nullable=True),
    CheckConstraint("name <> ''", name="name_given"),
    CheckConstraint("gpus > 0", name="has_gpus"),
    CheckConstraint("salvage >= 0 AND salvage <= purchase", name="salvage_within_purchase"),
    CheckConstraint("life_months > 0", name="has_a_life"),
    CheckConstraint("space_per_month >= 0 AND support_per_year >= 0", name="not_negative"),
    CheckConstraint("rated_kw >= 0 AND board_kw >= 0 AND pue >= 1", name="power_sensible"),
    CheckConstraint("retired > in_service", name="not_empty"),
    CheckConstraint("superseded_version > version", name="superseded_later"),
    ExcludeConstraint(
        ("name", "="), name="owned_assets_one_at_a_time", where="superseded_version IS NULL"
    ),
)
