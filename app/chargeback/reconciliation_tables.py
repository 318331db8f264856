"""The reconciliation of a month as tables: one row a bill, and what differs most."""

from collections.abc import Iterable

from app.chargeback.reconciliation import (
    NodeDifference,
    Reconciled,
    Reconciliation,
    UnmatchedItem,
)
from app.chargeback.tables import Cell, Table, amount

# Rows of the two lists that stand on the page with the summary.
LONGEST_LIST = 10

MONEY_COLUMNS = (
    "provider_bill",
    "pool_cost",
    "commitment_unused",
    "not_in_cluster",
    "true_up",
    "unmatched",
    "waiting",
    "other_services",
    "commitment_difference",
)
COUNT_COLUMNS = ("rows", "nodes", "node_days", "waiting_days", "unmatched_rows")
SUMMARY_COLUMNS = (
    "period",
    "provider",
    "billing_account",
    *MONEY_COLUMNS,
    "currency",
    *COUNT_COLUMNS,
    "complete",
)
UNMATCHED_COLUMNS = (
    *("provider", "billing_account", "resource", "service", "reason"),
    *("rows", "cost", "currency"),
)
NODE_COLUMNS = (
    *("cluster", "node", "days", "provider_cost", "pool_cost", "true_up"),
    *("not_in_cluster", "currency"),
)


def summary_table(found: Reconciliation, *, period: str, currency: str) -> Table:
    """Return one row a bill and a last one, without provider, for all of them."""
    bills = [*found.bills, found.total]
    return Table(SUMMARY_COLUMNS, tuple(_summary_row(one, period, currency) for one in bills))


def _summary_row(one: Reconciled, period: str, currency: str) -> tuple[Cell, ...]:
    return (
        period,
        one.provider,
        one.billing_account,
        *(amount(getattr(one, name)) for name in MONEY_COLUMNS),
        currency,
        *(getattr(one, name) for name in COUNT_COLUMNS),
        one.complete,
    )


def unmatched_table(items: Iterable[UnmatchedItem], currency: str) -> Table:
    """Return what is no node's, in the order given."""
    return Table(
        UNMATCHED_COLUMNS,
        tuple(
            (
                one.provider,
                one.billing_account,
                one.resource,
                one.service,
                one.reason,
                one.rows,
                amount(one.nanos),
                currency,
            )
            for one in items
        ),
    )


def node_table(nodes: Iterable[NodeDifference], currency: str) -> Table:
    """Return nodes and their differences, in the order given."""
    return Table(
        NODE_COLUMNS,
        tuple(
            (
                one.cluster,
                one.node,
                one.days,
                *(amount(nanos) for nanos in (one.provider_nanos, one.pool_nanos)),
                *(amount(nanos) for nanos in (one.true_up_nanos, one.not_in_cluster_nanos)),
                currency,
            )
            for one in nodes
        ),
    )
