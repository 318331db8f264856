"""Who sent tokens through gateways, and how services' costs were reassigned to them."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Numeric, Table

from app.store.tables.columns import METADATA, code, instant, number, text

CONSUMERS = Table(
    "consumers",
    METADATA,
    number("consumer_id", key=True),
    text("gateway"),
    text("team"),
    text("key_alias"),
    # Empty unless the settings allow such identities.
    text("end_user"),
    CheckConstraint("gateway <> ''", name="gateway_given"),
)

GATEWAY_ROUTES = Table(
    "gateway_routes",
    METADATA,
    number("route_id", key=True),
    text("model"),
    text("target_model"),
    text("cluster"),
    text("backend_namespace"),
    text("backend"),
)

CONSUMER_USAGE = Table(
    "consumer_usage",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("consumer_id", key=True),
    number("route_id", key=True),
    number("prompt_tokens", nullable=True),
    number("cached_prompt_tokens", nullable=True),
    number("generation_tokens", nullable=True),
    number("reasoning_tokens", nullable=True),
    number("requests", nullable=True),
    Column("carried", Boolean, nullable=False),
    postgresql_partition_by="RANGE (window_start)",
)

# Why a line of kind `redistributed` is what it is, one row a line. `debit_id` is the charge that
# the money was taken from, its own for a debit. `gateway_tokens` and `engine_tokens` are prompt and
# generation tokens of the day, over all services that the gateway's tokens may have gone to.
REASSIGNMENTS = Table(
    "reassignments",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("workload_id", key=True),
    number("charge_id", key=True),
    number("debit_id"),
    number("consumer_id"),
    code("scope"),
    number("prompt_tokens"),
    number("cached_prompt_tokens"),
    number("generation_tokens"),
    # Tokens times the weights of the policy, which have at most 6 decimals.
    Column("weighted_tokens", Numeric(38, 6), nullable=False),
    Column("all_weighted_tokens", Numeric(38, 6), nullable=False),
    number("gateway_tokens"),
    number("engine_tokens", nullable=True),
    CheckConstraint("weighted_tokens <= all_weighted_tokens", name="part_of_all"),
    Index("reassignments_by_charge", "charge_id"),
    postgresql_partition_by="RANGE (window_start)",
)

# Days of the billing zone whose redistribution was ever made. `marks` counts what changed under
# it (a rating, a late fact of a gateway), `done_marks` is what the stored lines were made from.
REDISTRIBUTED_DAYS = Table(
    "redistributed_days",
    METADATA,
    instant("started_at", key=True),
    instant("until"),
    Column("marks", BigInteger, nullable=False),
    Column("done_marks", BigInteger, nullable=False),
    CheckConstraint("until > started_at", name="not_empty"),
    CheckConstraint("done_marks <= marks", name="done_a_known_mark"),
)
