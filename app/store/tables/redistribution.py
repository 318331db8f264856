"""By which weights lines of steps 1 and 2 were divided."""

from sqlalchemy import CheckConstraint, Index, Table

from app.store.tables.columns import METADATA, code, instant, number
from app.store.tables.period_guards import closed_triggers

# One row a line. `debit_id` is the charge that the money was taken from, its own for a debit, and
# `charge_kind` that money's kind, 0 for held time. `basis` says what the weights count.
REDISTRIBUTION_WEIGHTS = Table(
    "redistribution_weights",
    METADATA,
    number("cluster_id", key=True),
    instant("window_start", key=True),
    number("charge_id", key=True),
    number("debit_id"),
    code("charge_kind"),
    code("basis"),
    number("weight"),
    number("weight_sum"),
    CheckConstraint("weight <= weight_sum", name="part_of_all"),
    Index("redistribution_weights_by_charge", "charge_id"),
)

GUARDS = closed_triggers("redistribution_weights", "refuse_closed_periods")
