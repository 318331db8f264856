"""Take providers' FOCUS files: store the bills' versions, and post what the true-up moves."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from app.attribution.redistribution import BillingDay
from app.sources.focus_batches import FocusFileError
from app.sources.focus_file import open_focus
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.provider_bills import ProviderBillStore, StoredBill
from app.store.true_up import TrueUpStore
from app.units.window import from_ms
from app.workflows.bill_taking import BillRefusedError, Taking, refuse_taken
from app.workflows.imports import Moved
from app.workflows.postings import Adjusting
from app.workflows.rating import current_terms
from app.workflows.true_up import days_of_bills, true_up_day, true_up_days
from app.workflows.true_up_adjusting import PeriodDifference, adjust_true_up, closed_differences

_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedBills:
    """What an import did or, for a dry run, would do; ``moved`` is its true-up by team.

    Of ``days``, ``closed_days`` lie in closed periods: what the bills change of them is posted as
    adjustments. ``doubled_rows`` are rows of machines that stand there once more, equal in every
    column: a provider may mean that, a file that was put together twice does not.
    """

    bills: tuple[StoredBill, ...]
    days: int
    closed_days: int
    moved: tuple[Moved, ...]
    dry_run: bool
    doubled_rows: int = 0
    doubled_nanos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BillTerms:
    """What an import is made by: the ledger's database, currency and zone, and when it is."""

    engine: Engine
    currency: str
    billing_zone: ZoneInfo
    at_ms: int

    @property
    def adjusting(self) -> Adjusting:
        """By what closed periods are adjusted."""
        return Adjusting(engine=self.engine, billing_zone=self.billing_zone, at_ms=self.at_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Touched:
    """The days that an import touches, and the true-up of the open ones before it, by team."""

    open_days: tuple[BillingDay, ...]
    closed_days: tuple[BillingDay, ...]
    before: Mapping[int, int]


def import_bills(
    paths: Sequence[Path],
    terms: BillTerms,
    *,
    provider: str = "",
    billing_account: str = "",
    dry_run: bool = False,
) -> ImportedBills:
    """Take all files together, or nothing of them; then renew the true-up of what they touch.

    What is on them of one account and billing period is the next version of that bill, whole: the
    versions before stay readable. ``provider`` names who sent it (else the provider of most rows),
    ``billing_account`` refuses rows of any other.
    """
    digest = _digest(paths)
    files = [open_focus(path) for path in paths]
    with terms.engine.connect() as connection, _undone(connection):
        store = ProviderBillStore(connection)
        store.lock()
        refuse_taken(store.all(), digest)
        taking = Taking(connection, terms.currency, billing_account, digest, terms.at_ms)
        store.write_rows(taking.kept(files))
        made = taking.bills(store, files, provider)
        for bill, sums in made:
            store.put(bill, sums)
        bills = tuple(bill for bill, _ in made)
        touched = _touched(connection, bills, terms)
        if dry_run:
            moved = _previewed(connection, touched, terms)
        else:
            connection.commit()
    if not dry_run:
        moved = _posted(bills, touched, terms)
    return ImportedBills(
        bills=bills,
        days=len(touched.open_days) + len(touched.closed_days),
        closed_days=len(touched.closed_days),
        doubled_rows=taking.doubled_rows,
        doubled_nanos=taking.doubled_nanos,
        moved=moved,
        dry_run=dry_run,
    )


@contextmanager
def _undone(connection: Connection) -> Iterator[None]:
    """Begin a transaction that is rolled back unless the block commits."""
    connection.begin()
    try:
        yield
    finally:
        connection.rollback()


def _touched(connection: Connection, bills: Sequence[StoredBill], terms: BillTerms) -> _Touched:
    """Let every day wait that the bills, or the versions before them, have charges of."""
    keys = {one.bill.key for one in bills}
    versions = [one for one in ProviderBillStore(connection).all() if one.bill.key in keys]
    days = days_of_bills(connection, [one.bill.bill_id for one in versions], terms.billing_zone)
    store = TrueUpStore(connection, terms.billing_zone)
    store.mark(days)
    closed_ms = closed_before_ms(connection)
    open_days = tuple(day for day in days if day.start_ms >= closed_ms)
    return _Touched(
        open_days=open_days,
        closed_days=tuple(day for day in days if day.start_ms < closed_ms),
        before=store.by_team(open_days),
    )


def _previewed(connection: Connection, touched: _Touched, terms: BillTerms) -> tuple[Moved, ...]:
    """Make the lines of the open days in the caller's transaction, which is rolled back."""
    store = TrueUpStore(connection, terms.billing_zone)
    contract = current_terms(connection).contract
    for waiting in store.waiting():
        if waiting.day in touched.open_days:
            true_up_day(connection, waiting, contract, terms.billing_zone)
    closed = closed_differences(connection, touched.closed_days, terms.adjusting)
    return _moved(connection, touched, closed, terms)


def _posted(bills: Sequence[StoredBill], touched: _Touched, terms: BillTerms) -> tuple[Moved, ...]:
    with terms.engine.connect() as connection:
        contract = current_terms(connection).contract
    true_up_days(contract, engine=terms.engine, billing_zone=terms.billing_zone)
    with terms.engine.connect() as connection:
        # Those of an import that broke off before it posted them wait as well.
        closed_ms = closed_before_ms(connection)
        waiting = TrueUpStore(connection, terms.billing_zone).waiting()
    days = [one.day for one in waiting if one.day.start_ms < closed_ms]
    closed: tuple[PeriodDifference, ...] = ()
    if days:
        closed = adjust_true_up(days, terms.adjusting, reason=_reason(bills))
    with terms.engine.connect() as connection:
        return _moved(connection, touched, closed, terms)


def _reason(bills: Sequence[StoredBill]) -> str:
    named = (
        f"{one.bill.provider} {one.bill.billing_account} from"
        f" {from_ms(one.bill.start_ms):%Y-%m-%d}, version {one.version}"
        for one in bills
    )
    return f"The provider's bill: {'; '.join(named)}."


def _moved(
    connection: Connection,
    touched: _Touched,
    closed: Sequence[PeriodDifference],
    terms: BillTerms,
) -> tuple[Moved, ...]:
    after = dict(TrueUpStore(connection, terms.billing_zone).by_team(touched.open_days))
    for one in closed:
        for team, nanos in one.nanos_by_team.items():
            after[team] = after.get(team, 0) + nanos
    names = NameStore(connection).teams()
    moved = (
        Moved(
            team=names.get(one, ""),
            before_nanos=touched.before.get(one, 0),
            after_nanos=after.get(one, 0),
        )
        for one in {*touched.before, *after}
    )
    return tuple(sorted(moved, key=lambda one: one.team))


def _digest(paths: Sequence[Path]) -> str:
    """Return one hash of all files, whatever their order; refuse a file that is given twice."""
    found: dict[str, Path] = {}
    for path in paths:
        digest = sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}."
            raise FocusFileError(message, hint="Check the path.") from error
        if (same := found.get(digest.hexdigest())) is not None:
            message = f"{path} has the same content as {same}."
            raise BillRefusedError(message, hint="Nothing was taken; give every file once.")
        found[digest.hexdigest()] = path
    return sha256("".join(sorted(found)).encode()).hexdigest()
