"""Price inputs: list prices, the rate card, exchange rates, terms, credits, owned hardware."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OWNER = "gpuledger_owner"
SERVICE = "gpuledger_service"

TABLES = (
    """
CREATE TABLE exchange_rates (
    rate_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    rate NUMERIC(30, 12) NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE,
    source TEXT COLLATE "C" NOT NULL,
    superseded_version BIGINT,
    CONSTRAINT exchange_rates_pkey PRIMARY KEY (rate_id, version),
    CONSTRAINT exchange_rates_positive CHECK (rate > 0),
    CONSTRAINT exchange_rates_not_empty CHECK (valid_to > valid_from),
    CONSTRAINT exchange_rates_superseded_later CHECK (superseded_version > version),
    CONSTRAINT exchange_rates_one_at_a_time EXCLUDE USING gist (currency WITH =,
        tstzrange(valid_from, valid_to) WITH &&) WHERE (superseded_version IS NULL),
    CONSTRAINT exchange_rates_version_fkey FOREIGN KEY(version) REFERENCES price_imports (version)
)
""",
    """
CREATE TABLE price_terms (
    term_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    percent NUMERIC(30, 12) NOT NULL,
    cluster TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    instance_type TEXT COLLATE "C" NOT NULL,
    gpu_model TEXT COLLATE "C" NOT NULL,
    capacity_type TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE,
    reason TEXT COLLATE "C" NOT NULL,
    superseded_version BIGINT,
    CONSTRAINT price_terms_pkey PRIMARY KEY (term_id, version),
    CONSTRAINT price_terms_kind_known CHECK (kind IN ('discount', 'markup')),
    CONSTRAINT price_terms_not_negative CHECK (percent >= 0),
    CONSTRAINT price_terms_discount_at_most_all CHECK (kind <> 'discount' OR percent <= 100),
    CONSTRAINT price_terms_not_empty CHECK (valid_to > valid_from),
    CONSTRAINT price_terms_superseded_later CHECK (superseded_version > version),
    CONSTRAINT price_terms_one_at_a_time EXCLUDE USING gist (kind WITH =, cluster WITH =,
        provider WITH =, region WITH =, instance_type WITH =, gpu_model WITH =,
        capacity_type WITH =, node WITH =, tstzrange(valid_from, valid_to) WITH &&)
        WHERE (superseded_version IS NULL),
    CONSTRAINT price_terms_version_fkey FOREIGN KEY(version) REFERENCES price_imports (version)
)
""",
    """
CREATE TABLE credits (
    credit_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    team TEXT COLLATE "C" NOT NULL,
    amount NUMERIC(30, 12) NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    superseded_version BIGINT,
    CONSTRAINT credits_pkey PRIMARY KEY (credit_id, version),
    CONSTRAINT credits_name_given CHECK (name <> ''),
    CONSTRAINT credits_not_negative CHECK (amount >= 0),
    CONSTRAINT credits_not_empty CHECK (valid_to > valid_from),
    CONSTRAINT credits_superseded_later CHECK (superseded_version > version),
    CONSTRAINT credits_one_at_a_time EXCLUDE USING gist (name WITH =, team WITH =,
        tstzrange(valid_from, valid_to) WITH &&) WHERE (superseded_version IS NULL),
    CONSTRAINT credits_version_fkey FOREIGN KEY(version) REFERENCES price_imports (version)
)
""",
    """
