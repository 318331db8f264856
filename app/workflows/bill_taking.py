"""One import's way through the rows of its files: what is kept, what is only added up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal

from sqlalchemy import Connection

from app.attribution.node_matching import NodeIndex
from app.attribution.provider_bills import Bill, BillRow, ChargeCategory
from app.errors import InputError
from app.pricing.exchange import ExchangeRates
from app.sources.focus_file import FocusFile, FocusRow
from app.store.prices import PriceStore
from app.store.provider_bills import ProviderBillStore, ServiceSum, StoredBill
from app.units.identity import hash64
from app.units.window import from_ms

_COMPUTE = "Compute"
# Enough for any sum of 76 digits, which is what Arrow's widest decimal has.
_EXACT = Context(prec=120)
_HALF_EVEN = Context(prec=120, rounding=ROUND_HALF_EVEN)


class BillRefusedError(InputError):
    """Bills that cannot be taken: of several currencies, imported already, or overlapping."""


@dataclass(slots=True)
class _Period:
    """A bill while its rows come in."""

    bill_id: int
    rows: int = 0
    kept: int = 0
    effective: Decimal = Decimal(0)
    billed: Decimal = Decimal(0)
    nanos: int = 0
    until_ms: int = 0
    providers: dict[str, int] = field(default_factory=dict)
    sums: dict[tuple[str, str, ChargeCategory], tuple[int, int]] = field(default_factory=dict)


class Taking:
    """One import's way through its rows."""

    def __init__(
        self, connection: Connection, currency: str, account: str, digest: str, at_ms: int
    ) -> None:
        self._index = NodeIndex(ProviderBillStore(connection).node_lives())
        self._rates = ExchangeRates(PriceStore(connection).rates())
        self._currency, self._account = currency, account
        self._digest, self._at_ms = digest, at_ms
        # The same files may count again after others did: as another version, with other rows.
        known = ProviderBillStore(connection).all()
        self._times = sum(one.sha256 == digest for one in known)
        self._periods: dict[tuple[str, int, int], _Period] = {}
        self._first: tuple[str, str] | None = None
        self._seen: set[int] = set()
        # Rows of machines that are there once more, equal in every column, and their money.
        self.doubled_rows = 0
        self.doubled_nanos = 0

    def kept(self, files: Sequence[FocusFile]) -> Iterator[tuple[BillRow, str]]:
        """Yield the rows to store, and add all of them up."""
        number = 0
        for file in files:
            for row in file.rows:
                number += 1
                self._check(file, row)
                period = self._period(row)
                taken = self._row(file, row, period.bill_id, number)
                _add(period, row, taken.nanos)
                if self._keep(row, taken):
                    period.kept += 1
                    columns = row.columns()
                    self._count_doubled(columns, taken.nanos)
                    yield taken, columns
                else:
                    key = (row.service_category, row.service, row.category)
                    count, nanos = period.sums.get(key, (0, 0))
                    period.sums[key] = (count + 1, nanos + taken.nanos)

    def bills(
        self, store: ProviderBillStore, files: Sequence[FocusFile], provider: str
    ) -> list[tuple[StoredBill, tuple[ServiceSum, ...]]]:
        """Return the bills that the rows were on; refuse what was imported already."""
        if not self._periods or self._first is None:
            names = ", ".join(file.name for file in files)
            message = f"{names}: there is no row."
            raise BillRefusedError(message, hint="Nothing was taken; fetch the file again.")
        known = store.all()
        made = []
        for (account, start_ms, end_ms), period in sorted(self._periods.items()):
            name = provider or min(period.providers, key=lambda one: (-period.providers[one], one))
            bill = Bill(
                bill_id=period.bill_id,
                provider=name,
                billing_account=account,
                start_ms=start_ms,
                end_ms=end_ms,
                covered_until_ms=(
                    end_ms if self._at_ms >= end_ms else min(period.until_ms, end_ms)
                ),
            )
            last = _last_version(bill, known)
            stored = StoredBill(
                bill=bill,
                version=last + 1,
                imported_ms=self._at_ms,
                file_names=", ".join(file.name for file in files),
                sha256=self._digest,
                spec=max(file.spec for file in files),
                columns=tuple(dict.fromkeys(one for file in files for one in file.columns)),
                currency=self._first[0],
                row_count=period.rows,
                kept_count=period.kept,
                billed_total=period.billed,
                effective_total=period.effective,
                effective_nanos=period.nanos,
            )
            sums = (
                ServiceSum(
                    bill_id=period.bill_id,
                    service_category=group,
                    service=service,
                    category=category,
                    row_count=count,
                    nanos=nanos,
                )
                for (group, service, category), (count, nanos) in sorted(period.sums.items())
            )
            made.append((stored, tuple(sums)))
        return made

    def _count_doubled(self, columns: str, nanos: int) -> None:
        digest = hash64(columns)
        if digest in self._seen:
            self.doubled_rows += 1
            self.doubled_nanos += nanos
        self._seen.add(digest)

    def _check(self, file: FocusFile, row: FocusRow) -> None:
        where = f"{file.name}, line {row.line}"
        if self._first is None:
            self._first = (row.currency, where)
        currency, first = self._first
        if row.currency != currency:
            message = f"{where}: the currency is {row.currency}, but {currency} in {first}."
            hint = "Nothing was taken; import the bills of each currency on their own."
            raise BillRefusedError(message, hint=hint)
        if self._account and row.billing_account != self._account:
            message = f"{where}: the billing account is {row.billing_account}, not {self._account}."
            hint = "Nothing was taken; leave out --billing-account, or give that account's files."
            raise BillRefusedError(message, hint=hint)

    def _period(self, row: FocusRow) -> _Period:
        if row.period not in self._periods:
            key = (self._digest, *map(str, row.period), str(self._times))
            self._periods[row.period] = _Period(bill_id=hash64("provider bill", *key))
        return self._periods[row.period]

    def _row(self, file: FocusFile, row: FocusRow, bill_id: int, number: int) -> BillRow:
        return BillRow(
            bill_id=bill_id,
            number=number,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            category=row.category,
            nanos=self._nanos(file, row),
            unused=row.unused,
            compute=row.service_category == _COMPUTE,
            service=row.service,
            resource_id=row.resource_id,
            resource_name=row.resource_name,
            tags=row.tags,
        )

    def _nanos(self, file: FocusFile, row: FocusRow) -> int:
        """Return the row's cost in the billing currency, rounded once, half-even."""
        rate = Decimal(1)
        if row.currency != self._currency:
            found = self._rates.at(row.currency, row.start_ms)
            if found is None:
                message = (
                    f"{file.name}, line {row.line}: there is no exchange rate of {row.currency} at"
                    f" {from_ms(row.start_ms):%Y-%m-%dT%H:%M:%SZ}; the ledger is kept in"
                    f" {self._currency}."
                )
                hint = "Nothing was taken; import exchange rates that are valid then."
                raise BillRefusedError(message, hint=hint)
            rate = found.rate
        cost = _EXACT.multiply(row.effective, rate)
        return int(_HALF_EVEN.to_integral_value(cost.scaleb(9, _EXACT)))

    def _keep(self, row: FocusRow, taken: BillRow) -> bool:
        """Say whether a row may ever be a node's, or is a commitment's."""
        return row.unused or taken.compute or self._index.may_be_machine(taken)


