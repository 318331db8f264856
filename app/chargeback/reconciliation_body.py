"""The reconciliation of a month as a report: money in minor units that still adds up."""

from collections.abc import Sequence
from decimal import Decimal

from app.chargeback.reconciliation import Reconciled, Reconciliation
from app.chargeback.reconciliation_tables import COUNT_COLUMNS, MONEY_COLUMNS
from app.chargeback.report_tables import Figures, ReportBody
from app.chargeback.rounding import currency_decimals, round_lines
from app.chargeback.tables import Cell

# provider_bill is the sum of these; the columns behind them are parts of some of them.
_PARTS = ("pool_cost", "commitment_unused", "not_in_cluster", "true_up", "unmatched")
_DETAILS = tuple(name for name in MONEY_COLUMNS if name not in {*_PARTS, "provider_bill"})


def reconciliation_body(
    found: Reconciliation,
    group_by: Sequence[str],
    filters: dict[str, tuple[str, ...]],
    currency: str,
) -> ReportBody:
    """Return a row a bill: its parts add up to it, and the bills to the total.

    Bills are grouped by provider, billing account or both; without any bill nothing is complete.
    """
    groups: dict[tuple[str, ...], list[Reconciled]] = {}
    for bill in found.bills:
        names = {"provider": bill.provider, "billing_account": bill.billing_account}
        if all(names[column] in values for column, values in filters.items()):
            groups.setdefault(tuple(names[column] for column in group_by), []).append(bill)
    keys = sorted(groups)
    figures = _figures([groups[key] for key in keys], currency)
    every = [bill for bills in groups.values() for bill in bills]
    zero = Decimal(0).scaleb(-currency_decimals(currency))
    total: dict[str, Cell] = {
        name: sum((Decimal(str(line[name])) for line in figures), zero) for name in MONEY_COLUMNS
    }
    return ReportBody(
        keys=keys,
        figures=figures,
        complete=[all(bill.complete for bill in groups[key]) for key in keys],
        total=total | _counts(every),
        facts=(("provider_bills", len(every)),),
    )


def _figures(groups: Sequence[Sequence[Reconciled]], currency: str) -> list[Figures]:
    decimals = currency_decimals(currency)
    step = 10 ** (9 - decimals)
    parts = round_lines([_sums(bills, _PARTS) for bills in groups], step)
    details = [
        round_lines([[value] for value in column], step)
        for column in zip(*(_sums(bills, _DETAILS) for bills in groups), strict=True)
    ]
    figures: list[Figures] = []
    for place, (bills, cents) in enumerate(zip(groups, parts, strict=True)):
        named = dict(zip(_PARTS, cents, strict=True)) | {"provider_bill": sum(cents)}
        named |= {name: column[place][0] for name, column in zip(_DETAILS, details, strict=True)}
        money = {name: Decimal(count).scaleb(-decimals) for name, count in named.items()}
        figures.append({**money, **_counts(bills)})
    return figures


def _sums(bills: Sequence[Reconciled], names: Sequence[str]) -> list[int]:
    return [sum(getattr(bill, name) for bill in bills) for name in names]


def _counts(bills: Sequence[Reconciled]) -> dict[str, Cell]:
    return dict(zip(COUNT_COLUMNS, _sums(bills, COUNT_COLUMNS), strict=True))