CREATE TABLE owned_assets (
    asset_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    cluster TEXT COLLATE "C" NOT NULL,
    nodes JSONB NOT NULL,
    instance_type TEXT COLLATE "C" NOT NULL,
    gpus BIGINT NOT NULL,
    currency TEXT COLLATE "C" NOT NULL,
    purchase NUMERIC(30, 12) NOT NULL,
    salvage NUMERIC(30, 12) NOT NULL,
    in_service TIMESTAMP WITH TIME ZONE NOT NULL,
    retired TIMESTAMP WITH TIME ZONE,
    life_months BIGINT NOT NULL,
    space_per_month NUMERIC(30, 12) NOT NULL,
    support_per_year NUMERIC(30, 12) NOT NULL,
    rated_kw NUMERIC(30, 12) NOT NULL,
    board_kw NUMERIC(30, 12) NOT NULL,
    pue NUMERIC(30, 12) NOT NULL,
    tariffs JSONB NOT NULL,
    superseded_version BIGINT,
    CONSTRAINT owned_assets_pkey PRIMARY KEY (asset_id, version),
    CONSTRAINT owned_assets_name_given CHECK (name <> ''),
    CONSTRAINT owned_assets_has_gpus CHECK (gpus > 0),
    CONSTRAINT owned_assets_salvage_within_purchase
        CHECK (salvage >= 0 AND salvage <= purchase),
    CONSTRAINT owned_assets_has_a_life CHECK (life_months > 0),
    CONSTRAINT owned_assets_not_negative CHECK (space_per_month >= 0 AND support_per_year >= 0),
    CONSTRAINT owned_assets_power_sensible CHECK (rated_kw >= 0 AND board_kw >= 0 AND pue >= 1),
    CONSTRAINT owned_assets_not_empty CHECK (retired > in_service),
    CONSTRAINT owned_assets_superseded_later CHECK (superseded_version > version),
    CONSTRAINT owned_assets_one_at_a_time EXCLUDE USING gist (name WITH =)
        WHERE (superseded_version IS NULL),
    CONSTRAINT owned_assets_version_fkey FOREIGN KEY(version) REFERENCES price_imports (version)
)
""",
    "ALTER TABLE price_imports ADD COLUMN kind TEXT COLLATE \"C\" DEFAULT 'prices' NOT NULL",
    "ALTER TABLE price_imports ADD COLUMN reason TEXT COLLATE \"C\" DEFAULT '' NOT NULL",
    "ALTER TABLE price_imports ADD COLUMN author TEXT COLLATE \"C\" DEFAULT '' NOT NULL",
    "ALTER TABLE price_rows ADD COLUMN list_price NUMERIC(30, 12)",
    "ALTER TABLE price_rows ADD COLUMN book TEXT COLLATE \"C\" DEFAULT 'actual' NOT NULL",
    "ALTER TABLE price_rows ADD CONSTRAINT price_rows_list_not_negative CHECK (list_price >= 0)",
    """
ALTER TABLE price_rows ADD CONSTRAINT price_rows_book_known
CHECK (book IN ('actual', 'rate_card'))
""",
)

# What the service may do with each: a row changes by being superseded, and in nothing else.
RIGHTS = {
    "exchange_rates": "SELECT, INSERT, UPDATE (superseded_version)",
    "price_terms": "SELECT, INSERT, UPDATE (superseded_version)",
    "credits": "SELECT, INSERT, UPDATE (superseded_version)",
    "owned_assets": "SELECT, INSERT, UPDATE (superseded_version)",
}

ONE_AT_A_TIME = """
ALTER TABLE price_rows ADD CONSTRAINT price_rows_one_at_a_time EXCLUDE USING gist (
    {book}cluster WITH =, provider WITH =, region WITH =, instance_type WITH =, gpu_model WITH =,
    capacity_type WITH =, node WITH =, unit WITH =, tstzrange(valid_from, valid_to) WITH &&
) WHERE (superseded_version IS NULL)
"""


def upgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for statement in TABLES:
        op.execute(statement)
    for table, rights in RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {SERVICE}")
    op.execute(f"REVOKE UPDATE ON price_rows FROM {SERVICE}")
    op.execute(f"GRANT UPDATE (superseded_version) ON price_rows TO {SERVICE}")
    op.execute("ALTER TABLE price_rows DROP CONSTRAINT price_rows_one_at_a_time")
    op.execute(ONE_AT_A_TIME.replace("{book}", "book WITH =, "))
    op.execute("RESET ROLE")


def downgrade() -> None:
    op.execute(f"SET LOCAL ROLE {OWNER}")
    for table in reversed(RIGHTS):
        op.execute(f"DROP TABLE {table}")
    op.execute(f"REVOKE UPDATE (superseded_version) ON price_rows FROM {SERVICE}")
    op.execute(f"GRANT UPDATE ON price_rows TO {SERVICE}")
    op.execute("ALTER TABLE price_rows DROP CONSTRAINT price_rows_one_at_a_time")
    # A rate card has no place in one book of prices.
    op.execute("DELETE FROM price_rows WHERE book <> 'actual'")
    op.execute("ALTER TABLE price_rows DROP CONSTRAINT price_rows_book_known")
    op.execute("ALTER TABLE price_rows DROP COLUMN book")
    op.execute("ALTER TABLE price_rows DROP COLUMN list_price")
    op.execute(ONE_AT_A_TIME.replace("{book}", ""))
    for column in ("author", "reason", "kind"):
        op.execute(f"ALTER TABLE price_imports DROP COLUMN {column}")
    op.execute("RESET ROLE")