def _add(period: _Period, row: FocusRow, nanos: int) -> None:
    period.rows += 1
    period.effective = _EXACT.add(period.effective, row.effective)
    period.billed = _EXACT.add(period.billed, row.billed)
    period.nanos += nanos
    period.until_ms = max(period.until_ms, row.end_ms)
    period.providers[row.provider] = period.providers.get(row.provider, 0) + 1


def refuse_taken(known: Sequence[StoredBill], digest: str) -> None:
    """Refuse files of which the bills are the last versions."""
    for one in known:
        if not one.superseded and one.sha256 == digest:
            message = (
                f"The bill of {one.bill.provider} {one.bill.billing_account} for"
                f" {_period_words(one.bill)} was imported from the same files already, as version"
                f" {one.version}."
            )
            raise BillRefusedError(message, hint="Nothing was changed.")


def _last_version(bill: Bill, known: Sequence[StoredBill]) -> int:
    """Return the last version of a bill, 0 if there is none; refuse what is no next version."""
    last = 0
    for one in known:
        other = one.bill
        if (other.provider, other.billing_account) != (bill.provider, bill.billing_account):
            continue
        whose = f"{other.provider} {other.billing_account}"
        if other.start_ms < bill.end_ms and bill.start_ms < other.end_ms:
            if (other.start_ms, other.end_ms) != (bill.start_ms, bill.end_ms):
                message = (
                    f"The billing period {_period_words(bill)} of {whose} overlaps"
                    f" {_period_words(other)}, of which there is a bill."
                )
                hint = "Nothing was taken; a later version must have the same billing period."
                raise BillRefusedError(message, hint=hint)
            last = max(last, one.version)
    return last


def _period_words(bill: Bill) -> str:
    return f"{from_ms(bill.start_ms):%Y-%m-%dT%H:%M}Z to {from_ms(bill.end_ms):%Y-%m-%dT%H:%M}Z"
