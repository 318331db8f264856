"""Providers' bills as tables: their versions, and the services on one of them."""

from collections.abc import Iterable
from decimal import Decimal

from sqlalchemy import Connection

from app.chargeback.tables import Table, amount, plain
from app.errors import InputError
from app.store.provider_bills import ProviderBillStore, StoredBill
from app.units.identity import id_text
from app.units.window import from_ms

BILL_COLUMNS = (
    "provider",
    "billing_account",
    "period_start",
    "period_end",
    "version",
    "superseded",
    "imported_at",
    "covered_until",
    "spec",
    "rows",
    "kept_rows",
    "billed_cost",
    "effective_cost",
    "bill_currency",
    "ledger_cost",
    "currency",
    "files",
    "sha256",
    "bill",
)
SERVICE_COLUMNS = ("service", "category", "kept", "rows", "cost", "currency")
# Costs are shown with at least so many decimals.
_DECIMALS = 2


class UnknownBillError(InputError):
    """A bill that was never imported."""


def bill_table(bills: Iterable[StoredBill], currency: str) -> Table:
    """Return one row a version, in the order given.

    Costs are in ``bill_currency``, and EffectiveCost in the billing currency as ``ledger_cost``.
    """
    return Table(
        BILL_COLUMNS,
        tuple(
            (
                one.bill.provider,
                one.bill.billing_account,
                _instant(one.bill.start_ms),
                _instant(one.bill.end_ms),
                one.version,
                one.superseded,
                _instant(one.imported_ms),
                _instant(one.bill.covered_until_ms),
                one.spec,
                one.row_count,
                one.kept_count,
                _plain(one.billed_total),
                _plain(one.effective_total),
                one.currency,
                amount(one.effective_nanos),
                currency,
                one.file_names,
                one.sha256,
                id_text(one.bill.bill_id),
            )
            for one in bills
        ),
    )


def service_table(connection: Connection, bill_id: int, currency: str) -> Table:
    """Return what is on a version of a bill by service and category; refuse an unknown one.

    ``kept`` says whether the rows are kept one by one, as those of machines are.
    """
    store = ProviderBillStore(connection)
    if all(one.bill.bill_id != bill_id for one in store.all()):
        message = f"There is no bill {id_text(bill_id)}."
        raise UnknownBillError(message, hint="`gpuledger bills list` shows them.")
    rows = [
        (one.service, one.category.name.lower(), kept, one.row_count, amount(one.nanos), currency)
        for kept, sums in ((True, store.kept_sums(bill_id)), (False, store.sums([bill_id])))
        for one in sums
    ]
    return Table(SERVICE_COLUMNS, tuple(rows))


def bill_words(bill: StoredBill) -> str:
    """Return what was taken of a bill, in words."""
    return (
        f"{bill.bill.provider} {bill.bill.billing_account}, {_instant(bill.bill.start_ms)} to"
        f" {_instant(bill.bill.end_ms)}, version {bill.version}: {bill.row_count} rows (FOCUS"
        f" {bill.spec}), {bill.kept_count} of machines and commitments,"
        f" {plain(_plain(bill.effective_total))} {bill.currency}."
    )


def _plain(total: Decimal) -> Decimal:
    """Return an exact total without the zeros that the width of a file's columns brings."""
    sign, digits, exponent = total.as_tuple()
    assert isinstance(exponent, int)
    while exponent < -_DECIMALS and not digits[-1]:
        digits, exponent = digits[:-1] or (0,), exponent + 1
    return Decimal((sign, digits, exponent))


def _instant(at_ms: int) -> str:
    return f"{from_ms(at_ms):%Y-%m-%dT%H:%M:%SZ}"
