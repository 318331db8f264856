"""What planning keeps: thresholds of budgets that were reached."""

from sqlalchemy import CheckConstraint, Column, Numeric, Table, Text

from app.store.tables.columns import METADATA, instant, number

# A threshold that is reached stays so for the period, whatever is spent or budgeted afterwards.
BUDGET_CROSSINGS = Table(
    "budget_crossings",
    METADATA,
    Column("period", Text(collation="C"), primary_key=True),
    Column("team", Text(collation="C"), primary_key=True),
    Column("basis", Text(collation="C"), primary_key=True),
    Column("threshold", Numeric(9, 6), primary_key=True),
    instant("crossed_at"),
    number("nanos"),
    number("budget_nanos"),
    CheckConstraint("basis IN ('spent', 'forecast')", name="basis_known"),
    CheckConstraint("budget_nanos > 0", name="budget_positive"),
)
