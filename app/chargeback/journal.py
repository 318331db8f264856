"""The journal of a period's statements for an accounting system: balanced lines, one side each.

What a team is charged is debited to the expense account of its cost center and credited to the
recovery account of the platform's. A negative amount swaps the sides; nothing is below zero.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.chargeback.rounding import currency_decimals
from app.chargeback.statements import Statement
from app.chargeback.tables import Table
from app.errors import GpuledgerError

JOURNAL_COLUMNS = (
    "date",
    "account",
    "cost_center",
    "debit",
    "credit",
    "reference",
    "memo",
    "currency",
    "external_id",
)


class UnbalancedError(GpuledgerError):
    """A statement whose amounts are not its total: no journal is made of it."""


class Posting(StrEnum):
    """Whether a statement is booked, taken back, or not final yet."""

    BOOKED = "booked"
    REVERSED = "reversed"
    PROVISIONAL = "provisional"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Account names; ``platform_cost_center`` recovers, and bears what nobody's team is charged."""

    expense: str
    recovery: str
    platform_cost_center: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """A statement to be booked, and ``date``, the accounting date (the period's last day)."""

    statement: Statement
    date: str
    posting: Posting = Posting.BOOKED


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """What of a statement is one pair of lines."""

    cost_center: str
    memo: str


def journal(bookings: Iterable[Booking], accounts: Accounts) -> Table:
    """Return the lines of the bookings, in their order; debits and credits are equal in each.

    Amounts of 0 have no line.
    """
    rows = [row for booking in bookings for row in _rows(booking, accounts)]
    return Table(JOURNAL_COLUMNS, tuple(rows))


def totals(table: Table) -> tuple[Decimal, Decimal]:
    """Return the sums of debits and credits."""
    sums = [Decimal(), Decimal()]
    for record in table.records():
        for place, name in enumerate(("debit", "credit")):
            cell = record[name]
            if isinstance(cell, Decimal):
                sums[place] += cell
    return sums[0], sums[1]


def without_cost_center(table: Table) -> int:
    """Return how many lines name no cost center, which an ERP may refuse."""
    return sum(1 for record in table.records() if not record["cost_center"])


_Row = tuple[str | Decimal | None, ...]


def _rows(booking: Booking, accounts: Accounts) -> list[_Row]:
    statement = booking.statement
    reference = f"{statement.number} v{statement.version}"
    external = f"{statement.number}/v{statement.version}"
    if booking.posting is not Posting.BOOKED:
        word = "reversal" if booking.posting is Posting.REVERSED else "provisional"
        reference, external = f"{reference} {word}", f"{external}/{word}"
    sign = -1 if booking.posting is Posting.REVERSED else 1
    rows: list[_Row] = []
    for part, amount in sorted(_amounts(statement).items()):
        memo = f"Reversal: {part.memo}" if sign < 0 else part.memo
        pair = (
            (accounts.expense, part.cost_center or accounts.platform_cost_center, sign * amount),
            (accounts.recovery, accounts.platform_cost_center, -sign * amount),
        )
        for account, cost_center, debited in pair:
            sides = (debited, None) if debited > 0 else (None, -debited)
            tail = (reference, memo, statement.currency, external)
            rows.append((booking.date, account, cost_center, *sides, *tail))
    return rows


def _amounts(statement: Statement) -> Mapping[_Part, Decimal]:
    """Return the statement's rounded amounts by cost center; adjustments apart from charges."""
    content = json.loads(statement.body)
    team = statement.team or "nobody's team"
    found: dict[_Part, Decimal] = defaultdict(Decimal)
    for line in content["lines"]:
        found[_Part(line["cost_center"], f"GPU charges of {team}, {statement.period}")] += _amount(
            line["amount"]
        )
    for line in content["adjustments"]:
        memo = f"{line['type'].replace('_', ' ').capitalize()} of {line['usage_day']}, {team}"
        found[_Part(line["cost_center"], memo)] += _amount(line["amount"])
    if sum(found.values(), Decimal()) != statement.total:
        message = f"The amounts of {statement.number} do not sum to its total {statement.total}."
        raise UnbalancedError(message, hint="Report this: a statement adds up when it is written.")
    places = Decimal(1).scaleb(-currency_decimals(statement.currency))
    return {part: amount.quantize(places) for part, amount in found.items() if amount}


def _amount(text: str | None) -> Decimal:
    return Decimal(text) if text else Decimal()


def ordered(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Return statements by number, then by version."""
    return tuple(sorted(statements, key=lambda one: (one.number, one.version)))
