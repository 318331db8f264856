"""To which department and cost center every team belonged, from when on, by every contract."""

from sqlalchemy import CheckConstraint, ForeignKey, Table
from sqlalchemy import Column as PlainColumn

from app.store.tables.columns import METADATA, instant, number, text

# Rows of a team and contract do not overlap; where there is none, the team belongs nowhere.
TEAM_AFFILIATIONS = Table(
    "team_affiliations",
    METADATA,
    PlainColumn(
        "contract_version", ForeignKey("contracts.version"), primary_key=True, autoincrement=False
    ),
    number("team_id", key=True),
    instant("valid_from", key=True),
    instant("valid_to"),
    text("department"),
    text("cost_center"),
    CheckConstraint("valid_to > valid_from", name="not_empty"),
)
