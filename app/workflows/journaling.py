"""The journal of a billing period: its statements, those they replace, and the accounts."""

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.attribution.contract import Contract
from app.chargeback.billing_periods import BillingPeriod
from app.chargeback.journal import Accounts, Booking, Posting, journal, ordered
from app.chargeback.statements import Statement
from app.chargeback.tables import Table
from app.errors import InputError
from app.store.contracts import ContractStore
from app.store.periods import PeriodStore
from app.store.statements import StatementStore
from app.units.window import from_ms
from app.workflows.rating import contract_of


class OpenPeriodError(InputError):
    """A journal of a period that is not closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNames:
    """The accounts that a journal is booked on."""

    expense: str
    recovery: str


def period_journal(
    connection: Connection, name: str, names: AccountNames, *, zone: ZoneInfo
) -> Table:
    """Return the journal of a closed period; refuse an open one.

    A period that was closed again first takes back what its last version booked.
    """
    period = PeriodStore(connection, zone).by_name(name)
    if not period.is_closed:
        message = f"The billing period {period.name} is not closed."
        raise OpenPeriodError(message, hint="Close it first, or ask with --provisional.")
    store = StatementStore(connection)
    before = _statements(store, period.name, period.version - 1)
    booked = _statements(store, period.name, period.version)
    date = accounting_date(period, zone)
    bookings = [
        *(Booking(statement=one, date=date, posting=Posting.REVERSED) for one in before),
        *(Booking(statement=one, date=date) for one in booked),
    ]
    return journal(bookings, accounts_of(connection, period, names))


def provisional_journal(
    connection: Connection,
    period: BillingPeriod,
    statements: tuple[Statement, ...],
    names: AccountNames,
    *,
    zone: ZoneInfo,
) -> Table:
    """Return what the journal of an open period would be, every line marked as provisional."""
    date = accounting_date(period, zone)
    bookings = [
        Booking(statement=one, date=date, posting=Posting.PROVISIONAL)
        for one in ordered(statements)
    ]
    return journal(bookings, accounts_of(connection, period, names))


def accounting_date(period: BillingPeriod, zone: ZoneInfo) -> str:
    """Return the period's last day in the billing zone."""
    last = from_ms(period.end_ms) - timedelta(milliseconds=1)
    return last.astimezone(zone).date().isoformat()


def accounts_of(connection: Connection, period: BillingPeriod, names: AccountNames) -> Accounts:
    """Return the accounts, with the platform's cost center at the end of the period."""
    stored = ContractStore(connection).latest()
    contract = contract_of(stored) if stored else Contract()
    platform = contract.platform_at(period.end_ms - 1)
    team = contract.team_at(platform.team, period.end_ms - 1) if platform else None
    return Accounts(
        expense=names.expense,
        recovery=names.recovery,
        platform_cost_center=team.cost_center if team else "",
    )


def _statements(store: StatementStore, period: str, version: int) -> tuple[Statement, ...]:
    heads = [one for one in store.heads(period=period) if one.version == version]
    found = (store.by_number(one.number, one.version) for one in heads)
    return ordered([one for one in found if one is not None])
